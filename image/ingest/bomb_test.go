package ingest_test

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	"tiffin/image"
	"tiffin/image/transfer"
	"tiffin/internal/errs"
	"tiffin/internal/test/imagetest"
	"tiffin/internal/test/tartest"
)

func TestBombsAreDefusedInBoundedMemory(t *testing.T) {
	t.Setenv("TIFFIN_INFLATE_LIMIT", "64MiB") // as if the disk of the test were too small
	bomb := imagetest.Zstd(t, make([]byte, 200<<20))
	if len(bomb) > 32<<10 {
		t.Fatalf("the bomb has %d bytes", len(bomb))
	}
	s := imagetest.NewStore(t)
	before := imagetest.Listing(t, s)
	grown := imagetest.Peak(func() {
		_, err := s.Import(context.Background(), bytes.NewReader(bomb), image.ImportOptions{Ref: "x"})
		if err == nil || !strings.Contains(err.Error(), "bomb") || !strings.Contains(errs.HintOf(err), "TIFFIN_INFLATE_LIMIT") {
			t.Errorf("a bomb: %v", err)
		}
		_, err = transfer.Load(context.Background(), s, "", bytes.NewReader(bomb), nil)
		if err == nil || !strings.Contains(err.Error(), "bomb") {
			t.Errorf("a bomb as an archive: %v", err)
		}
	})
	if grown > 64<<20 {
		t.Errorf("it took %d bytes of memory", grown)
	}
	if after := imagetest.Listing(t, s); !slices.Equal(before, after) {
		t.Errorf("before %q\nafter %q", before, after)
	}
}

func TestTheLimitForBombsCanBeRaised(t *testing.T) {
	var b bytes.Buffer
	b.Write(tartest.Of(t, tartest.File("a", strings.Repeat("\x00", 3<<20))))
	packed := imagetest.Zstd(t, b.Bytes())
	for limit, ok := range map[string]bool{"1MiB": false, "100MiB": true, "nonsense": false, "-1": false} {
		t.Setenv("TIFFIN_INFLATE_LIMIT", limit)
		if _, err := imagetest.NewStore(t).Import(context.Background(), bytes.NewReader(packed), image.ImportOptions{}); (err == nil) != ok {
			t.Errorf("%s: %v", limit, err)
		}
	}
}

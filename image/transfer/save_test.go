package transfer_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"tiffin/image/oci"
	"tiffin/image/transfer"
	"tiffin/internal/test/imagetest"
)

func TestSavedArchivesAreDeterministicAndLoadBack(t *testing.T) {
	s, f, img := imagetest.StoreWith(t, imagetest.Gzip, "x:1")
	if err := s.Tag("x:1", "y:2"); err != nil {
		t.Fatal(err)
	}
	var a, b bytes.Buffer
	for _, out := range []*bytes.Buffer{&a, &b} {
		if err := transfer.Save(context.Background(), s, out, []string{"x:1", "y:2"}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("two archives of the same image differ")
	}
	for _, strip := range []string{"", "index.json", "manifest.json"} { // both, only docker-archive, only layout
		name := imagetest.InFile(t, a.Bytes())
		if strip != "" {
			imagetest.Spoil(t, name, func(b []byte) []byte { return bytes.ReplaceAll(b, []byte(strip+"\x00"), []byte("x"+strip[1:]+"\x00")) })
			fixChecksums(t, name)
		}
		other := imagetest.NewStore(t)
		loaded := imagetest.Load(t, other, name)
		if len(loaded) != 2 || loaded[0].ID != f.ID() || loaded[0].Ref != "x:1" || loaded[1].Ref != "y:2" {
			t.Errorf("without %q: %v", strip, loaded)
		}
		if got := imagetest.Resolve(t, other, "y:2"); strip != "index.json" && got.Manifest.Digest != img.Manifest.Digest {
			t.Errorf("without %q: the manifest's digest changed", strip)
		}
		imagetest.Sound(t, other)
	}
	var c bytes.Buffer
	if err := transfer.Save(context.Background(), s, &c, []string{img.ID.String()}, nil); err != nil {
		t.Fatal(err)
	}
	if loaded := imagetest.Load(t, imagetest.NewStore(t), imagetest.InFile(t, c.Bytes())); len(loaded) != 1 || loaded[0].Ref != "" {
		t.Errorf("saved by ID: %v", loaded)
	}
}

// fixChecksums repairs the header blocks of a tarball whose names were changed.
func fixChecksums(t *testing.T, name string) {
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at+512 <= len(b); at += 512 {
		h := b[at : at+512]
		if string(h[257:262]) != "ustar" {
			continue
		}
		copy(h[148:156], "        ")
		sum := 0
		for _, c := range h {
			sum += int(c)
		}
		for i := 5; i >= 0; i-- {
			h[148+i] = byte('0' + sum&7)
			sum >>= 3
		}
		h[154], h[155] = 0, ' '
	}
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestADamagedBlobIsNotSaved(t *testing.T) {
	for _, change := range []func([]byte) []byte{imagetest.Flip, imagetest.Half} {
		s, _, img := imagetest.StoreWith(t, imagetest.Gzip, "x")
		bad := img.Layers[0].Digest
		imagetest.Spoil(t, s.BlobPath(bad), change)
		err := transfer.Save(context.Background(), s, io.Discard, []string{"x"}, nil)
		if !errors.Is(err, oci.ErrDamaged) || !strings.Contains(err.Error(), bad.String()) {
			t.Errorf("%v", err)
		}
	}
}

package image_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"testing"

	"tiffin/image"
	"tiffin/internal/test/imagetest"
	"tiffin/internal/test/tartest"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
)

func TestImportMakesAnImageOfARootFileSystem(t *testing.T) {
	for packing, pack := range imagetest.Packings {
		s := imagetest.NewStore(t)
		img, err := s.Import(context.Background(), bytes.NewReader(pack(t, imagetest.LayerTar(t, "one"))), image.ImportOptions{
			Ref: "mine:1", Message: "imported", Edit: func(c *dockerspec.DockerOCIImageConfig) error {
				c.Cmd, c.Env = []string{"tool"}, []string{"A=b"}
				return nil
			}})
		if err != nil {
			t.Fatal(err)
		}
		h := s.History(img)
		if img.Names[0] != "mine:1" || img.Config.Config.Cmd[0] != "tool" || len(h) != 1 || h[0].Comment != "imported" || h[0].Size != 13312 {
			t.Errorf("%s: %+v, history %+v", packing, img, h)
		}
		if img.Created.Unix() != 1700000000 {
			t.Errorf("%s: SOURCE_DATE_EPOCH is not honoured: %v", packing, img.Created)
		}
		imagetest.Sound(t, s)
	}
}

func TestAMillionEntriesAreReadInBoundedMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	r, w := io.Pipe()
	go func() {
		for d := range 1000 {
			entries := make([]tartest.Entry, 0, 1000)
			for f := range 1000 {
				entries = append(entries, tartest.File(fmt.Sprintf("d%03d/f%03d", d, f), ""))
			}
			if err := tartest.Write(w, entries...); err != nil {
				w.CloseWithError(err)
				return
			}
		}
		w.Close()
	}()
	s := imagetest.NewStore(t)
	grown := imagetest.Peak(func() {
		img, err := s.Import(context.Background(), r, image.ImportOptions{Ref: "x"})
		if err != nil {
			imagetest.Clear(t, "a million files", err)
			return
		}
		if _, err := s.Mountable(img); err != nil {
			t.Error(err)
		}
	})
	t.Logf("%d MiB", grown>>20)
	if grown > 1500<<20 {
		t.Errorf("it took %d bytes of memory", grown)
	}
}

package image_test

import (
	"testing"

	"tiffin/internal/test/imagetest"
	tt "tiffin/internal/test/tartest"
)

func TestLayersTellsWhatUpperOnesHide(t *testing.T) {
	s := imagetest.NewStore(t)
	f := imagetest.New(t, imagetest.Gzip, []string{"docker.io/library/box:1"},
		tt.Of(t, tt.File("a", "12345"), tt.File("b", "1")), tt.Of(t, tt.File("a", "1"), tt.Whiteout("b")))
	imagetest.Load(t, s, imagetest.InFile(t, imagetest.Archive(t, f.Docker(t))))
	img := imagetest.Resolve(t, s, "box:1")
	ls, err := s.Layers(img)
	if err != nil || len(ls) != 2 {
		t.Fatalf("%+v %v", ls, err)
	}
	low, top := ls[0], ls[1]
	if low.Number != 0 || low.DiffID != img.Layers[0].DiffID || low.Digest != img.Layers[0].Digest || low.Files != 2 || low.Bytes != 6 || low.Hidden != 2 || low.HiddenBytes != 6 {
		t.Errorf("bottom: %+v", low)
	}
	if top.Number != 1 || top.Files != 1 || top.HiddenBytes != 0 || top.BlobSize != img.Layers[1].Size || top.Size != int64(len(f.Tars[1])) {
		t.Errorf("top: %+v", top)
	}
}

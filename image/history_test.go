package image

import (
	"strings"
	"testing"
	"time"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image/oci"
)

// TestWhatIsToldOfALayerIsToldOfIt: on images whose history has too little, too much or nothing at
// all, a new layer has the description that was given to it.
func TestWhatIsToldOfALayerIsToldOfIt(t *testing.T) {
	for _, c := range []struct {
		layers  int
		history string // a step with a layer for each L, without for each "."
	}{{0, ""}, {2, ""}, {2, "L"}, {2, ".L.L."}, {1, "LLL"}, {0, "L"}, {3, "..L"}} {
		cfg := newConfig()
		for i := range c.layers {
			cfg.RootFS.DiffIDs = append(cfg.RootFS.DiffIDs, digest.FromString(strings.Repeat("x", i)))
		}
		for _, kind := range c.history {
			cfg.History = append(cfg.History, ocispec.History{EmptyLayer: kind == '.'})
		}
		describe(&cfg, oci.Layer{DiffID: digest.FromString("new")}, time.Unix(1, 0), "", "me", "")
		told := 0
		for _, h := range cfg.History {
			if !h.EmptyLayer {
				told++
			}
		}
		if told != len(cfg.RootFS.DiffIDs) || cfg.History[len(cfg.History)-1].CreatedBy != "me" {
			t.Errorf("%d layers, history %q: it tells of %d: %+v", c.layers, c.history, told, cfg.History)
		}
	}
}

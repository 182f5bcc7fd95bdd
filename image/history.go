// How an image was made, step by step.

package image

import (
	"time"

	digest "github.com/opencontainers/go-digest"
)

// HistoryEntry is one step in the making of an image.
type HistoryEntry struct {
	ID        digest.Digest // of the image, for the newest step; "" for the others
	Created   time.Time     // zero if it is not known
	CreatedBy string
	Size      int64 // bytes of the step's layer, uncompressed; 0 if it has none
	Comment   string
	Empty     bool // the step has no layer
}

// History returns the steps of an image, newest first. A layer about which the config says nothing
// is a step without a description.
func (s *Store) History(img *Image) []HistoryEntry {
	var out []HistoryEntry
	next := 0
	for _, h := range img.Config.History {
		e := HistoryEntry{CreatedBy: h.CreatedBy, Comment: h.Comment, Empty: h.EmptyLayer}
		if h.Created != nil {
			e.Created = *h.Created
		}
		if !h.EmptyLayer && next < len(img.Layers) {
			e.Size = s.layerSize(img, img.Layers[next])
			next++
		}
		out = append(out, e)
	}
	for ; next < len(img.Layers); next++ {
		out = append(out, HistoryEntry{Size: s.layerSize(img, img.Layers[next])})
	}
	for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
		out[i], out[j] = out[j], out[i]
	}
	if len(out) > 0 {
		out[0].ID = img.ID
	}
	return out
}

package layer_test

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"

	"tiffin/image/layer"
	tt "tiffin/internal/test/tartest"
	"tiffin/internal/treecopy"
)

// TestDeepChanges: what a layer takes is written, also where no system call takes the path; what
// it does not take is an error that says so, before anything has been written.
func TestDeepChanges(t *testing.T) {
	for _, levels := range []int{2_500, 8_500} {
		dir, err := os.MkdirTemp("/dev/shm", "tiffin-deep") // in memory: a disk takes minutes if others use it, too
		if err != nil {
			dir = t.TempDir()
		}
		tt.Deep(t, dir, levels)
		var b bytes.Buffer
		u := &layer.Upper{Dir: dir}
		changes, err := layer.Changes(u)
		err2 := layer.WriteDiff(&b, u)
		if levels == 2_500 {
			if err != nil || err2 != nil || len(changes) != levels+1 {
				t.Errorf("%d levels: %d changes, %.200v, %.200v", levels, len(changes), err, err2)
			} else if !strings.Contains(strings.Join(tt.List(t, b.Bytes()), "\n"), `d/f = "x"`) {
				t.Error("the layer lacks the file")
			}
		} else {
			for _, err := range []error{err, err2} {
				if err == nil || !strings.Contains(err.Error(), "has more than 16384 bytes") || len(err.Error()) > 300 || b.Len() > 0 {
					t.Errorf("%d levels: want a short error about the path, got %.400v", levels, err)
				}
			}
			b.Reset()
			tree := treecopy.Host()
			if err := tree.Pack(io.Discard, dir, ".", false); err == nil || !strings.Contains(err.Error(), "has more than 16384 bytes") {
				t.Errorf("packing %d levels: %.400v", levels, err)
			}
		}
		if err := treecopy.Remove(dir); err != nil {
			t.Fatal(err)
		}
		b.Reset()
	}
}

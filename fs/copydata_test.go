package fs_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"tiffin/internal/test/fstest"
	"tiffin/internal/test/tartest"
)

// TestAppendingCopiesNothing: what a lower file has already stays where it is,
// also if the kernel's write begins with the rest of its last page.
func TestAppendingCopiesNothing(t *testing.T) {
	const size = 1<<20 + 100 // bytes, in the middle of a page
	lower := bytes.Repeat([]byte("0123456789"), size/10+1)[:size]
	fstest.Run(t, fstest.Options{Layers: [][]byte{tartest.Of(t, tartest.File("low", string(lower)))}}, func(t *testing.T, m *fstest.Mount) {
		p, upper := filepath.Join(m.Dir, "low"), filepath.Join(m.Upper, "low")
		want := bytes.Clone(lower)
		for _, s := range []string{"one", "two"} {
			if err := write(p, s, os.O_APPEND); err != nil {
				t.Fatal(err)
			}
			want = append(want, s...)
			m.Remount(t)
			if got, err := os.ReadFile(p); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("after appending %q: %d bytes, %v; want %d", s, len(got), err, len(want))
			}
			var st unix.Stat_t
			if err := unix.Stat(upper, &st); err != nil || st.Size != int64(len(want)) || st.Blocks > 16 {
				t.Errorf("after appending %q: the upper file has %d bytes in %d blocks of 512 (%v); want %d in a few", s, st.Size, st.Blocks, err, len(want))
			}
		}
		f, err := os.OpenFile(p, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		seam := make([]byte, 8) // one read on both sides
		if _, err := f.ReadAt(seam, size-4); err != nil || !bytes.Equal(seam, want[size-4:size+4]) {
			t.Errorf("across the seam: %q, %v", seam, err)
		}
		if hole, err := unix.Seek(int(f.Fd()), 0, unix.SEEK_HOLE); err != nil || hole < int64(len(want)) {
			t.Errorf("a hole at %d, %v; the file has none", hole, err)
		}
		if _, err := f.WriteAt([]byte("X"), size-4000); err != nil { // now it has to be copied
			t.Fatal(err)
		}
		want[size-4000] = 'X'
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		real, err := os.ReadFile(upper)
		if err != nil || !bytes.Equal(real, want) {
			t.Errorf("after writing in front of the tail the upper file differs from what was written (%d bytes, %v)", len(real), err)
		}
		f.Close() // or it could not be unmounted
		m.Remount(t)
		if got, err := os.ReadFile(p); err != nil || !bytes.Equal(got, want) {
			t.Errorf("after writing in front of the tail: %d bytes, %v; want %d", len(got), err, len(want))
		}
	})
}

package fs_test

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"tiffin/internal/test/fstest"
	"tiffin/internal/test/tartest"
)

func statOf(t *testing.T, p string) (st unix.Stat_t) {
	t.Helper()
	if err := unix.Lstat(p, &st); err != nil {
		t.Fatalf("lstat %s: %v", p, err)
	}
	return st
}

// TestHardLinksSurviveMovedAndRemovedDirectories: the names of a lower file are
// found wherever their directories have gone, also by a server that was not
// there when they went.
func TestHardLinksSurviveMovedAndRemovedDirectories(t *testing.T) {
	layer := tartest.Of(t, tartest.Dir("a"), tartest.Dir("a/b"), tartest.File("a/b/one", "linked"), tartest.Dir("c"),
		tartest.Hardlink("c/two", "a/b/one"), tartest.Dir("d"), tartest.Hardlink("d/three", "a/b/one"), tartest.Hardlink("four", "a/b/one"))
	fstest.Run(t, fstest.Options{Layers: [][]byte{layer}}, func(t *testing.T, m *fstest.Mount) {
		p := func(name string) string { return filepath.Join(m.Dir, name) }
		ino := statOf(t, p("four")).Ino
		steps := []struct {
			name string
			do   func() error
			want []string
		}{
			{"move the directory above", func() error { return os.Rename(p("a"), p("d/moved")) }, []string{"d/moved/b/one", "c/two", "d/three", "four"}},
			{"remove one name with its directory", func() error { return os.RemoveAll(p("c")) }, []string{"d/moved/b/one", "d/three", "four"}},
			{"move again, deeper", func() error {
				return both(os.Mkdir(p("new"), 0o755), os.Rename(p("d/moved/b"), p("new/b")))
			}, []string{"new/b/one", "d/three", "four"}},
			{"change one name's file", func() error { return write(p("four"), "!", os.O_APPEND) }, []string{"new/b/one", "d/three", "four"}},
			{"add a name", func() error { return os.Link(p("d/three"), p("new/five")) }, []string{"new/b/one", "d/three", "four", "new/five"}},
			{"replace a name", func() error { return both(write(p("x"), "x", os.O_CREATE), os.Rename(p("x"), p("four"))) }, []string{"new/b/one", "d/three", "new/five"}},
		}
		content := "linked"
		for _, s := range steps {
			m.Remount(t)
			if err := s.do(); err != nil {
				t.Fatalf("%s: %v", s.name, err)
			}
			if s.name == "change one name's file" {
				content += "!"
			}
			for _, when := range []string{"", ", after a remount"} {
				if when != "" {
					m.Remount(t)
				}
				for _, name := range s.want {
					st := statOf(t, p(name))
					b, err := os.ReadFile(p(name))
					if st.Ino != ino || int(st.Nlink) != len(s.want) || string(b) != content {
						t.Errorf("%s%s: %s has inode %d (wanted %d), %d names (wanted %d), content %q, %v",
							s.name, when, name, st.Ino, ino, st.Nlink, len(s.want), b, err)
					}
				}
			}
		}
	})
}

// TestOpenFilesSeeChangesMadeAfterCopyUp: a descriptor and a mapping from
// before the copy-up show what is written after it.
func TestOpenFilesSeeChangesMadeAfterCopyUp(t *testing.T) {
	fstest.Run(t, fstest.Options{Layers: [][]byte{tartest.Of(t, tartest.File("f", "old content"))}}, func(t *testing.T, m *fstest.Mount) {
		p := filepath.Join(m.Dir, "f")
		f, err := os.Open(p)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		mem, err := unix.Mmap(int(f.Fd()), 0, 11, unix.PROT_READ, unix.MAP_SHARED)
		if err != nil || string(mem) != "old content" {
			t.Fatal(err, string(mem))
		}
		defer unix.Munmap(mem)
		for _, s := range []string{"new", "NEW"} {
			g, err := os.OpenFile(p, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err = g.WriteString(s); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 11)
			if _, err := f.ReadAt(b, 0); err != nil || string(b) != s+" content" {
				t.Errorf("the old descriptor reads %q, %v", b, err)
			}
			if string(mem) != s+" content" {
				t.Errorf("the old mapping shows %q", mem)
			}
			g.Close()
			if err := m.DropCaches(); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Remove(p); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 11)
		if _, err := f.ReadAt(b, 0); err != nil || string(b) != "NEW content" {
			t.Errorf("after unlink the descriptor reads %q, %v", b, err)
		}
		if st := (unix.Stat_t{}); unix.Fstat(int(f.Fd()), &st) != nil || st.Nlink != 0 {
			t.Errorf("after unlink it has %d names", st.Nlink)
		}
	})
}

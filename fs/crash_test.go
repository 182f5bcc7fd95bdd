package fs_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tiffin/image/sidecar"
	"tiffin/internal/test/fstest"
	"tiffin/internal/test/tartest"
)

// A change is complete or absent, wherever it is interrupted. These tests do
// not hope to hit the moment: for each change they kill the server before the
// first system call that touches the disk, before the second, and so on until
// the change gets through; then again with every call failing for want of
// space instead.

// change is something to do in the union after prep has been done.
type change struct {
	name     string
	prep, do func(p func(string) string) error
}

func crashLayers(t *testing.T) [][]byte {
	big := strings.Repeat("0123456789abcdef", 8<<10) // 128 KiB
	return [][]byte{tartest.Of(t, tartest.Dir("d"), tartest.Dir("d/sub"), tartest.File("d/sub/deep", "deep"), tartest.File("d/f", "d/f"),
		tartest.Dir("e"), tartest.File("e/x", "x"), tartest.Dir("links"), tartest.File("links/one", "linked"), tartest.Hardlink("d/two", "links/one"),
		tartest.Hardlink("three", "links/one"), tartest.File("big", big, tartest.Mode(0o755), tartest.Xattr("user.k", "v")),
		tartest.File("other", "other"), tartest.Symlink("sym", "big"), tartest.Dir("hollow"), tartest.File("hollow/x", "x"), tartest.File("hollow/y", "y"))}
}

func write(path, s string, flags int) error {
	f, err := os.OpenFile(path, flags|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(s)
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}

func both(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

func changes() []change {
	type path = func(string) string
	exchange := func(p path, a, b string) error {
		return unix.Renameat2(unix.AT_FDCWD, p(a), unix.AT_FDCWD, p(b), unix.RENAME_EXCHANGE)
	}
	hollow := func(p path) error {
		return both(both(os.Remove(p("hollow/x")), os.Remove(p("hollow/y"))), os.Mkdir(p("new"), 0o755))
	}
	appended := func(p path) error { return write(p("big"), "appended", os.O_APPEND) }
	return []change{
		{"chmod of a lower file", nil, func(p path) error { return os.Chmod(p("big"), 0o600) }},
		{"chmod of a file deep in the layers", nil, func(p path) error { return os.Chmod(p("d/sub/deep"), 0o600) }},
		{"chmod of a lower file with three names", nil, func(p path) error { return os.Chmod(p("three"), 0o600) }},
		{"chmod of an upper file", func(p path) error { return os.Chmod(p("big"), 0o600) }, func(p path) error { return os.Chmod(p("big"), 0o4711) }},
		{"chown", nil, func(p path) error { return os.Lchown(p("sym"), 0, 0) }},
		{"append to a lower file", nil, func(p path) error { return write(p("big"), "appended", os.O_APPEND) }},
		{"append to it again", appended, func(p path) error { return write(p("big"), "more", os.O_APPEND) }},
		{"write into what comes before an appended part", appended, func(p path) error { return write(p("big"), "new", 0) }},
		{"truncate behind the end of a lower file", nil, func(p path) error { return os.Truncate(p("big"), 200_000) }},
		{"truncate an appended file to a part", appended, func(p path) error { return os.Truncate(p("big"), 70_000) }},
		{"truncate an appended file to nothing", appended, func(p path) error { return os.Truncate(p("big"), 0) }},
		{"truncate a lower file to a part", nil, func(p path) error { return os.Truncate(p("big"), 70_000) }},
		{"truncate a lower file to nothing", nil, func(p path) error { return os.Truncate(p("big"), 0) }},
		{"unlink of a lower file", nil, func(p path) error { return os.Remove(p("big")) }},
		{"unlink of one of three lower names", nil, func(p path) error { return os.Remove(p("d/two")) }},
		{"unlink of an upper file that hides a lower one", func(p path) error { return os.Chmod(p("big"), 0o600) }, func(p path) error { return os.Remove(p("big")) }},
		{"unlink of an upper file", func(p path) error { return write(p("new"), "new", os.O_CREATE) }, func(p path) error { return os.Remove(p("new")) }},
		{"create", nil, func(p path) error { return write(p("new"), "", os.O_CREATE) }},
		{"create with a mode that needs an attribute", nil, func(p path) error { return unix.Mknod(p("new"), unix.S_IFREG|0o4111, 0) }},
		{"create where a name was removed", func(p path) error { return os.Remove(p("big")) }, func(p path) error { return write(p("big"), "", os.O_CREATE) }},
		{"mkdir where a directory was removed", func(p path) error { return os.RemoveAll(p("d")) }, func(p path) error { return os.Mkdir(p("d"), 0o700) }},
		{"symlink", nil, func(p path) error { return os.Symlink("target", p("d/new")) }},
		{"fifo", nil, func(p path) error { return unix.Mkfifo(p("d/new"), 0o640) }},
		{"link of a lower file", nil, func(p path) error { return os.Link(p("other"), p("e/other")) }},
		{"rename of a lower file", nil, func(p path) error { return os.Rename(p("big"), p("d/sub/moved")) }},
		{"rename of a lower file over another", nil, func(p path) error { return os.Rename(p("other"), p("big")) }},
		{"rename of an upper file over another", func(p path) error {
			return both(write(p("n1"), "1", os.O_CREATE), write(p("n2"), "2", os.O_CREATE))
		}, func(p path) error { return os.Rename(p("n1"), p("n2")) }},
		{"rename over one of three names", nil, func(p path) error { return os.Rename(p("other"), p("d/two")) }},
		{"rename of a lower directory", nil, func(p path) error { return os.Rename(p("d"), p("e/moved")) }},
		{"rename of a renamed directory", func(p path) error { return os.Rename(p("d"), p("e/moved")) }, func(p path) error { return os.Rename(p("e/moved"), p("again")) }},
		{"exchange of a lower file and a lower directory", nil, func(p path) error { return exchange(p, "d", "big") }},
		{"rename of a directory over one that has become empty", hollow, func(p path) error { return unix.Rename(p("d"), p("hollow")) }},
		{"rename of a changed directory", func(p path) error { return both(os.Remove(p("d/f")), write(p("d/sub/new"), "new", os.O_CREATE)) },
			func(p path) error { return os.Rename(p("d"), p("moved")) }},
		{"rename of a new file over a lower one", func(p path) error { return write(p("new"), "new", os.O_CREATE) }, func(p path) error { return os.Rename(p("new"), p("big")) }},
		{"exchange of a new and a lower file", func(p path) error { return write(p("new"), "new", os.O_CREATE) }, func(p path) error { return exchange(p, "new", "big") }},
		{"write after chmod", func(p path) error { return os.Chmod(p("big"), 0o600) }, func(p path) error { return write(p("big"), "new", 0) }},
		{"write to one of three names", nil, func(p path) error { return write(p("d/two"), "new", 0) }},
		{"rmdir of a directory that has become empty", hollow, func(p path) error { return os.Remove(p("hollow")) }},
		{"setxattr on a lower file", nil, func(p path) error { return unix.Setxattr(p("big"), "user.new", []byte("v"), 0) }},
		{"removexattr on a lower file", nil, func(p path) error { return unix.Removexattr(p("big"), "user.k") }},
	}
}

// picture is the whole tree, without the times of directories, and the upper's
// faults.
func picture(t *testing.T, m *fstest.Mount) string {
	t.Helper()
	tree, err := fstest.ReadTree(m.Dir, fstest.Look{})
	if err != nil {
		t.Fatal(err)
	}
	var s []string
	for p, line := range tree {
		s = append(s, p+" "+line)
	}
	slices.Sort(s)
	for _, bad := range m.Fsck(true) {
		if !strings.HasPrefix(bad, "left behind in the work") { // the kernel may still hold it, and the next start clears it
			s = append(s, bad)
		}
	}
	return strings.Join(s, "\n")
}

// fresh starts over with an empty upper directory.
func fresh(t *testing.T, m *fstest.Mount) {
	t.Helper()
	if err := m.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := emptyUpper(m); err != nil {
		t.Fatal(err)
	}
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
}

// emptyUpper makes the upper directory as new; it has a sidecar if it had one.
func emptyUpper(m *fstest.Mount) error {
	for _, d := range []string{m.Upper, m.Work} {
		if err := both(os.RemoveAll(d), os.Mkdir(d, 0o755)); err != nil {
			return err
		}
	}
	if err := os.Remove(sidecar.Path(m.Upper)); err != nil {
		return missing(err)
	}
	s, err := sidecar.Create(m.Upper)
	s.Close()
	return err
}

// missing is err, unless it says that there is no such file.
func missing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func TestChangesAreCompleteOrAbsentWhenInterrupted(t *testing.T) {
	for _, errno := range []unix.Errno{0, unix.ENOSPC} {
		t.Run(fmt.Sprintf("errno=%d", errno), func(t *testing.T) { interruptAll(t, errno, false) })
		t.Run(fmt.Sprintf("errno=%d,sidecar", errno), func(t *testing.T) { interruptAll(t, errno, true) })
	}
}

// TestADirectoryIsReplacedOnADiskThatCannotExchange: what a disk answers that does not know
// RENAME_EXCHANGE, as NFS, is EINVAL.
func TestADirectoryIsReplacedOnADiskThatCannotExchange(t *testing.T) {
	fstest.Run(t, fstest.Options{Layers: crashLayers(t), Ramfs: true}, func(t *testing.T, m *fstest.Mount) {
		m.EnableFaults()
		fresh(t, m)
		p := func(name string) string { return filepath.Join(m.Dir, name) }
		for _, c := range changes() {
			if c.name != "rename of a directory over one that has become empty" {
				continue
			}
			if err := c.prep(p); err != nil {
				t.Fatal(err)
			}
			m.Fault(t, fstest.Exchanges, unix.EINVAL)
			if err := c.do(p); err != nil || !m.Fault(t, 0, 0) {
				t.Errorf("%v", err)
			}
			after := picture(t, m)
			fresh(t, m)
			if err := both(c.prep(p), c.do(p)); err != nil || picture(t, m) != after {
				t.Errorf("%v; not as with an exchange:\n%s", err, difference(picture(t, m), after))
			}
		}
	})
}

// interruptAll interrupts each change at each moment.
func interruptAll(t *testing.T, errno unix.Errno, side bool) {
	fstest.Run(t, fstest.Options{Layers: crashLayers(t), Ramfs: side}, func(t *testing.T, m *fstest.Mount) {
		if _, err := os.Lstat(sidecar.Path(m.Upper)); (err == nil) != side {
			t.Fatalf("sidecar: %v, wanted %v", err, side)
		}
		m.EnableFaults()
		p := func(name string) string { return filepath.Join(m.Dir, name) }
		for _, c := range changes() {
			fresh(t, m)
			start := func() string {
				if c.prep != nil {
					if err := c.prep(p); err != nil {
						t.Fatalf("prepare %s: %v", c.name, err)
					}
				}
				return picture(t, m)
			}
			before := start()
			if err := c.do(p); err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			after := picture(t, m)
			for n := 1; interrupt(t, m, c, n, errno, start, before, after); n++ {
			}
		}
	})
}

// interrupt makes the n-th call of c fail. It reports whether there was one.
func interrupt(t *testing.T, m *fstest.Mount, c change, n int, errno unix.Errno, start func() string, before, after string) bool {
	t.Helper()
	fresh(t, m)
	start()
	m.Fault(t, n, errno)
	err := c.do(func(name string) string { return filepath.Join(m.Dir, name) })
	hit := m.Fault(t, 0, 0)
	if errno == 0 && hit {
		m.Kill(t)
		if err := m.Start(); err != nil {
			t.Fatalf("%s, killed at call %d: start again: %v", c.name, n, err)
		}
	}
	for _, when := range []string{"", ", after a remount"} {
		if when != "" {
			if errno == 0 {
				break // the server has been another one since
			}
			m.Remount(t)
		}
		got := picture(t, m)
		if got != before && got != after || errno != 0 && err == nil && got != after {
			t.Errorf("%s, interrupted at call %d (returned %v)%s: neither as before nor as after:\n%s", c.name, n, err, when, difference(before, got))
			return false
		}
	}
	return hit
}

// difference is the lines that only one of two pictures has.
func difference(want, got string) string {
	var s []string
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for _, l := range w {
		if !slices.Contains(g, l) {
			s = append(s, "- "+l)
		}
	}
	for _, l := range g {
		if !slices.Contains(w, l) {
			s = append(s, "+ "+l)
		}
	}
	return strings.Join(s, "\n")
}

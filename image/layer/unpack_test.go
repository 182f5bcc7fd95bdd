package layer_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/image/layer"
	tt "tiffin/internal/test/tartest"
)

func mine(uint32) uint32  { return uint32(os.Getuid()) }
func mineG(uint32) uint32 { return uint32(os.Getgid()) }

// unpacked is an image with all kinds of files, in a directory, and how to compare the two.
func unpacked(t *testing.T) (dir string, u *layer.Upper) {
	t.Helper()
	x, flats := image(t, tt.Of(t,
		tt.Dir("."), tt.Dir("d", tt.Mode(0o1750), tt.Owner(7, 8), tt.Mtime(5, 6)), tt.File("d/f", strings.Repeat("data", 100_000), tt.Mode(0o4640), tt.Mtime(7, 8)),
		tt.Hardlink("d/g", "d/f"), tt.Dir("e"), tt.Hardlink("e/h", "d/f"), tt.Symlink("d/l", "../nowhere", tt.Mtime(9, 1)), tt.Fifo("d/p", tt.Mode(0o600)),
		tt.File("a", "attribute", tt.Xattr("user.note", "x"), tt.Xattr("user.overlay.opaque", "y"), tt.Xattr("trusted.overlay.opaque", "y")),
		tt.Sparse10("s", 1<<20, []tt.Piece{{Off: 300 << 10, Data: "middle"}}), tt.Char("null", 1, 3), tt.Char("zero", 0, 0), tt.Dir("empty")))
	dir = filepath.Join(t.TempDir(), "tree")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	var told []int64
	p := &layer.Unpacker{Index: x, Flats: flats, MapUID: mine, MapGID: mineG, Progress: func(n int64) { told = append(told, n) }}
	if err := p.Unpack(dir, 0); err != nil {
		t.Fatal(err)
	}
	if p.Devices != 2 || p.Attributes != 2 {
		t.Errorf("%d device nodes and %d attributes were left out, not 2 and 2", p.Devices, p.Attributes)
	}
	// Files with bytes are d/f, a and s; the order is that of names.
	if want := []int64{9, 9 + 400_000, 9 + 400_000 + 1<<20}; !slices.Equal(told, want) {
		t.Errorf("progress: %d, want %d", told, want)
	}
	return dir, &layer.Upper{Dir: dir, Lower: x, Flats: flats, Kernel: &layer.KernelUpper{MapUID: mine, MapGID: mineG, Whole: true}}
}

func changesOf(t *testing.T, u *layer.Upper) []string {
	t.Helper()
	list, err := layer.Changes(u)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, c := range list {
		out = append(out, string(c.Kind)+" "+c.Path)
	}
	return out
}

func TestUnpackedFilesAreAsInTheImage(t *testing.T) {
	dir, u := unpacked(t)
	if got := changesOf(t, u); len(got) > 0 {
		t.Errorf("nothing has changed, but %q", got)
	}
	var st [3]unix.Stat_t
	for i, name := range []string{"d/f", "d/g", "e/h"} {
		if err := unix.Lstat(filepath.Join(dir, name), &st[i]); err != nil {
			t.Fatal(err)
		}
	}
	if st[0].Ino != st[1].Ino || st[0].Ino != st[2].Ino || st[0].Nlink != 3 || st[0].Mode != unix.S_IFREG|0o4640 || st[0].Mtim != (unix.Timespec{Sec: 7, Nsec: 8}) {
		t.Errorf("the names of one file: %+v", st)
	}
	if err := unix.Lstat(filepath.Join(dir, "s"), &st[0]); err != nil || st[0].Size != 1<<20 || st[0].Blocks*512 > 100<<10 {
		t.Errorf("the sparse file has %d bytes and takes %d, %v", st[0].Size, st[0].Blocks*512, err)
	}
	if b, _ := os.ReadFile(filepath.Join(dir, "s")); string(b[300<<10:300<<10+6]) != "middle" {
		t.Error("the sparse file has its bytes elsewhere")
	}
	// What would mean something to overlayfs must not come out of an image.
	if _, err := unix.Getxattr(filepath.Join(dir, "a"), "user.overlay.opaque", nil); err != unix.ENODATA {
		t.Errorf("the mark of overlayfs: %v", err)
	}
	if b := make([]byte, 9); !errors.Is(firstErr(unix.Getxattr(filepath.Join(dir, "a"), "user.note", b)), nil) || b[0] != 'x' {
		t.Errorf("the attribute is %q", b)
	}
	if left, _ := filepath.Glob(dir + ".*"); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

func firstErr(_ int, err error) error { return err }

func TestChangesOfUnpackedFiles(t *testing.T) {
	keep := func(path string, f func() error) error { // … its times
		var st unix.Stat_t
		err := unix.Lstat(path, &st)
		return errors.Join(err, f(), unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{st.Atim, st.Mtim}, unix.AT_SYMLINK_NOFOLLOW))
	}
	for _, c := range []struct {
		what string
		do   func(dir string) error
		want string
	}{
		{"a byte, with the time set back", func(d string) error {
			return keep(d+"/a", func() error { return os.WriteFile(d+"/a", []byte("attributf"), 0) })
		}, "C /a"},
		{"the last byte of a large file", func(d string) error {
			return keep(d+"/d/f", func() error {
				f, err := os.OpenFile(d+"/d/f", os.O_WRONLY, 0)
				if err == nil {
					_, err = f.WriteAt([]byte("b"), 399_999)
					err = errors.Join(err, f.Close(), os.Chmod(d+"/d/f", 0o640|os.ModeSetuid))
				}
				return err
			})
		}, "C /d, C /d/f, C /d/g, C /e, C /e/h"},
		{"a time", func(d string) error { return os.Chtimes(d+"/d/p", time.Unix(1, 0), time.Unix(1, 0)) }, "C /d, C /d/p"},
		{"a mode", func(d string) error { return os.Chmod(d+"/empty", 0o700) }, "C /empty"},
		{"an attribute", func(d string) error { return unix.Removexattr(d+"/a", "user.note") }, "C /a"},
		{"a link's target", func(d string) error {
			return keep(d+"/d", func() error { return errors.Join(os.Remove(d+"/d/l"), os.Symlink("elsewhere", d+"/d/l")) })
		}, "C /d, C /d/l"},
		{"a name less", func(d string) error { return keep(d+"/d", func() error { return os.Remove(d + "/d/g") }) }, "C /d, D /d/g"},
		{"a name more", func(d string) error { return os.Link(d+"/d/f", d+"/new") }, "C /d, C /d/f, C /d/g, C /e, C /e/h, A /new"},
		{"a directory less", func(d string) error { return os.RemoveAll(d + "/e") }, "D /e"},
		{"another in its place", func(d string) error { return errors.Join(os.RemoveAll(d+"/e"), os.WriteFile(d+"/e", nil, 0o600)) }, "C /e"},
		{"a file that was a directory's", func(d string) error {
			return errors.Join(os.Remove(d+"/a"), os.MkdirAll(d+"/a/b", 0o755))
		}, "C /a, A /a/b"},
	} {
		t.Run(c.what, func(t *testing.T) {
			dir, u := unpacked(t)
			if err := c.do(dir); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(changesOf(t, u), ", "); got != c.want {
				t.Errorf("%s, not %s", got, c.want)
			}
			var b bytes.Buffer
			if err := layer.WriteDiff(&b, u); err != nil || len(tt.List(t, b.Bytes())) == 0 {
				t.Errorf("the layer has %d entries, %v", len(tt.List(t, b.Bytes())), err)
			}
		})
	}
}

// TestADeepTreeIsUnpacked: deeper than a path that a system call takes, with few descriptors.
func TestADeepTreeIsUnpacked(t *testing.T) {
	var files []tt.Entry
	path := ""
	for range 300 {
		path += strings.Repeat("x", 40) + "/"
		files = append(files, tt.Dir(strings.TrimSuffix(path, "/")))
	}
	x, flats := image(t, tt.Of(t, append(files, tt.File(path+"end", "y"))...))
	dir := filepath.Join(t.TempDir(), "tree")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := (&layer.Unpacker{Index: x, Flats: flats, MapUID: mine, MapGID: mineG}).Unpack(dir, 0); err != nil {
		t.Fatal(err)
	}
	if got := changesOf(t, &layer.Upper{Dir: dir, Lower: x, Flats: flats, Kernel: &layer.KernelUpper{MapUID: mine, MapGID: mineG, Whole: true}}); len(got) > 0 {
		t.Error(slices.Clip(got))
	}
	fds, _ := os.ReadDir("/proc/self/fd")
	if len(fds) > 50 {
		t.Errorf("%d descriptors are open", len(fds))
	}
}

func TestAPartIsUnpackedWhereLinksLead(t *testing.T) {
	x, flats := image(t, tt.Of(t, tt.Dir("."), tt.Dir("d", tt.Mode(0o2750)), tt.File("d/f", "text"), tt.Hardlink("g", "d/f"), tt.Dir("sub"),
		tt.Symlink("sub/l", "../../d"), tt.Symlink("abs", "/sub/l"), tt.Symlink("loop", "loop"), tt.Symlink("out", "/proc/self"), tt.Dir("proc")))
	for path, want := range map[string]string{
		"/abs": "/d", "abs/": "/d", "/sub/l/../sub": "/sub", "/../../d": "/d", "/": "/", "/abs/f": "/d/f",
		"/abs/new/x": "!/d/new/x", "/out": "!/proc/self", "/loop": "!/", "/g/x": "!/g/x",
	} {
		_, real, ok := x.Follow(path)
		if want, missing := strings.CutPrefix(want, "!"); real != want || ok == missing {
			t.Errorf("%s: %s %t", path, real, ok)
		}
	}
	top, _, _ := x.Follow("/abs")
	dir := t.TempDir()
	if err := (&layer.Unpacker{Index: x, Flats: flats, MapUID: mine, MapGID: mineG}).Unpack(dir, top); err != nil {
		t.Fatal(err)
	}
	names, _ := filepath.Glob(filepath.Join(dir, "*"))
	if text, err := os.ReadFile(filepath.Join(dir, "f")); string(text) != "text" || err != nil || len(names) != 1 {
		t.Errorf("%q %v %q", text, err, names)
	}
	if st, err := os.Stat(dir); err != nil || st.Mode() != os.ModeDir|os.ModeSetgid|0o750 {
		t.Error(st.Mode(), err)
	}
}

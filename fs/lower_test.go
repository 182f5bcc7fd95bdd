package fs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"tiffin/internal/test/fstest"
	"tiffin/internal/test/tartest"
)

// The read-only file system as the lower side of the kernel's overlayfs: `tiffin run --driver
// overlay`.

// overOverlay mounts an overlay over the read-only file system of the layers, and calls f in it.
func overOverlay(t *testing.T, layer []byte, f func(c *caller)) {
	t.Helper()
	fstest.Run(t, fstest.Options{Layers: [][]byte{layer}, ReadOnly: true}, func(t *testing.T, m *fstest.Mount) {
		c := &caller{t: t, m: m, dir: t.TempDir()}
		c.ok(unix.Mount("tmpfs", c.dir, "tmpfs", 0, "")) // not on disk: what overlayfs leaves there is hard to remove
		defer unix.Unmount(c.dir, unix.MNT_DETACH)
		data := "userxattr,lowerdir=" + m.Dir
		for _, d := range []string{"upper", "work", "merged"} {
			c.ok(os.Mkdir(c.path(d), 0o755))
		}
		data += ",upperdir=" + c.path("upper") + ",workdir=" + c.path("work")
		c.dir = c.path("merged")
		c.ok(unix.Mount("overlay", c.dir, "overlay", 0, data))
		defer unix.Unmount(c.dir, unix.MNT_DETACH)
		f(c)
	})
}

func manyFiles(t *testing.T, extra ...tartest.Entry) []byte {
	t.Helper()
	entries := append([]tartest.Entry{tartest.Dir("d")}, extra...)
	for i := range 50 {
		entries = append(entries, tartest.File(fmt.Sprintf("d/%d", i), "x"))
	}
	return tartest.Of(t, entries...)
}

// statAll is what a cold find with stat costs.
func (c *caller) statAll() string {
	return counts(c.m.Requests(func() {
		c.list("d")
		for i := range 50 {
			c.stat(filepath.Join("d", fmt.Sprint(i)))
		}
	}))
}

// TestOverlayDoesNotAskEachFileForMarks: of an image without attributes it asks once, when it is
// mounted.
func TestOverlayDoesNotAskEachFileForMarks(t *testing.T) {
	const (
		want  = "GETATTR 1, GETXATTR %d, LOOKUP 2, OPENDIR 1, READDIR 2, READDIRPLUS 1"
		once  = 1  // answered ENOSYS
		every = 51 // the directory and each file
	)
	overOverlay(t, manyFiles(t), func(c *caller) {
		if got := c.statAll(); got != fmt.Sprintf(want, once) {
			c.t.Errorf("50 files cost %s", got)
		}
	})
	overOverlay(t, manyFiles(t, tartest.File("mark", "", tartest.Xattr("user.overlay.whiteout", "y"))), func(c *caller) {
		if got := c.statAll(); got != fmt.Sprintf(want, once) {
			c.t.Errorf("50 files beside a mark cost %s", got)
		}
	})
	overOverlay(t, manyFiles(t, tartest.File("other", "", tartest.Xattr("user.mine", "1"))), func(c *caller) {
		if got := c.statAll(); got != fmt.Sprintf(want, every) {
			c.t.Errorf("50 files beside an attribute cost %s", got)
		}
		value := make([]byte, 8)
		if n, err := unix.Lgetxattr(c.path("other"), "user.mine", value); err != nil || string(value[:n]) != "1" {
			c.t.Errorf("user.mine is %q, %v", value[:max(n, 0)], err)
		}
	})
}

// TestMarksOfOverlayInAnImageMeanNothing: an image cannot have overlayfs take its files for
// something else than they are. Shown as they are, the first would be refused, and the third one
// be gone.
func TestMarksOfOverlayInAnImageMeanNothing(t *testing.T) {
	layer := manyFiles(t,
		tartest.File("copy", "content", tartest.Xattr("user.overlay.metacopy", "")),
		tartest.Dir("dir", tartest.Xattr("user.overlay.opaque", "x"), tartest.Xattr("user.mine", "1")),
		tartest.File("dir/file", "", tartest.Xattr("user.overlay.whiteout", "y")))
	overOverlay(t, layer, func(c *caller) {
		if b, err := os.ReadFile(c.path("copy")); string(b) != "content" {
			c.t.Errorf("copy: %q, %v", b, err)
		}
		if _, err := os.Lstat(c.path("dir/file")); err != nil {
			c.t.Error(err)
		}
		names := make([]byte, 256)
		n, err := unix.Llistxattr(c.path("dir"), names)
		if err != nil || string(names[:n]) != "user.mine\x00" {
			c.t.Errorf("attributes of dir: %q, %v", names[:max(n, 0)], err)
		}
	})
}

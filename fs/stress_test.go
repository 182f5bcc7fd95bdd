package fs_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/internal/test/fstest"
	"tiffin/internal/test/tartest"
)

// TestTreeSurvivesManyUsersAndDroppedCaches lets sixteen users change the same
// directories while the kernel keeps forgetting what it knows, and wants the
// tree to be the same before and after a remount. What each call returns
// depends on the others; nothing but the errors of a lost race may come.
func TestTreeSurvivesManyUsersAndDroppedCaches(t *testing.T) {
	var es []tartest.Entry
	for d := range 4 {
		es = append(es, tartest.Dir(fmt.Sprintf("d%d", d)))
		for n := range 12 {
			es = append(es, tartest.File(fmt.Sprintf("d%d/n%d", d, n), strings.Repeat("lower ", 2000)))
		}
		es = append(es, tartest.Hardlink(fmt.Sprintf("d%d/link", d), "d0/n0"), tartest.Dir(fmt.Sprintf("d%d/sub", d)),
			tartest.File(fmt.Sprintf("d%d/sub/n1", d), "deep"))
	}
	o := fstest.Options{Layers: [][]byte{tartest.Of(t, es...)}, DropCaches: 100 * time.Millisecond}
	fstest.Run(t, o, func(t *testing.T, m *fstest.Mount) {
		var wg sync.WaitGroup
		for user := range 16 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				r := rand.New(rand.NewPCG(uint64(user), 1))
				for range 1000 {
					if err := stressOp(m.Dir, r); err != nil && !lostRace(err) {
						t.Errorf("user %d: %v", user, err)
						return
					}
				}
			}()
		}
		wg.Wait()
		before, err := fstest.ReadTree(m.Dir, fstest.Look{})
		if err != nil {
			t.Fatal(err)
		}
		m.Remount(t)
		after, err := fstest.ReadTree(m.Dir, fstest.Look{})
		if err != nil {
			t.Fatal(err)
		}
		for _, bad := range append(m.Fsck(true), wrongContents(m.Dir)...) {
			t.Error(bad)
		}
		for p, line := range before {
			if after[p] != line {
				t.Errorf("%s was %s, is %s after a remount", p, line, after[p])
			}
		}
		for p := range after {
			if before[p] == "" {
				t.Errorf("%s has come from nowhere", p)
			}
		}
	})
}

// lostRace reports whether err is one of those that come when another process was faster.
func lostRace(err error) bool {
	for _, e := range []error{unix.ENOENT, unix.EEXIST, unix.ENOTEMPTY, unix.ENOTDIR, unix.EISDIR, unix.EINVAL, unix.ESTALE, unix.EPERM} {
		if strings.Contains(err.Error(), e.Error()) {
			return true
		}
	}
	return false
}

func stressOp(root string, r *rand.Rand) error {
	dir := func() string {
		return filepath.Join(root, []string{"d0", "d1", "d2", "d3", "d0/sub", "d1/sub", "d2/s", "."}[r.IntN(8)])
	}
	name := func() string {
		return filepath.Join(dir(), []string{"n0", "n1", "n2", "n3", "n4", "link", "s", "sub"}[r.IntN(8)])
	}
	a, b := name(), name()
	switch r.IntN(14) {
	case 0, 1:
		return write(a, strings.Repeat("x", r.IntN(20000)), os.O_CREATE|[]int{os.O_APPEND, os.O_TRUNC}[r.IntN(2)])
	case 2:
		return unix.Unlink(a)
	case 3:
		return unix.Mkdir(a, 0o755)
	case 4:
		return unix.Rmdir(a)
	case 5, 6:
		return unix.Rename(a, b)
	case 7:
		return unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
	case 8:
		return unix.Link(a, b)
	case 9:
		return unix.Chmod(a, []uint32{0o700, 0o755, 0o777}[r.IntN(3)])
	case 10:
		return unix.Symlink("nowhere", a)
	case 11:
		return readAll(a)
	case 12:
		names, err := os.ReadDir(dir())
		if err == nil && !slices.IsSortedFunc(names, func(a, b os.DirEntry) int { return strings.Compare(a.Name(), b.Name()) }) {
			return fmt.Errorf("os.ReadDir does not sort")
		}
		return err
	}
	return unix.Setxattr(a, "user.stress", []byte("v"), 0)
}

// readAll reads a file that others may be truncating. The kernel asks the
// server to truncate before it knows the new size itself, so a READ that comes
// between the two finds less than the kernel believes to be there and shows
// zeros for the rest (fs/fuse: fuse_short_read). They are gone at once.
func readAll(p string) error {
	b, err := os.ReadFile(p)
	if b = bytes.ReplaceAll(b, []byte{0}, nil); err == nil && !rightContent(b) {
		return fmt.Errorf("%s has wrong content: %.20q", p, b)
	}
	return err
}

func rightContent(b []byte) bool {
	s := string(b)
	return strings.Trim(s, "x") == "" || strings.HasPrefix(s, "lower ") || strings.HasPrefix(s, "deep")
}

// wrongContents lists the files in which nobody can have written what is there.
func wrongContents(root string) (wrong []string) {
	filepath.WalkDir(root, func(p string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		if b, err := os.ReadFile(p); err != nil || !rightContent(b) {
			wrong = append(wrong, fmt.Sprintf("%s has wrong content: %.20q, %v", p, b, err))
		}
		return nil
	})
	return wrong
}

// The image's files as files on disk, for a container that does without FUSE: unpacked once for all
// that have the kernel's overlayfs over them, or once for a container that has them for its own.
//
//	ROOT/trees/CHAIN-IDS/       a wall; CHAIN names the image's union, IDS the id maps
//	    root/                   the files, complete
//	    new/                    the files, while they are unpacked
//	containers/ID/overlay/      the wall of a container with disk.DriverCopy
//	    upper/                  all its files
//	    unpacked                they are all there
//
// The first is locked by flock(2), shared by all supervisors that use it, alone by the one that
// fills or removes it. It is derived, as unions/ is, and removed when the union of that name is
// gone.

package supervisor

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/image/layer"
	"tiffin/internal/container/control"
	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
	"tiffin/internal/treecopy"
	"tiffin/ns"
)

// unpacked finds out whether the container needs the image's files on disk. When it returns they
// are there: s.tree.
func (s *supervisor) unpacked() (err error) {
	if !s.c.Walled() || slices.Contains(s.c.Without, "mount") {
		return nil
	}
	if s.c.Driver == disk.DriverOverlay && ns.ProbeFUSE() == nil {
		return nil // tiffin's own file system is the lower side
	}
	if s.req.Trace != nil {
		return errs.Hint(fmt.Errorf("trace container %s: its files are unpacked, and no file system of tiffin's is asked for them", s.c.Name),
			"run the image with --driver fuse to see what it is asked for; `tiffin doctor` says whether this machine has /dev/fuse")
	}
	if s.c.Driver == disk.DriverCopy {
		s.tree = s.c.UpperDir()
		return s.fillOwn()
	}
	index, err := layer.OpenIndex(s.req.Union)
	if err != nil {
		return err
	}
	if s.tree, err = s.shared(); err != nil {
		return err
	}
	return prepareUpper(s.c.UpperDir(), index, s.ids)
}

// shared returns the directory that the image is unpacked to, which stays as long as this process.
func (s *supervisor) shared() (string, error) {
	trees := filepath.Join(filepath.Dir(filepath.Dir(s.c.Dir())), "trees")
	if err := os.Mkdir(trees, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return "", fmt.Errorf("unpack the image: %w", err)
	}
	maps, err := json.Marshal(s.ids)
	if err != nil {
		return "", err
	}
	wall := filepath.Join(trees, fmt.Sprintf("%s-%.8x", filepath.Base(s.req.Union), sha256.Sum256(maps)))
	stands, err := shutOut(wall, s.ids)
	if err == nil && !stands {
		err = s.closed(trees)
	}
	if err != nil {
		return "", err
	}
	lock, err := os.Open(wall)
	if err != nil {
		return "", fmt.Errorf("unpack the image: %w", err)
	}
	s.treeLock = lock
	root, fresh := filepath.Join(wall, "root"), filepath.Join(wall, "new")
	there, err := shareOrFill(lock, root)
	if err != nil || there {
		return root, err
	}
	if err := s.unpack(fresh, ""); err != nil {
		return "", err
	}
	// After a power cut, what is called root has all its bytes: rename(2) alone promises nothing.
	if err := unix.Syncfs(int(lock.Fd())); err != nil {
		return "", os.NewSyscallError("syncfs", err)
	}
	if err := os.Rename(fresh, root); err != nil {
		return "", err
	}
	return root, flock(lock, unix.LOCK_SH)
}

// shareOrFill locks the wall: shared if root is there, else alone, for whoever fills it. It waits
// to share the lock, and never to have it alone: if two find nothing at the same time, whoever is
// late would wait until the containers of the first have ended.
func shareOrFill(lock *os.File, root string) (there bool, err error) {
	for {
		alone := flock(lock, unix.LOCK_EX|unix.LOCK_NB)
		if alone != nil && !errors.Is(alone, unix.EWOULDBLOCK) {
			return false, alone
		}
		if alone != nil {
			if err := flock(lock, unix.LOCK_SH); err != nil {
				return false, err
			}
		}
		if _, err := os.Lstat(root); err == nil {
			return true, flock(lock, unix.LOCK_SH)
		} else if !errors.Is(err, os.ErrNotExist) {
			return false, err
		}
		if alone == nil {
			return false, nil
		}
		// Who filled it has given up, or has not begun.
		if err := flock(lock, unix.LOCK_UN); err != nil {
			return false, err
		}
		time.Sleep(time.Duration(1+rand.IntN(20)) * time.Millisecond)
	}
}

func flock(f *os.File, how int) error {
	for {
		if err := unix.Flock(int(f.Fd()), how); err != unix.EINTR {
			return os.NewSyscallError("flock", err)
		}
	}
}

// fillOwn unpacks the image to the container's own directory, if that was not done before.
func (s *supervisor) fillOwn() error {
	wall := s.c.Wall()
	if unpackedBefore(wall) {
		return nil
	}
	from := ""
	if canClone(wall) {
		var err error
		if from, err = s.shared(); err != nil {
			return err
		}
		defer s.treeLock.Close()
	}
	if err := s.unpack(s.tree, from); err != nil {
		return err
	}
	if !s.c.AutoRemove {
		dir, err := os.Open(wall)
		if err != nil {
			return err
		}
		defer dir.Close()
		if err := unix.Syncfs(int(dir.Fd())); err != nil {
			return os.NewSyscallError("syncfs", err)
		}
	}
	return os.WriteFile(filepath.Join(wall, "unpacked"), nil, 0o600)
}

func unpackedBefore(wall string) bool {
	_, err := os.Lstat(filepath.Join(wall, "unpacked"))
	return err == nil
}

// canClone tells whether files in a directory can share blocks: it makes two that do.
func canClone(dir string) bool {
	a, err := os.CreateTemp(dir, "clone-")
	if err != nil {
		return false
	}
	defer os.Remove(a.Name())
	defer a.Close()
	b, err := os.CreateTemp(dir, "clone-")
	if err != nil {
		return false
	}
	defer os.Remove(b.Name())
	defer b.Close()
	_, err = a.Write(make([]byte, 4096))
	return err == nil && unix.IoctlFileClone(int(b.Fd()), int(a.Fd())) == nil
}

// unpack fills dir with the image's files: from another such directory, or from the layers.
func (s *supervisor) unpack(dir, from string) error {
	err := s.unpackPart(dir, from, 0)
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		err = errs.Hint(err, "unpacked, an image takes its whole size on disk, once, or with --driver copy for each container; --driver fuse unpacks nothing")
	}
	if err != nil {
		return errs.Hint(fmt.Errorf("unpack the image of container %s: %w", s.c.Name, err), errs.HintOf(err))
	}
	return nil
}

// unpackPart fills dir, which is made anew, with what is in a directory of the image.
func (s *supervisor) unpackPart(dir, from string, top uint32) error {
	for _, old := range []string{dir, dir + ".links"} {
		if err := treecopy.Remove(old); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	index, err := layer.OpenIndex(s.req.Union)
	if err != nil {
		return err
	}
	u := layer.Unpacker{Index: index, MapUID: s.ids.MapUID, MapGID: s.ids.MapGID, From: from}
	if top == 0 {
		u.Progress = s.tellUnpacked(index)
	}
	flats, err := layer.OpenFlats(s.req.Flats, s.req.Blocks)
	if err != nil {
		return err
	}
	for _, f := range flats {
		defer f.Close()
		u.Flats = append(u.Flats, f)
	}
	if err := u.Unpack(dir, top); err != nil {
		_ = treecopy.Remove(dir) // a full disk is of no use to anybody
		return err
	}
	if u.Devices > 0 {
		s.notes = append(s.notes, ns.Note{What: fmt.Sprintf("%d device nodes of the image", u.Devices), Why: "only the real root can make them on a disk, mknod(2)"})
	}
	if u.Attributes > 0 {
		s.notes = append(s.notes, ns.Note{What: fmt.Sprintf("%d extended attributes of the image", u.Attributes), Why: "the file system does not take them from you, xattr(7)"})
	}
	return nil
}

// tellUnpacked tells the client that the unpacking begins, and returns what tells it how far it is,
// some times a second.
func (s *supervisor) tellUnpacked(index *layer.Index) func(bytes int64) {
	var all int64
	for i := range index.Len() {
		if in := index.Inode(uint32(i)); in.Mode&unix.S_IFMT == unix.S_IFREG {
			all += in.Size
		}
	}
	tell := func(bytes int64) {
		_ = s.first.Send(&control.Message{Op: control.AnsUnpacking, Unpacked: bytes, Unpacking: all}) // nobody may be there any more
	}
	tell(0)
	last := time.Now()
	return func(bytes int64) {
		if now := time.Now(); now.Sub(last) > 100*time.Millisecond {
			last = now
			tell(bytes)
		}
	}
}

// untouched answers op for a container that has never run, and so has changed nothing.
func untouched(op string, w io.Writer) error {
	if op == control.OpDiff {
		return json.NewEncoder(w).Encode([]layer.Change{})
	}
	return tar.NewWriter(w).Close()
}

// eraseTree removes a directory, unless a supervisor uses it or another removes it, and writes to w
// how many bytes of the disk it took.
func eraseTree(dir string, w io.Writer) error {
	f, err := os.Open(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil // another was faster
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == unix.EWOULDBLOCK {
		return nil
	}
	// Between the two calls another may have removed it, and a supervisor may have made it anew,
	// whose lock is that of another file.
	if mine, e := f.Stat(); e != nil {
		return e
	} else if now, e := os.Lstat(dir); errors.Is(e, os.ErrNotExist) || e == nil && !os.SameFile(mine, now) {
		return nil
	}
	taken := usage(dir)
	// First it loses the name that says that it is complete: removing may fail, or be cut short.
	fresh := filepath.Join(dir, "new")
	if err := treecopy.Remove(fresh); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(dir, "root"), fresh); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := treecopy.Remove(dir); err != nil {
		return err
	}
	_, err = fmt.Fprint(w, taken)
	return err
}

// usage adds up the blocks of all files in dir, of each once: inode(7), st_blocks.
func usage(dir string) (bytes int64) {
	linked := map[uint64]bool{}
	_ = filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		var st unix.Stat_t
		if err != nil || unix.Lstat(path, &st) != nil || st.Nlink > 1 && linked[st.Ino] {
			return nil
		}
		linked[st.Ino] = true
		bytes += st.Blocks * 512
		return nil
	})
	return bytes
}

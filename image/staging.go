package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"tiffin/image/oci"
)

// staging is where one command prepares what it will add to the store: a
// directory tmp/XXXX with the same layout as the store itself. Nothing outside
// it changes before publish, so a command that fails or is killed has changed
// nothing. The command holds a flock(2) on the directory; one whose lock is
// free belongs to nobody any more, and sweep removes it.
//
// What the command finds in the store already and relies on, it links into the
// staging directory as well (keep), so that an rmi in between cannot take it.
type staging struct {
	s    *disk
	dir  string
	held *os.File
}

// stage makes a staging directory.
func (s *disk) stage() (*staging, error) {
	if s.readOnly {
		return nil, fmt.Errorf("%s: %w", s.root, ErrReadOnly)
	}
	// Between mkdir and flock the new directory looks abandoned: the lock of
	// tmp/ itself keeps sweep out.
	tmp, err := lockDir(s.path("tmp"), unix.LOCK_SH)
	if err != nil {
		return nil, fmt.Errorf("prepare the store: %w", err)
	}
	defer tmp.Close()
	st := &staging{s: s}
	if st.dir, err = os.MkdirTemp(tmp.Name(), "add-"); err != nil {
		return nil, diskError(fmt.Errorf("prepare the store: %w", err))
	}
	if st.held, err = lockDir(st.dir, unix.LOCK_EX); err == nil {
		for _, d := range []string{"blobs", "layers", "unions"} {
			err = errors.Join(err, os.Mkdir(st.path(d), 0o700))
		}
	}
	if err != nil {
		st.close()
		return nil, diskError(fmt.Errorf("prepare the store: %w", err))
	}
	return st, nil
}

// lockDir opens a directory and takes its lock.
func lockDir(dir string, how int) (*os.File, error) {
	f, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), how)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, &fs.PathError{Op: "lock", Path: dir, Err: err}
		}
	}
}

// close removes what has not been published.
func (st *staging) close() {
	os.RemoveAll(st.dir)
	if st.held != nil {
		st.held.Close()
	}
}

// sweep removes the staging directories of commands that are gone, and reports
// whether one of them may have left blobs that no image has. It costs one
// readdir(2) when there are none.
func (s *disk) sweep() (orphans bool) {
	names, err := os.ReadDir(s.path("tmp"))
	if err != nil || len(names) == 0 || s.readOnly {
		return false
	}
	tmp, err := lockDir(s.path("tmp"), unix.LOCK_EX|unix.LOCK_NB)
	if err != nil {
		return false // someone is just making a staging directory: next time
	}
	defer tmp.Close()
	for _, n := range names {
		dir := filepath.Join(tmp.Name(), n.Name())
		if !n.IsDir() {
			os.Remove(dir)
			continue
		}
		if f, err := lockDir(dir, unix.LOCK_EX|unix.LOCK_NB); err == nil {
			if _, err := os.Stat(filepath.Join(dir, publishingName)); err == nil {
				orphans = true
			}
			os.RemoveAll(dir)
			f.Close()
		}
	}
	return orphans
}

// publishingName is a file in a staging directory whose command has begun to
// move files into the store: killed then, it may have left blobs there that
// no image has.
const publishingName = "publishing"

func (st *staging) path(elem ...string) string {
	return filepath.Join(append([]string{st.dir}, elem...)...)
}

func (st *staging) blobPath(d digest.Digest) string { return st.path("blobs", d.Encoded()) }

// layerFile names a derived file of a layer, and makes its directory.
func (st *staging) layerFile(diffID digest.Digest, name string) (string, error) {
	dir := st.path("layers", diffID.Encoded())
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", diskError(err)
	}
	return filepath.Join(dir, name), nil
}

// putBlob stages a small blob and returns its digest.
func (st *staging) putBlob(b []byte) (digest.Digest, error) {
	d := digest.FromBytes(b)
	return d, writeFile(st.blobPath(d), b, true)
}

// publish moves everything staged into the store, then lets update change the
// index. The order is what makes it safe against a power cut: blobs are on the
// disk (their writers have synced them), then their names, then the index that
// refers to them, then its name. Derived files need no order: they are checked
// when they are used. It holds the store's lock exclusively, for milliseconds.
// After an error the index is as it was, and blobs may be in the store that no image has.
func (st *staging) publish(update func(*refIndex) error) error {
	ix, release, err := st.s.lockIndex()
	if err != nil {
		return err
	}
	defer release()
	if err := writeFile(st.path(publishingName), nil, false); err != nil {
		return fmt.Errorf("add to the store: %w", err)
	}
	err = st.moveAll()
	if err == nil && update == nil {
		return nil
	}
	if err == nil {
		if err = update(ix); err == nil {
			err = st.s.writeIndex(ix)
		}
	}
	if err != nil {
		return diskError(fmt.Errorf("add to the store: %w", err))
	}
	return nil
}

// moveAll renames the staged files over those of the store: where both exist
// they have the same content, unless the store's was damaged. Somebody may have
// removed the directories of derived files whole, which is allowed.
func (st *staging) moveAll() error {
	file, dir := st.s.modes()
	for _, d := range []string{"layers", "unions"} {
		if err := makeDir(st.s.path(d), dir); err != nil {
			return err
		}
	}
	if err := moveFiles(st.path("blobs"), st.s.path("blobs", "sha256"), file); err != nil {
		return err
	}
	if err := syncDir(st.s.path("blobs", "sha256")); err != nil {
		return err
	}
	layers, err := os.ReadDir(st.path("layers"))
	if err != nil {
		return err
	}
	for _, l := range layers {
		dst := st.s.path("layers", l.Name())
		if err := makeDir(dst, dir); err != nil {
			return err
		}
		if err := moveFiles(st.path("layers", l.Name()), dst, file); err != nil {
			return err
		}
	}
	return moveFiles(st.path("unions"), st.s.path("unions"), file)
}

// modes are those of files and directories of the store: others may read them
// if they may read the store's own directory, which TIFFIN_IMAGE_PATH needs.
func (s *disk) modes() (file, dir fs.FileMode) {
	st, err := os.Stat(s.root)
	if err != nil {
		return 0o600, 0o700
	}
	return 0o600 | st.Mode()&0o044, 0o700 | st.Mode()&0o055
}

// pin links the files of a layer that is in the store into the staging
// directory: nobody can take them away before publish. On a file system without
// hard links there is nothing to hold them by, and publish may find them gone.
func (st *staging) pin(l oci.Layer) error {
	pairs := [][2]string{{st.s.blobPath(l.Digest), st.blobPath(l.Digest)}}
	// The mark first: without it flat.tar is taken for written.
	for _, name := range []string{unsyncedName, flatName, indexName} {
		staged, err := st.layerFile(l.DiffID, name)
		if err != nil {
			return err
		}
		pairs = append(pairs, [2]string{filepath.Join(st.s.layerDir(l.DiffID), name), staged})
	}
	for i, p := range pairs {
		err := os.Link(p[0], p[1])
		if i == 0 && errors.Is(err, fs.ErrNotExist) {
			return oci.Damaged(l.Digest, "is missing")
		}
	}
	return nil
}

// pinned reports whether pin got hold of all files of a layer: another command
// may have removed some between a look at them and pin.
func (st *staging) pinned(l oci.Layer) bool {
	dir := st.path("layers", l.DiffID.Encoded())
	for _, name := range []string{st.blobPath(l.Digest), filepath.Join(dir, flatName), filepath.Join(dir, indexName)} {
		if _, err := os.Stat(name); err != nil {
			return false
		}
	}
	return true
}

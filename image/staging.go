package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"tiffin/internal/errs"
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
	s    *Store
	dir  string
	held *os.File
	// superseded are manifests that publish takes out of the index.
	superseded []ocispec.Descriptor
}

// stage makes a staging directory.
func (s *Store) stage() (*staging, error) {
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

// sweep removes the staging directories of commands that are gone. It costs
// one readdir(2) when there are none.
func (s *Store) sweep() {
	names, err := os.ReadDir(s.path("tmp"))
	if err != nil || len(names) == 0 {
		return
	}
	tmp, err := lockDir(s.path("tmp"), unix.LOCK_EX|unix.LOCK_NB)
	if err != nil {
		return // someone is just making a staging directory: next time
	}
	defer tmp.Close()
	orphans := false
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
	if orphans {
		s.collectOrphans()
	}
}

// publishingName is a file in a staging directory whose command has begun to
// move files into the store: killed then, it may have left blobs there that
// no image has.
const publishingName = "publishing"

// collectOrphans deletes what no image has. Errors are left to prune.
func (s *Store) collectOrphans() {
	if ix, release, err := s.lockIndex(); err == nil {
		defer release()
		s.collect(ix, nil)
	}
}

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

// writeFile writes a file in one go; with durable its bytes are on the disk
// when it returns.
func writeFile(path string, b []byte, durable bool) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return diskError(err)
	}
	if _, err = f.Write(b); err == nil && durable {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		os.Remove(path)
		return diskError(err)
	}
	return nil
}

// publish moves everything staged into the store, then lets update change the
// index. The order is what makes it safe against a power cut: blobs are on the
// disk (their writers have synced them), then their names, then the index that
// refers to them, then its name. Derived files need no order: they are checked
// when they are used. It holds the store's lock exclusively, for milliseconds.
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
		// What has been moved has no image now. The index on disk is still the
		// old one.
		if ix, rerr := st.s.readIndex(); rerr == nil {
			st.s.collect(ix, nil)
		}
		return diskError(fmt.Errorf("add to the store: %w", err))
	}
	if len(st.superseded) > 0 {
		st.s.collectOf(ix, st.superseded)
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
func (s *Store) modes() (file, dir fs.FileMode) {
	st, err := os.Stat(s.root)
	if err != nil {
		return 0o600, 0o700
	}
	return 0o600 | st.Mode()&0o044, 0o700 | st.Mode()&0o055
}

// makeDir makes a directory with that mode, whatever the umask is, unless there
// is one.
func makeDir(path string, mode fs.FileMode) error {
	err := os.Mkdir(path, 0o700)
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil
	case err == nil && mode != 0o700:
		err = os.Chmod(path, mode)
	}
	return err
}

// moveFiles renames in an order that puts flat.tar last but for its marker:
// see unsyncedName.
func moveFiles(from, to string, mode fs.FileMode) error {
	names, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	// Names sort as flat.tar, index, unsynced: the marker has to be there
	// before the file that it warns of.
	for i := len(names) - 1; i >= 0; i-- {
		n := names[i].Name()
		if mode != 0o600 {
			if err := os.Chmod(filepath.Join(from, n), mode); err != nil {
				return err
			}
		}
		if err := os.Rename(filepath.Join(from, n), filepath.Join(to, n)); err != nil {
			return err
		}
	}
	return nil
}

// syncDir makes the names in a directory durable. fsync(2), NOTES: "Calling
// fsync() does not necessarily ensure that the entry in the directory
// containing the file has also reached disk."
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !errors.Is(err, unix.EINVAL) {
		return err // EINVAL: a file system that has no such thing
	}
	return nil
}

// noSpace reports whether the disk is full, or this user's share of it.
func noSpace(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

// diskError adds what to do when the disk is full.
func diskError(err error) error {
	if noSpace(err) {
		return errs.Hint(err, "free some space (tiffin prune -a deletes images that no container uses), or set TIFFIN_ROOT to a larger disk")
	}
	return err
}

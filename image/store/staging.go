// Staging directories: where a command prepares what it adds, and how that is published.

package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"tiffin/image/oci"
	"tiffin/internal/treecopy"
)

// Staging is where one command prepares what it will add to the store: a
// directory tmp/XXXX with the same layout as the store itself. Nothing outside
// it changes before Publish, so a command that fails or is killed has changed
// nothing. The command holds a flock(2) on the directory; if the lock is free,
// the command is gone, and Sweep removes the directory.
//
// What the command finds in the store already and relies on, it links into the
// staging directory as well (Pin), so that an rmi in between cannot take it.
type Staging struct {
	s    *Store
	Dir  string
	held *os.File
}

// Stage makes a staging directory.
func (s *Store) Stage() (*Staging, error) {
	if s.readOnly {
		return nil, s.refuse()
	}
	// Between mkdir and flock the new directory looks abandoned: the lock of
	// tmp/ itself keeps Sweep out.
	tmp, err := lockDir(s.Path("tmp"), unix.LOCK_SH)
	if err != nil {
		return nil, fmt.Errorf("prepare the store: %w", err)
	}
	defer tmp.Close()
	st := &Staging{s: s}
	if st.Dir, err = os.MkdirTemp(tmp.Name(), "add-"); err != nil {
		return nil, DiskError(fmt.Errorf("prepare the store: %w", err))
	}
	if st.held, err = lockDir(st.Dir, unix.LOCK_EX); err == nil {
		for _, d := range []string{"blobs", "layers", "unions"} {
			err = errors.Join(err, os.Mkdir(st.Path(d), 0o700))
		}
	}
	if err != nil {
		st.Close()
		return nil, DiskError(fmt.Errorf("prepare the store: %w", err))
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
			return nil, noLocks(&fs.PathError{Op: "lock", Path: dir, Err: err})
		}
	}
}

// LockDerived waits until no other command makes derived files again that were missing or damaged:
// of many that begin at once on an image that nobody has prepared, one does the work, and the
// others find it done. The lock is never asked for by who holds that of the index.
func (s *Store) LockDerived() (release func(), err error) {
	if s.readOnly {
		return nil, s.refuse()
	}
	f, err := lockDir(s.Path("blobs"), unix.LOCK_EX)
	if err != nil {
		return nil, fmt.Errorf("prepare the store: %w", err)
	}
	return func() { f.Close() }, nil
}

// Close removes what has not been published.
func (st *Staging) Close() {
	os.RemoveAll(st.Dir)
	if st.held != nil {
		st.held.Close()
	}
}

// Sweep removes the staging directories of commands that are gone, and reports
// whether one of them may have left blobs that no image has. It costs one
// readdir(2) when there are none.
func (s *Store) Sweep() (orphans bool) {
	names, err := os.ReadDir(s.Path("tmp"))
	if err != nil || len(names) == 0 || s.readOnly {
		return false
	}
	tmp, err := lockDir(s.Path("tmp"), unix.LOCK_EX|unix.LOCK_NB)
	if err != nil {
		return false // someone is just making a staging directory: next time
	}
	defer tmp.Close()
	shared := isShared(tmp)
	for _, n := range names {
		dir := filepath.Join(tmp.Name(), n.Name())
		if info, err := n.Info(); shared && (err != nil || time.Since(info.ModTime()) < 24*time.Hour) {
			continue
		}
		if !n.IsDir() {
			os.Remove(dir)
			continue
		}
		if f, err := lockDir(dir, unix.LOCK_EX|unix.LOCK_NB); err == nil {
			if _, err := os.Stat(filepath.Join(dir, publishingName)); err == nil {
				orphans = true
			}
			treecopy.Remove(dir)
			f.Close()
		}
	}
	return orphans
}

// isShared tells whether other machines may use the disk of f, and do not see locks of directories:
// flock(2), NOTES.
func isShared(f *os.File) bool {
	var st unix.Statfs_t
	if unix.Fstatfs(int(f.Fd()), &st) != nil {
		return false
	}
	t := uint32(st.Type)
	return t == unix.NFS_SUPER_MAGIC || t == unix.CIFS_SUPER_MAGIC || t == unix.SMB2_SUPER_MAGIC
}

// publishingName is a file in a staging directory whose command has begun to
// move files into the store: killed then, it may have left blobs there that
// no image has.
const publishingName = "publishing"

func (st *Staging) Path(elem ...string) string {
	return filepath.Join(append([]string{st.Dir}, elem...)...)
}

// Disk is how many bytes of the disk the directory fills.
func (st *Staging) Disk() (bytes int64) {
	counted := map[uint64]bool{}
	// What is moved meanwhile is not counted; the next time it is.
	_ = filepath.WalkDir(st.Dir, func(path string, _ fs.DirEntry, err error) error {
		var stat unix.Stat_t
		if err == nil && unix.Lstat(path, &stat) == nil && !counted[stat.Ino] {
			counted[stat.Ino] = true
			bytes += stat.Blocks * 512 // inode(7): the unit of st_blocks
		}
		return nil
	})
	return bytes
}

func (st *Staging) BlobPath(d digest.Digest) string { return st.Path("blobs", d.Encoded()) }

// LayerFile names a derived file of a layer, and makes its directory.
func (st *Staging) LayerFile(diffID digest.Digest, name string) (string, error) {
	dir := st.Path("layers", diffID.Encoded())
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", DiskError(err)
	}
	return filepath.Join(dir, name), nil
}

// NoteInflates stages a note that the blob of a layer inflates to its diff ID.
func (st *Staging) NoteInflates(l oci.Layer) error {
	name, err := st.LayerFile(l.DiffID, pairName(l.Digest))
	if err != nil {
		return err
	}
	return WriteFile(name, nil, false)
}

// PutBlob stages a small blob and returns its digest.
func (st *Staging) PutBlob(b []byte) (digest.Digest, error) {
	d := digest.FromBytes(b)
	return d, WriteFile(st.BlobPath(d), b, true)
}

// Publish moves everything staged into the store, then lets update change the
// index. The order is what makes it safe against a power cut: blobs are on the
// disk (their writers have synced them), then their names, then the index that
// refers to them, then its name. Derived files need no order: they are checked
// when they are used. It holds the store's lock exclusively, for milliseconds.
// After an error the index is as it was, but there may be blobs that no image has.
func (st *Staging) Publish(update func(*Index) error) error {
	ix, release, err := st.s.LockIndex()
	if err != nil {
		return err
	}
	defer release()
	if err := WriteFile(st.Path(publishingName), nil, false); err != nil {
		return fmt.Errorf("add to the store: %w", err)
	}
	err = st.moveAll()
	if err == nil && update == nil {
		return nil
	}
	if err == nil {
		if err = update(ix); err == nil {
			err = st.s.WriteIndex(ix)
		}
	}
	if err != nil {
		return DiskError(fmt.Errorf("add to the store: %w", err))
	}
	return nil
}

// moveAll renames the staged files over those of the store: where both exist
// they have the same content, unless the store's was damaged. The directories of
// derived files may be missing: a person may delete them.
func (st *Staging) moveAll() error {
	file, dir := st.s.modes()
	for _, d := range []string{"layers", "unions"} {
		if err := makeDir(st.s.Path(d), dir); err != nil {
			return err
		}
	}
	if err := moveFiles(st.Path("blobs"), st.s.Path("blobs", "sha256"), file); err != nil {
		return err
	}
	if err := syncDir(st.s.Path("blobs", "sha256")); err != nil {
		return err
	}
	layers, err := os.ReadDir(st.Path("layers"))
	if err != nil {
		return err
	}
	for _, l := range layers {
		dst := st.s.Path("layers", l.Name())
		if err := makeDir(dst, dir); err != nil {
			return err
		}
		if err := moveFiles(st.Path("layers", l.Name()), dst, file); err != nil {
			return err
		}
	}
	return moveFiles(st.Path("unions"), st.s.Path("unions"), file)
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

// Pin links the files of a layer that is in the store into the staging
// directory: nobody can take them away before Publish. A file system without
// hard links cannot hold them, and Publish may find them gone.
func (st *Staging) Pin(l oci.Layer) error {
	pairs := [][2]string{{st.s.BlobPath(l.Digest), st.BlobPath(l.Digest)}}
	// The mark first: without it flat.tar is taken for written.
	for _, name := range append(DerivedNames, pairName(l.Digest)) {
		staged, err := st.LayerFile(l.DiffID, name)
		if err != nil {
			return err
		}
		pairs = append(pairs, [2]string{filepath.Join(st.s.LayerDir(l.DiffID), name), staged})
	}
	for i, p := range pairs {
		err := os.Link(p[0], p[1])
		if i == 0 && errors.Is(err, fs.ErrNotExist) {
			return oci.Damaged(l.Digest, "is missing")
		}
	}
	return nil
}

// Pinned reports whether Pin got hold of all files of a layer: another command
// may have removed some between a look at them and Pin.
func (st *Staging) Pinned(l oci.Layer) bool {
	dir := st.Path("layers", l.DiffID.Encoded())
	for _, name := range []string{st.BlobPath(l.Digest), filepath.Join(dir, FlatName), filepath.Join(dir, IndexName), filepath.Join(dir, BlocksName)} {
		if _, err := os.Stat(name); err != nil {
			return false
		}
	}
	return true
}

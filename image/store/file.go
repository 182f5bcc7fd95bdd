// Files of a store: written so that they survive a power cut, linked, hashed and removed.

package store

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"tiffin/internal/errs"
)

// WriteFile writes a file in one go; with durable its bytes are on the disk
// when it returns.
func WriteFile(path string, b []byte, durable bool) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return DiskError(err)
	}
	if _, err = f.Write(b); err == nil && durable {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		os.Remove(path)
		return DiskError(err)
	}
	return nil
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
// see UnsyncedName.
func moveFiles(from, to string, mode fs.FileMode) error {
	names, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	// Names sort as flat.tar, index, unsynced: the marker has to be there
	// before the file that it warns of.
	for i := len(names) - 1; i >= 0; i-- {
		n := names[i].Name()
		if mode != 0o600 && n != BlocksName { // its key is nobody else's business
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

// NoSpace reports whether the disk is full, or this user's share of it.
func NoSpace(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

// DiskError adds what to do when the disk is full.
func DiskError(err error) error {
	if NoSpace(err) {
		return errs.Hint(err, "free some space (tiffin prune -a deletes images that no container uses), or set TIFFIN_ROOT to a larger disk")
	}
	return err
}

// LinkOrCopy gives the bytes of a file a second name, on a file system without
// hard links by copying them.
func LinkOrCopy(from, to string) error {
	os.Remove(to)
	if err := os.Link(from, to); err == nil {
		return nil
	}
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer dst.Close()
	if _, err := io.Copy(dst, src); err != nil { // copy_file_range(2): a reflink where there are any
		return err
	}
	return dst.Sync()
}

// HashFile is the digest of a file's content, from its start.
func HashFile(f *os.File) (digest.Digest, error) {
	return digest.SHA256.FromReader(io.NewSectionReader(f, 0, 1<<62))
}

// RemoveTree removes a file or a directory of files and returns the bytes of
// disk that come free: none for a file that has another name still.
func RemoveTree(path string) (bytes int64, err error) {
	names := []string{path}
	if sub, err := os.ReadDir(path); err == nil {
		for _, n := range sub {
			names = append([]string{filepath.Join(path, n.Name())}, names...)
		}
	}
	for _, n := range names {
		var st unix.Stat_t
		if unix.Lstat(n, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && st.Nlink == 1 {
			bytes += st.Blocks * 512 // stat(2): st_blocks is in units of 512 bytes
		}
		if rerr := os.Remove(n); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
			err = rerr
		}
	}
	return bytes, err
}

// Readable reports whether this user can read a file.
func Readable(path string) bool { return unix.Access(path, unix.R_OK) == nil }

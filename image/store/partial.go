// Partial files: what has come of a blob that is on its way here from a registry.

package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"tiffin/image/oci"
)

// Partial is the blob of a layer on its way here from a registry. It outlives
// the command that fetches it, however that ends, so that the next one goes on
// where it stopped:
//
//	partial/HEX        the first bytes of the blob with that digest
//	partial/HEX.etag   the server's name for the version that they are of
//
// Who writes to it holds a flock(2) on it. It is neither staged nor in the
// store: what it holds is hashed from its first byte again by the command that
// goes on with it. Staged are further links to the same file, once it is whole
// and has its digest; the name here goes when those are published.
type Partial struct {
	File *os.File // opened for appending
	Have int64    // bytes that were here when this try began
	ETag string
}

// PartialAge is how long what an interrupted pull has fetched is kept. Prune
// removes it earlier.
const PartialAge = 7 * 24 * time.Hour

const etagSuffix = ".etag"

// OpenPartial opens the partial file of a blob. If another command is just
// fetching the same one, or there is no place for it, it is one in the staging
// directory, which goes with the command.
func (st *Staging) OpenPartial(d ocispec.Descriptor) (*Partial, error) {
	path := st.s.Path("partial", d.Digest.Encoded())
	for range 10 { // or its name always changes in between
		f, err := lockPartial(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			break
		}
		p := &Partial{File: f}
		if st, err := f.Stat(); err == nil {
			p.Have = st.Size()
		}
		if b, err := oci.ReadFile(path+etagSuffix, maxETag); err == nil {
			p.ETag = string(b)
		}
		if p.Have > d.Size {
			return p, p.Restart()
		}
		return p, nil
	}
	f, err := os.OpenFile(st.Path("partial-"+d.Digest.Encoded()), os.O_RDWR|os.O_APPEND|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, DiskError(err)
	}
	return &Partial{File: f}, nil
}

// maxETag is the longest one that is kept, in bytes.
const maxETag = 1 << 10

// lockPartial opens and locks a partial file. fs.ErrNotExist: try again.
func lockPartial(path string) (*os.File, error) {
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	var here, there unix.Stat_t
	err = unix.Fstat(int(f.Fd()), &here)
	if err == nil && here.Nlink > 1 {
		// A command was killed after it had published the blob: this is a
		// file of the store, and not to be written to.
		err = errors.Join(os.Remove(path), fs.ErrNotExist)
	}
	// Or its owner has removed it before it let go of the lock.
	if err == nil && (unix.Lstat(path, &there) != nil || here.Ino != there.Ino) {
		err = fs.ErrNotExist
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Version notes which version of the blob the bytes from the first on are of.
func (p *Partial) Version(etag string) {
	if p.ETag = etag; etag == "" || len(etag) > maxETag {
		os.Remove(p.File.Name() + etagSuffix)
		return
	}
	// Without it the next pull asks for the rest of whatever version there is.
	_ = WriteFile(p.File.Name()+etagSuffix, []byte(etag), false)
}

// Restart forgets what has been fetched.
func (p *Partial) Restart() error {
	p.Have = 0
	p.Version("")
	return p.File.Truncate(0)
}

// Drop removes the file: its content is wrong, or in the store.
func (p *Partial) Drop() {
	os.Remove(p.File.Name() + etagSuffix)
	os.Remove(p.File.Name())
	os.Remove(filepath.Dir(p.File.Name())) // if it is empty
	p.File.Close()
}

// SweepPartials removes the files of interrupted pulls that are older than
// age, and returns the bytes of disk that come free.
func (s *Store) SweepPartials(age time.Duration) (bytes int64) {
	names, err := os.ReadDir(s.Path("partial"))
	if err != nil {
		return 0
	}
	for _, n := range names {
		st, err := n.Info()
		if err != nil || time.Since(st.ModTime()) < age || strings.HasSuffix(n.Name(), etagSuffix) {
			continue
		}
		f, err := lockPartial(s.Path("partial", n.Name()))
		if err != nil {
			continue // it is being fetched
		}
		size, _ := RemoveTree(f.Name())
		bytes += size
		(&Partial{File: f}).Drop()
	}
	return bytes
}

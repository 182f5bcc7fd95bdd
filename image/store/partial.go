// Partial files: what has come of a blob that is on its way here from a registry.

package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	digest "github.com/opencontainers/go-digest"
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
// The command that writes to it holds a flock(2) on it. It is neither staged nor
// in the store: the command that goes on with it hashes it again from its first
// byte. Once it is whole and has its digest, further links to the same file are
// staged; the name here goes when those are published.
type Partial struct {
	File *os.File // opened for appending
	Have int64    // bytes that were here when this try began
	ETag string
}

// PartialAge is how long what an interrupted pull has fetched is kept. Prune
// removes it earlier.
const PartialAge = 7 * 24 * time.Hour

const etagSuffix = ".etag"

// ErrBusy says that another command is just fetching the same blob.
var ErrBusy = errors.New("it is being fetched already")

// OpenPartial opens the partial file of a blob, which nobody else writes to until it is released or
// closed. What another command has fetched to its end is used as it is. Errors wrap ErrBusy.
func (st *Staging) OpenPartial(d ocispec.Descriptor) (*Partial, error) {
	path := st.s.Path("partial", d.Digest.Encoded())
	for range 10 { // or its name always changes in between
		f, err := lockPartial(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case errors.Is(err, unix.EWOULDBLOCK):
			return nil, ErrBusy
		case err != nil:
			return st.OwnPartial(d) // there is no place for it
		}
		p := &Partial{File: f}
		if st, err := f.Stat(); err == nil {
			p.Have = st.Size()
		}
		if b, err := oci.ReadFile(path+etagSuffix, maxETag); err == nil {
			p.ETag = string(b)
		}
		if p.Have > d.Size || p.Have < d.Size && p.linked() {
			return p, p.Restart()
		}
		return p, nil
	}
	return st.OwnPartial(d)
}

// PartialSize is how much has come of a blob, in bytes.
func (s *Store) PartialSize(d digest.Digest) int64 {
	st, err := os.Stat(s.Path("partial", d.Encoded()))
	if err != nil {
		return 0
	}
	return st.Size()
}

// OwnPartial is one in the staging directory, which goes with the command.
func (st *Staging) OwnPartial(d ocispec.Descriptor) (*Partial, error) {
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
	if !isNamed(f, path) { // its owner has removed it before it let go of the lock
		f.Close()
		return nil, fs.ErrNotExist
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

// linked reports whether the file has another name: it is a staged or published blob by now, and
// not to be written to.
func (p *Partial) linked() bool {
	var st unix.Stat_t
	return unix.Fstat(int(p.File.Fd()), &st) != nil || st.Nlink > 1
}

// Restart forgets what has been fetched.
func (p *Partial) Restart() error {
	p.Have = 0
	p.Version("")
	if !p.linked() {
		return p.File.Truncate(0)
	}
	name := p.File.Name()
	os.Remove(name)
	p.File.Close()
	f, err := lockPartial(name)
	if err == nil {
		p.File = f
	}
	return err
}

// Release lets others use the file, of which the last byte has come.
func (p *Partial) Release() { unix.Flock(int(p.File.Fd()), unix.LOCK_UN) }

// Drop removes the file, since its content is wrong or in the store, unless another command has it
// by now.
func (p *Partial) Drop() {
	defer p.File.Close()
	if name := p.File.Name(); unix.Flock(int(p.File.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil && isNamed(p.File, name) {
		os.Remove(name + etagSuffix)
		os.Remove(name)
		os.Remove(filepath.Dir(name)) // if it is empty
	}
}

// isNamed reports whether name is that of the open file still.
func isNamed(f *os.File, name string) bool {
	here, err1 := f.Stat()
	there, err2 := os.Lstat(name)
	return err1 == nil && err2 == nil && os.SameFile(here, there)
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
		bytes += s.dropPartial(n.Name())
	}
	return bytes
}

// DropPartial removes what has come of a blob, unless it is being fetched, and returns the bytes of
// disk that come free.
func (s *Store) DropPartial(d digest.Digest) (bytes int64) {
	if !Readable(s.Path("partial", d.Encoded())) {
		return 0
	}
	return s.dropPartial(d.Encoded())
}

func (s *Store) dropPartial(name string) (bytes int64) {
	f, err := lockPartial(s.Path("partial", name))
	if err != nil {
		return 0
	}
	var disk unix.Stat_t
	if unix.Fstat(int(f.Fd()), &disk) == nil && disk.Nlink == 1 {
		bytes = disk.Blocks * 512 // stat(2): st_blocks is in units of 512 bytes
	}
	(&Partial{File: f}).Drop()
	return bytes
}

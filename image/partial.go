package image

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

// partial is the blob of a layer on its way here from a registry. It outlives
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
type partial struct {
	f    *os.File // opened for appending
	have int64    // bytes that were here when this try began
	etag string
}

// partialAge is how long what an interrupted pull has fetched is kept. Prune
// removes it earlier.
const partialAge = 7 * 24 * time.Hour

const etagSuffix = ".etag"

// openPartial opens the partial file of a blob. If another command is just
// fetching the same one, or there is no place for it, it is one in the staging
// directory, which goes with the command.
func (st *staging) openPartial(d ocispec.Descriptor) (*partial, error) {
	path := st.s.path("partial", d.Digest.Encoded())
	for range 10 { // or its name always changes in between
		f, err := lockPartial(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			break
		}
		p := &partial{f: f}
		if st, err := f.Stat(); err == nil {
			p.have = st.Size()
		}
		if b, err := oci.ReadFile(path+etagSuffix, maxETag); err == nil {
			p.etag = string(b)
		}
		if p.have > d.Size {
			return p, p.restart()
		}
		return p, nil
	}
	f, err := os.OpenFile(st.path("partial-"+d.Digest.Encoded()), os.O_RDWR|os.O_APPEND|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, diskError(err)
	}
	return &partial{f: f}, nil
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

// version notes which version of the blob the bytes from the first on are of.
func (p *partial) version(etag string) {
	if p.etag = etag; etag == "" || len(etag) > maxETag {
		os.Remove(p.f.Name() + etagSuffix)
		return
	}
	// Without it the next pull asks for the rest of whatever version there is.
	_ = writeFile(p.f.Name()+etagSuffix, []byte(etag), false)
}

// restart forgets what has been fetched.
func (p *partial) restart() error {
	p.have = 0
	p.version("")
	return p.f.Truncate(0)
}

// drop removes the file: its content is wrong, or in the store.
func (p *partial) drop() {
	os.Remove(p.f.Name() + etagSuffix)
	os.Remove(p.f.Name())
	os.Remove(filepath.Dir(p.f.Name())) // if it is empty
	p.f.Close()
}

// sweepPartials removes the files of interrupted pulls that are older than
// age, and returns the bytes of disk that come free.
func (s *disk) sweepPartials(age time.Duration) (bytes int64) {
	names, err := os.ReadDir(s.path("partial"))
	if err != nil {
		return 0
	}
	for _, n := range names {
		st, err := n.Info()
		if err != nil || time.Since(st.ModTime()) < age || strings.HasSuffix(n.Name(), etagSuffix) {
			continue
		}
		f, err := lockPartial(s.path("partial", n.Name()))
		if err != nil {
			continue // it is being fetched
		}
		size, _ := removeTree(f.Name())
		bytes += size
		(&partial{f: f}).drop()
	}
	return bytes
}

// Files that ADD names by a URL. What a server says to recognize a file by is kept in the store
// with the file, so that it is sent again only if it has changed.

package build

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"tiffin/image"
	"tiffin/image/oci"
)

// single is the tree that is one file.
type single struct {
	f    file
	data *os.File
	hash string
}

func (s *single) stat(name string) (*file, error) {
	if name != "" {
		return nil, fs.ErrNotExist
	}
	f := s.f
	return &f, nil
}

func (s *single) list(string) ([]string, error) { return nil, errNotDirectory }

func (s *single) open(string) (io.ReadCloser, error) {
	return io.NopCloser(io.NewSectionReader(s.data, 0, s.f.size)), nil
}

func (s *single) sum(string, *file) (string, error) { return s.hash, nil }

// download is what is kept of an answer: build/url-DIGEST, by the URL. The content is in
// build/fetched-SHA256, if the server has said anything to recognize it by.
type download struct {
	ETag, Modified string // RFC 9110, "Validator Fields"
	Mtime          time.Time
	SHA256         digest.Digest
}

func downloadPath(s *image.Store, from string) string {
	return s.Path("build", "url-"+digest.FromString(from).Encoded())
}

// remembered is the answer of before, as a file, if it is here.
func remembered(s *image.Store, from string) (*download, *single) {
	was := new(download)
	b, err := oci.ReadFile(downloadPath(s, from), oci.MaxJSON)
	if err != nil || json.Unmarshal(b, was) != nil || was.SHA256.Validate() != nil {
		return nil, nil
	}
	data, err := os.Open(s.Path("build", "fetched-"+was.SHA256.Encoded()))
	if err != nil {
		return nil, nil
	}
	st, err := data.Stat()
	if err != nil {
		data.Close()
		return nil, nil
	}
	return was, newSingle(was, data, st.Size())
}

func newSingle(d *download, data *os.File, size int64) *single {
	return &single{f: file{mode: unix.S_IFREG | 0o600, size: size, mtime: d.Mtime}, data: data, hash: d.SHA256.Encoded()}
}

// fetchFile fetches a file, unless it is here and the server says that it has not changed. With a
// checksum that it has, the server is not asked.
func fetchFile(ctx context.Context, s *image.Store, from string, checksum digest.Digest) (*single, error) {
	if err := checksum.Validate(); checksum != "" && (err != nil || checksum.Algorithm() != digest.Canonical) {
		return nil, fmt.Errorf("--checksum=%s: it is sha256:DIGEST", checksum)
	}
	was, here := remembered(s, from)
	if was != nil && was.SHA256 == checksum {
		return here, nil
	}
	r, err := get(ctx, from, checksum, was)
	if errors.Is(err, errUnchanged) {
		if checksum == "" {
			return here, nil
		}
		err = fmt.Errorf("%s: its checksum is %s, not %s", from, was.SHA256, checksum)
	}
	if here != nil {
		here.data.Close()
	}
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return keepFile(s, from, r, was)
}

// keepFile reads an answer to its end, and keeps it for the next build.
func keepFile(s *image.Store, from string, r *response, was *download) (*single, error) {
	st, err := s.Stage()
	if err != nil {
		return nil, err
	}
	defer st.Close()
	data, err := os.Create(st.Path("fetched"))
	if err != nil {
		return nil, err
	}
	r.body = io.TeeReader(r.body, data)
	err = r.verify()
	var size int64
	if err == nil {
		size, err = data.Seek(0, io.SeekCurrent)
	}
	if err != nil {
		data.Close()
		return nil, err
	}
	now := &download{r.head.Get("ETag"), r.head.Get("Last-Modified"), r.mtime, r.digester.Digest()}
	path := s.Path("build", "fetched-"+now.SHA256.Encoded())
	if now.ETag+now.Modified != "" && os.MkdirAll(filepath.Dir(path), 0o700) == nil && os.Rename(data.Name(), path) == nil {
		replace(s, downloadPath(s, from), func(w io.Writer) error { return json.NewEncoder(w).Encode(now) })
		if was != nil && was.SHA256 != now.SHA256 {
			os.Remove(s.Path("build", "fetched-"+was.SHA256.Encoded()))
		}
	}
	return newSingle(now, data, size), nil
}

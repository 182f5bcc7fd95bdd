// The files that COPY has chosen are digested, and written as a layer.

package build

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/image"
	"tiffin/image/layer"
)

// epoch is SOURCE_DATE_EPOCH: no time in a layer is later (reproducible-builds.org).
func epoch() string { return os.Getenv("SOURCE_DATE_EPOCH") }

// digest is that of all that is copied, with owners and modes, but without times.
func (d *delta) digest() (string, error) {
	h := sha256.New()
	out := json.NewEncoder(h)
	names := map[hardLink]string{}
	for _, p := range slices.Sorted(maps.Keys(d.entries)) {
		e := d.entries[p]
		if e.kept {
			continue
		}
		first := ""
		if e.link != 0 {
			if first = names[e.hardLink()]; first == "" {
				names[e.hardLink()] = p
			} else {
				e.sum = d.entries[first].sum
			}
		}
		if first == "" {
			if err := d.sum(e); err != nil {
				return "", fmt.Errorf("read %s: %w", shown(e.path), err)
			}
		}
		_ = out.Encode([]any{p, e.mode, e.uid, e.gid, e.rdev, e.target, e.sum, e.xattrs, first}) // a hash takes everything
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}

// hardLink is the same for all names of a file.
type hardLink struct {
	from tree
	link uint32
}

func (e *entry) hardLink() hardLink { return hardLink{e.from, e.link} }

// sum finds the digest of a file's content.
func (d *delta) sum(e *entry) (err error) {
	switch {
	case !e.is(unix.S_IFREG):
	case e.from == nil:
		s := sha256.Sum256([]byte(e.content))
		e.sum = hex.EncodeToString(s[:])
	default:
		e.sum, err = e.from.sum(e.path, &e.file)
	}
	return err
}

// write writes the layer: parents before children, names in the order of their bytes, so that the
// same files give the same layer.
func (d *delta) write(w io.Writer) error {
	latest := time.Unix(1<<62, 0)
	if v := epoch(); v != "" {
		sec, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return fmt.Errorf("the environment variable SOURCE_DATE_EPOCH is %q, not a number of seconds", v)
		}
		latest = time.Unix(sec, 0)
	}
	tw := tar.NewWriter(w)
	names := map[hardLink]string{}
	for _, p := range slices.SortedFunc(maps.Keys(d.entries), byParts) {
		e := d.entries[p]
		h := e.header(p)
		if h.ModTime.After(latest) {
			h.ModTime = latest
		}
		if e.link != 0 {
			if first, again := names[e.hardLink()]; again {
				h.Typeflag, h.Linkname, h.Size, h.PAXRecords = tar.TypeLink, first, 0, nil
			} else {
				names[e.hardLink()] = p
			}
		}
		if err := e.write(tw, h); err != nil {
			return fmt.Errorf("copy %s: %w", shown(e.path), err)
		}
	}
	return tw.Close()
}

// buffers are those of copyWhole: a context may have a million files.
var buffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// copyWhole is io.Copy without a new buffer each time.
func copyWhole(w io.Writer, r io.Reader) (int64, error) {
	b := buffers.Get().(*[32 << 10]byte)
	defer buffers.Put(b)
	return io.CopyBuffer(w, struct{ io.Reader }{r}, b[:]) // and without methods of r's that make one
}

// byParts orders paths as a walk through directories does: what is in a directory comes right after
// it.
func byParts(a, b string) int {
	for i := range min(len(a), len(b)) {
		switch x, y := a[i], b[i]; {
		case x == y:
		case x == '/':
			return -1
		case y == '/':
			return 1
		default:
			return int(x) - int(y)
		}
	}
	return len(a) - len(b)
}

// header is that of the entry, at a path of the image.
func (e *entry) header(p string) *tar.Header {
	h := &tar.Header{
		Typeflag: tar.TypeReg, Name: p, Linkname: e.target, Mode: int64(e.mode & 0o7777), Uid: int(e.uid), Gid: int(e.gid),
		ModTime: e.mtime, Format: tar.FormatPAX, Devmajor: int64(layer.Major(e.rdev)), Devminor: int64(layer.Minor(e.rdev)),
	}
	switch e.mode & unix.S_IFMT {
	case unix.S_IFDIR:
		h.Typeflag = tar.TypeDir
		if h.Name += "/"; p == "" {
			h.Name = "./"
		}
	case unix.S_IFLNK:
		h.Typeflag = tar.TypeSymlink
	case unix.S_IFIFO:
		h.Typeflag = tar.TypeFifo
	case unix.S_IFCHR:
		h.Typeflag = tar.TypeChar
	case unix.S_IFBLK:
		h.Typeflag = tar.TypeBlock
	default:
		h.Size = e.size
	}
	for _, a := range e.xattrs {
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords["SCHILY.xattr."+a.Name] = a.Value
	}
	return h
}

// write writes the header, and the content behind it, which must be the one that was digested.
func (e *entry) write(tw *tar.Writer, h *tar.Header) error {
	if err := tw.WriteHeader(h); err != nil || h.Typeflag != tar.TypeReg {
		return err
	}
	r := io.NopCloser(strings.NewReader(e.content))
	if e.from != nil {
		var err error
		if r, err = e.from.open(e.path); err != nil {
			return err
		}
	}
	defer r.Close()
	sum := sha256.New()
	n, err := copyWhole(io.MultiWriter(tw, sum), io.LimitReader(r, e.size))
	if err == nil && (n != e.size || hex.EncodeToString(sum.Sum(nil)) != e.sum) {
		err = fmt.Errorf("it changes while it is read")
	}
	return err
}

// WriteFiles writes all files of an image as one tarball, with their owners. No time is later than
// SOURCE_DATE_EPOCH.
func WriteFiles(w io.Writer, s *image.Store, img *image.Image) error {
	all, err := openStack(s, img.Layers)
	if err != nil {
		return err
	}
	defer all.close()
	nothing, err := openStack(s, nil)
	if err != nil {
		return err
	}
	defer nothing.close()
	root, err := all.stat("")
	if err != nil {
		return err
	}
	d := newDelta(nothing)
	if err := d.copyDir(all, "", "", root, "", true); err != nil {
		return err
	}
	if _, err := d.digest(); err != nil {
		return err
	}
	return d.write(w)
}

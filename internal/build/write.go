// The files that COPY has chosen are digested, and written as a layer.

package build

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/image"
	"tiffin/image/layer"
)

// epoch is SOURCE_DATE_EPOCH: no time in a layer is later (reproducible-builds.org).
func epoch() string { return os.Getenv("SOURCE_DATE_EPOCH") }

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
	err := d.read(func(p string, e *entry) error {
		if d.private && e.isDir() {
			e.mode |= unix.S_IRWXU
		}
		h := e.header(p)
		if h.ModTime.After(latest) {
			h.ModTime = latest
		}
		if e.first != "" {
			h.Typeflag, h.Linkname, h.Size, h.PAXRecords = tar.TypeLink, e.first, 0, nil
		}
		if err := e.write(tw, h); err != nil {
			return fmt.Errorf("copy %s: %w", shown(e.path), err)
		}
		return nil
	})
	if err != nil {
		return err
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

// header is that of the entry, at a path of the image.
func (e *entry) header(p string) *tar.Header {
	h := &tar.Header{
		Typeflag: tar.TypeReg, Name: p, Linkname: e.target, Mode: int64(e.mode & 0o7777), Uid: int(e.uid), Gid: int(e.gid),
		ModTime: e.mtime.Truncate(time.Second), Format: tar.FormatPAX, Devmajor: int64(layer.Major(e.rdev)), Devminor: int64(layer.Minor(e.rdev)),
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
	if e.from == nil {
		return nil
	}
	r, err := e.from.open(e.path)
	if err != nil {
		return err
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
	d := newDelta(nothing, s.Path("tmp"))
	defer d.close()
	if err := d.copyDir(d.from(all), "", "", root, "", true); err != nil {
		return err
	}
	if _, err := d.digest(); err != nil {
		return err
	}
	return d.write(w)
}

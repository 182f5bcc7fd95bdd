// The changes of an upper directory are written as a layer: the same changes give the same bytes.

package layer

import (
	"archive/tar"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// WriteDiff writes what the upper directory changes as an OCI layer: a tarball
// of the files that are new or different, with a whiteout for each name that
// is gone (OCI image-spec v1.1 layer.md, "Change Types" and "Representing
// Changes").
//
// The same changes give the same bytes: parents come before children, names in
// the order of their bytes, no owner names, PAX headers only where a value
// needs one. If the environment has SOURCE_DATE_EPOCH (seconds since 1970,
// reproducible-builds.org), no time is later than that. As docker does, every
// directory that has a change in it is written too, because programs that
// unpack a layer by itself would otherwise invent its attributes.
//
// Holes are written as zeros: "Sparse files SHOULD NOT be used because they
// lack consistent support across tar implementations" (layer.md), and podman
// indeed cannot reproduce the digest of a layer that has one. Sockets are left
// out, a tarball has no form for them.
//
// Time is that of reading the upper and of the data to be written; the image
// is not walked. Errors: those of w, of reading the upper and the flat files,
// and attributes that do not fit the image.
func WriteDiff(w io.Writer, u *Upper) error {
	d, err := newDiff(u)
	if err != nil {
		return err
	}
	dw := &diffWriter{diff: d, tw: tar.NewWriter(w), first: map[*upNode]string{}, latest: time.Unix(1<<62, 0)}
	if v := os.Getenv("SOURCE_DATE_EPOCH"); v != "" {
		sec, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return fmt.Errorf("the environment variable SOURCE_DATE_EPOCH is %q, not a number of seconds", v)
		}
		dw.latest = time.Unix(sec, 0)
	}
	if dw.dir, err = unix.Open(u.Dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return fmt.Errorf("open the changes of the container, %s: %w", u.Dir, err)
	}
	defer unix.Close(dw.dir)
	err = d.each(func(e edit) error {
		if err := dw.edit(e); err != nil {
			return fmt.Errorf("write /%s to the layer: %w", e.path, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return dw.tw.Close()
}

type diffWriter struct {
	*diff
	tw     *tar.Writer
	dir    int // Upper.Dir
	latest time.Time
	first  map[*upNode]string // files written, by their first name
	buf    []byte
}

func (w *diffWriter) edit(e edit) error {
	if len(e.path) > maxPath {
		return fmt.Errorf("its path has %d bytes; a layer takes %d", len(e.path), maxPath)
	}
	if n := e.path[strings.LastIndexByte(e.path, '/')+1:]; strings.HasPrefix(n, WhiteoutPrefix) {
		return fmt.Errorf("its name begins with %q, which in a layer stands for a deletion", WhiteoutPrefix) // only the kernel's overlayfs lets it be made
	}
	n := e.node
	switch {
	case e.path == "" && !w.rootChanged():
	case n == nil:
		return w.whiteout(e.path)
	case n.stat.Mode&unix.S_IFMT == unix.S_IFSOCK:
		if e.existed && !e.hidden {
			return w.whiteout(e.path)
		}
		return nil
	default:
		if err := w.entry(e.path, n); err != nil {
			return err
		}
	}
	if e.anew && !e.hidden {
		return w.empty(join(e.path, OpaqueName))
	}
	return nil
}

// rootChanged reports whether the root directory has other attributes than in
// the image. Its time does not count: every change in it would be one.
func (w *diffWriter) rootChanged() bool {
	was := upNode{stat: Stat{Mode: unix.S_IFDIR | 0o755}}
	if w.u.Lower != nil {
		was = *w.copyUp(0)
	}
	return w.root.stat != was.stat || !slices.Equal(byName(w.root.xattrs), byName(was.xattrs))
}

func byName(as []Xattr) []Xattr {
	return slices.SortedFunc(slices.Values(as), func(a, b Xattr) int { return strings.Compare(a.Name, b.Name) })
}

// whiteout deletes path from the layers below.
func (w *diffWriter) whiteout(path string) error {
	i := strings.LastIndexByte(path, '/') + 1
	return w.empty(path[:i] + WhiteoutPrefix + path[i:])
}

// empty writes what markHeader describes.
func (w *diffWriter) empty(path string) error {
	return w.tw.WriteHeader(markHeader(path))
}

// markHeader describes an empty file that stands for something else, with the mode that podman
// gives such.
func markHeader(path string) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: path, Mode: 0o600, ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
}

// typeflag is the tar type for a file's mode.
func typeflag(mode uint32) byte {
	switch mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return tar.TypeDir
	case unix.S_IFLNK:
		return tar.TypeSymlink
	case unix.S_IFIFO:
		return tar.TypeFifo
	case unix.S_IFCHR:
		return tar.TypeChar
	case unix.S_IFBLK:
		return tar.TypeBlock
	}
	return tar.TypeReg
}

// entry writes a file with its data.
func (w *diffWriter) entry(path string, n *upNode) error {
	h, err := w.header(path, n)
	if err != nil {
		return err
	}
	if !n.isDir() {
		if first, again := w.first[n]; again {
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
			h.PAXRecords = nil // said with the first name
			return w.tw.WriteHeader(h)
		}
		w.first[n] = path
	}
	if err := w.tw.WriteHeader(h); err != nil || h.Typeflag != tar.TypeReg || n.size == 0 {
		return err
	}
	return w.data(n)
}

func (w *diffWriter) header(path string, n *upNode) (*tar.Header, error) {
	h, err := newHeader(path, n.stat, n.size, time.Unix(n.mtime.Unix()), n.target, n.xattrs)
	if err == nil && h.ModTime.After(w.latest) {
		h.ModTime = w.latest
	}
	return h, err
}

// newHeader describes a file in a layer.
func newHeader(path string, st Stat, size int64, mtime time.Time, target string, xattrs []Xattr) (*tar.Header, error) {
	h := &tar.Header{
		Typeflag: typeflag(st.Mode), Name: path, Linkname: target,
		Mode: int64(st.Mode & 0o7777), Uid: int(st.UID), Gid: int(st.GID),
		ModTime: mtime, Format: tar.FormatPAX,
		Devmajor: int64(Major(st.Rdev)), Devminor: int64(Minor(st.Rdev)),
	}
	switch h.Typeflag {
	case tar.TypeDir:
		h.Name += "/"
		if path == "" {
			h.Name = "./"
		}
	case tar.TypeReg:
		h.Size = size
	}
	for _, a := range xattrs {
		if strings.Contains(a.Name, "=") {
			return nil, fmt.Errorf("the name of its attribute %q has a \"=\", which a tarball cannot hold", a.Name)
		}
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords["SCHILY.xattr."+a.Name] = a.Value
	}
	return h, nil
}

// data copies the bytes of a regular file, of a metacopy those of the image.
func (w *diffWriter) data(n *upNode) error {
	var r io.Reader
	if n.metacopy {
		if in := w.u.Lower.Inode(n.origin); in.Mode&unix.S_IFMT != unix.S_IFREG {
			return fmt.Errorf("attribute %s says its data is that of %s, which is no file", XattrMetacopy, w.u.Lower.Path(n.origin))
		}
		r = w.u.Lower.Reader(n.origin, w.u.Flats)
	}
	if !n.metacopy || n.tail {
		f, err := w.open(n)
		if err != nil {
			return err
		}
		defer f.Close()
		if n.tail {
			head := w.u.Lower.Inode(n.origin).Size
			r = io.MultiReader(r, io.NewSectionReader(f, head, n.size-head))
		} else {
			r = f
		}
	}
	if w.buf == nil {
		w.buf = make([]byte, 256<<10)
	}
	// Without ReadFrom and WriteTo, so that the buffer is used.
	written, err := io.CopyBuffer(struct{ io.Writer }{w.tw}, struct{ io.Reader }{io.LimitReader(r, n.size)}, w.buf)
	if err == nil && written != n.size {
		err = fmt.Errorf("it was %d bytes long and is %d now: %w", n.size, written, io.ErrUnexpectedEOF)
	}
	return err
}

// openBeneath opens a file below dir, through no symbolic link. openat2(2) takes PATH_MAX bytes at
// a time; RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS keep the path inside.
func openBeneath(dir int, path string, flags int) (int, error) {
	if len(path) > pathMax {
		cut := strings.LastIndexByte(path[:pathMax], '/')
		part, err := openBeneath(dir, path[:cut], unix.O_PATH|unix.O_DIRECTORY)
		if err != nil {
			return -1, err
		}
		defer unix.Close(part)
		return openBeneath(part, path[cut+1:], flags)
	}
	return unix.Openat2(dir, path, &unix.OpenHow{
		Flags:   uint64(flags) | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
}

// open opens the upper file of n, which must still be the one that was read.
func (w *diffWriter) open(n *upNode) (*os.File, error) {
	fd, err := openBeneath(w.dir, n.path, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("open it in the upper directory: %w", err)
	}
	f := os.NewFile(uintptr(fd), n.path)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Ino != n.realIno || st.Mode&unix.S_IFMT != unix.S_IFREG {
		f.Close()
		return nil, fmt.Errorf("it was replaced while the layer was written (%v)", err)
	}
	return f, nil
}

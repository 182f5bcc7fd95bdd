// A tarball is unpacked into a plain directory, for the peers that need one.

package main

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// unpackImage unpacks each layer of the image in the layout from to its own
// directory of dir, "0" for the bottom one, in the form that kernel overlayfs
// with "userxattr" and fuse-overlayfs both read. It is to be called as root of
// a user namespace, where mknod(2) can make a whiteout (Linux 5.8).
func unpackImage(from, dir string) error {
	l := layout(from)
	m, _, err := l.open()
	if err != nil {
		return err
	}
	for i, d := range m.Layers {
		to := filepath.Join(dir, strconv.Itoa(i))
		if err := os.MkdirAll(to, 0o755); err != nil {
			return err
		}
		if err := unpackBlob(l.blob(d.Digest), d.MediaType, to); err != nil {
			return fmt.Errorf("unpack layer %d: %w", i, err)
		}
	}
	return nil
}

func unpackBlob(blob, mediaType, to string) error {
	file, err := os.Open(blob)
	if err != nil {
		return err
	}
	defer file.Close()
	var r io.Reader = bufio.NewReaderSize(file, 1<<20)
	switch mediaType {
	case v1.MediaTypeImageLayer:
	case v1.MediaTypeImageLayerGzip:
		if r, err = gzip.NewReader(r); err != nil {
			return err
		}
	default:
		return fmt.Errorf("layers of type %s are not handled here", mediaType)
	}
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = unpackEntry(tr, h, to)
		}
		if err != nil {
			return err
		}
	}
}

// unpackEntry makes one entry below to. The images are the benchmark's own, so
// names are not guarded against leading out of it beyond filepath.IsLocal.
func unpackEntry(r io.Reader, h *tar.Header, to string) error {
	name := filepath.Clean(h.Name)
	if name == "." {
		return nil
	}
	if !filepath.IsLocal(name) {
		return fmt.Errorf("entry %q leads out of the layer", h.Name)
	}
	path := filepath.Join(to, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	base := filepath.Base(name)
	// OCI image-spec v1.1 layer.md, "Whiteouts"; overlayfs.rst, "whiteouts and opaque directories".
	if base == ".wh..wh..opq" {
		return unix.Setxattr(filepath.Dir(path), "user.overlay.opaque", []byte("y"), 0)
	}
	if hidden, ok := strings.CutPrefix(base, ".wh."); ok {
		return unix.Mknod(filepath.Join(filepath.Dir(path), hidden), unix.S_IFCHR, 0)
	}
	mode := fs.FileMode(h.Mode).Perm()
	switch h.Typeflag {
	case tar.TypeDir:
		if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		return os.Chmod(path, mode|0o700)
	case tar.TypeReg:
		file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode|0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(file, r)
		return errors.Join(err, file.Close(), os.Chtimes(path, h.ModTime, h.ModTime))
	case tar.TypeSymlink:
		return os.Symlink(h.Linkname, path)
	case tar.TypeLink:
		return os.Link(filepath.Join(to, filepath.Clean(h.Linkname)), path)
	}
	return nil // devices and fifos: nothing here uses them
}

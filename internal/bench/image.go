// The image that is measured, the same bytes on every
// machine. Two layers of its own lie on top of those of a base image, if there
// is one, whose programs some workloads run. The upper of the two replaces and
// deletes a part of the lower one, so that there is something to merge.
//
//	/bench/many/AA/BB/fCCC   many small files, 100 in a directory
//	/bench/tree/AA/fBB       5,000 small files
//	/bench/big               one large file without holes
//	/bench/c                 100 C files and a Makefile
//	/bench/untar.tar         20,000 small files in a tarball
//	/bench/new               an empty directory, for what workloads make
//	/fsbench                 an empty file to mount this program on

package main

import (
	"archive/tar"
	"bufio"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

type imageSize struct{ files, bigMiB int }

var defaultSize = imageSize{files: 50_000, bigMiB: 1024}

const (
	filesPerDir = 100
	treeFiles   = 5_000
	untarFiles  = 20_000
	cFiles      = 100
)

// random is a xorshift generator: fast, and the same for ever.
type random uint64

func (r *random) next() uint64 {
	x := *r
	x ^= x << 13
	x ^= x >> 7
	x ^= x << 17
	*r = x
	return uint64(x)
}

func (r *random) fill(b []byte) {
	for len(b) >= 8 {
		v := r.next()
		for i := range 8 {
			b[i] = byte(v >> (8 * i))
		}
		b = b[8:]
	}
}

// layerWriter writes the entries of a layer; the first error stays.
type layerWriter struct {
	tw  *tar.Writer
	rnd random
	buf [64 << 10]byte
	err error
}

// epoch is the time of all files.
var epoch = time.Unix(1_600_000_000, 0)

func (l *layerWriter) header(typ byte, name string, mode, size int64) {
	if l.err == nil {
		l.err = l.tw.WriteHeader(&tar.Header{Typeflag: typ, Name: name, Mode: mode, Size: size, ModTime: epoch, Format: tar.FormatPAX})
	}
}

func (l *layerWriter) dir(name string) { l.header(tar.TypeDir, name+"/", 0o755, 0) }

func (l *layerWriter) text(name, s string) {
	l.header(tar.TypeReg, name, 0o644, int64(len(s)))
	if l.err == nil {
		_, l.err = io.WriteString(l.tw, s)
	}
}

// file writes a file of size bytes at random.
func (l *layerWriter) file(name string, size int64) {
	l.header(tar.TypeReg, name, 0o644, size)
	for size > 0 && l.err == nil {
		b := l.buf[:min(size, int64(len(l.buf)))]
		l.rnd.fill(b)
		_, l.err = l.tw.Write(b)
		size -= int64(len(b))
	}
}

// small is the size in bytes of the next small file: mostly below 4 KiB, as in
// real trees.
func (l *layerWriter) small() int64 {
	return int64(l.rnd.next()>>20) % 64 * (int64(l.rnd.next()>>20) % 128)
}

func manyDir(i int) string     { return fmt.Sprintf("bench/many/%02d/%02d", i/50, i%50) }
func manyFile(d, f int) string { return fmt.Sprintf("%s/f%03d", manyDir(d), f) }
func treeDir(i int) string     { return fmt.Sprintf("bench/tree/%02d", i) }
func sourceFile(i int) string  { return fmt.Sprintf("bench/c/f%03d.c", i) }
func changed(d, f int) bool    { return d%4 == 1 && f%10 == 3 }
func deleted(d, f int) bool    { return d%4 == 2 && f%20 == 7 }
func manyDirs(s imageSize) int { return (s.files + filesPerDir - 1) / filesPerDir }

func lowerLayer(l *layerWriter, size imageSize) {
	for _, d := range []string{"bench", "bench/many", "bench/tree", "bench/c", "bench/new", "tmp", "proc", "dev", "sys"} {
		l.dir(d)
	}
	l.text("fsbench", "")
	for d := range manyDirs(size) {
		if d%50 == 0 {
			l.dir(filepath.Dir(manyDir(d)))
		}
		l.dir(manyDir(d))
		for f := range min(filesPerDir, size.files-d*filesPerDir) {
			l.file(manyFile(d, f), l.small())
		}
	}
	for d := range treeFiles / filesPerDir {
		l.dir(treeDir(d))
		for f := range filesPerDir {
			l.file(fmt.Sprintf("%s/f%02d", treeDir(d), f), l.small())
		}
	}
	makefile := "OBJS := $(patsubst %.c,%.o,$(sort $(wildcard *.c)))\nall: $(OBJS)\n\t$(CC) -shared -o all.so $(OBJS)\n%.o: %.c\n\t$(CC) -fPIC -O1 -c -o $@ $<\n"
	l.text("bench/c/Makefile", makefile)
	for i := range cFiles {
		l.text(sourceFile(i), fmt.Sprintf("#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\nint f%d(int n)\n{\n\tprintf(\"%%d\\n\", n);\n\treturn n + %d;\n}\n", i, i))
	}
	l.file("bench/big", int64(size.bigMiB)<<20)
}

// upperLayer changes, deletes and adds; OCI image-spec v1.1 layer.md, "Whiteouts".
func upperLayer(l *layerWriter, size imageSize) {
	for d := range manyDirs(size) {
		for f := range min(filesPerDir, size.files-d*filesPerDir) {
			if changed(d, f) {
				l.file(manyFile(d, f), l.small())
			} else if deleted(d, f) {
				l.text(fmt.Sprintf("%s/.wh.f%03d", manyDir(d), f), "")
				l.file(manyFile(d, f)+"x", l.small())
			}
		}
	}
	var n counter
	inner := &layerWriter{tw: tar.NewWriter(&n), rnd: 5}
	untarTree(inner)
	l.header(tar.TypeReg, "bench/untar.tar", 0o644, int64(n))
	if l.err == nil {
		inner = &layerWriter{tw: tar.NewWriter(l.tw), rnd: 5}
		l.err = errors.Join(l.err, untarTree(inner))
	}
}

type counter int64

func (c *counter) Write(b []byte) (int, error) { *c += counter(len(b)); return len(b), nil }

func untarTree(l *layerWriter) error {
	for d := range untarFiles / filesPerDir {
		l.dir(fmt.Sprintf("untar/%03d", d))
		for f := range filesPerDir {
			l.file(fmt.Sprintf("untar/%03d/f%02d", d, f), l.small()/8)
		}
	}
	return errors.Join(l.err, l.tw.Close())
}

// layout is an OCI image layout in a directory.
type layout string

func (l layout) blob(d digest.Digest) string {
	return filepath.Join(string(l), "blobs", string(d.Algorithm()), d.Encoded())
}

// put writes a blob.
func (l layout) put(mediaType string, write func(io.Writer) error) (v1.Descriptor, error) {
	none := v1.Descriptor{}
	file, err := os.CreateTemp(string(l), "blob")
	if err != nil {
		return none, err
	}
	defer file.Close()
	var n counter
	h := sha256.New()
	w := bufio.NewWriterSize(io.MultiWriter(file, h, &n), 1<<20)
	if err := errors.Join(write(w), w.Flush()); err != nil {
		return none, err
	}
	d := digest.NewDigest(digest.SHA256, h)
	return v1.Descriptor{MediaType: mediaType, Digest: d, Size: int64(n)}, os.Rename(file.Name(), l.blob(d))
}

func (l layout) putJSON(mediaType string, v any) (v1.Descriptor, error) {
	return l.put(mediaType, func(w io.Writer) error { return json.NewEncoder(w).Encode(v) })
}

func readJSON(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// open reads the first image of l.
func (l layout) open() (m v1.Manifest, c v1.Image, err error) {
	var index v1.Index
	if err = readJSON(filepath.Join(string(l), v1.ImageIndexFile), &index); err != nil {
		return m, c, err
	}
	if len(index.Manifests) == 0 {
		return m, c, fmt.Errorf("no image in %s", l)
	}
	if err = readJSON(l.blob(index.Manifests[0].Digest), &m); err == nil {
		err = readJSON(l.blob(m.Config.Digest), &c)
	}
	return m, c, err
}

// copyBase puts the layers of the image in base into l.
func (l layout) copyBase(base layout) (layers []v1.Descriptor, diffIDs []digest.Digest, err error) {
	m, c, err := base.open()
	if err != nil {
		return nil, nil, fmt.Errorf("read the base image: %w", err)
	}
	for _, d := range m.Layers {
		if _, err := l.put(d.MediaType, func(w io.Writer) error {
			file, err := os.Open(base.blob(d.Digest))
			if err != nil {
				return err
			}
			defer file.Close()
			_, err = io.Copy(w, file)
			return err
		}); err != nil {
			return nil, nil, err
		}
	}
	return m.Layers, c.RootFS.DiffIDs, nil
}

func makeImage(dir, name, base string, size imageSize) error {
	l := layout(dir)
	if err := os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o777); err != nil {
		return err
	}
	m := v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest}
	c := v1.Image{Platform: v1.Platform{OS: "linux", Architecture: "amd64"}, RootFS: v1.RootFS{Type: "layers"},
		Config: v1.ImageConfig{Env: []string{"PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"}}}
	var err error
	if base != "" {
		if m.Layers, c.RootFS.DiffIDs, err = l.copyBase(layout(base)); err != nil {
			return err
		}
	}
	for i, fill := range []func(*layerWriter, imageSize){lowerLayer, upperLayer} {
		d, err := l.put(v1.MediaTypeImageLayer, func(w io.Writer) error {
			lw := &layerWriter{tw: tar.NewWriter(w), rnd: random(i + 1)}
			fill(lw, size)
			return errors.Join(lw.err, lw.tw.Close())
		})
		if err != nil {
			return fmt.Errorf("write layer %d: %w", i, err)
		}
		m.Layers = append(m.Layers, d)
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, d.Digest)
	}
	if m.Config, err = l.putJSON(v1.MediaTypeImageConfig, c); err != nil {
		return err
	}
	d, err := l.putJSON(v1.MediaTypeImageManifest, m)
	if err != nil {
		return err
	}
	d.Annotations = map[string]string{v1.AnnotationRefName: name}
	index, err := json.Marshal(v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{d}})
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, v1.ImageIndexFile), index, 0o666),
		os.WriteFile(filepath.Join(dir, v1.ImageLayoutFile), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o666))
}

package image

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"os"
	"slices"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Pushable is what goes to a registry for an image: the bytes that came from
// one, or that load and commit made, so that all digests stay.
type Pushable struct {
	Manifest ocispec.Descriptor
	Bytes    []byte               // of the manifest
	Blobs    []ocispec.Descriptor // layers, bottom first, then the config; each once

	s *Store
}

// Pushable finds the blobs of an image.
func (s *Store) Pushable(img *Image) (*Pushable, error) {
	m, d, err := s.manifest(img.Manifest)
	if err != nil {
		return nil, err
	}
	p := &Pushable{Manifest: d, s: s}
	if p.Bytes, err = s.readBlob(d.Digest); err != nil {
		return nil, err
	}
	p.Manifest.Size, p.Manifest.Annotations = int64(len(p.Bytes)), nil
	for _, l := range m.Layers {
		if err := checkLayer(l); err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(p.Blobs, func(b ocispec.Descriptor) bool { return b.Digest == l.Digest }) {
			p.Blobs = append(p.Blobs, l)
		}
	}
	p.Blobs = append(p.Blobs, m.Config)
	return p, nil
}

// Open opens a blob. Its reader fails at the end, before the last byte is
// handed out, if the blob does not have its digest any more.
func (p *Pushable) Open(d ocispec.Descriptor) (io.ReadCloser, error) {
	f, err := os.Open(p.s.findBlob(d.Digest))
	if err != nil {
		return nil, damagedBlob(d.Digest, "is missing")
	}
	if st, err := f.Stat(); err != nil || st.Size() != d.Size {
		f.Close()
		return nil, damagedBlob(d.Digest, fmt.Sprintf("it does not have the %d bytes that its manifest says", d.Size))
	}
	return &verifying{File: f, sum: sha256.New(), want: d.Digest, left: d.Size}, nil
}

// verifying is a blob being read.
type verifying struct {
	*os.File
	sum  hash.Hash
	want digest.Digest
	left int64 // bytes
}

func (v *verifying) Read(p []byte) (int, error) {
	n, err := v.File.Read(p)
	v.sum.Write(p[:n])
	if v.left -= int64(n); v.left == 0 && n > 0 {
		if got := sum(v.sum); got != v.want {
			return 0, damagedBlob(v.want, fmt.Sprintf("its content has digest %s", got))
		}
	}
	return n, err
}

// WriteTo would be that of the file, which does not look at the bytes.
func (v *verifying) WriteTo(w io.Writer) (int64, error) {
	return io.CopyBuffer(w, struct{ io.Reader }{v}, make([]byte, chunkSize))
}

// Repositories are those of a registry that an image here with this layer has
// a name in: the registry may have the layer in one of them.
func (s *Store) Repositories(domain string, layer digest.Digest) []string {
	ix, err := s.readIndex()
	if err != nil {
		return nil
	}
	var paths []string
	for _, d := range ix.Manifests {
		r, ok := descriptorName(d)
		if !ok || r.Domain != domain || slices.Contains(paths, r.Path) {
			continue
		}
		m, _, err := s.manifest(d)
		if err == nil && slices.ContainsFunc(m.Layers, func(l ocispec.Descriptor) bool { return l.Digest == layer }) {
			paths = append(paths, r.Path)
		}
	}
	return paths
}

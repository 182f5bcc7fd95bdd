// Package transfer brings images into the store and takes them elsewhere: from and to registries,
// archives and OCI layouts.
//
// An image that leaves is an Image: the bytes of its manifest and a way to open its blobs. Each
// blob streams and is hashed on the way; none is packed anew, so all digests stay. An image that
// comes is staged: its layers first, then config, manifest and merged index; then all of it is
// published at once, or nothing.
package transfer

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"slices"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image"
	"tiffin/image/oci"
	"tiffin/image/store"
)

// Image is an image that goes somewhere else: the bytes that came from a
// registry, or that load and commit made, so that all digests stay.
type Image struct {
	Manifest ocispec.Descriptor
	Bytes    []byte               // of the manifest
	Blobs    []ocispec.Descriptor // layers, bottom first, then the config; each once

	parsed *oci.Document
	open   func(d ocispec.Descriptor) (io.ReadCloser, error)
	close  func()
}

// newPushable reads a manifest. open need not check what it hands out.
func newPushable(b []byte, open func(ocispec.Descriptor) (io.ReadCloser, error)) (*Image, error) {
	m, err := oci.ParseDocument(b)
	if err == nil {
		err = m.CheckImage()
	}
	if err != nil {
		return nil, err
	}
	p := &Image{Manifest: m.Descriptor(), Bytes: b, parsed: m, open: open, close: func() {}}
	for _, l := range p.parsed.Layers {
		if !slices.ContainsFunc(p.Blobs, func(b ocispec.Descriptor) bool { return b.Digest == l.Digest }) {
			p.Blobs = append(p.Blobs, l)
		}
	}
	p.Blobs = append(p.Blobs, p.parsed.Config)
	return p, nil
}

// checked refuses what may not be handed on, or is no image.
func (p *Image) checked() (*Image, error) {
	for _, l := range p.parsed.Layers {
		if err := oci.CheckLayer(l); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// FromStore is an image of the store, to be sent away.
func FromStore(s *image.Store, img *image.Image) (*Image, error) {
	p, err := fromStore(s, img)
	if err != nil {
		return nil, err
	}
	return p.checked()
}

func fromStore(s *image.Store, img *image.Image) (*Image, error) {
	m, err := s.Manifest(img.Manifest)
	if err != nil {
		return nil, err
	}
	return newPushable(m.Bytes, s.OpenSized)
}

// Open opens a blob. Its reader fails at the end, before the last byte is
// handed out, if the blob does not have its digest or size.
func (p *Image) Open(d ocispec.Descriptor) (io.ReadCloser, error) {
	r, err := p.open(d)
	if err != nil {
		return nil, err
	}
	return &verifying{r: r, sum: sha256.New(), want: d.Digest, left: d.Size}, nil
}

// Close lets go of where the image is.
func (p *Image) Close() { p.close() }

// verifying is a blob being read.
type verifying struct {
	r    io.ReadCloser
	sum  hash.Hash
	want digest.Digest
	left int64 // bytes
}

func (v *verifying) Close() error { return v.r.Close() }

func (v *verifying) Read(p []byte) (int, error) {
	n, err := v.r.Read(p)
	v.sum.Write(p[:n])
	v.left -= int64(n)
	switch {
	case v.left < 0 || err == io.EOF && v.left > 0:
		return 0, oci.Damaged(v.want, "it does not have the size that its manifest says")
	case v.left == 0 && n > 0:
		if got := digest.NewDigest(digest.SHA256, v.sum); got != v.want {
			return 0, oci.Damaged(v.want, fmt.Sprintf("its content has digest %s", got))
		}
	}
	return n, err
}

// Repositories are those of a registry that an image here with this layer has
// a name in: the registry may have the layer in one of them.
func Repositories(s *image.Store, domain string, layer digest.Digest) []string {
	ix, err := s.ReadIndex()
	if err != nil {
		return nil
	}
	var paths []string
	for _, d := range ix.Manifests {
		r, ok := store.NameOf(d)
		if !ok || r.Domain != domain || slices.Contains(paths, r.Path) {
			continue
		}
		m, err := s.Manifest(d)
		if err == nil && slices.ContainsFunc(m.Layers, func(l ocispec.Descriptor) bool { return l.Digest == layer }) {
			paths = append(paths, r.Path)
		}
	}
	return paths
}

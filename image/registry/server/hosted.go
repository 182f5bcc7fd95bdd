// What a store looks like as a registry: repositories, tags, manifests.

package server

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image"
	"tiffin/image/oci"
	"tiffin/image/reference"
	"tiffin/image/store"
)

// The store as a registry shows it. Other files of this package speak the
// protocol; this one, accept.go, receive.go and referrers.go know the store.
//
// A repository NAME of the registry is the image NAME of the store, as a person
// types it: debian and library/debian are one repository, as they are one image
// in the store. What is pushed to HOST:5000/course/lab1 is course/lab1 here. A
// name whose registry has a port cannot be the name of a repository; such images
// need another tag to be shared.
//
// Repositories are names, nothing else: whoever may read one may ask for any
// manifest or blob by its digest, in whichever repository.

// catalog lists the repositories, sorted.
func catalog(s *image.Store) ([]string, error) {
	ix, err := s.ReadIndex()
	if err != nil {
		return nil, err
	}
	names := []string{}
	for _, d := range ix.Manifests {
		if r, ok := store.NameOf(d); ok {
			if _, err := reference.ParseRepository(r.FamiliarName()); err == nil {
				names = append(names, r.FamiliarName())
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// tags lists the tags of a repository, sorted. An error that wraps ErrNotFound
// says that there is no such repository.
func tags(s *image.Store, repository reference.Reference) ([]string, error) {
	ix, err := s.ReadIndex()
	if err != nil {
		return nil, err
	}
	tags, found := []string{}, false
	for _, d := range ix.Manifests {
		if r, ok := store.NameOf(d); ok && r.Name() == repository.Name() {
			if found = true; r.Tag != "" && r.Digest == "" {
				tags = append(tags, r.Tag)
			}
		}
	}
	if !found {
		return nil, fmt.Errorf("%w: %s", image.ErrNotFound, repository.FamiliarName())
	}
	slices.Sort(tags)
	return slices.Compact(tags), nil
}

// hostedManifest returns the manifest or index that r stands for, byte by byte,
// and not one that an index leads to. Errors wrap ErrNotFound.
func hostedManifest(s *image.Store, r reference.Reference) (ocispec.Descriptor, []byte, error) {
	d := r.Digest
	if d == "" {
		ix, err := s.ReadIndex()
		if err != nil {
			return ocispec.Descriptor{}, nil, err
		}
		found := ix.Find(r)
		img, err := s.MakeBuiltin(r.Familiar(), found)
		if err != nil {
			return ocispec.Descriptor{}, nil, err
		}
		if img != nil {
			found = &img.Manifest
		}
		if found == nil {
			return ocispec.Descriptor{}, nil, fmt.Errorf("%w: %s", image.ErrNotFound, r.Familiar())
		}
		d = found.Digest
	}
	b, err := hostedJSON(s, d)
	if errors.Is(err, fs.ErrNotExist) {
		return ocispec.Descriptor{}, nil, fmt.Errorf("%w: %s", image.ErrNotFound, r.Familiar())
	} else if err != nil {
		return ocispec.Descriptor{}, nil, err
	}
	m, err := oci.ParseDocument(b)
	if err != nil || m.Type() == "" {
		return ocispec.Descriptor{}, nil, fmt.Errorf("%w: %s is no manifest", image.ErrNotFound, d)
	}
	return m.Descriptor(), b, nil
}

// hostedJSON reads a small blob that an image has or that waits for a manifest,
// and checks its digest.
func hostedJSON(s *image.Store, d digest.Digest) ([]byte, error) {
	return oci.ReadBlob(d, func(d digest.Digest) (io.ReadCloser, error) { return openBlob(s, d) })
}

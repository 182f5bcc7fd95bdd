package image

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// The store as a registry shows it: package image/registry/server speaks the
// protocol, this file and upload.go know what it means here.
//
// A repository NAME of the registry is the image NAME of the store, as a person
// types it: debian and library/debian are one repository, and so are both in
// the store. What is pushed to HOST:5000/course/lab1 is course/lab1 here. A name
// whose registry has a port cannot be said in a repository's name; such images
// have to be tagged to be shared.
//
// Repositories are names, nothing else: whoever may read one may ask for any
// manifest or blob by its digest, in whichever repository.

// ParseRepository reads a repository's name. OCI distribution-spec v1.1,
// "Pulling manifests": [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/…)*
func ParseRepository(name string) (Ref, error) {
	if strings.ContainsAny(name, ":@") || strings.ToLower(name) != name {
		return Ref{}, fmt.Errorf("%q is no name of a repository", name)
	}
	r, err := parseRef(name)
	if err != nil {
		return Ref{}, fmt.Errorf("%q is no name of a repository: %w", name, err)
	}
	r.Tag = ""
	return r, nil
}

// With is the image of a repository that a tag or digest stands for.
func (r Ref) With(reference string) (Ref, error) {
	r.Tag, r.Digest = "", ""
	switch {
	case validDigest(digest.Digest(reference)):
		r.Digest = digest.Digest(reference)
	case validTag(reference):
		r.Tag = reference
	default:
		return r, fmt.Errorf("%q is neither a tag nor a sha256 digest", reference)
	}
	return r, nil
}

// Catalog lists the repositories, sorted.
func (s *Store) Catalog() ([]string, error) {
	ix, err := s.readIndex()
	if err != nil {
		return nil, err
	}
	names := []string{}
	for _, d := range ix.Manifests {
		if r, ok := descriptorName(d); ok {
			if _, err := ParseRepository(r.FamiliarName()); err == nil {
				names = append(names, r.FamiliarName())
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// Tags lists the tags of a repository, sorted. An error that wraps ErrNotFound
// says that there is no such repository.
func (s *Store) Tags(repository Ref) ([]string, error) {
	ix, err := s.readIndex()
	if err != nil {
		return nil, err
	}
	tags, found := []string{}, false
	for _, d := range ix.Manifests {
		if r, ok := descriptorName(d); ok && r.Name() == repository.Name() {
			if found = true; r.Tag != "" && r.Digest == "" {
				tags = append(tags, r.Tag)
			}
		}
	}
	if !found {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, repository.FamiliarName())
	}
	slices.Sort(tags)
	return slices.Compact(tags), nil
}

// HostedManifest returns the manifest or index that r stands for, byte by byte,
// and not one that an index leads to. Errors wrap ErrNotFound.
func (s *Store) HostedManifest(r Ref) (ocispec.Descriptor, []byte, error) {
	d := r.Digest
	if d == "" {
		ix, err := s.readIndex()
		if err != nil {
			return ocispec.Descriptor{}, nil, err
		}
		found := ix.find(r)
		if b, ok := s.builtinFor(r.Familiar(), found); ok {
			img, err := s.materialise(b)
			if err != nil {
				return ocispec.Descriptor{}, nil, err
			}
			found = &img.Manifest
		}
		if found == nil {
			return ocispec.Descriptor{}, nil, fmt.Errorf("%w: %s", ErrNotFound, r.Familiar())
		}
		d = found.Digest
	}
	b, err := s.hostedJSON(d)
	if errors.Is(err, fs.ErrNotExist) {
		return ocispec.Descriptor{}, nil, fmt.Errorf("%w: %s", ErrNotFound, r.Familiar())
	} else if err != nil {
		return ocispec.Descriptor{}, nil, err
	}
	mediaType := manifestType(b)
	if mediaType == "" {
		return ocispec.Descriptor{}, nil, fmt.Errorf("%w: %s is no manifest", ErrNotFound, d)
	}
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(b))}, b, nil
}

// hostedJSON reads a small blob that an image has or that waits for a manifest,
// and checks its digest.
func (s *Store) hostedJSON(d digest.Digest) ([]byte, error) {
	f, err := s.OpenBlob(d)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	b, err := readMax(f, st.Size(), maxJSON)
	if err != nil {
		return nil, fmt.Errorf("read blob %s: %w", d, err)
	}
	if got := digest.FromBytes(b); got != d {
		return nil, damagedBlob(d, fmt.Sprintf("its content has digest %s", got))
	}
	return b, nil
}

// anyManifest is what a manifest or an index may have.
type anyManifest struct {
	ocispec.Manifest
	Manifests []ocispec.Descriptor `json:"manifests"`
}

// manifestType is the media type of a manifest or index, "" for anything else.
// OCI image-spec v1.1 manifest.md, "mediaType": it "SHOULD be used".
func manifestType(b []byte) string {
	var m anyManifest
	if unmarshal(b, &m) != nil {
		return ""
	}
	switch {
	case slices.Contains(manifestTypes[:], m.MediaType):
		return m.MediaType
	case m.MediaType != "":
		return ""
	case m.Manifests != nil:
		return ocispec.MediaTypeImageIndex
	case validDigest(m.Config.Digest):
		return ocispec.MediaTypeImageManifest
	}
	return ""
}

var manifestTypes = [...]string{ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex, dockerManifest, dockerList}

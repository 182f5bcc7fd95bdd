// The file index.json: which names stand for which manifests, and how it is replaced.

package store

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"

	digest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"tiffin/image/layer"
	"tiffin/image/oci"
	"tiffin/image/reference"
)

// Annotations of a descriptor in index.json.
//
// org.opencontainers.image.ref.name holds the familiar form, "debian:latest":
// it is what skopeo, podman and umoci match the part after the directory with,
// so `skopeo copy oci:$TIFFIN_ROOT:debian:latest …` takes exactly the name that
// `tiffin images` shows. io.containerd.image.name holds the whole name, which
// is where containerd looks for one. What others have written into the index is
// read the same way and normalised; a descriptor without a usable name is an
// image without a name.
const (
	annotationRef        = ocispec.AnnotationRefName
	annotationContainerd = "io.containerd.image.name"
)

// annotationUnfit says why something that was pushed here cannot be run as an image. A registry
// keeps other things too.
const annotationUnfit = "tiffin.unfit"

// Unfit marks a descriptor of what cannot be run, or takes the mark away if why is nil.
func Unfit(d ocispec.Descriptor, why error) ocispec.Descriptor {
	d.Annotations = nil
	if why != nil {
		text := why.Error()
		d.Annotations = map[string]string{annotationUnfit: text[:min(len(text), 500)]} // a stranger's words are in it
	}
	return d
}

// WhyUnfit is what Unfit noted, or "".
func WhyUnfit(d ocispec.Descriptor) string { return d.Annotations[annotationUnfit] }

// annotationTop is the digest of the index that led to a manifest when it was pulled. The index is
// kept, but not its images for other machines.
const annotationTop = "tiffin.index"

// Below notes which index has led to a manifest.
func Below(top digest.Digest, d ocispec.Descriptor) ocispec.Descriptor {
	if top != d.Digest {
		d.Annotations = map[string]string{annotationTop: top.String()}
	}
	return d
}

// Top is the digest of what a registry has under a name: of the index that led to a manifest, or of
// the manifest.
func Top(d ocispec.Descriptor) digest.Digest {
	if top := digest.Digest(d.Annotations[annotationTop]); reference.ValidDigest(top) {
		return top
	}
	return d.Digest
}

// Nameless is a descriptor without the annotations that are about one name of it.
func Nameless(d ocispec.Descriptor) ocispec.Descriptor {
	all := d.Annotations
	d.Annotations = nil
	for _, key := range []string{annotationUnfit, annotationTop} {
		if v := all[key]; v != "" {
			if d.Annotations == nil {
				d.Annotations = map[string]string{}
			}
			d.Annotations[key] = v
		}
	}
	return d
}

// Index is index.json: which names stand for which manifests.
type Index struct {
	ocispec.Index
	From string // directory of the additional store that it is from; "" for the own one
}

// ReadIndex reads index.json. It takes no lock: the file is replaced by
// rename(2), so a reader sees the old one or the new one.
func (s *Store) ReadIndex() (*Index, error) {
	f, err := layer.OpenStored(s.root, "index.json")
	if err != nil {
		return nil, fmt.Errorf("read the store's index: %w", err)
	}
	defer f.Close()
	b, err := oci.ReadMax(f, oci.MaxJSON)
	if err != nil {
		return nil, fmt.Errorf("read the store's index: %w", err)
	}
	ix := &Index{}
	if err := json.Unmarshal(b, &ix.Index); err != nil {
		return nil, fmt.Errorf("%s is not an OCI image index: %w", s.Path("index.json"), err)
	}
	return ix, nil
}

// WriteIndex replaces index.json. The caller holds the store's lock.
func (s *Store) WriteIndex(ix *Index) error {
	ix.Versioned = specs.Versioned{SchemaVersion: 2}
	if ix.Manifests == nil {
		ix.Manifests = []ocispec.Descriptor{}
	}
	b, err := json.Marshal(ix.Index)
	if err == nil && len(b) > oci.MaxJSON {
		err = fmt.Errorf("%d names are more than fit into it", len(ix.Manifests))
	}
	if err != nil {
		return fmt.Errorf("write the store's index: %w", err)
	}
	tmp, err := lockDir(s.Path("tmp"), unix.LOCK_SH) // keeps sweep out
	if err != nil {
		return fmt.Errorf("write the store's index: %w", err)
	}
	defer tmp.Close()
	err = s.replaceIndex(b)
	if NoSpace(err) && os.Remove(s.Path(ReserveName)) == nil {
		err = s.replaceIndex(b)
	}
	if err == nil {
		s.reserve(len(b))
	}
	return err
}

// ReserveName is a file that is deleted when the disk is full, to make room: before an image is
// deleted, a new index must be written.
const ReserveName = "reserve"

// reserve makes room for the next index, if there is none and the disk has some.
func (s *Store) reserve(size int) {
	size += 64 << 10 // bytes
	if st, err := os.Stat(s.Path(ReserveName)); err == nil && st.Size() >= int64(size) {
		return
	}
	f, err := os.OpenFile(s.Path(ReserveName), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	if err := unix.Fallocate(int(f.Fd()), 0, 0, 2*int64(size)); err != nil {
		os.Remove(s.Path(ReserveName)) // half of it is not enough
	}
}

// replaceIndex is WriteIndex with the bytes of the index.
func (s *Store) replaceIndex(b []byte) error {
	next := s.Path("tmp", "index.json") // one name: under the lock there is one writer
	if err := WriteFile(next, b, true); err != nil {
		return fmt.Errorf("write the store's index: %w", err)
	}
	if file, _ := s.modes(); file != 0o600 {
		if err := os.Chmod(next, file); err != nil {
			return fmt.Errorf("write the store's index: %w", err)
		}
	}
	if err := os.Rename(next, s.Path("index.json")); err != nil {
		return fmt.Errorf("write the store's index: %w", err)
	}
	if err := syncDir(s.root); err != nil {
		return fmt.Errorf("write the store's index: %w", err)
	}
	return nil
}

// NameOf is the name that a descriptor gives its manifest, if any. The whole name
// (io.containerd.image.name) counts if ref.name is the same, or its tag alone, as docker and
// containerd write it. Otherwise ref.name counts: umoci tags by copying a descriptor and changing
// only that.
func NameOf(d ocispec.Descriptor) (reference.Reference, bool) {
	short := d.Annotations[annotationRef]
	r, err := reference.Parse(d.Annotations[annotationContainerd])
	if err != nil || short != "" && !slices.Contains([]string{r.Tag, r.Familiar(), r.String()}, short) {
		r, err = reference.Parse(short)
	}
	return r, err == nil
}

// Annotations give a manifest a name, by which this program and others find it.
func Annotations(r reference.Reference) map[string]string {
	return map[string]string{annotationRef: r.Familiar(), annotationContainerd: r.String()}
}

// Find returns the descriptor with the name, or nil.
func (ix *Index) Find(r reference.Reference) *ocispec.Descriptor {
	for i := range ix.Manifests {
		if n, ok := NameOf(ix.Manifests[i]); ok && n == r {
			return &ix.Manifests[i]
		}
	}
	return nil
}

// Set makes name stand for the manifest, and no other. An image that loses
// its last name stays, without one, until it is removed or pruned.
func (ix *Index) Set(r reference.Reference, manifest ocispec.Descriptor, extra map[string]string) {
	if old := ix.Find(r); old != nil && old.Digest != manifest.Digest {
		ix.Unset(r)
	}
	ann := Annotations(r)
	maps.Copy(ann, Nameless(manifest).Annotations)
	maps.Copy(ann, extra)
	manifest.Annotations = ann
	if old := ix.Find(r); old != nil {
		*old = manifest
		return
	}
	// A descriptor without a name is for an image without any.
	ix.Manifests = slices.DeleteFunc(ix.Manifests, func(d ocispec.Descriptor) bool {
		_, named := NameOf(d)
		return d.Digest == manifest.Digest && !named
	})
	ix.Manifests = append(ix.Manifests, manifest)
}

// Add records a manifest without giving it a name.
func (ix *Index) Add(manifest ocispec.Descriptor) {
	for _, d := range ix.Manifests {
		if d.Digest == manifest.Digest {
			return
		}
	}
	ix.Manifests = append(ix.Manifests, Nameless(manifest))
}

// Unset takes a name off its manifest, which stays in the index.
func (ix *Index) Unset(r reference.Reference) {
	d := ix.Find(r)
	if d == nil {
		return
	}
	manifest := *d
	ix.Manifests = slices.DeleteFunc(ix.Manifests, func(d ocispec.Descriptor) bool {
		n, ok := NameOf(d)
		return ok && n == r
	})
	ix.Add(manifest)
}

// Drop removes a manifest with all its names.
func (ix *Index) Drop(manifest ocispec.Descriptor) {
	ix.Manifests = slices.DeleteFunc(ix.Manifests, func(d ocispec.Descriptor) bool { return d.Digest == manifest.Digest })
}

// LockIndex returns index.json, which nobody else changes until release is called.
func (s *Store) LockIndex() (ix *Index, release func(), err error) {
	if release, err = s.Lock(unix.LOCK_EX); err != nil {
		return nil, nil, err
	}
	if ix, err = s.ReadIndex(); err != nil {
		release()
		return nil, nil, err
	}
	return ix, release, nil
}

// Update changes index.json under the store's lock.
func (s *Store) Update(change func(*Index) error) error {
	ix, release, err := s.LockIndex()
	if err != nil {
		return err
	}
	defer release()
	if err := change(ix); err != nil {
		return err
	}
	return s.WriteIndex(ix)
}

// Names are all names of a manifest.
func (ix *Index) Names(manifest digest.Digest) (rs []reference.Reference) {
	for _, d := range ix.Manifests {
		if r, ok := NameOf(d); ok && d.Digest == manifest {
			rs = append(rs, r)
		}
	}
	return rs
}

// FindAny is Find, but a digest decides alone: NAME:TAG@DIGEST is the image of
// that repository with that digest, whatever the tag is today.
func (ix *Index) FindAny(r reference.Reference) *ocispec.Descriptor {
	if d := ix.Find(r); d != nil || r.Digest == "" {
		return d
	}
	for i := range ix.Manifests {
		d := &ix.Manifests[i]
		// Or the digest is that of the index which a pull followed to it.
		if n, ok := NameOf(*d); ok && n.Name() == r.Name() && slices.Contains([]digest.Digest{d.Digest, Top(*d), n.Digest}, r.Digest) {
			return d
		}
	}
	return nil
}

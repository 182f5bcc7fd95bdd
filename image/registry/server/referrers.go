// Manifests that are about another, and the deletion of manifests and blobs.

package server

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image"
	"tiffin/image/oci"
	"tiffin/image/reference"
	"tiffin/image/store"
)

// Referrers returns the manifests that have d as their subject, in the order of
// their digests. OCI distribution-spec v1.1, "Listing Referrers".
func Referrers(s *image.Store, d digest.Digest) ([]ocispec.Descriptor, error) {
	names, err := os.ReadDir(s.Path(store.ReferrersName, d.Encoded()))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("referrers of %s: %w", d, err)
	}
	all := []ocispec.Descriptor{}
	for _, n := range names {
		b, err := s.ReadBlob(digest.NewDigestFromEncoded(digest.SHA256, n.Name()))
		if err != nil {
			continue // it is just being deleted, or damaged: there is no other copy
		}
		if m, err := oci.ParseDocument(b); err == nil {
			all = append(all, referrer(m))
		}
	}
	slices.SortFunc(all, func(a, b ocispec.Descriptor) int { return cmp.Compare(a.Digest, b.Digest) })
	return all, nil
}

// referrer describes a manifest in a list of referrers: "The value of the
// artifactType field … MUST be set to the config descriptor's mediaType" if the
// manifest has none itself, which an index may do without.
func referrer(m *oci.Document) ocispec.Descriptor {
	d := m.Descriptor()
	d.Annotations, d.ArtifactType = m.Annotations, m.ArtifactType
	if d.ArtifactType == "" {
		d.ArtifactType = m.Config.MediaType
	}
	return d
}

// artifact adds a manifest that is no image, but about one.
func (a *accepting) artifact() error {
	for _, d := range append(a.m.Layers, a.m.Config) {
		if err := a.present(d); err != nil {
			return err
		}
		if err := a.take(d.Digest, nil); err != nil {
			return err
		}
	}
	d, err := a.st.PutBlob(a.bytes)
	if err != nil {
		return err
	}
	// Before the lock is let go of: what nothing refers to is garbage.
	a.referred = true
	return a.s.Publish(a.st, func(*store.Index) error { return a.s.AddReferrer(a.m.Subject.Digest, d) })
}

// ErrNeeded is wrapped by errors that say that something cannot be deleted by
// itself.
var ErrNeeded = errors.New("an image here needs it")

// ErrForeign is wrapped by errors that say that something belongs to somebody else.
var ErrForeign = errors.New("it is not of a repository of yours")

// DeleteManifest takes what r stands for out of its repository. A tag goes alone;
// of a digest all tags of the repository. What has no name any more then is
// deleted, with what nothing else needs, unless a container was made from it.
//
// Some things have a digest and no repository: may tells whether those may be deleted
// that belong to what has the name, or for the zero Reference to nothing that has one.
// Errors wrap ErrNotFound, ErrNeeded or ErrForeign.
func DeleteManifest(s *image.Store, r reference.Reference, may func(reference.Reference) bool) error {
	err := deleteManifest(s, r, may)
	if errors.Is(err, errWaits) {
		if !may(reference.Reference{}) {
			return fmt.Errorf("%s: %w", r.Digest, ErrForeign)
		}
		if err = DeleteBlob(s, r.Digest); errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w: %s", image.ErrNotFound, r.Familiar())
		}
	}
	return err
}

// errWaits says that a manifest has no name and no subject, and waits for an index that names it.
var errWaits = errors.New("it waits for its index")

func deleteManifest(s *image.Store, r reference.Reference, may func(reference.Reference) bool) error {
	ix, release, err := s.LockIndex()
	if err != nil {
		return err
	}
	defer release()
	var names []reference.Reference
	var gone *ocispec.Descriptor
	for _, d := range ix.Manifests {
		n, named := store.NameOf(d)
		mine := n == r || r.Digest != "" && d.Digest == r.Digest && (!named || n.Name() == r.Name())
		if !mine {
			continue
		}
		if d = image.Unannotated(d); named {
			names = append(names, n)
		} else if !may(reference.Reference{}) {
			return fmt.Errorf("%s: %w", r.Digest, ErrForeign)
		}
		gone = &d
	}
	if gone == nil {
		return deleteReferrer(s, ix, r, may)
	}
	for _, n := range names {
		ix.Unset(n)
	}
	if _, used, err := s.Used(*gone); err != nil {
		return err
	} else if used || len(ix.Names(gone.Digest)) > 0 {
		return s.WriteIndex(ix)
	}
	ix.Drop(*gone)
	_, err = s.Dropped(ix, *gone)
	return err
}

// deleteReferrer deletes a manifest that is about another, and belongs to whom that does.
func deleteReferrer(s *image.Store, ix *store.Index, r reference.Reference, may func(reference.Reference) bool) error {
	if r.Digest == "" {
		return fmt.Errorf("%w: %s", image.ErrNotFound, r.Familiar())
	}
	if subject := s.Subject(r.Digest); subject != "" && store.Readable(s.ReferrerPath(subject, r.Digest)) {
		for _, owner := range owners(s, ix, subject) {
			if !may(owner) {
				return fmt.Errorf("%s: %w", r.Digest, ErrForeign)
			}
		}
		_, err := s.CollectOf(ix, []ocispec.Descriptor{{Digest: r.Digest}})
		return err
	}
	if names := ix.Names(r.Digest); len(names) > 0 {
		return fmt.Errorf("%s: %w: in this repository it has no tag, but it is %s", r.Digest, ErrNeeded, strings.Join(image.Familiar(names), ", "))
	}
	if _, _, err := HostedManifest(s, r); err != nil {
		return err
	}
	if store.Readable(s.Incoming(r.Digest, store.IncomingBlob)) && !store.Readable(s.FindBlob(r.Digest)) {
		return errWaits
	}
	return fmt.Errorf("%s: %w", r.Digest, ErrNeeded)
}

// owners are the names of a subject, or of what it is about itself; the zero Reference if it has
// none.
func owners(s *image.Store, ix *store.Index, subject digest.Digest) []reference.Reference {
	for seen := map[digest.Digest]bool{}; subject != "" && !seen[subject]; subject = s.Subject(subject) {
		if names := ix.Names(subject); len(names) > 0 {
			return names
		}
		seen[subject] = true
	}
	return []reference.Reference{{}}
}

// DeleteBlob deletes a blob that waits for a manifest. Errors wrap
// fs.ErrNotExist, or ErrNeeded if an image has it.
func DeleteBlob(s *image.Store, d digest.Digest) error {
	f, err := OpenBlob(s, d)
	if err != nil {
		return err
	}
	f.Close()
	st, err := s.Stage()
	if err != nil {
		return err
	}
	defer st.Close() // and with it what is moved there
	if err := os.Rename(s.Incoming(d, ""), st.Path(d.Encoded())); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", d, ErrNeeded)
	} else if err != nil {
		return fmt.Errorf("delete blob %s: %w", d, err)
	}
	return nil
}

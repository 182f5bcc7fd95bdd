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

// Referrers returns the manifests of a repository that have d as their subject, in the order of
// their digests. OCI distribution-spec v1.1, "Listing Referrers".
func Referrers(s *image.Store, repo reference.Reference, d digest.Digest) ([]ocispec.Descriptor, error) {
	names, err := os.ReadDir(s.Path(store.ReferrersName, d.Encoded()))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("referrers of %s: %w", d, err)
	}
	all := []ocispec.Descriptor{}
	for _, n := range names {
		is := digest.NewDigestFromEncoded(digest.SHA256, n.Name())
		b, err := s.ReadBlob(is)
		if err != nil || !slices.Contains(s.RefersIn(d, is), repo.Name()) {
			continue // or it is just being deleted, or damaged: there is no other copy
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

// errNeeded is wrapped by errors that say that something cannot be deleted by
// itself.
var errNeeded = errors.New("an image here needs it")

// errForeign is wrapped by errors that say that something belongs to another user.
var errForeign = errors.New("it is not of a repository of yours")

// deleteManifest takes what r stands for out of its repository: a tag alone; or for a digest, all
// its tags in the repository, and the record of its subject there. If it is in no repository then,
// it is deleted, with what nothing else needs, unless a container was made from it.
//
// A manifest that has lost its names is in no repository; it is deleted if all is set.
// Errors wrap ErrNotFound, errNeeded or errForeign.
func deleteManifest(s *image.Store, r reference.Reference, all bool) error {
	ix, release, err := s.LockIndex()
	if err != nil {
		return err
	}
	defer release()
	gone, others := ocispec.Descriptor{}, false
	for _, d := range slices.Clone(ix.Manifests) {
		n, named := store.NameOf(d)
		switch {
		case n == r || r.Digest != "" && d.Digest == r.Digest && n.Name() == r.Name():
			ix.Unset(n)
		case d.Digest != r.Digest || named:
			continue
		case !all:
			return fmt.Errorf("%s: %w", r.Digest, errForeign)
		}
		gone = store.Nameless(d)
	}
	if subject := s.Subject(r.Digest); subject != "" && slices.Contains(s.RefersIn(subject, r.Digest), r.Name()) {
		gone.Digest = r.Digest
		if others, err = s.RemoveReferrerIn(subject, r.Digest, r.Name()); err != nil {
			return err
		}
	}
	if gone.Digest == "" {
		return notDeleted(s, ix, r)
	}
	if others {
		return s.WriteIndex(ix)
	}
	return s.DeleteUnnamed(ix, gone)
}

// notDeleted says why what is not in a repository cannot be deleted there.
func notDeleted(s *image.Store, ix *store.Index, r reference.Reference) error {
	if r.Digest == "" {
		return fmt.Errorf("%w: %s", image.ErrNotFound, r.Familiar())
	}
	if names := ix.Names(r.Digest); len(names) > 0 {
		return fmt.Errorf("%s: %w: in this repository it has no tag, but it is %s", r.Digest, errNeeded, strings.Join(image.Familiar(names), ", "))
	}
	if subject := s.Subject(r.Digest); subject != "" && len(s.RefersIn(subject, r.Digest)) > 0 {
		return fmt.Errorf("%s: %w", r.Digest, errForeign)
	}
	if _, _, err := hostedManifest(s, r); err != nil {
		return err
	}
	return fmt.Errorf("%s: %w", r.Digest, errNeeded)
}

// deleteBlob deletes a blob that waits for a manifest. Errors wrap
// fs.ErrNotExist, or errNeeded if an image has it.
func deleteBlob(s *image.Store, d digest.Digest) error {
	f, err := openBlob(s, d)
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
		return fmt.Errorf("%s: %w", d, errNeeded)
	} else if err != nil {
		return fmt.Errorf("delete blob %s: %w", d, err)
	}
	return nil
}

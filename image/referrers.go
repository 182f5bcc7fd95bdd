package image

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image/oci"
	"tiffin/image/reference"
)

// What is said about an image — a signature, a list of what is in it — is a
// manifest of its own that names the image as its subject: OCI image-spec v1.1
// manifest.md, "subject". It is no image and has no name, so index.json does not
// have it. That it is there is an empty file,
//
//	referrers/SUBJECT/MANIFEST
//
// both in hexadecimal digits; the manifest and its blobs are blobs like others.
// They live as long as the subject does, whoever else goes. It "MAY" come before
// its subject, and then waits for it as long as a blob waits for its manifest.
const referrersName = "referrers"

// Referrers returns the manifests that have d as their subject, in the order of
// their digests. OCI distribution-spec v1.1, "Listing Referrers".
func (s *Store) Referrers(d digest.Digest) ([]ocispec.Descriptor, error) {
	names, err := os.ReadDir(s.path(referrersName, d.Encoded()))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("referrers of %s: %w", d, err)
	}
	all := []ocispec.Descriptor{}
	for _, n := range names {
		b, err := s.readBlob(digest.NewDigestFromEncoded(digest.SHA256, n.Name()))
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

// subject is the digest of what a manifest of the store is about, or "".
func (s *Store) subject(manifest digest.Digest) digest.Digest {
	b, err := s.readBlob(manifest)
	if err != nil {
		return ""
	}
	m, err := oci.ParseDocument(b)
	if err != nil || m.Subject == nil || !reference.ValidDigest(m.Subject.Digest) {
		return ""
	}
	return m.Subject.Digest
}

func (s *Store) referrer(subject, manifest digest.Digest) string {
	return s.path(referrersName, subject.Encoded(), manifest.Encoded())
}

// refer notes that a manifest of the store is about a subject. It is durable
// when it returns. The caller has the lock.
func (s *Store) refer(subject, manifest digest.Digest) error {
	file := s.referrer(subject, manifest)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return diskError(err)
	}
	if err := writeFile(file, nil, true); err != nil {
		return err
	}
	for dir := filepath.Dir(file); dir != s.root; dir = filepath.Dir(dir) {
		if err := syncDir(dir); err != nil {
			return err
		}
	}
	return syncDir(s.root)
}

// unrefer forgets it. The caller has the lock.
func (s *Store) unrefer(subject, manifest digest.Digest) {
	file := s.referrer(subject, manifest)
	os.Remove(file)
	os.Remove(filepath.Dir(file)) // if it is empty
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
	d, err := a.st.putBlob(a.bytes)
	if err != nil {
		return err
	}
	// Before the lock is let go of: what nothing refers to is garbage.
	a.referred = true
	return a.st.publish(func(*refIndex) error { return a.s.refer(a.m.Subject.Digest, d) })
}

// addReferrers adds to n, which has what images need, what is about any of it,
// and what is about that, and so on; then what still waits for its subject. What is
// about something that is gone, or has waited for too long, is forgotten, and
// added to gone unless that stands for everything.
func (n *needs) addReferrers(s *Store, gone *needs) (err error) {
	left, rerr := os.ReadDir(s.path(referrersName)) // most stores have none
	if rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
		return rerr
	}
	keep := func(_, r digest.Digest) {
		if aerr := n.add(s, ocispec.Descriptor{Digest: r}); aerr != nil && !errors.Is(aerr, oci.ErrDamaged) {
			err = errors.Join(err, aerr)
		}
	}
	forget := func(subject, r digest.Digest) {
		if gone.blobs != nil {
			gone.add(s, ocispec.Descriptor{Digest: r}) // as far as it can be read
		}
		s.unrefer(subject, r)
	}
	// settle does with what is about a subject, for all to which that applies;
	// it may apply to more afterwards.
	settle := func(applies func(fs.DirEntry) bool, do func(subject, r digest.Digest)) {
		for before := -1; before != len(left); {
			before = len(left)
			left = slices.DeleteFunc(left, func(e fs.DirEntry) bool {
				if !applies(e) {
					return false
				}
				for _, r := range s.referrerNames(e.Name()) {
					do(digest.NewDigestFromEncoded(digest.SHA256, e.Name()), r)
				}
				return true
			})
		}
	}
	here := func(e fs.DirEntry) bool { return n.blobs[e.Name()] }
	settle(here, keep)
	if err != nil {
		return err // nothing has been forgotten yet
	}
	settle(func(e fs.DirEntry) bool { return gone.blobs[e.Name()] }, forget)
	settle(func(e fs.DirEntry) bool { return here(e) || young(e) }, keep)
	settle(func(fs.DirEntry) bool { return true }, forget)
	return err
}

// young reports whether a directory has changed within the time that a blob waits.
func young(dir fs.DirEntry) bool {
	info, err := dir.Info()
	return err == nil && time.Since(info.ModTime()) < incomingAge
}

func (s *Store) referrerNames(subject string) (all []digest.Digest) {
	names, _ := os.ReadDir(s.path(referrersName, subject))
	for _, n := range names {
		if d := digest.NewDigestFromEncoded(digest.SHA256, n.Name()); reference.ValidDigest(d) {
			all = append(all, d)
		}
	}
	return all
}

// ErrNeeded is wrapped by errors that say that something cannot be deleted by
// itself.
var ErrNeeded = errors.New("an image here needs it")

// DeleteManifest takes what r stands for out of its repository. A tag goes alone;
// of a digest all tags of the repository. What has no name any more then is
// deleted, with what nothing else needs, unless a container was made from it.
// Errors wrap ErrNotFound or ErrNeeded.
func (s *Store) DeleteManifest(r reference.Reference) error {
	err := s.deleteManifest(r)
	if errors.Is(err, errWaits) {
		if err = s.DeleteBlob(r.Digest); errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w: %s", ErrNotFound, r.Familiar())
		}
	}
	return err
}

// errWaits says that a manifest has no name and no subject, and waits for an index that names it.
var errWaits = errors.New("it waits for its index")

func (s *Store) deleteManifest(r reference.Reference) error {
	ix, release, err := s.lockIndex()
	if err != nil {
		return err
	}
	defer release()
	var names []reference.Reference
	var gone *ocispec.Descriptor
	for _, d := range ix.Manifests {
		n, named := descriptorName(d)
		mine := n == r || r.Digest != "" && d.Digest == r.Digest && (!named || n.Name() == r.Name())
		if !mine {
			continue
		}
		if d = unannotated(d); named {
			names = append(names, n)
		}
		gone = &d
	}
	if gone == nil {
		return s.deleteReferrer(ix, r)
	}
	for _, n := range names {
		ix.unset(n)
	}
	if _, used, err := s.used(*gone); err != nil {
		return err
	} else if used || len(ix.names(gone.Digest)) > 0 {
		return s.writeIndex(ix)
	}
	ix.drop(*gone)
	_, err = s.dropped(ix, *gone)
	return err
}

// deleteReferrer deletes a manifest that is about another.
func (s *Store) deleteReferrer(ix *refIndex, r reference.Reference) error {
	if r.Digest == "" {
		return fmt.Errorf("%w: %s", ErrNotFound, r.Familiar())
	}
	if subject := s.subject(r.Digest); subject != "" && readable(s.referrer(subject, r.Digest)) {
		_, err := s.collectOf(ix, []ocispec.Descriptor{{Digest: r.Digest}})
		return err
	}
	if names := ix.names(r.Digest); len(names) > 0 {
		return fmt.Errorf("%s: %w: in this repository it has no tag, but it is %s", r.Digest, ErrNeeded, strings.Join(familiar(names), ", "))
	}
	if _, _, err := s.HostedManifest(r); err != nil {
		return err
	}
	if readable(s.incoming(r.Digest, incomingBlob)) && !readable(s.findBlob(r.Digest)) {
		return errWaits
	}
	return fmt.Errorf("%s: %w", r.Digest, ErrNeeded)
}

// DeleteBlob deletes a blob that waits for a manifest. Errors wrap
// fs.ErrNotExist, or ErrNeeded if an image has it.
func (s *Store) DeleteBlob(d digest.Digest) error {
	f, err := s.OpenBlob(d)
	if err != nil {
		return err
	}
	f.Close()
	st, err := s.stage()
	if err != nil {
		return err
	}
	defer st.close() // and with it what is moved there
	if err := os.Rename(s.incoming(d, ""), st.path(d.Encoded())); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", d, ErrNeeded)
	} else if err != nil {
		return fmt.Errorf("delete blob %s: %w", d, err)
	}
	return nil
}

// Manifests that are about another: signatures, lists of contents.
//
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

package store

import (
	"io/fs"
	"os"
	"path/filepath"
	"time"

	digest "github.com/opencontainers/go-digest"

	"tiffin/image/reference"
)

const ReferrersName = "referrers"

func (s *Store) ReferrerPath(subject, manifest digest.Digest) string {
	return s.Path(ReferrersName, subject.Encoded(), manifest.Encoded())
}

// AddReferrer notes that a manifest of the store is about a subject. It is durable
// when it returns. The caller has the lock.
func (s *Store) AddReferrer(subject, manifest digest.Digest) error {
	file := s.ReferrerPath(subject, manifest)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return DiskError(err)
	}
	if err := WriteFile(file, nil, true); err != nil {
		return err
	}
	for dir := filepath.Dir(file); dir != s.root; dir = filepath.Dir(dir) {
		if err := syncDir(dir); err != nil {
			return err
		}
	}
	return syncDir(s.root)
}

// RemoveReferrer forgets it. The caller has the lock.
func (s *Store) RemoveReferrer(subject, manifest digest.Digest) {
	file := s.ReferrerPath(subject, manifest)
	os.Remove(file)
	os.Remove(filepath.Dir(file)) // if it is empty
}

// Young reports whether a directory has changed within the time that a blob waits.
func Young(dir fs.DirEntry) bool {
	info, err := dir.Info()
	return err == nil && time.Since(info.ModTime()) < IncomingAge
}

func (s *Store) ReferrersOf(subject string) (all []digest.Digest) {
	names, _ := os.ReadDir(s.Path(ReferrersName, subject))
	for _, n := range names {
		if d := digest.NewDigestFromEncoded(digest.SHA256, n.Name()); reference.ValidDigest(d) {
			all = append(all, d)
		}
	}
	return all
}

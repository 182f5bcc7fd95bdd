// Manifests that are about another: signatures, lists of contents.
//
// What is said about an image — a signature, a list of what is in it — is a
// manifest of its own that names the image as its subject: OCI image-spec v1.1
// manifest.md, "subject". It is no image and has no name, so index.json does not
// have it. A file records it,
//
//	referrers/SUBJECT/MANIFEST
//
// both in hexadecimal digits, with a line for each repository in which it was said: what is said
// about an image in one is not said in another that has the same image. The manifest and its blobs
// are blobs like others.
// They are kept as long as the subject is. A manifest "MAY" come before its
// subject, and then waits for it as long as a blob waits for its manifest.

package store

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	digest "github.com/opencontainers/go-digest"

	"tiffin/image/reference"
)

const ReferrersName = "referrers"

func (s *Store) referrerPath(subject, manifest digest.Digest) string {
	return s.Path(ReferrersName, subject.Encoded(), manifest.Encoded())
}

// RefersIn are the repositories in which a manifest is about a subject, by their whole names.
func (s *Store) RefersIn(subject, manifest digest.Digest) []string {
	b, _ := os.ReadFile(s.referrerPath(subject, manifest)) // or there are none
	return strings.Fields(string(b))
}

// AddReferrer records that a manifest of the store is about a subject in a repository. The record
// is durable when it returns. The caller has the lock.
func (s *Store) AddReferrer(subject, manifest digest.Digest, repository string) error {
	all := s.RefersIn(subject, manifest)
	if slices.Contains(all, repository) {
		return nil
	}
	return s.writeReferrer(subject, manifest, append(all, repository))
}

// writeReferrer replaces the file, so that there is always a whole one.
func (s *Store) writeReferrer(subject, manifest digest.Digest, repositories []string) error {
	file, next := s.referrerPath(subject, manifest), s.Path("tmp", "referrer") // under the lock there is one writer
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return DiskError(err)
	}
	if err := WriteFile(next, []byte(strings.Join(repositories, "\n")), true); err != nil {
		return err
	}
	if err := os.Rename(next, file); err != nil {
		return err
	}
	for dir := filepath.Dir(file); dir != s.root; dir = filepath.Dir(dir) {
		if err := syncDir(dir); err != nil {
			return err
		}
	}
	return syncDir(s.root)
}

// RemoveReferrerIn deletes that record for one repository, and reports whether there are others.
// The caller has the lock.
func (s *Store) RemoveReferrerIn(subject, manifest digest.Digest, repository string) (others bool, err error) {
	all := slices.DeleteFunc(s.RefersIn(subject, manifest), func(r string) bool { return r == repository })
	if len(all) == 0 {
		s.RemoveReferrer(subject, manifest)
		return false, nil
	}
	return true, s.writeReferrer(subject, manifest, all)
}

// RemoveReferrer deletes it for all repositories. The caller has the lock.
func (s *Store) RemoveReferrer(subject, manifest digest.Digest) {
	file := s.referrerPath(subject, manifest)
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

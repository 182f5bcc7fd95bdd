// Blobs that were pushed here and wait for a manifest.
//
// A registry gets blobs before it is told what image they are for: first all
// blobs, each acknowledged by itself, then the manifest (package server,
// accept.go). What has been acknowledged must not be lost, but belongs to no
// image yet, and would be garbage in blobs/. It waits in
//
//	incoming/HEX/blob                      HEX is the digest of the blob
//	             diffid                    only of a layer: its diff ID
//	             flat.tar  index  blocks  unsynced
//
// which appears by one rename(2), after all of it but what can be rebuilt has
// reached the disk. The manifest that names it links it into a staging
// directory, and from there it goes the way of all blobs.

package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	digest "github.com/opencontainers/go-digest"

	"tiffin/image/oci"
)

const (
	incomingName   = "incoming"
	IncomingBlob   = "blob"
	IncomingDiffID = "diffid"
)

// IncomingAge is how long a blob waits for a manifest that names it.
const IncomingAge = 24 * time.Hour

// KeepIncoming moves a staged blob to incoming/, where it has to be durable:
// its sender is told that it is here.
func (st *Staging) KeepIncoming(l oci.Layer) error {
	dir := st.Path(incomingName)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	if l.DiffID != "" {
		if err := moveFiles(st.Path("layers", l.DiffID.Encoded()), dir, 0o600); err != nil {
			return err
		}
		if err := WriteFile(filepath.Join(dir, IncomingDiffID), []byte(l.DiffID), true); err != nil {
			return err
		}
	}
	if err := os.Rename(st.BlobPath(l.Digest), filepath.Join(dir, IncomingBlob)); err != nil {
		return err
	}
	if err := syncDir(dir); err != nil {
		return err
	}
	if err := os.Mkdir(st.s.Path(incomingName), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	to := st.s.Incoming(l.Digest, "")
	if err := os.Rename(dir, to); errors.Is(err, fs.ErrExist) { // rename(2): it came twice
		now := time.Now()
		if err := os.Chtimes(to, now, now); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	return syncDir(st.s.Path(incomingName))
}

// Incoming is a file of a blob that waits for its manifest.
func (s *Store) Incoming(d digest.Digest, name string) string {
	return s.Path(incomingName, d.Encoded(), name)
}

// SweepIncoming deletes what no manifest has come for, and returns the bytes of
// disk that came free.
func (s *Store) SweepIncoming() (bytes int64) {
	names, _ := os.ReadDir(s.Path(incomingName)) // most stores have none
	for _, n := range names {
		if info, err := n.Info(); err == nil && time.Since(info.ModTime()) > IncomingAge {
			size, _ := RemoveTree(s.Path(incomingName, n.Name()))
			bytes += size
		}
	}
	return bytes
}

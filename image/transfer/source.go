// Package transfer brings images into the store and takes them elsewhere: from and to registries,
// archives and OCI layouts.
//
// An image comes from a Source, which hands out manifests and blobs by their digests, and is not
// believed. Find reads manifest and config of an Image in it. An image that leaves streams blob by
// blob, hashed on the way; nothing is packed anew, so all digests stay, unless that is asked for
// (EStargz). An image that comes is staged: its layers first, then config, manifest and merged
// index. Then all of it is published at once, or nothing.
package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image/oci"
)

// Source is where an image comes from: a repository of a registry, an archive or layout, the
// store. Nothing it hands out is believed before its digest has been computed here.
type Source interface {
	// Manifest fetches the manifest or index that a tag or digest stands for, with the type that
	// a server says it has, or "".
	Manifest(ctx context.Context, reference string) (mediaType string, b []byte, err error)
	// Blob begins to fetch a config or layer, from its first byte or on from a
	// later one. It returns the ETag of the version that it is of, or "".
	// Errors after which it is worth asking again wrap ErrInterrupted; from a
	// later byte on, ErrStartOver if the source can only send the whole.
	Blob(ctx context.Context, d ocispec.Descriptor, from Position) (r io.ReadCloser, etag string, err error)
}

// Position is how far a blob has come already.
type Position struct {
	Offset int64  // bytes
	ETag   string // of the version that these are of, or ""
}

// Errors that those of a Source wrap.
var (
	// ErrInterrupted: the connection broke, it is worth asking for the rest.
	ErrInterrupted = errors.New("the transfer was interrupted")
	// ErrStartOver: there is no asking for the rest, only for all of it. The
	// server does not know how, or has another version now.
	ErrStartOver = errors.New("the transfer has to start over")
	// ErrWrongAnswer: the server contradicts itself or what it was asked.
	ErrWrongAnswer = errors.New("the registry's answer is wrong")
)

// Blobs is a Source on this machine, where manifests are blobs like others. It opens one, and
// tells its size in bytes.
type Blobs func(digest.Digest) (r io.ReadCloser, size int64, err error)

// Manifest implements Source; reference is a digest.
func (open Blobs) Manifest(_ context.Context, reference string) (string, []byte, error) {
	b, err := oci.ReadBlob(digest.Digest(reference), func(d digest.Digest) (io.ReadCloser, error) {
		r, _, err := open(d)
		return r, err
	})
	return "", b, err
}

// Blob implements Source.
func (open Blobs) Blob(_ context.Context, d ocispec.Descriptor, from Position) (io.ReadCloser, string, error) {
	r, size, err := open(d.Digest)
	if err != nil {
		return nil, "", err
	}
	if size != d.Size {
		err = wrongSize(r, size, d)
	} else {
		_, err = io.CopyN(io.Discard, r, from.Offset)
	}
	if err != nil {
		r.Close()
		return nil, "", err
	}
	return r, "", nil
}

// wrongSize tells whether a blob or its manifest is wrong. Others will refuse that as well: OCI
// image-spec v1.1 descriptor.md, "size".
func wrongSize(r io.Reader, size int64, d ocispec.Descriptor) error {
	got, err := digest.FromReader(r)
	if err == nil && got != d.Digest {
		err = oci.Damaged(d.Digest, fmt.Sprintf("its content has digest %s", got))
	}
	if err == nil {
		err = fmt.Errorf("blob %s has %d bytes, and the manifest says %d: the manifest is wrong", d.Digest, size, d.Size)
	}
	return err
}

// The images of a store, and what is said about them.

package image

import (
	"errors"
	"io"
	"time"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image/cache"
	"tiffin/image/ingest"
	"tiffin/image/oci"
	"tiffin/image/store"
)

// Store is a directory of images. It is safe for use by several goroutines and
// several processes at once.
type Store struct {
	*cache.Cache
	// Uses reports the images (by ID) that containers need. nil: none.
	Uses func() (map[digest.Digest]bool, error)
	// Builtin materialises images on first use. nil: there are none.
	Builtin BuiltinFunc
	// BuiltinKey identifies what Builtin makes them from, such as the digest of a program: with
	// another key they are made again. "": they are never made again.
	BuiltinKey string
}

// Open opens the store at root, makes it if it is missing, and removes what
// commands that were killed have left. A store that this user may not write to
// is opened for reading.
func Open(root string) (*Store, error) {
	d, err := store.Open(root)
	if err != nil {
		return nil, err
	}
	s := &Store{Cache: cache.New(d)}
	if d.Sweep() {
		s.collectOrphans()
	}
	return s, nil
}

// Image is an image of a store, as its manifest and config say.
type Image struct {
	ID       digest.Digest      // of the config: what `tiffin images` calls IMAGE ID; of the manifest if Unfit
	Manifest ocispec.Descriptor // of the manifest, without annotations
	Config   ocispec.Image
	Layers   []oci.Layer              // bottom first
	Names    []string                 // familiar form ("debian:latest"), sorted; none: the image is dangling
	Created  time.Time                // zero if the config does not say
	Size     int64                    // bytes of all layers, uncompressed where that is known
	Digests  map[string]digest.Digest // by name: of what a registry has under it, a manifest or an index
	Builtin  bool                     // one of the names is the built-in base image's
	Store    string                   // directory of the additional store that names it; "" for this one
	Unfit    string                   // why it is no image that can be run, but something else that was pushed here; or ""

	lazy *Lazy // it is being pulled; nil: it is here
}

// CommitOptions says how CommitLayer describes the new image. The zero value
// makes an unnamed image with the base's config.
type CommitOptions struct {
	Ref       string    // name for the image, "" for none
	Author    string    // recorded in the config and its history
	Message   string    // comment in the history
	CreatedBy string    // command in the history, such as the container's
	Created   time.Time // zero: SOURCE_DATE_EPOCH, or now
	// Edit changes the base's config. May be nil.
	Edit func(*dockerspec.DockerOCIImageConfig) error
}

// ImportOptions says how Import describes the new image.
type ImportOptions struct {
	Ref, Message string
	Created      time.Time // zero: SOURCE_DATE_EPOCH, or now
	// Edit changes the config, which is empty. May be nil.
	Edit     func(*dockerspec.DockerOCIImageConfig) error
	Total    int64 // bytes of the tarball, for Progress; 0: not known
	Progress ingest.Progress
}

// BuiltinFunc materialises a built-in image: for a familiar name such as
// "tiffin/base:latest" it returns the layer's tarball and the config, or ok
// false if it has no such image. The caller closes the tarball.
type BuiltinFunc func(name string) (layer io.ReadCloser, config ocispec.ImageConfig, ok bool)

// Removed is one thing that Remove or Prune did: a name taken off an image, or
// an image (config digest) or other blob deleted.
type Removed struct {
	Untagged string        // familiar name, or ""
	Deleted  digest.Digest // or ""
}

var (
	// ErrNotFound is wrapped by errors that say there is no such image.
	ErrNotFound = errors.New("no such image")
	// ErrNoImage is wrapped by errors that say that what was pushed here is no image.
	ErrNoImage = errors.New("is no image that can be run")
	// ErrInUse is wrapped by errors that say a container needs the image.
	ErrInUse = errors.New("image is in use")
)

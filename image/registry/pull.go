package registry

import (
	"context"
	"fmt"
	"io"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image"
)

// manifestTypes are what is asked for: OCI's and docker's manifests and indexes.
// Docker's schema 1 is among them to be able to say that it is not supported.
var manifestTypes = []string{
	ocispec.MediaTypeImageManifest,
	ocispec.MediaTypeImageIndex,
	"application/vnd.docker.distribution.manifest.v2+json",
	"application/vnd.docker.distribution.manifest.list.v2+json",
	"application/vnd.docker.distribution.manifest.v1+prettyjws",
}

// maxManifest is what registries take, in bytes. OCI distribution-spec v1.1,
// "Pushing Manifests".
const maxManifest = 4 << 20

// Pull fetches an image into the store. asked is the platform that a person
// named, or nil. Mirrors are asked first.
func (c *Client) Pull(ctx context.Context, s *image.Store, r image.Ref, asked *image.Platform, p image.Progress) (*image.Pulled, error) {
	from, err := c.remote(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("pull %s: %w", r.Familiar(), err)
	}
	return s.Pull(ctx, from, r, asked, p)
}

// Pushable is an image of a registry, to be sent elsewhere.
func (c *Client) Pushable(ctx context.Context, r image.Ref, asked *image.Platform) (*image.Pushable, error) {
	from, err := c.remote(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("copy %s: %w", r.Familiar(), err)
	}
	return image.PushableFrom(ctx, from, r, asked)
}

// Manifest implements image.Remote.
func (r *Repository) Manifest(ctx context.Context, reference string) (mediaType string, b []byte, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	d, answer, err := r.remote.Manifests().FetchReference(ctx, reference)
	if err != nil {
		return "", nil, explain(err, r.ref.Domain)
	}
	body := newBlob(ctx, cancel, r, answer)
	defer body.Close()
	b, err = io.ReadAll(io.LimitReader(body, maxManifest+1))
	if err != nil {
		return "", nil, fmt.Errorf("manifest %s: %w", reference, err)
	}
	if len(b) > maxManifest {
		return "", nil, fmt.Errorf("manifest %s has more than the %d bytes allowed", reference, maxManifest)
	}
	return d.MediaType, b, nil
}

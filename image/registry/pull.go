package registry

import (
	"context"
	"fmt"
	"io"
	"time"

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

// How long a server may send nothing: in the middle of a blob, and before it
// answers, which it does after a push only when it has put the blob away.
const (
	stallTimeout  = time.Minute
	answerTimeout = 2 * time.Minute
)

// Pull fetches an image into the store. asked is the platform that a person
// named, or nil.
func (c *Client) Pull(ctx context.Context, s *image.Store, r image.Ref, asked *image.Platform, p image.Progress) (*image.Pulled, error) {
	return s.Pull(ctx, c.Repository(ctx, r), r, asked, p)
}

// Manifest implements image.Remote.
func (r *Repository) Manifest(ctx context.Context, reference string) (mediaType string, b []byte, err error) {
	d, body, err := r.remote.Manifests().FetchReference(ctx, reference)
	if err != nil {
		return "", nil, explain(err, r.ref.Domain)
	}
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

// Blob implements image.Remote.
func (r *Repository) Blob(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	body, err := r.remote.Blobs().Fetch(ctx, d)
	if err != nil {
		cancel(nil)
		return nil, fmt.Errorf("ask for its %d bytes: %w", d.Size, explain(err, r.ref.Domain))
	}
	stalled := time.AfterFunc(stallTimeout, func() {
		cancel(fmt.Errorf("%s has sent nothing for %s", r.ref.Domain, stallTimeout))
	})
	return &blob{ctx: ctx, body: body, stalled: stalled, end: func() { stalled.Stop(); cancel(nil); body.Close() }}, nil
}

// blob is one on its way here. Each byte that comes puts the alarm off.
type blob struct {
	ctx     context.Context
	body    io.Reader
	stalled *time.Timer
	end     func()
}

func (b *blob) Read(p []byte) (int, error) {
	b.stalled.Reset(stallTimeout)
	n, err := b.body.Read(p)
	if err != nil && err != io.EOF && b.ctx.Err() != nil {
		err = context.Cause(b.ctx)
	}
	return n, err
}

func (b *blob) Close() error { b.end(); return nil }

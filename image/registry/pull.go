// An image is fetched into the store: manifest, then config and layers.

package registry

import (
	"context"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote/auth"

	"tiffin/image"
	"tiffin/image/ingest"
	"tiffin/image/oci"
	"tiffin/image/reference"
	"tiffin/image/transfer"
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
func (c *Client) Pull(ctx context.Context, s *image.Store, r reference.Reference, asked *oci.Platform, p ingest.Progress) (*transfer.Pulled, error) {
	from, err := c.Remote(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("pull %s: %w", r.Familiar(), err)
	}
	return transfer.Pull(ctx, s, from, r, asked, p)
}

// Pushable is an image of a registry, to be sent elsewhere.
func (c *Client) Pushable(ctx context.Context, r reference.Reference, asked *oci.Platform) (*transfer.Image, error) {
	from, err := c.Remote(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("copy %s: %w", r.Familiar(), err)
	}
	img, err := transfer.FromRegistry(ctx, from, r, asked)
	if err != nil {
		return nil, fmt.Errorf("copy %s: %w", r.Familiar(), err)
	}
	return img, nil
}

// Whole is what a registry has under a name, with all that it lists.
func (c *Client) Whole(ctx context.Context, r reference.Reference) (*transfer.Image, error) {
	from, err := c.Remote(ctx, r)
	var img *transfer.Image
	if err == nil {
		img, err = transfer.Whole(ctx, from, r.TagOrDigest(), ocispec.Descriptor{Digest: r.Digest, Size: -1})
	}
	if err != nil {
		return nil, fmt.Errorf("get all of %s: %w", r.Familiar(), err)
	}
	return img, nil
}

// Manifest implements transfer.Source. OCI distribution-spec v1.1, "Pulling manifests":
// Docker-Content-Digest "SHOULD" be there, as Content-Length; oras-go does not do without both.
func (r *Repository) Manifest(ctx context.Context, reference string) (mediaType string, b []byte, err error) {
	ctx, cancel := context.WithCancelCause(auth.AppendRepositoryScope(ctx, r.remote.Reference, auth.ActionPull))
	defer cancel(nil)
	resp, err := r.do(ctx, http.MethodGet, "manifests/"+reference, http.Header{"Accept": {strings.Join(manifestTypes, ", ")}})
	if err != nil {
		return "", nil, explain(err, r.ref.Domain)
	}
	body := newBlob(ctx, cancel, r, resp.Body, r.client.stallTimeout())
	defer body.Close()
	resp.Body = body
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return "", nil, explain(errdef.ErrNotFound, r.ref.Domain)
	default:
		return "", nil, explain(refusal(resp), r.ref.Domain)
	}
	b, err = io.ReadAll(io.LimitReader(body, maxManifest+1))
	if err != nil {
		return "", nil, fmt.Errorf("manifest %s: %w", reference, err)
	}
	if len(b) > maxManifest {
		return "", nil, fmt.Errorf("manifest %s has more than the %d bytes allowed", reference, maxManifest)
	}
	said := resp.Header.Get("Docker-Content-Digest")
	if got := digest.FromBytes(b); strings.HasPrefix(said, "sha256:") && said != got.String() {
		return "", nil, fmt.Errorf("manifest %s: %w: it announces digest %s, and sends %s", reference, transfer.ErrWrongAnswer, said, got)
	}
	mediaType, _, err = mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		return "", nil, fmt.Errorf("manifest %s: %w: it does not say its type: %w", reference, transfer.ErrWrongAnswer, err)
	}
	return mediaType, b, nil
}

// Resolve implements transfer.Resolver. OCI distribution-spec v1.1, "Checking if content exists in
// the registry".
func (r *Repository) Resolve(ctx context.Context, tag string) (digest.Digest, error) {
	ctx = auth.AppendRepositoryScope(ctx, r.remote.Reference, auth.ActionPull)
	resp, err := r.do(ctx, http.MethodHead, "manifests/"+tag, http.Header{"Accept": {strings.Join(manifestTypes, ", ")}})
	if err != nil {
		return "", explain(err, r.ref.Domain)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", explain(refusal(resp), r.ref.Domain)
	}
	return digest.Digest(resp.Header.Get("Docker-Content-Digest")), nil
}

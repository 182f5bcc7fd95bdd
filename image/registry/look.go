// Tags and manifests are looked at without pulling.

package registry

import (
	"context"
	"fmt"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image/oci"
	"tiffin/image/reference"
	"tiffin/image/transfer"
)

// Tags lists the tags of a repository, in the registry's order.
func (c *Client) Tags(ctx context.Context, r reference.Reference) (tags []string, err error) {
	repo := c.Repository(ctx, r)
	err = repo.remote.Tags(ctx, "", func(page []string) error {
		tags = append(tags, page...)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the tags of %s: %w", r.FamiliarName(), explain(err, r.Domain))
	}
	return tags, nil
}

// Manifest is a manifest or index as a registry has it.
type Manifest struct {
	Descriptor ocispec.Descriptor
	Bytes      []byte
}

// Manifest fetches what a name stands for, without following an index.
func (c *Client) Manifest(ctx context.Context, r reference.Reference) (*Manifest, error) {
	m, err := c.Repository(ctx, r).look(ctx, r.TagOrDigest(), ocispec.Descriptor{Digest: r.Digest})
	if err != nil {
		return nil, fmt.Errorf("manifest of %s: %w", r.Familiar(), err)
	}
	return m, nil
}

// maxMembers is how much of what an index lists is kept, in bytes.
const maxMembers = 64 << 20

// Members fetches the manifests that an index lists; of a manifest, itself.
func (c *Client) Members(ctx context.Context, r reference.Reference, m *Manifest) ([]*Manifest, error) {
	ix, err := oci.ParseDocument(m.Bytes)
	if err != nil {
		return nil, fmt.Errorf("manifest of %s: %w", r.Familiar(), err)
	}
	if ix.Manifests == nil {
		return []*Manifest{m}, nil
	}
	repo := c.Repository(ctx, r)
	var all []*Manifest
	left := maxMembers
	for _, d := range ix.Manifests {
		if !reference.ValidDigest(d.Digest) {
			return nil, fmt.Errorf("manifest of %s: %q is no sha256 digest", r.Familiar(), d.Digest)
		}
		member, err := repo.look(ctx, d.Digest.String(), d)
		if err != nil {
			return nil, fmt.Errorf("manifest of %s: %w", r.Familiar(), err)
		}
		if left -= len(member.Bytes); left < 0 {
			return nil, fmt.Errorf("manifest of %s: what it lists has more than %d MiB", r.Familiar(), maxMembers>>20)
		}
		all = append(all, member)
	}
	return all, nil
}

// look fetches a manifest or index, and compares its digest with what is known.
func (r *Repository) look(ctx context.Context, reference string, want ocispec.Descriptor) (*Manifest, error) {
	mediaType, b, err := r.Manifest(ctx, reference)
	if err != nil {
		return nil, err
	}
	got := digest.FromBytes(b)
	if want.Digest != "" && got != want.Digest {
		return nil, fmt.Errorf("%s: %w: what was sent has digest %s", want.Digest, transfer.ErrWrongAnswer, got)
	}
	want.MediaType, want.Digest, want.Size = mediaType, got, int64(len(b))
	return &Manifest{Descriptor: want, Bytes: b}, nil
}

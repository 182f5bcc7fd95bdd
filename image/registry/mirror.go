// The places where an image may be fetched from, in the order in which they are asked.

package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image/reference"
	"tiffin/image/transfer"
	"tiffin/internal/errs"
)

// place is where an image may be fetched from.
type place struct {
	ref      reference.Reference
	insecure bool
	more     bool // another is asked when this one fails
}

// rule is the one with the longest prefix of the name, or nil; rest is what the prefix does not
// cover.
func (g *Registries) rule(r reference.Reference) (best *registryRule, rest string) {
	if g == nil {
		return nil, ""
	}
	for i := range g.registries {
		p := &g.registries[i]
		if left, ok := p.match(r.Name()); ok && (best == nil || len(p.Prefix) > len(best.Prefix)) {
			best, rest = p, left
		}
	}
	return best, rest
}

// places are those where an image is looked for, in this order: mirrors, then
// where it belongs.
func (g *Registries) places(r reference.Reference) ([]place, error) {
	rule, rest := g.rule(r)
	if rule == nil {
		return []place{{ref: r}}, nil
	}
	switch {
	case rule.err != nil:
		return nil, fmt.Errorf("%s: %w", rule.file, rule.err)
	case rule.Blocked:
		return nil, fmt.Errorf("%s is blocked by %s", rule.Prefix, rule.file)
	}
	var all []place
	add := func(location string, insecure bool) error {
		at, err := reference.Parse(location + rest)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", rule.file, rule.Prefix, err)
		}
		at.Tag, at.Digest = r.Tag, r.Digest
		all = append(all, place{ref: at, insecure: insecure})
		return nil
	}
	for _, m := range rule.Mirrors {
		if !m.serves(r, rule.ByDigest) {
			continue
		}
		if err := add(m.Location, m.Insecure); err != nil {
			return nil, err
		}
	}
	if rule.Location == "" { // of a wildcard: the name stays as it is
		return append(all, place{ref: r, insecure: rule.Insecure}), nil
	}
	err := add(rule.Location, rule.Insecure)
	return all, err
}

// insecure reports whether a registry may do without TLS.
func (g *Registries) insecure(r reference.Reference) bool {
	rule, _ := g.rule(r)
	return rule != nil && rule.Insecure
}

// mirrored is an image that several registries may have. If one of them lacks a
// blob, or cannot send it, the next is asked; the digest decides as ever. Each is
// sent the password that is stored for it, and no other.
type mirrored struct {
	c     *Client
	repos []func() *Repository // in order, each prepared when it is first needed

	mu      sync.Mutex
	serving int // index of the one that had the manifest
}

// Remote is where a pull gets an image from.
func (c *Client) Remote(ctx context.Context, r reference.Reference) (transfer.Source, error) {
	places, err := c.Registries.places(r)
	if err != nil {
		return nil, err
	}
	if len(places) == 1 {
		return c.repository(ctx, places[0]), nil
	}
	m := &mirrored{c: c}
	for i, p := range places {
		p.more = i+1 < len(places)
		m.repos = append(m.repos, sync.OnceValue(func() *Repository { return c.repository(ctx, p) }))
	}
	return m, nil
}

// first is the index of the one to ask first.
func (m *mirrored) first() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.serving
}

// each asks one registry after the other, from the one that had the manifest
// on, until one has an answer.
func (m *mirrored) each(ctx context.Context, ask func(*Repository) error) error {
	first := m.first()
	var failed []error
	for i := range m.repos {
		at := (first + i) % len(m.repos)
		repo := m.repos[at]()
		err := ask(repo)
		if err == nil {
			m.mu.Lock()
			m.serving = at
			m.mu.Unlock()
			return nil
		}
		if ctx.Err() != nil || errors.Is(err, transfer.ErrStartOver) {
			return err
		}
		failed = append(failed, errs.Hint(fmt.Errorf("%s: %w", repo.ref.Name(), err), errs.HintOf(err)))
		if i+1 < len(m.repos) {
			m.c.warn(failed[i].Error() + "; asking the next registry")
		}
	}
	return failed[len(failed)-1] // the others have been warned of
}

// Resolve implements transfer.Resolver. It asks the registry that is first asked for the manifest.
func (m *mirrored) Resolve(ctx context.Context, tag string) (digest.Digest, error) {
	return m.repos[m.first()]().Resolve(ctx, tag)
}

// Manifest implements transfer.Source.
func (m *mirrored) Manifest(ctx context.Context, reference string) (mediaType string, b []byte, err error) {
	err = m.each(ctx, func(r *Repository) (err error) {
		mediaType, b, err = r.Manifest(ctx, reference)
		return err
	})
	return mediaType, b, err
}

// Blob implements transfer.Source.
func (m *mirrored) Blob(ctx context.Context, d ocispec.Descriptor, from transfer.Position) (r io.ReadCloser, etag string, err error) {
	err = m.each(ctx, func(repo *Repository) (err error) {
		r, etag, err = repo.Blob(ctx, d, from)
		return err
	})
	return r, etag, err
}

// An image goes to a registry, and what the registry has already is not sent again.

package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"tiffin/image"
	"tiffin/image/ingest"
	"tiffin/image/reference"
	"tiffin/image/transfer"
)

// Pushed is what Push did.
type Pushed struct {
	Digest digest.Digest // of the manifest
	Size   int64         // of the manifest, in bytes
	Layers []PushedLayer // bottom first, each once
}

// PushedLayer is how one layer came to be in the registry.
type PushedLayer struct {
	Digest  digest.Digest
	Sent    bool   // false: it was there
	Mounted string // repository of the registry that it was in; it was not sent then
}

// parallelUploads is how many blobs are on their way at once.
const parallelUploads = 3

// Push sends an image of the store to the registry that its name r says.
func (c *Client) Push(ctx context.Context, s *image.Store, r reference.Reference, p ingest.Progress) (*Pushed, error) {
	img, err := s.Resolve(r.Familiar())
	if err != nil {
		return nil, fmt.Errorf("push %s: %w", r.Familiar(), err)
	}
	src, err := transfer.FromStore(s, img)
	if err != nil {
		return nil, fmt.Errorf("push %s: %w", r.Familiar(), err)
	}
	return c.Send(ctx, src, r, func(layer digest.Digest) []string { return transfer.Repositories(s, r.Domain, layer) }, p)
}

// Send sends an image to the registry that the name r says. there, if not nil,
// tells the repositories of that registry that may have a layer already.
func (c *Client) Send(ctx context.Context, src *transfer.Image, r reference.Reference, there func(digest.Digest) []string, p ingest.Progress) (*Pushed, error) {
	pushed, err := c.send(ctx, src, r, there, p)
	if err != nil {
		return nil, fmt.Errorf("push %s: %w", r.Familiar(), explain(err, r.Domain))
	}
	return pushed, nil
}

func (c *Client) send(ctx context.Context, src *transfer.Image, r reference.Reference, there func(digest.Digest) []string, p ingest.Progress) (*Pushed, error) {
	if err := src.CheckLayers(); err != nil {
		return nil, err
	}
	u := &upload{repo: c.Repository(ctx, r), there: there, src: src, progress: p}
	manifest, blobs := src.Document.Descriptor(), src.Blobs()
	out := &Pushed{Digest: manifest.Digest, Size: manifest.Size, Layers: make([]PushedLayer, len(blobs))}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelUploads)
	for i, d := range blobs {
		g.Go(func() (err error) {
			if out.Layers[i], err = u.blob(gctx, d); err != nil {
				return fmt.Errorf("blob %s: %w", d.Digest, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	out.Layers = out.Layers[:len(blobs)-1] // the last is the config
	reference := r.Tag
	if reference == "" {
		reference = manifest.Digest.String()
	}
	if err := u.repo.remote.Manifests().PushReference(ctx, manifest, bytes.NewReader(src.Document.Bytes), reference); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	return out, nil
}

// upload is one Push.
type upload struct {
	repo     *Repository
	there    func(layer digest.Digest) []string // repositories
	src      *transfer.Image
	progress ingest.Progress
}

// blob makes sure that the registry has a blob.
func (u *upload) blob(ctx context.Context, d ocispec.Descriptor) (PushedLayer, error) {
	out := PushedLayer{Digest: d.Digest}
	if there, err := u.repo.remote.Blobs().Exists(ctx, d); there || err != nil {
		return out, err
	}
	// A second one would be a guess, and each costs a request.
	if from := u.elsewhere(d.Digest); from != "" && u.mount(ctx, d, from) {
		out.Mounted = from
		return out, nil
	}
	out.Sent = true
	for try := 0; ; try++ {
		var said told
		err := u.send(context.WithValue(ctx, toldKey{}, &said), d)
		wait, again := u.repo.client.backOff(try, err, said)
		if !again {
			return out, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return out, context.Cause(ctx)
		}
	}
}

// elsewhere is another repository of the registry that may have the blob, or "".
func (u *upload) elsewhere(d digest.Digest) string {
	if u.there != nil {
		for _, from := range u.there(d) {
			if from != u.repo.ref.Path {
				return from
			}
		}
	}
	return ""
}

// errNotMounted ends an upload that the registry has begun instead of mounting.
var errNotMounted = errors.New("not mounted")

// mount asks for a blob of another repository. OCI distribution-spec v1.1,
// "Mounting a blob from another repository".
func (u *upload) mount(ctx context.Context, d ocispec.Descriptor, from string) bool {
	return u.repo.remote.Mount(ctx, d, from, func() (io.ReadCloser, error) { return nil, errNotMounted }) == nil
}

func (u *upload) send(ctx context.Context, d ocispec.Descriptor) error {
	f, err := u.src.Open(ctx, d)
	if err != nil {
		return err
	}
	defer f.Close()
	add, done := func(int64) {}, func() {}
	if u.progress != nil {
		add, done = u.progress.Start(d.Digest.Encoded()[:12], d.Size)
	}
	defer done()
	return u.repo.remote.Blobs().Push(ctx, d, &counted{f, add})
}

// backOff says whether and when to send a blob again: retry.go cannot repeat
// a request whose body has been read.
func (c *Client) backOff(try int, err error, said told) (time.Duration, bool) {
	if err == nil || try+1 >= maxTries {
		return 0, false
	}
	var resp *errcode.ErrorResponse
	if errors.As(err, &resp) {
		if !transient(&http.Response{StatusCode: resp.StatusCode}, nil) {
			return 0, false
		}
		if said.after != nil {
			return *said.after, *said.after <= maxRetryAfter
		}
		return c.firstPause() << try, true
	}
	return c.firstPause() << try, transient(nil, err)
}

// counted counts what is read.
type counted struct {
	io.Reader
	add func(int64)
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.add(int64(n))
	return n, err
}

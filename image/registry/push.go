// An image goes to a registry, and what the registry has already is not sent again.

package registry

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
	"oras.land/oras-go/v2/registry/remote/auth"
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
	Of     digest.Digest // of the manifest here: another one after PushOptions.EStargz
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

// PushOptions say what Push sends.
type PushOptions struct {
	From    string // name or ID of the image in the store; "": the name that it is sent by
	All     bool   // an index with all that it lists, or anything else that was pushed here
	EStargz bool   // with each layer as eStargz, see transfer.EStargz
}

// Push sends an image of the store, or an artifact, to the registry that the name r says.
func (c *Client) Push(ctx context.Context, s *image.Store, r reference.Reference, opt PushOptions, p ingest.Progress) (*Pushed, error) {
	pushed, err := c.push(ctx, s, r, opt, p)
	if err != nil {
		return nil, fmt.Errorf("push %s: %w", r.Familiar(), err)
	}
	return pushed, nil
}

func (c *Client) push(ctx context.Context, s *image.Store, r reference.Reference, opt PushOptions, p ingest.Progress) (*Pushed, error) {
	find := fromStore
	if opt.All {
		find = transfer.WholeOfStore
	}
	src, err := find(ctx, s, cmp.Or(opt.From, r.Familiar()))
	if err != nil {
		return nil, err
	}
	of := src.Document.Digest
	if opt.EStargz {
		st, err := s.Stage()
		if err != nil {
			return nil, err
		}
		defer st.Close()
		if src, err = transfer.EStargz(ctx, s, st, src, p, c.warn); err != nil {
			return nil, err
		}
	}
	pushed, err := c.deliver(ctx, src, r, transfer.Repositories(s, r.Domain), p)
	if err == nil {
		pushed.Of = of
	}
	return pushed, err
}

// fromStore is an image of the store for this machine, or an artifact.
func fromStore(ctx context.Context, s *image.Store, name string) (*transfer.Image, error) {
	img, err := s.Resolve(name)
	if err == nil {
		return transfer.FromStore(s, img)
	}
	if errors.Is(err, image.ErrNoImage) {
		if whole, werr := transfer.WholeOfStore(ctx, s, name); werr == nil && whole.Document.Manifests == nil {
			return whole, nil
		}
	}
	return nil, err
}

// Send sends an image to the registry in the name r. there, if not nil, returns
// the repositories of that registry that may have a layer already.
func (c *Client) Send(ctx context.Context, src *transfer.Image, r reference.Reference, there func(digest.Digest) []string, p ingest.Progress) (*Pushed, error) {
	pushed, err := c.deliver(ctx, src, r, there, p)
	if err != nil {
		return nil, fmt.Errorf("push %s: %w", r.Familiar(), err)
	}
	return pushed, nil
}

// deliver is send, with advice if it fails.
func (c *Client) deliver(ctx context.Context, src *transfer.Image, r reference.Reference, there func(digest.Digest) []string, p ingest.Progress) (*Pushed, error) {
	pushed, err := c.send(ctx, src, r, there, p)
	if err != nil {
		return nil, explain(err, r.Domain)
	}
	return pushed, nil
}

func (c *Client) send(ctx context.Context, src *transfer.Image, r reference.Reference, there func(digest.Digest) []string, p ingest.Progress) (*Pushed, error) {
	if err := src.CheckLayers(); err != nil {
		return nil, err
	}
	var parts []PushedLayer
	for _, part := range src.Parts {
		by := r
		by.Tag = ""
		sent, err := c.send(ctx, part, by, there, p)
		if err != nil {
			return nil, err
		}
		parts = append(parts, sent.Layers...)
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
	out.Layers = append(parts, out.Layers[:max(len(blobs)-1, 0)]...) // the last is the config
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
	add, done := ingest.Start(u.progress, reference.Short(d.Digest), d.Size)
	defer done()
	ctx = auth.AppendRepositoryScope(ctx, u.repo.remote.Reference, auth.ActionPull, auth.ActionPush)
	begun, err := u.repo.do(ctx, http.MethodPost, "blobs/uploads/", http.Header{})
	if err != nil {
		return err
	}
	defer begun.Body.Close()
	if begun.StatusCode != http.StatusAccepted {
		return refusal(begun)
	}
	return u.put(ctx, begun, d, &counted{f, add})
}

// put sends a blob to where a registry has said. OCI distribution-spec v1.1, "POST then PUT": the
// Location may be absolute; on another host, such as a file server, it is sent no password.
func (u *upload) put(ctx context.Context, begun *http.Response, d ocispec.Descriptor, body io.Reader) error {
	to, err := begun.Location()
	if err != nil {
		return fmt.Errorf("%w: it does not say where to send the blob: %w", transfer.ErrWrongAnswer, err)
	}
	asked := begun.Request.URL
	if asked.Scheme == "https" && to.Scheme != "https" {
		return fmt.Errorf("%w: it wants the blob sent to %s without TLS", transfer.ErrWrongAnswer, to.Host)
	}
	q := to.Query()
	q.Set("digest", d.Digest.String())
	to.RawQuery = q.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, to.String(), body)
	if err != nil {
		return err
	}
	req.ContentLength = d.Size
	req.Header.Set("Content-Type", "application/octet-stream")
	client := u.repo.remote.Client
	if !sameHost(to, asked) {
		client = client.(*auth.Client).Client
	} else if password := begun.Request.Header.Get("Authorization"); password != "" {
		req.Header.Set("Authorization", password)
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		return refusal(resp)
	}
	return nil
}

// sameHost compares host and port, which may be left out.
func sameHost(a, b *url.URL) bool {
	port := func(u *url.URL) string {
		return cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	}
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

// backOff says whether and when to send a blob again: retry.go cannot repeat
// a request whose body has been read.
func (c *Client) backOff(try int, err error, said told) (time.Duration, bool) {
	if err == nil || try+1 >= maxTries {
		return 0, false
	}
	var resp *errcode.ErrorResponse
	if errors.As(err, &resp) {
		if resp.StatusCode == http.StatusUnauthorized && try == 0 {
			return 0, true // the token has expired since: a new one is asked for
		}
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

// A blob is fetched, and an interrupted one goes on where it stopped.

package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"tiffin/image/transfer"
)

// Blob implements transfer.Source. It asks for the rest of a blob with Range, and
// with If-Range, so that a server that has another version by now sends that
// from its start: RFC 9110, 13.1.5 and 14. oras-go can seek in a blob, but
// compares neither Content-Range nor ETag.
func (r *Repository) Blob(ctx context.Context, d ocispec.Descriptor, from transfer.Position) (io.ReadCloser, string, error) {
	ctx, cancel := context.WithCancelCause(auth.AppendRepositoryScope(ctx, r.remote.Reference, auth.ActionPull))
	resp, err := r.getBlob(ctx, d, from)
	if err == nil {
		body := newBlob(ctx, cancel, r, resp.Body, r.client.stallTimeout())
		resp.Body = body // refusal reads it, too
		if err = checkAnswer(resp, d, from); err == nil {
			return body, resp.Header.Get("ETag"), nil
		}
		defer body.Close()
	}
	var broken *url.Error
	if err = explain(err, r.ref.Domain); errors.As(err, &broken) && ctx.Err() == nil {
		err = fmt.Errorf("%w: %w", transfer.ErrInterrupted, err)
	}
	cancel(nil)
	return nil, "", err
}

func (r *Repository) getBlob(ctx context.Context, d ocispec.Descriptor, from transfer.Position) (*http.Response, error) {
	header := http.Header{}
	if from.Offset > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", from.Offset))
		if strong(from.ETag) {
			header.Set("If-Range", from.ETag)
		}
	}
	return r.do(ctx, http.MethodGet, "blobs/"+d.Digest.String(), header)
}

// do asks for something of the repository.
func (r *Repository) do(ctx context.Context, method, what string, header http.Header) (*http.Response, error) {
	scheme := "https"
	if r.remote.PlainHTTP {
		scheme = "http"
	}
	ref := r.remote.Reference
	where := fmt.Sprintf("%s://%s/v2/%s/%s", scheme, ref.Host(), ref.Repository, what)
	req, err := http.NewRequestWithContext(ctx, method, where, nil)
	if err != nil {
		return nil, err
	}
	req.Header = header
	return r.remote.Client.Do(req)
}

// strong reports whether an ETag stands for the same bytes: RFC 9110, 8.8.3.
func strong(etag string) bool { return strings.HasPrefix(etag, `"`) }

// checkAnswer compares what the server announces with what it was asked for.
func checkAnswer(resp *http.Response, d ocispec.Descriptor, from transfer.Position) error {
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("%w: for %s %s", transfer.ErrWrongAnswer, d.Digest, fmt.Sprintf(format, args...))
	}
	if said := resp.Header.Get("Docker-Content-Digest"); said != "" && said != d.Digest.String() {
		return wrong("it announces digest %s", said)
	}
	length := d.Size
	switch {
	case resp.StatusCode == http.StatusOK && from.Offset > 0:
		return fmt.Errorf("%w: %s has sent it from its first byte", transfer.ErrStartOver, resp.Request.URL.Host)
	case resp.StatusCode == http.StatusRequestedRangeNotSatisfiable && from.Offset > 0:
		return fmt.Errorf("%w: %s says that it is not so long", transfer.ErrStartOver, resp.Request.URL.Host)
	case resp.StatusCode == http.StatusOK:
	case resp.StatusCode == http.StatusPartialContent && from.Offset > 0:
		want := fmt.Sprintf("bytes %d-%d/%d", from.Offset, d.Size-1, d.Size)
		// The whole length may be left open: RFC 9110, 14.4.
		got := resp.Header.Get("Content-Range")
		if got != want && got != fmt.Sprintf("bytes %d-%d/*", from.Offset, d.Size-1) {
			return wrong("Content-Range is %q instead of %q", got, want)
		}
		if etag := resp.Header.Get("ETag"); etag != from.ETag && from.ETag != "" {
			if !strong(from.ETag) { // then it has not been told which one to go on with
				return fmt.Errorf("%w: its ETag has changed from %s to %q", transfer.ErrStartOver, from.ETag, etag)
			}
			return wrong("it was asked to go on with ETag %s, and goes on with %q", from.ETag, etag)
		}
		length -= from.Offset
	case resp.StatusCode == http.StatusPartialContent:
		return wrong("it sends a part, %q, although asked for the whole", resp.Header.Get("Content-Range"))
	case resp.StatusCode == http.StatusNotFound:
		return fmt.Errorf("blob %s is not in the registry, although a manifest there names it", d.Digest)
	default:
		return refusal(resp)
	}
	if resp.ContentLength >= 0 && resp.ContentLength != length {
		return wrong("Content-Length is %d instead of %d", resp.ContentLength, length)
	}
	return nil
}

// refusal reads what the server says about not doing it. OCI distribution-spec
// v1.1, "Error Codes".
func refusal(resp *http.Response) error {
	err := &errcode.ErrorResponse{Method: resp.Request.Method, URL: resp.Request.URL, StatusCode: resp.StatusCode}
	var body struct {
		Errors errcode.Errors `json:"errors"`
	}
	if b, rerr := io.ReadAll(io.LimitReader(resp.Body, 8<<10)); rerr == nil && json.Unmarshal(b, &body) == nil {
		err.Errors = body.Errors
	}
	return err
}

// blob is one on its way here. An alarm ends a wait for bytes that do not come.
type blob struct {
	ctx     context.Context
	body    io.ReadCloser
	stall   time.Duration
	stalled *time.Timer
	cancel  context.CancelCauseFunc
}

// errSilent is wrapped by the cause of the end of a context that such an alarm has ended.
var errSilent = errors.New("has sent nothing for")

func silent(domain string, d time.Duration) error {
	return fmt.Errorf("%s %w %s", domain, errSilent, d)
}

func newBlob(ctx context.Context, cancel context.CancelCauseFunc, r *Repository, body io.ReadCloser, stall time.Duration) *blob {
	b := &blob{ctx: ctx, body: body, stall: stall, cancel: cancel}
	b.stalled = time.AfterFunc(stall, func() { cancel(silent(r.ref.Domain, stall)) })
	b.stalled.Stop()
	return b
}

func (b *blob) Read(p []byte) (int, error) {
	b.stalled.Reset(b.stall)
	n, err := b.body.Read(p)
	b.stalled.Stop()
	if err != nil && err != io.EOF && b.ctx.Err() != nil {
		err = context.Cause(b.ctx)
	}
	return n, err
}

func (b *blob) Close() error {
	b.stalled.Stop()
	b.cancel(nil)
	return b.body.Close()
}

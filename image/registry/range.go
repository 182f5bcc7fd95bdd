// A part of a blob is fetched.

package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote/auth"

	"tiffin/image/transfer"
)

// partStall is how long a server may send nothing of a part: layer.Patience is longer.
const partStall = 25 * time.Second

// Range implements transfer.Ranger: RFC 9110, 14.2. OCI distribution-spec v1.1, "Pulling blobs": "A
// registry SHOULD support the Range request header". Somebody waits for it: the silence of a server
// that he is still connected to, as he thinks, ends before his patience does.
func (r *Repository) Range(ctx context.Context, d ocispec.Descriptor, from, n int64) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancelCause(auth.AppendRepositoryScope(ctx, r.remote.Reference, auth.ActionPull))
	stall := min(partStall, r.client.stallTimeout())
	alarm := time.AfterFunc(stall, func() { cancel(silent(r.ref.Domain, stall)) })
	alarm.Stop()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteRequest:         func(httptrace.WroteRequestInfo) { alarm.Reset(stall) },
		GotFirstResponseByte: func() { alarm.Stop() },
	})
	header := http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", from, from+n-1)}}
	resp, err := r.do(ctx, http.MethodGet, "blobs/"+d.Digest.String(), header)
	alarm.Stop()
	if err == nil {
		body := newBlob(ctx, cancel, r, resp.Body, stall)
		resp.Body = body // refusal reads it, too
		if err = checkRange(resp, d, from, n); err == nil {
			return body, nil
		}
		defer body.Close()
	}
	var broken *url.Error
	if cause := context.Cause(ctx); errors.Is(cause, errSilent) {
		err = fmt.Errorf("%w: %w", transfer.ErrInterrupted, cause)
	} else if err = explain(err, r.ref.Domain); errors.As(err, &broken) && ctx.Err() == nil {
		err = fmt.Errorf("%w: %w", transfer.ErrInterrupted, err)
	}
	cancel(nil)
	return nil, err
}

// checkRange compares what the server announces with what it was asked for.
func checkRange(resp *http.Response, d ocispec.Descriptor, from, n int64) error {
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("%w: for bytes of %s %s", transfer.ErrWrongAnswer, d.Digest, fmt.Sprintf(format, args...))
	}
	switch resp.StatusCode {
	case http.StatusPartialContent:
	case http.StatusOK:
		return fmt.Errorf("%w: %s sends layers as a whole alone", transfer.ErrStartOver, resp.Request.URL.Host)
	case http.StatusRequestedRangeNotSatisfiable:
		return wrong("it says that it is not so long")
	case http.StatusNotFound:
		return fmt.Errorf("blob %s is not in the registry, although a manifest there names it", d.Digest)
	default:
		return refusal(resp)
	}
	got, bytes := resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-%d/", from, from+n-1)
	if got != bytes+fmt.Sprint(d.Size) && got != bytes+"*" {
		return wrong("Content-Range is %q instead of %q", got, bytes+fmt.Sprint(d.Size))
	}
	if resp.ContentLength >= 0 && resp.ContentLength != n {
		return wrong("Content-Length is %d instead of %d", resp.ContentLength, n)
	}
	return nil
}

// Range implements transfer.Ranger.
func (m *mirrored) Range(ctx context.Context, d ocispec.Descriptor, from, n int64) (r io.ReadCloser, err error) {
	err = m.each(ctx, func(repo *Repository) (err error) {
		r, err = repo.Range(ctx, d, from, n)
		return err
	})
	return r, err
}

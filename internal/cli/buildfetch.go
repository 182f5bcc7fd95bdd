// A context that is fetched: a tarball behind a URL.

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	digest "github.com/opencontainers/go-digest"

	"tiffin/image"
	"tiffin/internal/build"
	"tiffin/internal/errs"
)

// fetchContext fetches a tarball by http or https, through the proxies of the environment. It may
// be as long as TIFFIN_INFLATE_LIMIT, both as it travels and inflated. With a checksum, it must
// have that.
func fetchContext(ctx context.Context, s *image.Store, from string, checksum digest.Digest) (*build.Context, error) {
	u, err := url.Parse(from)
	if err != nil {
		return nil, fmt.Errorf("fetch the context: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || strings.HasSuffix(u.Path, ".git") {
		return nil, errs.Hint(fmt.Errorf("%s: a context is fetched as a tarball by http or https only", u.Redacted()), "fetch it, and name the directory")
	}
	c, err := fetch(ctx, s, u, checksum)
	if err != nil {
		return nil, errs.Hint(fmt.Errorf("fetch the context %s: %w", u.Redacted(), err), errs.HintOf(err))
	}
	return c, nil
}

func fetch(ctx context.Context, s *image.Store, u *url.URL, checksum digest.Digest) (*build.Context, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		var wrapped *url.Error // it has the URL, perhaps with a password
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return nil, errs.Hint(err, "without a network, get the tarball elsewhere: `tiffin build FILE`")
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server says %s", resp.Status)
	}
	in, err := build.Bounded(resp.Body)
	if err != nil {
		return nil, err
	}
	sum := digest.Canonical.Digester()
	body := io.TeeReader(in, sum.Hash())
	c, err := build.OpenArchive(s, u.Redacted(), body)
	if err == nil {
		if _, err = io.Copy(io.Discard, body); err == nil && checksum != "" && sum.Digest() != checksum {
			err = fmt.Errorf("its checksum is %s, not %s", sum.Digest(), checksum)
		}
		if err != nil {
			c.Close()
		}
	}
	return c, err
}

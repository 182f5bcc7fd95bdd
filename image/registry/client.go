// The client as a whole: how a registry is reached, with which certificates, passwords and limits
// of time.

package registry

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"oras.land/oras-go/v2/errdef"
	orasregistry "oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"
	"oras.land/oras-go/v2/registry/remote/retry"

	"tiffin/image/reference"
	"tiffin/image/registry/token"
	"tiffin/internal/errs"
)

// Client talks to registries.
type Client struct {
	// Insecure allows certificates that no authority vouches for, and plain HTTP.
	// The registries of this machine may always have these.
	Insecure bool
	// Registries has the settings of registries.conf. May be nil.
	Registries *Registries
	// Warn is told what a person should know although nothing has failed. May be nil.
	Warn func(string)

	// How long a server may send nothing in the middle of a blob, and before it
	// answers, which it does after a push only when it has put the blob away.
	// 0: a minute, and two.
	stall, answer time.Duration
	// dial connects; nil: net.Dialer's.
	dial func(ctx context.Context, network, address string) (net.Conn, error)
	// The first pause between two tries of a request. 0: firstWait.
	pause time.Duration
}

func (c *Client) stallTimeout() time.Duration  { return cmp.Or(c.stall, time.Minute) }
func (c *Client) firstPause() time.Duration    { return cmp.Or(c.pause, firstWait) }
func (c *Client) answerTimeout() time.Duration { return cmp.Or(c.answer, 2*time.Minute) }

func (c *Client) warn(s string) {
	if c.Warn != nil {
		c.Warn(s)
	}
}

// Repository is the place of one image in a registry.
type Repository struct {
	client *Client
	ref    reference.Reference
	remote *remote.Repository
}

// Repository prepares to talk to the registry of r, and to no mirror.
func (c *Client) Repository(ctx context.Context, r reference.Reference) *Repository {
	return c.repository(ctx, place{ref: r, insecure: c.Registries.insecure(r)})
}

func (c *Client) repository(ctx context.Context, at place) *Repository {
	repo := &remote.Repository{
		Reference:          orasregistry.Reference{Registry: at.ref.Domain, Repository: at.ref.Path},
		ManifestMediaTypes: manifestTypes,
	}
	repo.Client, repo.PlainHTTP = c.client(ctx, at)
	return &Repository{client: c, ref: at.ref, remote: repo}
}

// client returns an HTTP client for a repository; plain says that the registry has no TLS.
func (c *Client) client(ctx context.Context, at place) (client *auth.Client, plain bool) {
	domain := at.ref.Domain
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.ResponseHeaderTimeout = c.answerTimeout()
	if c.dial != nil {
		t.DialContext = c.dial
	}
	own, mine := token.Find(domain)
	if mine {
		dialOwn(t, domain, own.Addr)
	}
	lax := at.insecure || c.Insecure || local(domain)
	t.TLSClientConfig = &tls.Config{InsecureSkipVerify: lax, RootCAs: c.authorities(domain)}
	elsewhere := t.Clone()
	t.TLSClientConfig.Certificates = c.clientCertificates(domain)
	if lax {
		plain = !answersTLS(ctx, t, domain)
	}
	registry := challenges{byHost{orasregistry.Reference{Registry: domain}.Host(), t, elsewhere}}
	policy := retries{warn: c.Warn, first: c.firstPause(), tries: maxTries}
	if at.more {
		policy.tries = 1 // the next one is asked at once
	}
	again := &retry.Transport{Base: registry, Policy: func() retry.Policy { return policy }}
	client = &auth.Client{Client: &http.Client{Transport: again}, Cache: auth.NewCache(), Credential: c.credential(at.ref, own), ClientID: "tiffin"}
	client.BlockedRealmPrefixes = notRealms(ctx, domain)
	client.SetUserAgent("tiffin")
	// Digest and size of a blob are those of the bytes that come: RFC 9110, 12.5.3.
	client.Header.Set("Accept-Encoding", "identity")
	return client, plain
}

// notRealms are the addresses that a registry may not name as its token server, because that is
// sent the password: those of this machine and its network, unless the registry is there too, as on
// a campus. The addresses at which a cloud gives its machines their secrets (169.254.169.254 and
// the like) are always among them.
func notRealms(ctx context.Context, domain string) []netip.Prefix {
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", hostname(domain))
	here := slices.ContainsFunc(addrs, netip.Addr.IsLoopback)
	near := here || slices.ContainsFunc(addrs, func(a netip.Addr) bool {
		return slices.ContainsFunc(auth.PrivateRealmPrefixes(), func(p netip.Prefix) bool { return p.Contains(a.Unmap()) })
	})
	blocked := auth.DefaultBlockedRealmPrefixes()
	if err != nil || !near {
		return append(blocked, auth.PrivateRealmPrefixes()...)
	}
	return slices.DeleteFunc(blocked, func(p netip.Prefix) bool { return here && p.Addr().IsLoopback() })
}

// dialOwn makes a transport reach this user's server at the address where it listens, and by no
// proxy: whoever has another address that the name stands for must not get the token.
func dialOwn(t *http.Transport, domain, at string) {
	dial := t.DialContext
	t.Proxy = nil
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if address == domain {
			address = at
		}
		return dial(ctx, network, address)
	}
}

// local reports whether a registry is on this machine.
func local(domain string) bool {
	host := hostname(domain)
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// hostname is domain without the port.
func hostname(domain string) string {
	if host, _, err := net.SplitHostPort(domain); err == nil {
		return host
	}
	return strings.Trim(domain, "[]")
}

// answersTLS tries TLS: a registry that has it is never talked to without.
func answersTLS(ctx context.Context, t *http.Transport, domain string) bool {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, "https://"+domain+"/v2/", nil)
	if err != nil {
		return false
	}
	resp, err := t.RoundTrip(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return true
}

func trimScheme(s string) string {
	s = strings.TrimPrefix(strings.TrimPrefix(s, "https://"), "http://")
	return strings.TrimSuffix(s, "/")
}

// ErrNoImage is wrapped by errors of a name that stands for nothing in a registry.
var ErrNoImage = errors.New("the registry has no such image")

// explain adds what to do to an error of package remote.
func explain(err error, domain string) error {
	var resp *errcode.ErrorResponse
	var unknown *tls.CertificateVerificationError
	var dns *net.DNSError
	switch {
	case errors.Is(err, auth.ErrBasicCredentialNotFound):
		return errs.Hint(fmt.Errorf("%s wants a password", domain), "tiffin login "+domain)
	case errors.Is(err, errdef.ErrNotFound):
		return errs.Hint(ErrNoImage, "check the name and the tag; a private image may need tiffin login "+domain)
	case errors.As(err, &unknown):
		return errs.Hint(fmt.Errorf("nobody this machine trusts vouches for %s: %w", domain, err),
			"put the certificate of its authority into "+certsDirs()[0]+"/"+domain+"/ca.crt, or, if you trust this network: --tls-verify=false")
	case errors.Is(err, http.ErrSchemeMismatch):
		return errs.Hint(fmt.Errorf("%s speaks plain HTTP, not TLS", domain), "if you trust this network: --tls-verify=false")
	case errors.As(err, &dns):
		return errs.Hint(err, "is this machine connected, and is the name of the registry right?")
	case !errors.As(err, &resp):
		return err
	}
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		return errs.Hint(fmt.Errorf("%s does not let us in: %w", domain, err), "tiffin login "+domain+"; perhaps the image does not exist: many registries answer the same then")
	case http.StatusForbidden:
		return errs.Hint(fmt.Errorf("%s refuses it: %w", domain, err), "this user may not do that there; tiffin login "+domain+" as another one")
	case http.StatusTooManyRequests:
		return errs.Hint(fmt.Errorf("%s has been asked too often: %w", domain, err), "try again later; with tiffin login "+domain+" one may often ask more")
	}
	return err
}

// Who sends a request, and from where. A server without passwords believes two proofs: the token,
// which its user's clients read from a file, and what the kernel says about the other end of a
// connection on this machine (peer.go).

package server

import (
	"crypto/subtle"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"tiffin/image/registry/token"
)

// identify notes who a request comes from: a user of the passwords, token.User, or nobody.
func (s *Server) identify(x *exchange) (err error) {
	name, password, given := x.r.BasicAuth()
	if name == "" && password == "" {
		given = false // how podman says that it has none
	}
	switch {
	case s.Auth != nil:
		x.log.User, err = s.Auth.user(x.r)
	case given:
		err = errPassword
		if s.Token != "" && name == token.User && subtle.ConstantTimeCompare([]byte(password), []byte(s.Token)) == 1 {
			x.log.User, err = token.User, nil
		}
	case !s.ReadOnly && !s.Open && writes(x.r) && peerIsMe(x.r):
		x.log.User = token.User
	}
	if err != nil {
		return challenge(x, err)
	}
	if s.Auth == nil && s.Token != "" {
		// RFC 9110, 11.6.1: also with another answer than 401, "to indicate that supplying
		// credentials … might affect the response". podman and skopeo remember it from their
		// first request.
		x.Header().Set("WWW-Authenticate", basic)
	}
	return nil
}

// writes reports whether a request needs the right to write: it changes something, or asks how far
// an upload has come.
func writes(r *http.Request) bool {
	return r.Method != http.MethodGet && r.Method != http.MethodHead || strings.Contains(r.URL.Path, "/blobs/uploads/")
}

// basic is the challenge of RFC 7617, 2.
const basic = `Basic realm="tiffin", charset="UTF-8"`

// challenge asks for a password.
func challenge(x *exchange, err error) error {
	x.Header().Set("WWW-Authenticate", basic)
	return &fault{http.StatusUnauthorized, "UNAUTHORIZED", err}
}

// checkName refuses a request for another host. The owner of a web page can make its name stand for
// 127.0.0.1 after a browser has loaded the page, which then may read what is here ("DNS
// rebinding"). The page cannot present a password, or a certificate for that name.
func (s *Server) checkName(x *exchange) error {
	if s.Auth != nil || x.r.TLS != nil || s.isCalled(x.r.Host) {
		return nil
	}
	return refuse(http.StatusMisdirectedRequest, "DENIED", "this server is not called "+x.r.Host+": it needs tiffin serve --host NAME")
}

// isCalled reports whether a Host header names this server: by an address, which no name server
// can give away, as localhost (RFC 6761, 6.3), or by one of its names.
func (s *Server) isCalled(hostPort string) bool {
	host, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		host = strings.Trim(hostPort, "[]")
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	_, err = netip.ParseAddr(host)
	return err == nil || host == "" || host == "localhost" || strings.HasSuffix(host, ".localhost") || slices.Contains(s.Names, host)
}

// checkBrowser refuses what a web page wants to change, because any stranger may have written the
// page. Browsers send headers that show them: https://fetch.spec.whatwg.org/#origin-header and
// https://www.w3.org/TR/fetch-metadata/#sec-fetch-site-header
func checkBrowser(r *http.Request) error {
	if r.Header.Get("Origin") != "" || r.Header.Get("Sec-Fetch-Site") != "" {
		return refuse(http.StatusForbidden, "DENIED", "web pages may not change anything")
	}
	return nil
}

// checkWrite checks that a request may change what it names.
func (s *Server) checkWrite(x *exchange) error {
	if err := checkBrowser(x.r); err != nil {
		return err
	}
	switch {
	case x.kind == kindNone, x.kind == kindBase, x.kind == kindCatalog:
		return nil // nothing there can be changed
	case s.ReadOnly && x.r.Method == http.MethodDelete && (x.kind == kindManifest || x.kind == kindBlob):
		// "Deleting Manifests": "If manifest deletion is disabled … 400 … or 405".
		return refuse(http.StatusMethodNotAllowed, "UNSUPPORTED", "this registry is read-only")
	case s.ReadOnly:
		return refuse(http.StatusForbidden, "DENIED", "this registry is read-only")
	case s.mayWrite(x, x.repo):
		return nil
	case s.Auth != nil:
		return refuse(http.StatusForbidden, "DENIED", x.log.User+" may not push or delete in "+x.name)
	case s.Token == "" || x.r.Method == http.MethodDelete:
		return &fault{http.StatusForbidden, "DENIED", errNotOwner}
	}
	return challenge(x, errNotOwner) // who pushes is asked for the password: oras and containerd wait for that
}

var errNotOwner = errors.New("without passwords only the user who runs this registry may push and delete: others need tiffin serve --htpasswd FILE")

// Authorities and client certificates for single registries: containers-certs.d(5).

package registry

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// certsDirs are where the certificates for single registries are: of authorities in
// HOST[:PORT]/NAME.crt, and what the client shows itself in NAME.cert with the key in NAME.key,
// in a directory of the user, or of podman's or docker's that the administrator has filled.
// containers-certs.d(5).
func certsDirs() []string {
	return []string{filepath.Join(configHome(), "containers", "certs.d"), "/etc/containers/certs.d", "/etc/docker/certs.d"}
}

// configHome is $XDG_CONFIG_HOME, or ~/.config.
func configHome() string {
	if dir := os.Getenv("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		return dir
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "/etc/xdg"
	}
	return filepath.Join(home, ".config")
}

// authorities are all that may vouch for a registry, if it has any of its own;
// else nil. The common ones are the system's, or those of $SSL_CERT_FILE and
// $SSL_CERT_DIR.
func (c *Client) authorities(domain string) *x509.CertPool {
	var roots *x509.CertPool
	for _, dir := range certsDirs() {
		files, _ := filepath.Glob(filepath.Join(dir, domain, "*.crt"))
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				c.warn(fmt.Sprintf("certificate of an authority: %v", err))
				continue
			}
			if roots == nil {
				if roots, err = x509.SystemCertPool(); err != nil {
					roots = x509.NewCertPool()
				}
			}
			if !roots.AppendCertsFromPEM(b) {
				c.warn(f + " has no certificate in PEM")
			}
		}
	}
	return roots
}

// clientCertificates are what this client shows to a registry that asks for it.
func (c *Client) clientCertificates(domain string) (all []tls.Certificate) {
	for _, dir := range certsDirs() {
		files, _ := filepath.Glob(filepath.Join(dir, domain, "*.cert"))
		for _, f := range files {
			pair, err := tls.LoadX509KeyPair(f, strings.TrimSuffix(f, ".cert")+".key")
			if err != nil {
				c.warn(fmt.Sprintf("client certificate %s: %v", f, err))
				continue
			}
			all = append(all, pair)
		}
	}
	return all
}

// byHost sends requests to one host by a transport of its own, so that no other host, such as one
// that a redirect leads to, is shown its client certificates.
type byHost struct {
	host            string
	own, everywhere http.RoundTripper
}

func (b byHost) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Host == b.host {
		return b.own.RoundTrip(req)
	}
	return b.everywhere.RoundTrip(req)
}

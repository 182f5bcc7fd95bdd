package registry

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	digest "github.com/opencontainers/go-digest"

	"tiffin/internal/errs"
)

// secure is a registry at a name that is not of this machine, with a
// certificate that an authority made for the test vouches for.
type secure struct {
	*server
	host string // HOST:PORT
	ca   []byte // PEM
}

const secureName = "registry.test"

// authority makes one, and a certificate for secureName; all in PEM.
func authority(t *testing.T) (ca, cert, key []byte) {
	t.Helper()
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), DNSNames: []string{secureName, "files.test"}, NotBefore: root.NotBefore, NotAfter: root.NotAfter}
	var ders [3][]byte
	var errs [3]error
	ders[0], errs[0] = x509.CreateCertificate(rand.Reader, root, root, &priv.PublicKey, priv)
	ders[1], errs[1] = x509.CreateCertificate(rand.Reader, leaf, root, &priv.PublicKey, priv)
	ders[2], errs[2] = x509.MarshalECPrivateKey(priv)
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	inPEM := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	return inPEM("CERTIFICATE", ders[0]), inPEM("CERTIFICATE", ders[1]), inPEM("EC PRIVATE KEY", ders[2])
}

func serveTLS(t *testing.T, f *fixture) *secure {
	t.Helper()
	ca, certPEM, keyPEM := authority(t)
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{f: f, gets: map[string]int{}}
	s.Server = httptest.NewUnstartedServer(s)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return &secure{s, secureName + portOf(s.Listener.Addr().String()), ca}
}

// portOf is :PORT of HOST:PORT.
func portOf(host string) string { return host[strings.LastIndexByte(host, ':'):] }

// TestThereAndBackWithTLS: Debian's docker-registry with a certificate.
func TestThereAndBackWithTLS(t *testing.T) {
	ca, cert, key := authority(t)
	dir := t.TempDir()
	writeTestFile(t, filepath.Join(dir, "cert"), cert)
	writeTestFile(t, filepath.Join(dir, "key"), key)
	host := secureName + portOf(startRegistry(t, "  tls: {certificate: "+dir+"/cert, key: "+dir+"/key}\n"))
	s, f, name := pulledFixture(t)
	to := host + "/team/app:v1"
	if err := s.Tag(name, to); err != nil {
		t.Fatal(err)
	}
	c := &Client{dial: toLoopback}
	_, err := c.Push(context.Background(), s, ref(t, to), PushOptions{}, nil)
	wantError(t, err, "nobody this machine trusts vouches for "+host)
	trust(t, host, ca)
	if _, err := c.Push(context.Background(), s, ref(t, to), PushOptions{}, nil); err != nil {
		t.Fatal(err)
	}
	p, err := c.Pull(context.Background(), newStore(t), ref(t, to), nil, nil)
	if err != nil || p.Digest != digest.FromBytes(f.manifest) {
		t.Errorf("%v: %+v", err, p)
	}
}

// toLoopback connects to this machine, whatever the name is.
func toLoopback(ctx context.Context, network, address string) (net.Conn, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	return new(net.Dialer).DialContext(ctx, network, "127.0.0.1:"+port)
}

// trust puts a certificate where those for the registry are looked for.
func trust(t *testing.T, host string, ca []byte) {
	t.Helper()
	home := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", home)
	dir := filepath.Join(home, "containers", "certs.d", host)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	writeTestFile(t, filepath.Join(dir, "ca.crt"), ca)
}

func TestTLSNeedsAnAuthority(t *testing.T) {
	srv, other := serveTLS(t, newFixture(t)), serveTLS(t, newFixture(t))
	name := srv.host + "/team/app:v1"
	pullWith := func(c *Client) error {
		c.dial = toLoopback
		_, err := c.Pull(context.Background(), newStore(t), ref(t, name), nil, nil)
		return err
	}
	check := func(err error) {
		t.Helper()
		wantError(t, err, "nobody this machine trusts vouches for "+srv.host)
		for _, hint := range []string{"certs.d/" + srv.host + "/ca.crt", "--tls-verify=false"} {
			if !strings.Contains(errs.HintOf(err), hint) {
				t.Errorf("the advice %q does not have %s", errs.HintOf(err), hint)
			}
		}
		if n := srv.count("v1"); n > 0 {
			t.Errorf("%d requests were sent nevertheless", n)
		}
	}
	check(pullWith(&Client{}))
	trust(t, srv.host, other.ca)
	check(pullWith(&Client{}))
	trust(t, srv.host, srv.ca)
	if err := pullWith(&Client{}); err != nil {
		t.Error(err)
	}
	trust(t, srv.host, other.ca)
	if err := pullWith(&Client{Insecure: true}); err != nil {
		t.Errorf("--tls-verify=false: %v", err)
	}
}

func TestTLSCertificateIsForTheName(t *testing.T) {
	srv := serveTLS(t, newFixture(t))
	_, port, _ := net.SplitHostPort(srv.host)
	other := "other.test:" + port
	trust(t, other, srv.ca)
	c := &Client{dial: toLoopback}
	_, err := c.Pull(context.Background(), newStore(t), ref(t, other+"/team/app:v1"), nil, nil)
	wantError(t, err, secureName, "not other.test")
}

// TestPlainHTTPOnlyIfToldSo: a registry elsewhere that has no TLS.
func TestPlainHTTPOnlyIfToldSo(t *testing.T) {
	srv := serve(t, newFixture(t))
	_, port, _ := net.SplitHostPort(srv.host())
	name := ref(t, "registry.test:"+port+"/team/app:v1")
	c := &Client{dial: toLoopback}
	_, err := c.Pull(context.Background(), newStore(t), name, nil, nil)
	wantError(t, err, "speaks plain HTTP, not TLS")
	if !strings.Contains(errs.HintOf(err), "--tls-verify=false") {
		t.Errorf("the advice is %q", errs.HintOf(err))
	}
	c.Insecure = true
	if _, err := c.Pull(context.Background(), newStore(t), name, nil, nil); err != nil {
		t.Error(err)
	}
}

// TestPasswordsStayWithTheirScheme: a redirect from https to http on the same
// host is followed without them.
func TestPasswordsStayWithTheirScheme(t *testing.T) {
	f := newFixture(t)
	srv := serveTLS(t, f)
	var seen []string
	plain := serve(t, f)
	plain.fault = func(w http.ResponseWriter, r *http.Request) bool {
		seen = append(seen, r.Header.Get("Authorization")+r.Header.Get("Cookie"))
		return false
	}
	_, port, _ := net.SplitHostPort(plain.host())
	srv.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if wantBasic(w, r) {
			return true
		}
		if strings.Contains(r.URL.Path, "/blobs/") {
			http.Redirect(w, r, "http://"+secureName+":"+port+r.URL.Path, http.StatusTemporaryRedirect)
			return true
		}
		return false
	}
	trust(t, srv.host, srv.ca)
	withConfig(t, loggedIn(srv.host))
	c := &Client{dial: toLoopback}
	if _, err := c.Pull(context.Background(), newStore(t), ref(t, srv.host+"/team/app:v1"), nil, nil); err != nil {
		t.Fatal(err)
	}
	if len(seen) == 0 || strings.Join(seen, "") != "" {
		t.Errorf("the other scheme was asked %d times and saw %q", len(seen), seen)
	}
	// Go's own client would have told it: what this test sees is not nothing.
	seen = nil
	req, _ := http.NewRequest("GET", "https://"+srv.host+"/v2/team/app/blobs/"+f.m.Config.Digest.String(), nil)
	req.SetBasicAuth("anna", "open sesame")
	careless := &http.Client{Transport: &http.Transport{DialContext: toLoopback, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	if resp, err := careless.Do(req); err == nil {
		resp.Body.Close()
	}
	if strings.Join(seen, "") == "" {
		t.Error("a client that takes no care is not noticed")
	}
}

// TestClientCertificate: containers-certs.d(5), "Directory Structure"; it is shown to that
// registry and to no host that it redirects to.
func TestClientCertificate(t *testing.T) {
	srv := serveTLS(t, newFixture(t))
	srv.TLS.ClientAuth = tls.RequestClientCert // a server that is started with this config asks for one
	shown, elsewhere := 0, 0
	srv.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if len(r.TLS.PeerCertificates) == 0 {
			if strings.HasPrefix(r.Host, secureName) {
				w.WriteHeader(http.StatusForbidden)
				return true
			}
			elsewhere++
			return false
		}
		if !strings.HasPrefix(r.Host, secureName) {
			t.Errorf("%s was shown the certificate", r.Host)
		}
		if shown++; strings.Contains(r.URL.Path, "/blobs/") {
			http.Redirect(w, r, "https://files.test"+portOf(srv.host)+r.URL.Path, http.StatusTemporaryRedirect)
			return true
		}
		return false
	}
	trust(t, srv.host, srv.ca)
	dir := filepath.Join(certsDirs()[0], srv.host)
	pull := func() ([]string, error) {
		var w warnings
		c := w.client()
		c.dial = toLoopback
		_, err := c.Pull(context.Background(), newStore(t), ref(t, srv.host+"/team/app:v1"), nil, nil)
		return w.all, err
	}
	if _, err := pull(); err == nil {
		t.Error("pulled without a certificate")
	}
	_, cert, key := authority(t)
	writeTestFile(t, filepath.Join(dir, "client.cert"), cert)
	if warned, err := pull(); err == nil || len(warned) == 0 || !strings.Contains(warned[0], "client certificate") {
		t.Errorf("without its key: %v, warnings %q", err, warned)
	}
	writeTestFile(t, filepath.Join(dir, "client.key"), key)
	if _, err := pull(); err != nil {
		t.Error(err)
	}
	if shown == 0 || elsewhere == 0 {
		t.Errorf("the certificate was shown %d times, and the other host asked %d times", shown, elsewhere)
	}
}

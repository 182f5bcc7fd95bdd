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

func serveTLS(t *testing.T, f *fixture) *secure {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), DNSNames: []string{secureName}, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{f: f, gets: map[string]int{}}
	s.Server = httptest.NewUnstartedServer(s)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	return &secure{s, secureName + ":" + port, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER})}
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

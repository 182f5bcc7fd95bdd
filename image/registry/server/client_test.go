package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	digest "github.com/opencontainers/go-digest"
	"golang.org/x/crypto/bcrypt"

	"tiffin/internal/test/must"
	"tiffin/internal/test/podmantest"
)

// raw asks skopeo for the digest of what is behind a name.
func raw(t *testing.T, skopeo string, args ...string) digest.Digest {
	t.Helper()
	out, err := exec.Command(skopeo, append([]string{"inspect", "--raw"}, args...)...).Output()
	if err != nil {
		t.Fatalf("skopeo inspect %v: %v", args, err)
	}
	return digest.FromBytes(out)
}

// layout writes a fixture into an OCI layout, with the whole of an index if
// there are several.
func layout(t *testing.T, fs ...*fixture) string {
	t.Helper()
	dir := t.TempDir()
	put := func(b []byte) map[string]any {
		d := digest.FromBytes(b)
		file := filepath.Join(dir, "blobs", "sha256", d.Encoded())
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, b, 0o644); err != nil {
			t.Fatal(err)
		}
		return map[string]any{"digest": d, "size": len(b)}
	}
	var all []map[string]any
	for _, f := range fs {
		for _, b := range f.blobs {
			put(b)
		}
		d := put(f.manifest)
		d["mediaType"] = f.m.MediaType
		var cfg struct{ Architecture string }
		if err := json.Unmarshal(f.blobs[f.m.Config.Digest], &cfg); err != nil {
			t.Fatal(err)
		}
		d["platform"] = map[string]string{"os": "linux", "architecture": cfg.Architecture}
		all = append(all, d)
	}
	top := all[0]
	if len(all) > 1 {
		const ixType = "application/vnd.oci.image.index.v1+json"
		top = put(mustJSON(t, map[string]any{"schemaVersion": 2, "mediaType": ixType, "manifests": all}))
		top["mediaType"] = ixType
	}
	top["annotations"] = map[string]string{"org.opencontainers.image.ref.name": "it"}
	for name, v := range map[string]any{"index.json": map[string]any{"schemaVersion": 2, "manifests": []any{top}}, "oci-layout": map[string]string{"imageLayoutVersion": "1.0.0"}} {
		if err := os.WriteFile(filepath.Join(dir, name), mustJSON(t, v), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return "oci:" + dir + ":it"
}

// TestSkopeo copies an image, an index and an image in docker's format there
// and back, with the same digests.
func TestSkopeo(t *testing.T) {
	skopeo := must.Tool(t, "skopeo")
	h := start(t, &Server{})
	one, two := newFixture(t, "a", thisArch()), newFixture(t, "b", "riscv64")
	for name, c := range map[string]struct {
		src   string
		flags []string
	}{
		"one":    {layout(t, one), []string{"--preserve-digests"}},
		"index":  {layout(t, one, two), []string{"--all", "--preserve-digests"}},
		"docker": {layout(t, one), []string{"--format", "v2s2"}},
	} {
		t.Run(name, func(t *testing.T) {
			there, back := "docker://"+h.host+"/by/skopeo:"+name, t.TempDir()
			flags := append([]string{"copy", "--insecure-policy", "--src-tls-verify=false", "--dest-tls-verify=false"}, c.flags...)
			output(t, skopeo, append(flags, c.src, there)...)
			d := raw(t, skopeo, "--tls-verify=false", there)
			if name != "docker" && d != raw(t, skopeo, c.src) {
				t.Error("the server has another manifest than skopeo pushed")
			}
			output(t, skopeo, "copy", "--insecure-policy", "--src-tls-verify=false", "--all", "--preserve-digests", there, "dir:"+back)
			b, err := os.ReadFile(back + "/manifest.json")
			if err != nil || digest.FromBytes(b) != d {
				t.Errorf("skopeo got another manifest than there is: %v", err)
			}
			if s, got := tiffinPull(t, h.host+"/by/skopeo:"+name); got != d {
				t.Errorf("tiffin got %s, there is %s", got, d)
			} else {
				sound(t, s)
			}
		})
	}
}

func TestPodman(t *testing.T) {
	podman, h, f := podmantest.New(t), start(t, &Server{}), newFixture(t, "a", thisArch())
	h.push(t, "course/lab1", "v1", f)
	there, back := h.host+"/course/lab1:v1", h.host+"/by/podman:v1"
	podman.Run("pull", "--tls-verify=false", there)
	if got, want := podman.Inspect(there, "{{.Id}} {{.Digest}}"), f.m.Config.Digest.Encoded()+" "+digest.FromBytes(f.manifest).String(); got != want {
		t.Errorf("podman has %s, not %s", got, want)
	}
	podman.Run("tag", there, back)
	pushed := podman.Push(back)
	img, err := h.store.Resolve("by/podman:v1")
	if err != nil || img.ID != f.m.Config.Digest || img.Manifest.Digest.String() != pushed {
		t.Fatalf("podman pushed %s: %v: %+v", pushed, err, img)
	}
	if _, d := tiffinPull(t, back); d != img.Manifest.Digest {
		t.Errorf("tiffin got %s, there is %s", d, img.Manifest.Digest)
	}
}

// htpasswd writes a file with one user, and more that have the same password.
func htpasswd(t testing.TB, user, password string, more ...string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	text := "# who may\n\n"
	for _, user := range append([]string{user}, more...) {
		text += user + ":" + string(hash) + "\n"
	}
	return written(t, text)
}

// written is a file with a text.
func written(t testing.TB, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestPasswords(t *testing.T) {
	p, err := ReadPasswords(htpasswd(t, "anna", "open sesame"))
	if err != nil {
		t.Fatal(err)
	}
	h, f := start(t, &Server{Auth: p}), newFixture(t, "a", thisArch())
	try := func(user, password string) reply {
		req := &http.Request{Header: http.Header{}}
		if user != "" {
			req.SetBasicAuth(user, password)
		}
		return h.do(t, "GET", "/v2/", nil, "Authorization", req.Header.Get("Authorization"))
	}
	refused := try("", "").want(t, 401, "UNAUTHORIZED")
	if got := refused.Header.Get("WWW-Authenticate"); got != `Basic realm="tiffin", charset="UTF-8"` {
		t.Errorf("challenge: %s", got)
	}
	// Nothing tells a wrong user from a wrong password.
	if a, b := try("anna", "close sesame").want(t, 401), try("otto", "open sesame").want(t, 401); a.body != b.body {
		t.Errorf("%s for a wrong password, %s for a wrong user", a.body, b.body)
	}
	for range 2 { // compared, and remembered
		try("anna", "open sesame").want(t, 200)
		try("anna", "open sesam").want(t, 401)
		try("ann", "a:open sesame").want(t, 401)
	}
	h.do(t, "POST", "/v2/x/blobs/uploads/", nil).want(t, 401)
	skopeo := must.Tool(t, "skopeo")
	output(t, skopeo, "copy", "--insecure-policy", "--dest-tls-verify=false", "--dest-creds", "anna:open sesame", layout(t, f), "docker://"+h.host+"/anna/x:v1")
	if _, err := h.store.Resolve("anna/x:v1"); err != nil {
		t.Error(err)
	}
}

func TestPasswordFilesThatAreRefused(t *testing.T) {
	for line, says := range map[string]string{
		"anna:$apr1$x$y":    "Apache's MD5, and only bcrypt",
		"anna:{SHA}abc=":    "SHA-1 without salt",
		"anna:secret":       "not encrypted",
		"anna:$2y$05$short": "damaged bcrypt",
		"anna":              "line 1: not USER:HASH",
		"":                  "names no user",
		"anna:$2y$31$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW": "cost of 31",
	} {
		name := filepath.Join(t.TempDir(), "htpasswd")
		if err := os.WriteFile(name, []byte(line+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadPasswords(name); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", line, err, says)
		}
	}
}

// authority makes a certificate for 127.0.0.1 that signs itself.
func authority(t testing.TB) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a test"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	pkcs, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "ca.crt"), filepath.Join(dir, "key.pem")
	for name, b := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func TestTLS(t *testing.T) {
	cert, key := authority(t)
	c, err := Certificate(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Certificate(cert, ""); err == nil {
		t.Error("a certificate without a key was taken")
	}
	s := &Server{Store: newStore(t), Open: true}
	hs := s.HTTP(c)
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go hs.ServeTLS(l, "", "")
	t.Cleanup(func() { hs.Close(); s.Close(); sound(t, s.Store) })
	host, f := l.Addr().String(), newFixture(t, "a", thisArch())
	skopeo := must.Tool(t, "skopeo")
	output(t, skopeo, "copy", "--insecure-policy", "--preserve-digests", "--dest-cert-dir", filepath.Dir(cert), layout(t, f), "docker://"+host+"/x:v1")
	if out, err := exec.Command(skopeo, "inspect", "docker://"+host+"/x:v1").CombinedOutput(); err == nil || !strings.Contains(string(out), "x509") {
		t.Errorf("skopeo trusts anybody: %v: %s", err, out)
	}
	if _, d := tiffinPull(t, host+"/x:v1"); d != digest.FromBytes(f.manifest) { // loopback need not be vouched for
		t.Errorf("tiffin got %s", d)
	}
}

func TestPublicAddresses(t *testing.T) {
	for addr, public := range map[string]bool{
		"127.0.0.1:1": false, "[::1]:1": false, "localhost:1": false, "127.9.9.9:0": false,
		":5000": true, "0.0.0.0:1": true, "[::]:1": true, "192.0.2.1:1": true,
	} {
		if err := new(Server).CheckPublic(addr, false); (err != nil) != public {
			t.Errorf("%s: %v", addr, err)
		}
		for _, s := range []*Server{{Auth: &Passwords{}}, {}} {
			if err := s.CheckPublic(addr, s.Auth == nil); err != nil {
				t.Errorf("%s with passwords or TLS: %v", addr, err)
			}
		}
	}
	for _, addr := range []string{"", "127.0.0.1", "5000"} {
		if err := new(Server).CheckPublic(addr, true); err == nil {
			t.Errorf("%q is an address", addr)
		}
	}
}

func TestSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v: %v", err, st.Mode())
	}
	if _, err := ListenUnix(path); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second server: %v", err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	if l, err = ListenUnix(path); err != nil {
		t.Fatalf("a socket that was left: %v", err)
	}
	l.Close()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ListenUnix(path); err == nil {
		t.Error("a file was replaced")
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

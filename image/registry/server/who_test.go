package server

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tiffin/image/registry"
	"tiffin/image/registry/token"
	"tiffin/internal/test/must"
	"tiffin/internal/test/podmantest"
	"tiffin/internal/test/reexec"
	"tiffin/internal/test/tartest"
)

// owned starts a server whose user has a token.
func owned(t *testing.T) (*served, *token.Token) {
	t.Helper()
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	s := &Server{Token: "s3cret"}
	h := start(t, s)
	own, err := token.New(h.Listener.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(own.Close)
	s.Token = own.Secret
	return h, own
}

func basicAuth(user, password string) string {
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(user, password)
	return r.Header.Get("Authorization")
}

func TestOnlyTheOwnerWrites(t *testing.T) {
	h, own := owned(t)
	f := newFixture(t, "a", thisArch())
	right := basicAuth(token.User, own.Secret)
	for _, auth := range []string{"", basicAuth("", "")} {
		if r := h.do(t, "GET", "/v2/", nil, "Authorization", auth).want(t, 200); r.Header.Get("WWW-Authenticate") == "" {
			t.Error("podman does not learn that there is a password")
		}
		h.do(t, "POST", "/v2/x/blobs/uploads/", nil, "Authorization", auth).want(t, 401, "only the user who runs this registry")
		h.do(t, "PUT", "/v2/x/manifests/v1", f.manifest, "Authorization", auth).want(t, 401)
		h.do(t, "DELETE", "/v2/x/manifests/v1", nil, "Authorization", auth).want(t, 403, "only the user who runs this registry")
	}
	for _, auth := range []string{basicAuth(token.User, "x"), basicAuth(token.User, ""), basicAuth("root", own.Secret), basicAuth("", own.Secret)} {
		for method, path := range map[string]string{"GET": "/v2/", "POST": "/v2/x/blobs/uploads/", "DELETE": "/v2/x/manifests/v1"} {
			h.do(t, method, path, nil, "Authorization", auth).want(t, 401, "wrong user or password")
		}
	}
	h.do(t, "GET", "/v2/", nil, "Authorization", right).want(t, 200)
	h.do(t, "DELETE", "/v2/x/manifests/v1", nil, "Authorization", right).want(t, 404)
	h.do(t, "POST", "/v2/x/blobs/uploads/", nil, "Authorization", right).want(t, 202)
}

// TestTiffinFindsTheToken: nobody has to log in to a server of their own.
func TestTiffinFindsTheToken(t *testing.T) {
	h, own := owned(t)
	_, port, _ := net.SplitHostPort(h.host)
	source, f := start(t, &Server{}), newFixture(t, "a", thisArch())
	source.push(t, "x", "v1", f)
	s, _ := tiffinPull(t, source.host+"/x:v1")
	push := func(name string) error {
		if err := s.Tag(source.host+"/x:v1", name); err != nil {
			t.Fatal(err)
		}
		r := ref(t, name)
		_, err := new(registry.Client).Push(context.Background(), s, r, registry.PushOptions{}, nil)
		return err
	}
	for _, name := range []string{h.host + "/by-address:v1", "localhost:" + port + "/by-name:v1"} {
		if err := push(name); err != nil {
			t.Error(err)
		}
		if _, err := h.store.Resolve(name[strings.IndexByte(name, '/')+1:]); err != nil {
			t.Error(err)
		}
	}
	own.Close()
	if err := push(h.host + "/later:v1"); err == nil || !strings.Contains(err.Error(), "wants a password") {
		t.Errorf("without the token: %v", err)
	}
}

// TestOthersLogInWithTheToken: the line that `tiffin serve` prints.
func TestOthersLogInWithTheToken(t *testing.T) {
	podman, f := podmantest.New(t), newFixture(t, "a", thisArch())
	h, own := owned(t)
	tarball := filepath.Join(t.TempDir(), "root.tar")
	if err := os.WriteFile(tarball, tartest.Of(t, tartest.File("f", "by podman")), 0o600); err != nil {
		t.Fatal(err)
	}
	name := h.host + "/by/podman:v1"
	podman.Run("import", tarball, name)
	if err := podman.Try("push", "--tls-verify=false", name); err == nil {
		t.Error("podman pushes without having logged in")
	}
	podman.Run("login", "--tls-verify=false", "-u", token.User, "-p", own.Secret, h.host)
	podman.Push(name)
	if _, err := h.store.Resolve("by/podman:v1"); err != nil {
		t.Error(err)
	}
	skopeo, from := must.Tool(t, "skopeo"), layout(t, f)
	output(t, skopeo, "copy", "--insecure-policy", "--dest-tls-verify=false", "--dest-creds", token.User+":"+own.Secret, from, "docker://"+h.host+"/by/skopeo:v1")
	output(t, skopeo, "inspect", "--tls-verify=false", "docker://"+h.host+"/by/skopeo:v1") // everybody may read
	if out, err := exec.Command(skopeo, "delete", "--tls-verify=false", "docker://"+h.host+"/by/skopeo:v1").CombinedOutput(); err == nil {
		t.Errorf("skopeo deletes without a password: %s", out)
	}
	output(t, skopeo, "delete", "--tls-verify=false", "--creds", token.User+":"+own.Secret, "docker://"+h.host+"/by/skopeo:v1")
}

// TestAClosedConnectionIsNobodys: the kernel lists a socket that its owner has closed as root's.
func TestAClosedConnectionIsNobodys(t *testing.T) {
	h, _ := owned(t)
	b := newFixture(t, "a", thisArch()).blobs
	for d, blob := range b {
		for range 20 {
			c, err := net.Dial("tcp", h.host)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(c, "POST /v2/x/blobs/uploads/?digest=%s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s", d, h.host, len(blob), blob)
			c.Close()
		}
	}
	for range 100 {
		time.Sleep(10 * time.Millisecond)
		for d := range b {
			h.do(t, "HEAD", "/v2/x/blobs/"+d.String(), nil).want(t, 404)
		}
	}
}

// TestHost: a name that its owner has made to stand for this machine is not the server's.
func TestHost(t *testing.T) {
	p, err := ReadPasswords(htpasswd(t, "anna", "open sesame"))
	if err != nil {
		t.Fatal(err)
	}
	open, locked := start(t, &Server{Names: []string{"lab1.example.org"}}), start(t, &Server{Auth: p})
	ask := func(h *served, method, host string) reply {
		t.Helper()
		req, err := http.NewRequest(method, h.URL+"/v2/_catalog", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		resp, err := h.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return reply{resp, string(b)}
	}
	for _, host := range []string{"127.0.0.1", "127.0.0.1:5000", "[::1]:5000", "[::1]", "192.0.2.7:1", "localhost", "LocalHost:5000", "localhost.:5000",
		"x.localhost:5000", "lab1.example.org", "LAB1.example.org:5000"} {
		ask(open, "GET", host).want(t, 200)
	}
	for _, host := range []string{"evil.example", "evil.example:5000", "localhost.evil.example:5000", "127.0.0.1.evil.example", "xlocalhost", "notlab1.example.org",
		"127.0.0.1x:5000", "lab1"} {
		ask(open, "GET", host).want(t, 421, "not called", "--host NAME")
		ask(open, "POST", host).want(t, 421)
		ask(locked, "GET", host).want(t, 401) // it has no password
	}
}

// TestBrowsersDoNotWrite: even one that has the password.
func TestBrowsersDoNotWrite(t *testing.T) {
	h, own := owned(t)
	auth := basicAuth(token.User, own.Secret)
	for _, header := range [][2]string{{"Origin", "http://evil.example"}, {"Origin", "null"}, {"Origin", h.URL}, {"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-origin"}} {
		for method, path := range map[string]string{"POST": "/v2/x/blobs/uploads/", "PUT": "/v2/x/manifests/v1", "DELETE": "/v2/x/manifests/v1", "PATCH": "/v2/x/blobs/uploads/1"} {
			h.do(t, method, path, nil, "Authorization", auth, header[0], header[1]).want(t, 403, "web pages")
		}
		h.do(t, "GET", "/v2/", nil, header[0], header[1]).want(t, 200)
	}
}

// TestSocketKnowsItsPeer: also one that somebody has opened to all.
func TestSocketKnowsItsPeer(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "tiffin-s-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	l, err := ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Store: newStore(t)}
	hs := s.HTTP(nil)
	go hs.Serve(l)
	t.Cleanup(func() { hs.Close(); s.Close() })
	if got := postTo(path); got != "202" {
		t.Errorf("its user is answered %s", got)
	}
	if os.Getuid() != 0 {
		t.Skip("it takes root to be two people")
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	cmd := reexec.Command("post", path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil || string(bytes.TrimSpace(out)) != "403" {
		t.Errorf("another user is answered %s, %v", out, err)
	}
}

// postTo begins an upload by a socket, or at tcp:HOST:PORT, and returns the status.
func postTo(path string) string {
	network, addr, ok := strings.Cut(path, ":")
	if !ok {
		network, addr = "unix", path
	}
	c := http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial(network, addr) }}}
	resp, err := c.Post("http://localhost/v2/x/blobs/uploads/", "", nil)
	if err != nil {
		return err.Error()
	}
	resp.Body.Close()
	return fmt.Sprint(resp.StatusCode)
}

package registry

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	digest "github.com/opencontainers/go-digest"

	"tiffin/image"
)

// pulledFixture is a store with the fixture's image, pulled from a server.
func pulledFixture(t *testing.T) (*image.Store, *fixture, string) {
	t.Helper()
	srv := serve(t, newFixture(t))
	s, _, err := pull(t, srv.host())
	if err != nil {
		t.Fatal(err)
	}
	return s, srv.f, srv.host() + "/team/app:v1"
}

// TestThereAndBack: to Debian's registry, from there into another store, and
// all digests are what they were.
func TestThereAndBack(t *testing.T) {
	host := startRegistry(t, "")
	s, f, name := pulledFixture(t)
	ctx := context.Background()
	push := func(to string) *Pushed {
		t.Helper()
		if err := s.Tag(name, to); err != nil {
			t.Fatal(err)
		}
		p, err := new(Client).Push(ctx, s, ref(t, to), nil)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	first, second, mounted := push(host+"/team/app:v1"), push(host+"/team/app:v2"), push(host+"/other:v1")
	for i, l := range f.m.Layers {
		if got := first.Layers[i]; got != (PushedLayer{l.Digest, true, ""}) {
			t.Errorf("first: %+v", got)
		}
		if got := second.Layers[i]; got != (PushedLayer{l.Digest, false, ""}) {
			t.Errorf("second: %+v", got)
		}
		if got := mounted.Layers[i]; got != (PushedLayer{l.Digest, false, "team/app"}) {
			t.Errorf("to another repository: %+v", got)
		}
	}
	back := newStore(t)
	for _, from := range []string{host + "/team/app:v2", host + "/other:v1"} {
		p, err := new(Client).Pull(ctx, back, ref(t, from), nil, nil)
		if err != nil || p.Digest != digest.FromBytes(f.manifest) || p.Digest != first.Digest {
			t.Errorf("%s: %v: %+v", from, err, p)
		}
	}
}

func TestRegistryWithPasswords(t *testing.T) {
	// htpasswd -B: anna, "open sesame"
	file := filepath.Join(t.TempDir(), "htpasswd")
	if err := os.WriteFile(file, []byte("anna:$2y$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	host := startRegistry(t, "auth: {htpasswd: {realm: x, path: "+file+"}}\n")
	withConfig(t, "")
	s, _, name := pulledFixture(t)
	ctx, to := context.Background(), host+"/team/app:v1"
	if err := s.Tag(name, to); err != nil {
		t.Fatal(err)
	}
	_, err := new(Client).Push(ctx, s, ref(t, to), nil)
	wantError(t, err, "wants a password")
	_, err = new(Client).Login(ctx, host, "anna", "close sesame")
	wantError(t, err, "401")
	if _, err := new(Client).Login(ctx, host, "anna", "open sesame"); err != nil {
		t.Fatal(err)
	}
	if _, err := new(Client).Push(ctx, s, ref(t, to), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := new(Client).Pull(ctx, newStore(t), ref(t, to), nil, nil); err != nil {
		t.Error(err)
	}
}

// TestSkopeoIsTheOtherClient: what tiffin pushed skopeo copies, and what
// skopeo copied tiffin pulls, with one digest all the way.
func TestSkopeoIsTheOtherClient(t *testing.T) {
	skopeo, err := exec.LookPath("skopeo")
	if err != nil {
		if strings.Contains(os.Getenv("TIFFIN_MUST"), "registry") {
			t.Fatal("TIFFIN_MUST has registry, but there is no skopeo")
		}
		t.Skip("skopeo is not installed")
	}
	host := startRegistry(t, "")
	s, f, name := pulledFixture(t)
	ctx := context.Background()
	if err := s.Tag(name, host+"/ours:v1"); err != nil {
		t.Fatal(err)
	}
	if _, err := new(Client).Push(ctx, s, ref(t, host+"/ours:v1"), nil); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(skopeo, "copy", "--insecure-policy", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false",
		"docker://"+host+"/ours:v1", "docker://"+host+"/theirs:v1").CombinedOutput()
	if err != nil {
		t.Fatalf("skopeo: %v\n%s", err, out)
	}
	p, err := new(Client).Pull(ctx, newStore(t), ref(t, host+"/theirs:v1"), nil, nil)
	if err != nil || p.Digest != digest.FromBytes(f.manifest) {
		t.Errorf("%v: %+v", err, p)
	}
}

// TestDamagedBlobIsNotSent: the registry would refuse it, but not say why.
func TestDamagedBlobIsNotSent(t *testing.T) {
	s, f, _ := pulledFixture(t)
	l := f.m.Layers[0]
	b := []byte(string(f.blobs[l.Digest]))
	b[len(b)/2] ^= 1
	if err := os.WriteFile(filepath.Join(s.Root(), "blobs", "sha256", l.Digest.Encoded()), b, 0o600); err != nil {
		t.Fatal(err)
	}
	taken := 0
	srv := serve(t, &fixture{})
	srv.fault = func(w http.ResponseWriter, r *http.Request) bool {
		switch r.Method {
		case http.MethodHead:
			http.NotFound(w, r)
		case http.MethodPost:
			w.Header().Set("Location", r.URL.Path+"1")
			w.WriteHeader(http.StatusAccepted)
		case http.MethodPut:
			buf := make([]byte, 1<<20)
			for err := error(nil); err == nil; {
				_, err = r.Body.Read(buf)
				if err != nil && err.Error() == "EOF" && r.URL.Query().Get("digest") == l.Digest.String() {
					taken++
				}
			}
			w.WriteHeader(http.StatusCreated)
		}
		return true
	}
	names, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Tag(names[0].Names[0], srv.host()+"/x:1"); err != nil {
		t.Fatal(err)
	}
	_, err = new(Client).Push(context.Background(), s, ref(t, srv.host()+"/x:1"), nil)
	wantError(t, err, l.Digest.String(), "damaged")
	if taken > 0 {
		t.Error("the registry has the damaged blob whole")
	}
}

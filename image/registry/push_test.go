package registry

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	digest "github.com/opencontainers/go-digest"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"tiffin/image"
	"tiffin/internal/errs"
	"tiffin/internal/test/must"
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
		p, err := new(Client).Push(ctx, s, ref(t, to), PushOptions{}, nil)
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
	_, err := new(Client).Push(ctx, s, ref(t, to), PushOptions{}, nil)
	wantError(t, err, "wants a password")
	_, err = new(Client).Login(ctx, host, "anna", "close sesame")
	wantError(t, err, "wrong user or password", "401")
	if hint := errs.HintOf(err); !strings.Contains(hint, "password") || strings.Contains(hint, "image") {
		t.Errorf("the hint after a wrong password: %s", hint)
	}
	if _, err := new(Client).Login(ctx, host, "anna", "open sesame"); err != nil {
		t.Fatal(err)
	}
	if _, err := new(Client).Push(ctx, s, ref(t, to), PushOptions{}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := new(Client).Pull(ctx, newStore(t), ref(t, to), nil, nil); err != nil {
		t.Error(err)
	}
}

func TestLoginAtNoRegistry(t *testing.T) {
	withConfig(t, "")
	srv := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(srv.Close)
	_, err := new(Client).Login(context.Background(), strings.TrimPrefix(srv.URL, "http://"), "anna", "x")
	wantError(t, err, "this is no registry")
}

// TestSkopeoIsTheOtherClient: what tiffin pushed skopeo copies, and what
// skopeo copied tiffin pulls, with one digest all the way.
func TestSkopeoIsTheOtherClient(t *testing.T) {
	skopeo := must.Tool(t, "skopeo")
	host := startRegistry(t, "")
	s, f, name := pulledFixture(t)
	ctx := context.Background()
	if err := s.Tag(name, host+"/ours:v1"); err != nil {
		t.Fatal(err)
	}
	if _, err := new(Client).Push(ctx, s, ref(t, host+"/ours:v1"), PushOptions{}, nil); err != nil {
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

// receiver takes what is pushed. fault may answer a request itself.
type receiver struct {
	*httptest.Server
	fault func(w http.ResponseWriter, r *http.Request) bool

	mu       sync.Mutex
	has      map[string][]byte // blobs by digest, manifests by tag
	requests []string
}

func receive(t *testing.T) *receiver {
	rc := &receiver{has: map[string][]byte{}}
	rc.Server = httptest.NewServer(rc)
	t.Cleanup(rc.Close)
	return rc
}

func (rc *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := path.Base(r.URL.Path)
	rc.mu.Lock()
	rc.requests = append(rc.requests, r.Method+" "+name)
	_, has := rc.has[name]
	rc.mu.Unlock()
	switch {
	case rc.fault != nil && rc.fault(w, r):
	case r.Method == http.MethodHead && has:
		w.Header().Set("Content-Length", "1")
	case r.Method == http.MethodHead:
		http.NotFound(w, r)
	case r.Method == http.MethodPost:
		w.Header().Set("Location", r.URL.Path+"up")
		w.WriteHeader(http.StatusAccepted)
	case r.Method == http.MethodPut:
		b, err := io.ReadAll(r.Body)
		if d := r.URL.Query().Get("digest"); d != "" {
			name = d
		}
		if err != nil || strings.HasPrefix(name, "sha256:") && digest.FromBytes(b).String() != name {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		rc.mu.Lock()
		rc.has[name] = b
		rc.mu.Unlock()
		w.WriteHeader(http.StatusCreated)
	}
}

// asked are the requests so far.
func (rc *receiver) asked() []string {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	return slices.Clone(rc.requests)
}

// pushTo pushes the fixture's image.
func pushTo(t *testing.T, rc *receiver, c *Client) error {
	t.Helper()
	s, _, name := pulledFixture(t)
	to := strings.TrimPrefix(rc.URL, "http://") + "/team/app:v1"
	if err := s.Tag(name, to); err != nil {
		t.Fatal(err)
	}
	_, err := c.Push(context.Background(), s, ref(t, to), PushOptions{}, nil)
	return err
}

// TestPushIsTriedAgain: each way to fail once or twice is got over, for blobs
// and for the manifest.
func TestPushIsTriedAgain(t *testing.T) {
	for name, fail := range map[string]func(w http.ResponseWriter, r *http.Request){
		"busy":      func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		"told when": func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Retry-After", "0"); w.WriteHeader(429) },
		"broken":    func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) },
		"broken halfway": func(w http.ResponseWriter, r *http.Request) {
			io.CopyN(io.Discard, r.Body, 50)
			panic(http.ErrAbortHandler)
		},
	} {
		for _, method := range []string{http.MethodPost, http.MethodPut} {
			t.Run(name+" "+method, func(t *testing.T) {
				rc := receive(t)
				failures := map[string]int{}
				rc.fault = func(w http.ResponseWriter, r *http.Request) bool {
					key := path.Base(r.URL.Path) + r.URL.Query().Get("digest")
					if r.Method == http.MethodPost {
						key = "all"
					}
					rc.mu.Lock()
					failures[key]++
					again := r.Method == method && failures[key] <= 2
					rc.mu.Unlock()
					if again {
						fail(w, r)
					}
					return again
				}
				if err := pushTo(t, rc, &Client{pause: time.Millisecond}); err != nil {
					t.Fatal(err)
				}
				if len(rc.has) != 5 { // 3 layers, config, manifest
					t.Errorf("the registry has %d things", len(rc.has))
				}
			})
		}
	}
}

// TestPushHonoursRetryAfter: a registry that says "in an hour" is not asked again.
func TestPushHonoursRetryAfter(t *testing.T) {
	rc := receive(t)
	rc.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(http.StatusTooManyRequests)
		}
		return r.Method == http.MethodPut
	}
	wantError(t, pushTo(t, rc, &Client{pause: time.Millisecond}), "has been asked too often")
	puts := map[string]int{}
	for _, r := range rc.asked() {
		if strings.HasPrefix(r, "PUT") {
			puts[r]++
		}
	}
	if n := puts["PUT up"]; n == 0 || n > parallelUploads+1 {
		t.Errorf("asked %v", puts)
	}
	after := 7 * time.Second
	busy := &errcode.ErrorResponse{StatusCode: http.StatusServiceUnavailable}
	if d, again := new(Client).backOff(0, busy, told{&after}); d != after || !again {
		t.Errorf("told to wait %v, it waits %v, %v", after, d, again)
	}
}

// TestSecondPushSendsNoLayer counts what goes over the wire.
func TestSecondPushSendsNoLayer(t *testing.T) {
	rc := receive(t)
	if err := pushTo(t, rc, new(Client)); err != nil {
		t.Fatal(err)
	}
	first := len(rc.asked())
	if err := pushTo(t, rc, new(Client)); err != nil {
		t.Fatal(err)
	}
	for _, r := range rc.asked()[first:] {
		if r != "PUT v1" && !strings.HasPrefix(r, "HEAD ") {
			t.Errorf("the second push asked for %q", r)
		}
	}
}

// TestUploadToAnotherHost: a registry may have blobs sent elsewhere, where its password is nobody's
// business. OCI distribution-spec v1.1, "POST then PUT".
func TestUploadToAnotherHost(t *testing.T) {
	rc, other := receive(t), receive(t)
	withConfig(t, loggedIn(strings.TrimPrefix(rc.URL, "http://")))
	rc.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if wantBasic(w, r) {
			return true
		}
		if r.Method == http.MethodPost {
			w.Header().Set("Location", other.URL+"/up?state=1")
			w.WriteHeader(http.StatusAccepted)
		}
		return r.Method == http.MethodPost
	}
	other.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if v := r.Header.Get("Authorization"); v != "" || r.URL.Query().Get("state") != "1" {
			t.Errorf("the other host is asked for %s, with %q", r.URL, v)
		}
		return false
	}
	if err := pushTo(t, rc, new(Client)); err != nil {
		t.Error(err)
	}
	if asked := other.asked(); len(asked) != 4 { // 3 layers, config
		t.Errorf("the other host was asked %q", asked)
	}
}

// TestTokenThatExpiresBeforeThePut: the answer to POST came in time, that to PUT wants a new token.
// All blobs have begun by then: a request that is just fetching its first token asks only once.
func TestTokenThatExpiresBeforeThePut(t *testing.T) {
	rc := receive(t)
	var mu sync.Mutex
	valid, begun, expired := 1, 0, false
	rc.fault = func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if r.Method == http.MethodPut && begun == 4 && !expired { // 3 layers, config
			valid, expired = valid+1, true
		}
		switch {
		case r.URL.Path == "/token":
			fmt.Fprintf(w, `{"token":"t%d"}`, valid)
		case r.Header.Get("Authorization") == fmt.Sprintf("Bearer t%d", valid):
			if r.Method == http.MethodPost {
				begun++
			}
			return false
		default:
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="s"`, rc.URL))
			w.WriteHeader(http.StatusUnauthorized)
		}
		return true
	}
	if err := pushTo(t, rc, new(Client)); err != nil || !expired {
		t.Errorf("%v, it expired: %v", err, expired)
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
	_, err = new(Client).Push(context.Background(), s, ref(t, srv.host()+"/x:1"), PushOptions{}, nil)
	wantError(t, err, l.Digest.String(), "damaged")
	if taken > 0 {
		t.Error("the registry has the damaged blob whole")
	}
}

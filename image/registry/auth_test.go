package registry

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	digest "github.com/opencontainers/go-digest"
)

// withConfig gives the test a config.json of its own, and returns its path.
func withConfig(t *testing.T, content string) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	file := filepath.Join(dir, "config.json")
	if content != "" {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return file
}

// loggedIn is a config.json with anna's password, "open sesame", for a host.
func loggedIn(host string) string {
	return fmt.Sprintf(`{"auths":{%q:{"auth":"YW5uYTpvcGVuIHNlc2FtZQ=="}}}`, host)
}

// wantBasic is a server's fault that lets only anna in.
func wantBasic(w http.ResponseWriter, r *http.Request) bool {
	if u, p, ok := r.BasicAuth(); ok && u == "anna" && p == "open sesame" {
		return false
	}
	w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
	w.WriteHeader(http.StatusUnauthorized)
	return true
}

func TestBasicAuth(t *testing.T) {
	srv := serve(t, newFixture(t))
	srv.fault = wantBasic
	withConfig(t, "")
	_, _, err := pull(t, srv.host())
	wantError(t, err, srv.host()+" wants a password")
	file := withConfig(t, loggedIn(srv.host()))
	if _, _, err := pull(t, srv.host()); err != nil {
		t.Error(err)
	}
	withConfig(t, "")
	t.Setenv("REGISTRY_AUTH_FILE", file)
	if _, _, err := pull(t, srv.host()); err != nil {
		t.Error(err)
	}
}

// tokens makes a server want a token that its /token hands out, to anna or, if
// anonymous is set, to all.
func tokens(t *testing.T, srv *server, anonymous bool) (asked *[]string) {
	asked = new([]string)
	srv.fault = func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case r.URL.Path == "/token":
			u, p, _ := r.BasicAuth()
			*asked = append(*asked, u+" "+r.URL.Query().Get("scope"))
			if !anonymous && (u != "anna" || p != "open sesame") {
				w.WriteHeader(http.StatusUnauthorized)
				return true
			}
			json.NewEncoder(w).Encode(map[string]string{"token": "t0ken"})
		case r.Header.Get("Authorization") == "Bearer t0ken":
			return false
		default:
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="s",scope="repository:team/app:pull"`, srv.URL))
			w.WriteHeader(http.StatusUnauthorized)
		}
		return true
	}
	return asked
}

func TestTokenAuth(t *testing.T) {
	for _, anonymous := range []bool{true, false} {
		srv := serve(t, newFixture(t))
		asked := tokens(t, srv, anonymous)
		if withConfig(t, ""); !anonymous {
			withConfig(t, loggedIn(srv.host()))
		}
		if _, _, err := pull(t, srv.host()); err != nil {
			t.Fatal(err)
		}
		who := map[bool]string{true: "", false: "anna"}[anonymous]
		if len(*asked) != 1 || (*asked)[0] != who+" repository:team/app:pull" {
			t.Errorf("tokens asked for: %q", *asked)
		}
	}
}

// TestTokenServerOnTheSameNetwork: the registry of a campus has its token server there as well, a
// registry elsewhere has none here.
func TestTokenServerOnTheSameNetwork(t *testing.T) {
	other, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := serve(t, newFixture(t))
	tokens(t, srv, true)
	elsewhere := &http.Server{Handler: srv}
	go elsewhere.Serve(other)
	defer elsewhere.Close()
	fault := srv.fault
	srv.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/token" && r.Header.Get("Authorization") != "Bearer t0ken" {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="s"`, other.Addr()))
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		return fault(w, r)
	}
	withConfig(t, "")
	if _, _, err := pull(t, srv.host()); err != nil {
		t.Error(err)
	}
	for registry, want := range map[string]map[string]bool{ // token servers that it may name
		"127.0.0.1:5000":     {"127.0.0.2": true, "10.1.2.3": true, "169.254.169.254": false, "8.8.8.8": true},
		"10.1.2.3":           {"127.0.0.2": false, "192.168.1.1": true, "169.254.169.254": false, "8.8.8.8": true},
		"[fd12::1]:5000":     {"::1": false, "10.1.2.3": true, "fd12::2": true},
		"203.0.113.9":        {"127.0.0.2": false, "10.1.2.3": false, "100.64.1.1": false, "8.8.8.8": true},
		"is.nowhere.invalid": {"127.0.0.2": false, "10.1.2.3": false, "8.8.8.8": true},
	} {
		blocked := notRealms(context.Background(), registry)
		for server, may := range want {
			if got := slices.ContainsFunc(blocked, func(p netip.Prefix) bool { return p.Contains(netip.MustParseAddr(server)) }); got == may {
				t.Errorf("%s may name %s: %v", registry, server, !got)
			}
		}
	}
}

// TestPasswordsStayWithTheirHost: layers come from another host, by redirect,
// and that one must not see what the registry saw.
func TestPasswordsStayWithTheirHost(t *testing.T) {
	for _, kind := range []string{"basic", "token"} {
		f := newFixture(t)
		srv := serve(t, f)
		var seen []string
		redirected := 0
		other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			redirected++
			for _, h := range []string{"Authorization", "Cookie"} {
				if v := r.Header.Get(h); v != "" {
					seen = append(seen, v)
				}
			}
			// It may ask for it, too.
			if r.URL.Query().Get("again") == "" {
				w.Header().Set("Location", r.URL.Path+"?again=1")
				w.WriteHeader(http.StatusTemporaryRedirect)
				return
			}
			b := f.blobs[digest.Digest(r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:])]
			w.Header().Set("Content-Length", fmt.Sprint(len(b)))
			w.Write(b)
		}))
		defer other.Close()
		if srv.fault = wantBasic; kind == "token" {
			tokens(t, srv, false)
		}
		guard := srv.fault
		srv.fault = func(w http.ResponseWriter, r *http.Request) bool {
			if guard(w, r) {
				return true
			}
			if !strings.Contains(r.URL.Path, "/blobs/") {
				return false
			}
			http.Redirect(w, r, other.URL+r.URL.Path, http.StatusTemporaryRedirect)
			return true
		}
		withConfig(t, loggedIn(srv.host()))
		if _, _, err := pull(t, srv.host()); err != nil {
			t.Fatal(err)
		}
		if len(seen) > 0 || redirected == 0 {
			t.Errorf("%s: the other host was asked %d times and saw %q", kind, redirected, seen)
		}
		// Go's own client would have told it, since only the port is another:
		// what this test sees is not nothing.
		req, _ := http.NewRequest("GET", srv.URL+"/v2/team/app/blobs/"+f.m.Config.Digest.String(), nil)
		if req.SetBasicAuth("anna", "open sesame"); kind == "token" {
			req.Header.Set("Authorization", "Bearer t0ken")
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
		}
		if len(seen) == 0 {
			t.Errorf("%s: a client that takes no care is not noticed", kind)
		}
	}
}

// TestOtherHostGetsNoPasswordByAsking: a redirect to a host that wants a
// password is not answered with the registry's.
func TestOtherHostGetsNoPasswordByAsking(t *testing.T) {
	srv := serve(t, newFixture(t))
	var seen []string
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Header.Get("Authorization"))
		w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer other.Close()
	srv.fault = func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, other.URL+r.URL.Path, http.StatusTemporaryRedirect)
		return true
	}
	withConfig(t, loggedIn(srv.host()))
	_, _, err := pull(t, srv.host())
	wantError(t, err, "401")
	if len(seen) == 0 || strings.Join(seen, "") != "" {
		t.Errorf("the other host saw %q", seen)
	}
}

func TestBrokenHelperIsNoPassword(t *testing.T) {
	srv := serve(t, newFixture(t))
	asked := tokens(t, srv, true)
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "docker-credential-broken"), []byte("#!/bin/sh\necho no luck >&2; exit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	for _, config := range []string{`{"credsStore":"broken"}`, `{"credsStore":"not-there"}`, `{not json`} {
		withConfig(t, config)
		var w warnings
		*asked = nil
		if _, err := w.client().Pull(context.Background(), newStore(t), ref(t, srv.host()+"/team/app:v1"), nil, nil); err != nil {
			t.Fatalf("%s: %v", config, err)
		}
		if len(w.all) == 0 || !strings.Contains(w.all[0], "without") {
			t.Errorf("%s: the person was told %q", config, w.all)
		}
	}
}

func TestHelperGivesThePassword(t *testing.T) {
	srv := serve(t, newFixture(t))
	srv.fault = wantBasic
	bin := t.TempDir()
	script := "#!/bin/sh\n[ \"$1 $(cat)\" = 'get " + srv.host() + "' ] && echo '{\"Username\":\"anna\",\"Secret\":\"open sesame\"}'\n"
	if err := os.WriteFile(filepath.Join(bin, "docker-credential-good"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	withConfig(t, fmt.Sprintf(`{"credHelpers":{%q:"good"}}`, srv.host()))
	if _, _, err := pull(t, srv.host()); err != nil {
		t.Fatal(err)
	}
}

func TestLoginStoresWhatTheRegistryTakes(t *testing.T) {
	srv := serve(t, newFixture(t))
	srv.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if wantBasic(w, r) {
			return true
		}
		return r.URL.Path == "/v2/" // 200
	}
	file := withConfig(t, `{"detachKeys":"ctrl-x"}`)
	ctx := context.Background()
	_, err := new(Client).Login(ctx, srv.host(), "anna", "wrong")
	wantError(t, err, "log in to "+srv.host(), "401")
	if u := StoredUser(ctx, srv.host()); u != "" {
		t.Errorf("a wrong password was stored for %s", u)
	}
	if f, err := new(Client).Login(ctx, srv.host(), "anna", "open sesame"); err != nil || f != file {
		t.Fatalf("%q, %v", f, err)
	}
	b, _ := os.ReadFile(file)
	if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o600 || !strings.Contains(string(b), "ctrl-x") {
		t.Errorf("%v, or others may read it, or it lost something: %s", err, b)
	}
	if _, _, err := pull(t, srv.host()); err != nil {
		t.Error(err)
	}
	if err := Logout(ctx, srv.host()); err != nil {
		t.Fatal(err)
	}
	if err := Logout(ctx, srv.host()); !errors.Is(err, ErrNotLoggedIn) {
		t.Errorf("the second time: %v", err)
	}
	_, _, err = pull(t, srv.host())
	wantError(t, err, "wants a password")
}

func TestDomain(t *testing.T) {
	for in, want := range map[string]string{
		"": "docker.io", "index.docker.io": "docker.io", "https://quay.io/": "quay.io",
		"localhost:5000": "localhost:5000", "example.org": "example.org",
	} {
		if got, err := Domain(in); err != nil || got != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	for _, in := range []string{"a/b", "UPPER_", "x y"} {
		if got, err := Domain(in); err == nil {
			t.Errorf("%q is %q", in, got)
		}
	}
}

// TestTheMostSpecificPasswordCounts: containers-auth.json(5), "FORMAT". Each file is read many
// times, since Go reads maps in an order of chance.
func TestTheMostSpecificPasswordCounts(t *testing.T) {
	const entry = `%q:{"auth":%q}`
	right, wrong := base64.StdEncoding.EncodeToString([]byte("anna:right")), base64.StdEncoding.EncodeToString([]byte("otto:wrong"))
	for _, c := range []struct {
		keys, user string // keys with ! have the right password
	}{
		{"h.example/other h.example/team! h.example/third", "anna"},
		{"h.example h.example/team!", "anna"}, {"h.example/team h.example/team/app!", "anna"}, {"h.example!", "anna"},
		{"h.example/other h.example/tea h.example/team/app2 other.example", ""}, {"https://h.example/v1/! h.example/other", "anna"}, {"https://h.example h.example!", "anna"},
	} {
		var auths []string
		for _, key := range strings.Fields(c.keys) {
			secret := wrong
			if strings.HasSuffix(key, "!") {
				secret = right
			}
			auths = append(auths, fmt.Sprintf(entry, strings.TrimSuffix(key, "!"), secret))
		}
		withConfig(t, `{"auths":{`+strings.Join(auths, ",")+`}}`)
		for range 10 {
			if got, err := stored(t.Context(), ref(t, "h.example/team/app:v1")); err != nil || got.Username != c.user {
				t.Errorf("%s: %q, %v; want %q", c.keys, got.Username, err, c.user)
			}
		}
	}
	withConfig(t, `{"auths":{"https://index.docker.io/v1/":{"auth":"`+right+`"}}}`)
	if got, err := stored(t.Context(), ref(t, "debian")); err != nil || got.Username != "anna" {
		t.Errorf("Docker Hub: %+v, %v", got, err)
	}
}

// TestPodmansPasswordsAreFound in the order of containers-auth.json(5), after tiffin's and
// docker's own.
func TestPodmansPasswordsAreFound(t *testing.T) {
	srv := serve(t, newFixture(t))
	srv.fault = wantBasic
	withConfig(t, "")
	config, run := t.TempDir(), t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", config)
	t.Setenv("XDG_RUNTIME_DIR", run)
	for _, dir := range []string{config, run} {
		file := filepath.Join(dir, "containers", "auth.json")
		if err := os.Mkdir(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		writeTestFile(t, file, []byte(loggedIn(srv.host())))
		if _, _, err := pull(t, srv.host()); err != nil {
			t.Error(err)
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	_, _, err := pull(t, srv.host())
	wantError(t, err, "wants a password")
}

// TestTheChallengeThatCanBeAnsweredIsFound among others, in one field or several: RFC 9110, 11.6.1.
func TestTheChallengeThatCanBeAnsweredIsFound(t *testing.T) {
	srv := serve(t, newFixture(t))
	bearer := fmt.Sprintf(`Bearer realm="%s/token",service="s, t",scope="repository:team/app:pull"`, srv.URL)
	for _, fields := range [][]string{
		{"Negotiate", bearer}, {bearer, "Negotiate"}, {"Negotiate, " + bearer}, {"NTLM, " + bearer + `, Digest realm="x, y", nonce="a\"b"`},
		{`Basic realm="x"`, bearer}, {strings.NewReplacer("Bearer", "BEARER", "realm", "Realm", "service", "SERVICE").Replace(bearer)},
		{`Negotiate dG9rZW4=`, strings.ReplaceAll(bearer, ",", " ,\t")},
	} {
		srv.fault = func(w http.ResponseWriter, r *http.Request) bool {
			switch {
			case r.URL.Path == "/token":
				if got := r.URL.Query().Get("service"); strings.Join(strings.Fields(got), "") != "s,t" {
					t.Errorf("%q: service is %q", fields, got)
				}
				json.NewEncoder(w).Encode(map[string]string{"token": "t0ken"})
			case r.Header.Get("Authorization") == "Bearer t0ken":
				return false
			default:
				w.Header()["Www-Authenticate"] = fields
				w.WriteHeader(http.StatusUnauthorized)
			}
			return true
		}
		if _, _, err := pull(t, srv.host()); err != nil {
			t.Errorf("%q: %v", fields, err)
		}
	}
	withConfig(t, loggedIn(srv.host()))
	srv.fault = func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Add("WWW-Authenticate", "Negotiate")
		if u, _, ok := r.BasicAuth(); ok && u == "anna" {
			return false
		}
		w.Header().Add("WWW-Authenticate", `Basic realm="x"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
	if _, _, err := pull(t, srv.host()); err != nil {
		t.Errorf("Negotiate and Basic: %v", err)
	}
}

func FuzzChallenges(f *testing.F) {
	f.Add(`Negotiate, Bearer realm="a, b",service=c, Basic realm="d"`)
	f.Add(`",`)
	f.Fuzz(func(t *testing.T, field string) {
		for _, one := range splitChallenges(field) {
			if len(one) == 0 || strings.ContainsAny(one[0], ", ") {
				t.Errorf("%q: %q", field, one)
			}
		}
	})
}

package registry

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tiffin/image/reference"
)

const sampleConf = `
# a course's registries
unqualified-search-registries = ["registry.example.org:5000"]  # one

[[registry]]
prefix = "docker.io/library"
location = "docker.io/library"
[[registry.mirror]]
location = "one.example.org/hub"
[[registry.mirror]]
location = 'localhost:5001'
insecure = true

[[registry]]
location = "docker.io"
blocked = true

[[registry]]
prefix = "old.example.org/team"
location = "new.example.org/group/team"
insecure = true

[aliases]
  "lab" = "registry.example.org/course/lab"
  "web/server" = "quay.io/web/server"
`

// parsed is what a file says that begins with text.
func parsed(text string) (*Registries, []string, error) {
	var warned []string
	g := &Registries{aliases: map[string]string{}, tell: func(s string) { warned = append(warned, s) }}
	err := g.add("conf", text)
	return g, warned, err
}

func mustParse(t *testing.T, text string) *Registries {
	t.Helper()
	g, warned, err := parsed(text)
	if err != nil || len(warned) > 0 {
		t.Fatal(err, warned)
	}
	return g
}

func TestRegistriesConf(t *testing.T) {
	g := mustParse(t, sampleConf)
	for name, want := range map[string]string{
		"docker.io/library/debian:12":                             "one.example.org/hub/debian:12 localhost:5001/debian:12! docker.io/library/debian:12",
		"quay.io/x/y":                                             "quay.io/x/y:latest",
		"old.example.org/team/app:1":                              "new.example.org/group/team/app:1!",
		"old.example.org/teams/app:1":                             "old.example.org/teams/app:1",
		"docker.io/libraryx/debian":                               "blocked",
		"localhost:5001/debian@sha256:" + strings.Repeat("a", 64): "localhost:5001/debian@sha256:" + strings.Repeat("a", 64),
	} {
		places, err := g.places(ref(t, name))
		got := texts(places)
		if err != nil {
			got = []string{"blocked"}
			wantError(t, err, "docker.io is blocked by conf")
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s is looked for at %q, not %q", name, got, want)
		}
	}
	for name, want := range map[string]string{
		"lab":               "registry.example.org/course/lab",
		"lab:2":             "registry.example.org/course/lab:2",
		"web/server":        "quay.io/web/server",
		"debian":            "registry.example.org:5000/debian",
		"quay.io/lab":       "quay.io/lab",
		"localhost/lab":     "localhost/lab",
		"docker.io/library": "docker.io/library",
	} {
		if got := g.Expand(name); got != want {
			t.Errorf("%s is %s, not %s", name, got, want)
		}
	}
	if got := (&Registries{}).Expand("debian:12"); got != "debian:12" {
		t.Errorf("without a file debian:12 is %s", got)
	}
}

// texts are places as they are written, with a ! where TLS is not needed.
func texts(places []place) (all []string) {
	for _, p := range places {
		s := p.ref.String()
		if p.insecure {
			s += "!"
		}
		all = append(all, s)
	}
	return all
}

func TestRegistriesConfNamesTheLine(t *testing.T) {
	for text, says := range map[string]string{
		"x":                                  `conf:1: `,
		"[[registry]]\nlocation = docker.io": `conf:2: `,
		"[[registry]]\ninsecure = \"yes\"":   `conf: `,
		"[registry]":                         `conf: `,
		"[[registry":                         `conf:1: `,
		"\n\nunqualified-search-registries = [\"a.b\"": `conf:3: `,
		"unqualified-search-registries = [\"a b\"]":    `conf: unqualified-search-registries: "a b" is not HOST`,
		"[[registry]]\nprefix = \"a.b":                 `conf:2: `,
		"[[registry]]\nprefix = 'a.b'\nprefix = 'a.b'": `conf:3: `,
		"[[registry]]\nprefix =":                       `conf:2: `,
	} {
		_, _, err := parsed(text)
		if err == nil || !strings.HasPrefix(err.Error(), says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: the error %v does not begin %s", text, err, says)
		}
	}
}

// TestWhatIsWrongElsewhereIsAWarning: what does not concern a name does not stop it, and what does
// says why.
func TestWhatIsWrongElsewhereIsAWarning(t *testing.T) {
	for text, c := range map[string]struct{ warns, fails string }{
		"[[registry]]\nlocation = \"https://x.example\"\nprefix='a.b'":                   {"", `"https://x.example" is to be without https://`},
		"[[registry]]\nprefix='a.b'\nlocation = \"a b\"":                                 {"", `"a b" is not HOST`},
		"[[registry]]\nprefix='a.b'\n[[registry.mirror]]\n":                              {"", "a mirror of a.b has no location"},
		"[[registry]]\nprefix='a.b'\nmirror=[{location='x.y',pull-from-mirror='never'}]": {"", `not "never"`},
		"\n[[registry]]\ninsecure = true":                                                {"neither prefix nor location", ""},
		"[[registry]]\nprefix='a.b'\nmirrors = true":                                     {"registry.mirrors is not known", ""},
		"[aliases]\nlab = \"lab2\"":                                                      {`lab: "lab2" is to be REGISTRY/NAME`, ""},
		"[aliases]\nlab = \"a.b/lab:1\"":                                                 {"without a tag", ""},
		"[aliases]\n\"x.y/lab\" = \"a.b/lab\"":                                           {`"x.y/lab" is no name that could stand`, ""},
		"colour = 'blue'":                                                                {"colour is not known", ""},
	} {
		g, warned, err := parsed(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if all := strings.Join(warned, "; "); !strings.Contains(all, c.warns) || (c.warns == "") != (all == "") {
			t.Errorf("%q warns of %q, want %q", text, all, c.warns)
		}
		if got, err := g.places(ref(t, "c.d/x:1")); err != nil || strings.Join(texts(got), " ") != "c.d/x:1" {
			t.Errorf("%q: another name is looked for at %q, %v", text, texts(got), err)
		}
		if _, err := g.places(ref(t, "a.b/x:1")); (err != nil) != (c.fails != "") || err != nil && !strings.Contains(err.Error(), c.fails) {
			t.Errorf("%q: its own name: %v, want %q", text, err, c.fails)
		}
	}
}

// TestRegistriesConfOfADistribution: lists over several lines, wildcards, and when a mirror counts.
func TestRegistriesConfOfADistribution(t *testing.T) {
	g := mustParse(t, `
unqualified-search-registries = [
  "registry.fedoraproject.org",   # one
  "docker.io",
]
short-name-mode = "enforcing"
credential-helpers = ["containers-auth.json"]
[[registry]]
prefix = "*.example.com"
location = "proxy.example.org/cache"
[[registry]]
prefix = "*.kept.example"
insecure = true
[[registry]]
prefix = "special.example.com"
[[registry]]
location = "docker.io"
mirror = [{location = "d.example.org", pull-from-mirror = "digest-only"}, {location = "t.example.org", pull-from-mirror = "tag-only"},
  {location = "a.example.org", pull-from-mirror = "all"}]
[[registry]]
location = "quay.io"
mirror-by-digest-only = true
[[registry.mirror]]
location = "q.example.org"
`)
	digest := "@sha256:" + strings.Repeat("a", 64)
	for name, want := range map[string]string{
		"a.example.com/x:1":       "proxy.example.org/cache/x:1",
		"a.b.example.com/x/y:1":   "proxy.example.org/cache/x/y:1",
		"example.com/x:1":         "example.com/x:1",
		"aexample.com/x:1":        "aexample.com/x:1",
		"a.example.community/x:1": "a.example.community/x:1",
		"x.org/a.example.com:1":   "x.org/a.example.com:1",
		"special.example.com/x:1": "special.example.com/x:1",
		"a.kept.example/x:1":      "a.kept.example/x:1!",
		"docker.io/x/y:1":         "t.example.org/x/y:1 a.example.org/x/y:1 docker.io/x/y:1",
		"docker.io/x/y" + digest:  "d.example.org/x/y" + digest + " a.example.org/x/y" + digest + " docker.io/x/y" + digest,
		"quay.io/x:1":             "quay.io/x:1",
		"quay.io/x" + digest:      "q.example.org/x" + digest + " quay.io/x" + digest,
	} {
		places, err := g.places(ref(t, name))
		if got := strings.Join(texts(places), " "); err != nil || got != want {
			t.Errorf("%s is looked for at %q, not %q: %v", name, got, want, err)
		}
	}
	var warned []string
	g.tell = func(s string) { warned = append(warned, s) }
	if got := g.Expand("debian"); got != "debian" || len(warned) != 1 {
		t.Errorf("debian is %s, warnings %q", got, warned)
	}
}

func FuzzRegistries(f *testing.F) {
	f.Add(sampleConf)
	f.Add("[[registry]]\nprefix=\"docker.io\"\n[[registry.mirror]]\nlocation='a.b:1/c'")
	f.Add("a = [\"\\x41\", 'b']")
	f.Fuzz(func(t *testing.T, text string) {
		g, _, err := parsed(text)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "conf:") {
				t.Errorf("%q does not name the file", err)
			}
			return
		}
		// What is accepted leads to names that are names.
		for _, r := range g.registries {
			name, err := reference.Parse(strings.Replace(r.Prefix, "*", "a", 1) + "/x")
			if r.err != nil {
				continue
			}
			if err != nil {
				t.Fatalf("prefix %q: %v", r.Prefix, err)
			}
			places, err := g.places(name)
			if err != nil && !strings.Contains(err.Error(), "blocked") {
				continue // another registry's, with a longer prefix
			}
			for _, p := range places {
				if _, err := reference.Parse(p.ref.String()); err != nil {
					t.Error(err)
				}
			}
		}
		for short := range g.aliases {
			if _, err := reference.Parse(g.Expand(short)); err != nil {
				t.Error(err)
			}
		}
	})
}

// mirroredClient has a mirror before the origin, both of this machine.
func mirroredClient(t *testing.T, w *warnings, origin, mirror string) *Client {
	c := w.client()
	c.Registries = mustParse(t, "[[registry]]\nlocation='"+origin+"/team'\n[[registry.mirror]]\nlocation='"+mirror+"/copy'\n")
	return c
}

func TestMirrorIsAskedFirst(t *testing.T) {
	f := newFixture(t)
	origin, mirror := serve(t, f), serve(t, f)
	mirror.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, "/v2/copy/app/") && r.URL.Path != "/v2/" {
			t.Errorf("the mirror is asked for %s", r.URL.Path)
		}
		return false
	}
	var w warnings
	s := newStore(t)
	name := ref(t, origin.host()+"/team/app:v1")
	if _, err := mirroredClient(t, &w, origin.host(), mirror.host()).Pull(context.Background(), s, name, nil, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Resolve(name.String()); err != nil || len(w.all) > 0 {
		t.Errorf("%v, warnings %q", err, w.all)
	}
	if n := len(origin.gets); n > 0 {
		t.Errorf("the origin was asked for %v", origin.gets)
	}
}

// TestMirrorThatFails: whatever it does not have comes from the origin.
func TestMirrorThatFails(t *testing.T) {
	f := newFixture(t)
	for name, fault := range map[string]func(w http.ResponseWriter, r *http.Request) bool{
		"has nothing": func(w http.ResponseWriter, r *http.Request) bool { http.NotFound(w, r); return true },
		"has no blobs": func(w http.ResponseWriter, r *http.Request) bool {
			if strings.Contains(r.URL.Path, "/blobs/") {
				http.NotFound(w, r)
				return true
			}
			return false
		},
		"wants a password": wantBasic,
		"announces another length": func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, "/blobs/") {
				return false
			}
			w.Write([]byte("short"))
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			origin, mirror := serve(t, f), serve(t, f)
			mirror.fault = fault
			var w warnings
			s := newStore(t)
			c := mirroredClient(t, &w, origin.host(), mirror.host())
			if _, err := c.Pull(context.Background(), s, ref(t, origin.host()+"/team/app:v1"), nil, nil); err != nil {
				t.Fatal(err)
			}
			if len(w.all) == 0 || !strings.Contains(w.all[0], mirror.host()+"/copy/app: ") {
				t.Errorf("the person was told %q", w.all)
			}
		})
	}
	// One that is not there at all.
	origin := serve(t, f)
	gone := serve(t, f)
	gone.Close()
	var w warnings
	if _, err := mirroredClient(t, &w, origin.host(), gone.host()).Pull(context.Background(), newStore(t), ref(t, origin.host()+"/team/app:v1"), nil, nil); err != nil {
		t.Error(err)
	}
}

// TestBusyMirrorIsNotWaitedFor: the next one is there already.
func TestBusyMirrorIsNotWaitedFor(t *testing.T) {
	f := newFixture(t)
	origin, mirror := serve(t, f), serve(t, f)
	mirror.fault = func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Retry-After", "30")
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	}
	var w warnings
	if _, err := mirroredClient(t, &w, origin.host(), mirror.host()).Pull(context.Background(), newStore(t), ref(t, origin.host()+"/team/app:v1"), nil, nil); err != nil {
		t.Fatal(err)
	}
	if n := mirror.count("v1"); n != 1 {
		t.Errorf("it was asked %d times", n)
	}
}

// TestMirrorIsNotBelieved: its bytes have to have the digests, too.
func TestMirrorIsNotBelieved(t *testing.T) {
	f := newFixture(t)
	origin, mirror := serve(t, f), serve(t, f)
	l := f.m.Layers[2]
	mirror.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, l.Digest.String()) {
			return false
		}
		w.Write(make([]byte, l.Size))
		return true
	}
	var w warnings
	_, err := mirroredClient(t, &w, origin.host(), mirror.host()).Pull(context.Background(), newStore(t), ref(t, origin.host()+"/team/app:v1"), nil, nil)
	wantError(t, err, l.Digest.String())
}

// TestMirrorHasItsOwnPassword: that of the origin is not for it.
func TestMirrorHasItsOwnPassword(t *testing.T) {
	f := newFixture(t)
	origin, mirror := serve(t, f), serve(t, f)
	var seen []string
	mirror.fault = func(w http.ResponseWriter, r *http.Request) bool {
		seen = append(seen, r.Header.Get("Authorization"))
		return wantBasic(w, r)
	}
	origin.fault = wantBasic
	withConfig(t, loggedIn(origin.host()))
	var w warnings
	name := ref(t, origin.host()+"/team/app:v1")
	c := mirroredClient(t, &w, origin.host(), mirror.host())
	if _, err := c.Pull(context.Background(), newStore(t), name, nil, nil); err != nil {
		t.Fatal(err)
	}
	if len(seen) == 0 || strings.Join(seen, "") != "" {
		t.Errorf("the mirror was asked %d times and saw %q", len(seen), seen)
	}
	withConfig(t, loggedIn(mirror.host()))
	clear(origin.gets)
	if _, err := c.Pull(context.Background(), newStore(t), name, nil, nil); err != nil || len(origin.gets) > 0 {
		t.Errorf("with the mirror's password: %v, and the origin is asked for %v", err, origin.gets)
	}
}

func TestRegistriesConfIsRead(t *testing.T) {
	home, old := t.TempDir(), systemDir
	systemDir = t.TempDir()
	t.Cleanup(func() { systemDir = old })
	t.Setenv("XDG_CONFIG_HOME", home)
	var warned []string
	load := func() (*Registries, error) { return LoadRegistries(func(s string) { warned = append(warned, s) }) }
	if g, err := load(); err != nil || g.Expand("lab") != "lab" {
		t.Errorf("without a file: %v", err)
	}
	write := func(dir, file, text string) string {
		t.Helper()
		path := filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		writeTestFile(t, path, []byte(text))
		return path
	}
	expands := func(want string) {
		t.Helper()
		g, err := load()
		if err != nil {
			t.Fatal(err)
		}
		if got := g.Expand("lab"); got != want {
			t.Errorf("lab is %s, not %s", got, want)
		}
		clear(g.aliases)
	}
	// Each of these replaces what is before it.
	write(systemDir, "registries.conf", "unknown = 1\n[aliases]\nlab = 'system.example/lab'\n")
	expands("system.example/lab")
	write(systemDir, "registries.conf.d/00-short.conf", "[aliases]\nlab = 'short.example/lab'\n")
	expands("short.example/lab")
	write(home, "containers/registries.conf.d/10-more.conf", "[aliases]\nlab = 'more.example/lab'\n")
	expands("more.example/lab")
	own := write(home, "tiffin/registries.conf", "[aliases]\nlab = 'a.b/lab'\n")
	expands("a.b/lab")
	if len(warned) > 0 {
		t.Errorf("warnings: %q", warned)
	}
	// The user's replaces the machine's.
	os.Remove(own)
	os.RemoveAll(filepath.Join(home, "containers/registries.conf.d"))
	os.RemoveAll(filepath.Join(systemDir, "registries.conf.d"))
	write(home, "containers/registries.conf", "")
	expands("lab")
	// podman's may be broken, one's own not.
	broken := write(home, "containers/registries.conf", "nonsense\n")
	if expands("lab"); len(warned) != 1 || !strings.Contains(warned[0], broken+":1: ") {
		t.Errorf("warnings: %q", warned)
	}
	write(home, "tiffin/registries.conf", "\nnonsense\n")
	_, err := load()
	wantError(t, err, own+":2: ")
}

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

func mustParse(t *testing.T, text string) *Registries {
	t.Helper()
	g, err := parseRegistries("conf", text)
	if err != nil {
		t.Fatal(err)
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
		var got []string
		for _, p := range places {
			s := p.ref.Name() + strings.TrimPrefix(p.ref.String(), p.ref.Name())
			if p.insecure {
				s += "!"
			}
			got = append(got, s)
		}
		if err != nil {
			got = []string{"blocked"}
			wantError(t, err, "docker.io is blocked by conf:14")
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

func TestRegistriesConfNamesTheLine(t *testing.T) {
	for text, says := range map[string]string{
		"x":                                  `conf:1: this is neither KEY = VALUE`,
		"[[registry]]\nlocation = docker.io": `conf:2: location: "docker.io" is not true, false, or a string`,
		"[[registry]]\nlocation = \"https://x.example\"":     `conf:2: "https://x.example" is to be without https://`,
		"[[registry]]\nlocation = \"a b\"":                   `conf:2: "a b" is not HOST`,
		"\n[[registry]]\ninsecure = true":                    `conf:2: this registry has neither prefix nor location`,
		"[[registry]]\nprefix='x.y'\n[[registry.mirror]]\n":  `conf:3: this mirror has no location`,
		"[[registry.mirror]]":                                `conf:1: a mirror needs a [[registry]]`,
		"[[registry]]\ninsecure = \"yes\"":                   `conf:2: this is to be true or false`,
		"[[registry]]\nmirrors = true":                       `conf:2: there is no key "mirrors" in [[registry]]`,
		"[registry]":                                         `conf:1: there is no section [registry]`,
		"[[registry":                                         `conf:1: "[[registry" is no section`,
		"unqualified-search-registries = [\"a.b\", \"c.d\"]": `conf:1: unqualified-search-registries is a list of one`,
		"unqualified-search-registries = [\"a.b\"":           `on one line`,
		"[aliases]\nlab = \"lab2\"":                          `conf:2: lab: "lab2" is to be REGISTRY/NAME`,
		"[aliases]\nlab = \"a.b/lab:1\"":                     `without a tag`,
		"[aliases]\n\"x.y/lab\" = \"a.b/lab\"":               `conf:2: "x.y/lab" is no name that could stand`,
		"[[registry]]\nprefix = \"a.b":                       `conf:2: prefix: the closing " is missing`,
		"[[registry]]\nprefix = 'a.b":                        `conf:2: prefix: the closing ' is missing`,
		"[[registry]]\nprefix = 'a.b' 'c'":                   `conf:2: prefix: "'c'" is too much`,
		"[[registry]]\nprefix = 'a.b'\nprefix = 'a.b'":       `conf:3: prefix is there twice`,
		"[[registry]]\nprefix =":                             `conf:2: prefix: the value is missing`,
	} {
		_, err := parseRegistries("conf", text)
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: the error %v does not say %s", text, err, says)
		}
	}
}

func FuzzRegistries(f *testing.F) {
	f.Add(sampleConf)
	f.Add("[[registry]]\nprefix=\"docker.io\"\n[[registry.mirror]]\nlocation='a.b:1/c'")
	f.Add("a = [\"\\x41\", 'b']")
	f.Fuzz(func(t *testing.T, text string) {
		g, err := parseRegistries("conf", text)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "conf:") {
				t.Errorf("%q does not name the line", err)
			}
			return
		}
		// What is accepted leads to names that are names.
		for _, r := range g.registries {
			name, err := reference.Parse(r.prefix + "/x")
			if err != nil {
				t.Fatalf("prefix %q: %v", r.prefix, err)
			}
			places, err := g.places(name)
			if err != nil && !strings.Contains(err.Error(), "blocked") {
				t.Error(err)
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
	home := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", home)
	if g, err := LoadRegistries(); err != nil || g.Expand("lab") != "lab" {
		t.Errorf("without a file: %v", err)
	}
	if err := os.Mkdir(filepath.Join(home, "tiffin"), 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(home, "tiffin", "registries.conf")
	writeTestFile(t, file, []byte("[aliases]\nlab = 'a.b/lab'\n"))
	if g, err := LoadRegistries(); err != nil || g.Expand("lab") != "a.b/lab" {
		t.Errorf("%v", err)
	}
	writeTestFile(t, file, []byte("\nnonsense\n"))
	_, err := LoadRegistries()
	wantError(t, err, file+":2: ")
}

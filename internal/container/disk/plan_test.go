// What a container may do and finds, as its runner is told.

package disk

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"tiffin/ns"
)

func TestCapabilitiesAreAddedAndDropped(t *testing.T) {
	all, usual := ns.AllCaps(), ns.DefaultCaps()
	less := func(list []string, names ...string) []string {
		return slices.DeleteFunc(slices.Clone(list), func(c string) bool { return slices.Contains(names, c) })
	}
	more := func(list []string, names ...string) []string {
		return slices.DeleteFunc(slices.Clone(all), func(c string) bool { return !slices.Contains(list, c) && !slices.Contains(names, c) })
	}
	for _, e := range []struct {
		add, drop string
		want      []string
	}{
		{"", "CHOWN", less(usual, "CAP_CHOWN")},
		{"net_admin", "", more(usual, "CAP_NET_ADMIN")},
		{"CAP_NET_ADMIN CHOWN", "cap_chown NET_ADMIN", less(usual, "CAP_CHOWN")},
		{"ALL", "", all},
		{"all", "sys_admin", less(all, "CAP_SYS_ADMIN")},
		{"", "ALL", nil},
		{"KILL", "all", []string{"CAP_KILL"}},
		{"ALL", "ALL KILL", less(all, "CAP_KILL")},
	} {
		r := Rights{CapAdd: strings.Fields(e.add), CapDrop: strings.Fields(e.drop)}
		got := r.Caps()
		want := slices.DeleteFunc(slices.Clone(all), func(c string) bool { return !slices.Contains(e.want, c) })
		if got == nil || !slices.Equal(got, want) {
			t.Errorf("add %q, drop %q: %v, want %v", e.add, e.drop, got, want)
		}
	}
	if got := new(Rights).Caps(); got != nil {
		t.Errorf("nothing said: %v, want those that are usual", got)
	}
	if got := (&Rights{NewPrivs: true, NoSeccomp: true}).SecurityOptions(); !slices.Equal(got, []string{"no-new-privileges=false", "seccomp=unconfined"}) {
		t.Error(got)
	}
}

func TestAPlanHasWhatTheConfigSays(t *testing.T) {
	c := Config{
		Entrypoint: []string{"/entry", "a"}, Cmd: []string{"b"}, Env: []string{"TERM=dumb", "X=1"}, Dir: "/w", User: "u", TTY: true,
		Hostname: "box", Network: "none", ReadOnly: true, Init: true, Without: []string{"seccomp"},
		Volumes: []Volume{{Source: "/src", Target: "/dst", ReadOnly: true}, {Target: "/tmp", Options: "size=1m"}},
		Rights:  Rights{CapDrop: []string{"ALL"}, NewPrivs: true, NoSeccomp: true, ShmSize: 5, Rlimits: []ns.Rlimit{{Name: "nofile", Soft: 1, Hard: 2}}},
	}
	ids := ns.IDMap{UIDs: []ns.IDRange{{Count: 1}}}
	p := c.Plan(ids)
	if !slices.Equal(p.Process.Args, []string{"/entry", "a", "b"}) || p.Process.Cwd != "/w" || p.Process.User != "u" || !p.Process.Terminal {
		t.Errorf("%+v", p.Process)
	}
	if want := []string{"PATH=" + defaultPath, "HOSTNAME=box", "TERM=dumb", "X=1"}; !slices.Equal(p.Process.Env, want) {
		t.Errorf("%v, want %v", p.Process.Env, want)
	}
	if p.Process.Caps == nil || len(p.Process.Caps) != 0 || !p.Process.NewPrivs || !p.Process.NoSeccomp || p.Process.Rlimits[0].Hard != 2 {
		t.Errorf("%+v", p.Process)
	}
	if p.Hostname != "box" || p.Network != "none" || !p.ReadOnly || !p.Init || p.ShmSize != 5 || !slices.Equal(p.Without, c.Without) || !p.IDs.Single() {
		t.Errorf("%+v", p)
	}
	want := []ns.Mount{{Source: "/src", Target: "/dst", ReadOnly: true}, {Target: "/tmp", Options: "size=1m"}}
	if !slices.Equal(p.Mounts, want) {
		t.Errorf("%+v", p.Mounts)
	}
	if c.TTY = false; slices.ContainsFunc(c.Environment(false), func(s string) bool { return s == "TERM=xterm" }) {
		t.Error("a TERM without a terminal")
	}
}

// TestAConfigComesBackAsItWas: what is written of a container is all there is of it.
func TestAConfigComesBackAsItWas(t *testing.T) {
	s, wait := newSet(t), -1
	c, lock, err := s.Create(Config{
		Image: "debian", ImageID: "sha256:1", Cmd: []string{"x", "é"}, StopTimeout: &wait, Driver: DriverOverlay,
		Labels: map[string]string{"a": "\x1b[31m"}, Volumes: []Volume{{Target: "/v"}}, Rights: Rights{ShmSize: 1 << 40},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	again, err := Open(c.dir)
	if err != nil {
		t.Fatal(err)
	}
	was, _ := json.Marshal(c.Config)
	is, _ := json.Marshal(again.Config)
	if string(was) != string(is) || again.Hostname != c.Short() || !validName(again.Name) || !again.Walled() {
		t.Errorf("%s\n%s", was, is)
	}
	if again.Root() != s.root {
		t.Errorf("its store is %s, want %s", again.Root(), s.root)
	}
}

func TestDrivers(t *testing.T) {
	for name, want := range map[string]string{"": "", "fuse": "", "overlay": "overlay", "unpacked": "unpacked", "copy": "copy"} {
		if got, err := ParseDriver(name); got != want || err != nil {
			t.Errorf("%q: %q, %v", name, got, err)
		}
	}
	for _, name := range []string{"overlay2", "vfs", "FUSE"} {
		if _, err := ParseDriver(name); err == nil {
			t.Errorf("%q is taken", name)
		}
	}
}

func TestPathsMadeForMountsAreNoChange(t *testing.T) {
	if (&Upper{}).Skip() != nil {
		t.Error("something is left out where nothing was made")
	}
	skip := (&Upper{Made: []string{"/a", "/b/c"}}).Skip()
	for path, want := range map[string]bool{"/a": true, "/b": false, "/b/c": true, "/a/x": false, "": false} {
		if skip(path) != want {
			t.Errorf("%s: %v", path, !want)
		}
	}
	if _, _, err := (&Upper{Union: "/nosuch"}).Open(nil); err == nil {
		t.Error("opened without an index")
	}
}

func TestNamesForTheNamelessAreValidAndMany(t *testing.T) {
	seen := map[string]bool{}
	for range 200 {
		name := randomName()
		if !validName(name) {
			t.Errorf("%q is no name", name)
		}
		seen[name] = true
	}
	if len(seen) < 150 {
		t.Errorf("200 draws gave %d names", len(seen))
	}
}

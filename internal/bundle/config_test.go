package bundle

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"tiffin/internal/container/disk"
	"tiffin/internal/network"
	"tiffin/ns"
	"tiffin/ns/cgroup"
	"tiffin/ns/seccomp"
)

var (
	many = ns.IDMap{UIDs: []ns.IDRange{{Inside: 0, Outside: 1000, Count: 1}, {Inside: 1, Outside: 100000, Count: 65536}},
		GIDs: []ns.IDRange{{Inside: 0, Outside: 1000, Count: 1}, {Inside: 1, Outside: 100000, Count: 65536}}, Setgroups: true}
	one = ns.IDMap{UIDs: many.UIDs[:1], GIDs: many.GIDs[:1]}
)

// files loads files. Some references in version 1.3 lack a slash.
type files struct{}

func (files) Load(url string) (any, error) {
	text, err := os.ReadFile(strings.TrimPrefix(url, "file://"))
	if err != nil {
		return nil, err
	}
	return jsonschema.UnmarshalJSON(bytes.NewReader(bytes.ReplaceAll(text, []byte("#definitions"), []byte("#/definitions"))))
}

// schema is the specification's own, which lies beside its Go package.
func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/opencontainers/runtime-spec").Output()
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft4) // as the first file says, and the others do not
	c.UseLoader(files{})
	s, err := c.Compile(filepath.Join(strings.TrimSpace(string(dir)), "schema", "config-schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// rootfs has users and groups.
func rootfs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"passwd": "root:x:0:0::/root:/bin/sh\ncook:x:33:44::/srv/cook:/bin/sh\n", "group": "kitchen:x:44:\nfire:x:55:cook\n"} {
		if err := os.WriteFile(filepath.Join(dir, "etc", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func config(t *testing.T, c *disk.Config, ids ns.IDMap, user bool) *specs.Spec {
	t.Helper()
	files := Files(c.Plan(ids))
	spec, err := Config(c, ids, user, ns.FilesBelow(rootfs(t)), files)
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// TestConfigsAreValid: each is by the schema of the specification.
func TestConfigsAreValid(t *testing.T) {
	valid := schema(t)
	umask, errno := uint32(0o27), uint(38)
	for name, c := range map[string]*disk.Config{
		"plain": {Hostname: "h", Cmd: []string{"true"}},
		"with everything": {
			Hostname: "h", Entrypoint: []string{"/bin/sh", "-c"}, Cmd: []string{"id"}, Env: []string{"A=b"}, Dir: "/srv", User: "cook", TTY: true,
			ReadOnly: true, Network: "host", StopSignal: "SIGQUIT", Labels: map[string]string{"org.example.menu": "rice"},
			Volumes: []disk.Volume{{Source: "/tmp", Target: "/data", ReadOnly: true}, {Target: "/run", Options: "size=64m,mode=1777"}},
			Rights: disk.Rights{CapDrop: []string{"ALL"}, CapAdd: []string{"NET_BIND_SERVICE"}, Umask: &umask, Groups: []string{"fire", "77"}, ShmSize: 1 << 20,
				Rlimits: []ns.Rlimit{{Name: "nofile", Soft: 100, Hard: 200}}, Sysctls: []ns.Sysctl{{Name: "net.ipv4.ip_forward", Value: "1"}},
				Seccomp: &seccomp.Profile{DefaultAction: "SCMP_ACT_ALLOW", Architectures: []string{"SCMP_ARCH_X86_64"},
					Syscalls: []seccomp.Entry{{Names: []string{"mkdir"}, Action: "SCMP_ACT_ERRNO", ErrnoRet: &errno}}}},
			Limits: cgroup.Limits{Memory: 64 << 20, MemorySwap: -1, NanoCPUs: 500_000_000, CPUShares: 512, Cpuset: "0", Pids: 100, BlkioWeight: 100},
		},
		"privileged": {Hostname: "h", Cmd: []string{"true"}, Rights: func() (r disk.Rights) { r.Privilege(); return r }()},
	} {
		for ids, m := range map[string]ns.IDMap{"many ids": many, "one id": one} {
			if m.Single() && c.User != "" {
				continue
			}
			text, err := json.Marshal(config(t, c, m, true))
			if err != nil {
				t.Fatal(err)
			}
			doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
			if err == nil {
				err = valid.Validate(doc)
			}
			if err != nil {
				t.Errorf("%s, %s: %v\n%s", name, ids, err, text)
			}
		}
	}
	if valid.Validate(map[string]any{"ociVersion": 1}) == nil {
		t.Error("the schema takes anything")
	}
}

// TestRightsCarryOver: what the command may do is what it may do under tiffin.
func TestRightsCarryOver(t *testing.T) {
	s := config(t, &disk.Config{Hostname: "h", Cmd: []string{"true"}}, many, true)
	p := s.Process
	if !p.NoNewPrivileges || !slices.Equal(p.Capabilities.Bounding, ns.DefaultCaps()) || p.Capabilities.Inheritable != nil || p.Capabilities.Ambient != nil {
		t.Errorf("no_new_privs %v, capabilities %v", p.NoNewPrivileges, p.Capabilities)
	}
	if !slices.Contains(s.Linux.MaskedPaths, "/proc/kcore") || !slices.Contains(s.Linux.ReadonlyPaths, "/proc/sys") {
		t.Errorf("masked %v, read-only %v", s.Linux.MaskedPaths, s.Linux.ReadonlyPaths)
	}
	if f := s.Linux.Seccomp; f == nil || f.DefaultAction != specs.ActErrno || slices.ContainsFunc(f.Syscalls, func(c specs.LinuxSyscall) bool {
		return c.Action == specs.ActAllow && slices.Contains(c.Names, "kexec_load")
	}) {
		t.Error("the filter is not moby's")
	}
	if s.Linux.Resources != nil {
		t.Error("limits that nobody asked for: who has no control group cannot start it")
	}
	for _, kind := range []specs.LinuxNamespaceType{specs.UserNamespace, specs.NetworkNamespace, specs.PIDNamespace} {
		if !slices.Contains(s.Linux.Namespaces, specs.LinuxNamespace{Type: kind}) {
			t.Errorf("no %s namespace", kind)
		}
	}
	dropped := config(t, &disk.Config{Hostname: "h", Cmd: []string{"true"}, Rights: disk.Rights{CapDrop: []string{"ALL"}}}, many, true)
	if caps := dropped.Process.Capabilities; len(caps.Bounding)+len(caps.Effective)+len(caps.Permitted) > 0 {
		t.Errorf("--cap-drop ALL leaves %v", caps)
	}
}

// TestMounts: a device that was asked for can be opened, and nothing in memory can be executed, as
// under tiffin.
func TestMounts(t *testing.T) {
	c := &disk.Config{Hostname: "h", Cmd: []string{"true"}, Volumes: []disk.Volume{{Source: "/dev/null", Target: "/dev/mine"}, {Source: "/tmp", Target: "/data"}, {Target: "/t"}, {Target: "/x", Options: "exec,size=1m"}}}
	want := map[string]string{"/dev/mine": "bind nosuid noexec rw", "/data": "rbind nosuid nodev rw", "/t": "nosuid nodev noexec rw", "/x": "nosuid nodev noexec rw exec size=1m"}
	for _, m := range config(t, c, many, true).Mounts {
		if w, ok := want[m.Destination]; ok && strings.Join(m.Options, " ") != w {
			t.Errorf("%s: %q, want %s", m.Destination, m.Options, w)
		}
		delete(want, m.Destination)
	}
	if len(want) > 0 {
		t.Errorf("no mount at %v", want)
	}
}

// TestUsersAreThoseOfTheImage: names are looked up in its files, and refused where no such id is.
func TestUsersAreThoseOfTheImage(t *testing.T) {
	s := config(t, &disk.Config{Hostname: "h", User: "cook", Cmd: []string{"true"}}, many, true)
	if u := s.Process.User; u.UID != 33 || u.GID != 44 || !slices.Equal(u.AdditionalGids, []uint32{55}) || !slices.Contains(s.Process.Env, "HOME=/srv/cook") {
		t.Errorf("%+v, %q", u, s.Process.Env)
	}
	c := &disk.Config{Hostname: "h", User: "cook", Cmd: []string{"true"}}
	if _, err := Config(c, one, true, ns.FilesBelow(rootfs(t)), nil); err == nil || !strings.Contains(err.Error(), "33 is not mapped") {
		t.Errorf("with one id: %v", err)
	}
}

// TestWhatIsLeftOutIsTold: nothing is dropped in silence.
func TestWhatIsLeftOutIsTold(t *testing.T) {
	c := &disk.Config{Init: true, Without: []string{"seccomp"}, Ports: make([]network.Port, 1), Healthcheck: &disk.Healthcheck{}, Restart: disk.Restart{Policy: "always"}}
	if all := Left(c, one, nil); len(all) != 6 {
		t.Errorf("%q", all)
	}
	c = &disk.Config{Network: ns.SharedNetwork + "0123", Rights: disk.Rights{Groups: []string{ns.KeepGroups}}}
	if all := Left(c, many, []uint32{100}); len(all) != 3 || !strings.Contains(all[2], "[100]") {
		t.Errorf("%q", all)
	}
	if all := Left(new(disk.Config), many, nil); all != nil {
		t.Errorf("%q", all)
	}
}

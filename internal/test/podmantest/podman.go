// Package podmantest gives tests a podman of their own, as the other client.
package podmantest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"tiffin/internal/test/must"
)

// config has podman leave alone what a test has no need of, and an ordinary user
// may have no right to: images are only kept here, no container is started.
const config = `[containers]
cgroups = "disabled"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
`

// Podman has a store, a configuration and a home directory of its own.
type Podman struct {
	t   testing.TB
	bin string
	dir string
}

// New prepares one, for root or an ordinary user. Where podman does not work the
// test is skipped, or fails if TIFFIN_MUST is set.
func New(t testing.TB) *Podman {
	t.Helper()
	bin := must.Tool(t, "podman")
	dir, err := os.MkdirTemp("", "pod-") // a run root must not be longer than 50 characters
	if err != nil {
		t.Fatal(err)
	}
	p := &Podman{t, bin, dir}
	t.Cleanup(p.remove)
	for _, d := range []string{"home", "xdg"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"containers.conf": config, "auth.json": "{}"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := p.command("info").CombinedOutput(); err != nil {
		must.Skip(t, "", "podman does not work for this user: %v\n%s", err, out)
	}
	return p
}

// command uses vfs, which needs no mount: layers are copied.
func (p *Podman) command(args ...string) *exec.Cmd {
	cmd := exec.Command(p.bin, append([]string{"--root", p.dir + "/root", "--runroot", p.dir + "/run", "--storage-driver", "vfs"}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+p.dir+"/home", "XDG_RUNTIME_DIR="+p.dir+"/xdg",
		"CONTAINERS_CONF="+p.dir+"/containers.conf", "REGISTRY_AUTH_FILE="+p.dir+"/auth.json")
	return cmd
}

// Try is Run of what may fail.
func (p *Podman) Try(args ...string) error { return p.command(args...).Run() }

// Run runs podman with these arguments, and returns what it prints.
func (p *Podman) Run(args ...string) string {
	p.t.Helper()
	out, err := p.command(args...).CombinedOutput()
	if err != nil {
		p.t.Fatalf("podman %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// Inspect returns a field of an image, such as {{.Id}}.
func (p *Podman) Inspect(image, format string) string {
	p.t.Helper()
	return strings.TrimSpace(p.Run("inspect", "--type", "image", "-f", format, image))
}

// Push pushes an image over plain HTTP, and returns its manifest's digest.
func (p *Podman) Push(image string) string {
	p.t.Helper()
	file := filepath.Join(p.dir, "digest")
	p.Run("push", "--tls-verify=false", "--digestfile", file, image)
	b, err := os.ReadFile(file)
	if err != nil {
		p.t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// remove deletes all, and ends the process that holds podman's user namespace.
func (p *Podman) remove() {
	if os.Getuid() != 0 { // files of subordinate ids
		if out, err := p.command("unshare", "rm", "-rf", p.dir+"/root").CombinedOutput(); err != nil {
			p.t.Errorf("podman unshare rm: %v\n%s", err, out)
		}
	}
	if b, err := os.ReadFile(p.dir + "/xdg/libpod/tmp/pause.pid"); err == nil {
		if pid, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	if err := os.RemoveAll(p.dir); err != nil {
		p.t.Error(err)
	}
}

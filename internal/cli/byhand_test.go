package cli_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tiffin/internal/test/must"
)

// observer prints what /proc knows about the container's first process, which is the shell that
// runs it. The descriptors come first, and no command lists them: to run one, a shell opens some of
// its own, and closes the last when it runs already.
const observer = `
echo "== descriptors"; for f in /proc/1/fd/*; do echo "${f##*/}"; done
echo "== ns"; for n in user mnt pid net uts ipc cgroup; do echo "$n $(readlink /proc/1/ns/$n)"; done
echo "== maps"; cat /proc/1/uid_map /proc/1/gid_map /proc/1/setgroups
echo "== mounts"; cat /proc/1/mountinfo
echo "== status"; cat /proc/1/status
echo "== limits"; cat /proc/1/limits
echo "== environ"; tr '\0' '\n' < /proc/1/environ
echo "== places"; readlink /proc/1/cwd; readlink /proc/1/root; cat /proc/1/cmdline | tr '\0' ' '; echo
echo "== hostname"; cat /proc/sys/kernel/hostname
echo "== files"; cat /etc/hostname /etc/hosts /etc/resolv.conf
echo "== root"; ls -a / /dev
echo "== lo"; cat /sys/class/net/lo/flags
`

// unavoidable are the differences between a container of tiffin's and one made by hand. Each must
// be seen.
var unavoidable = []struct{ section, line, why string }{
	{"mounts", `^/ \S+ - (fuse\.tiffin tiffin|overlay overlay) `, "a shell cannot serve FUSE: the kernel's overlayfs merges the layers"},
	{"status", `^Seccomp: `, "no common tool loads a filter"},
	{"status", `^Seccomp_filters: `, "no common tool loads a filter"},
}

// statusFields are the lines of /proc/pid/status, proc(5), that a runner decides
// about. The others count and measure.
var statusFields = []string{"Umask", "Pid", "PPid", "Uid", "Gid", "Groups", "NStgid", "NSpid", "NSpgid", "NSsid", "SigIgn",
	"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Seccomp_filters"}

// observed takes the observer's output apart, and leaves out what differs between any two
// processes.
func observed(t *testing.T, out string) map[string][]string {
	t.Helper()
	seen := map[string][]string{}
	section := ""
	for line := range strings.Lines(out) {
		line = strings.TrimSuffix(line, "\n")
		f := strings.Fields(line)
		switch name, ok := strings.CutPrefix(line, "== "); {
		case ok:
			section = name
			continue
		case section == "mounts":
			// mountinfo, proc(5): without the numbers (1) to (3), and (4), the root of the mount.
			line = strings.Join(f[4:], " ")
		case section == "status":
			if !slices.Contains(statusFields, strings.TrimSuffix(f[0], ":")) {
				continue
			}
			line = strings.Join(f, " ")
		case section == "descriptors" && len(line) > 1:
			continue // inherited from whoever runs the test, which a script cannot help
		}
		seen[section] = append(seen[section], line)
	}
	slices.Sort(seen["environ"])
	// The kernel lists mounts in the order in which they were made or cloned.
	slices.Sort(seen["mounts"])
	if len(seen["ns"]) != 7 || len(seen["mounts"]) < 5 || len(seen["status"]) != len(statusFields) {
		t.Fatalf("the observer saw too little:\n%s", out)
	}
	return seen
}

// as runs a command as p.
func (p person) as(t *testing.T, store string, stdin, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.SysProcAttr = p.attr()
	cmd.Dir = filepath.Dir(store)
	cmd.Stdin = strings.NewReader(stdin)
	// The PATH of Debian's users has no sbin.
	cmd.Env = append(os.Environ(), "TIFFIN_ROOT="+store, "HOME="+cmd.Dir, "TMPDIR="+cmd.Dir, "PATH=/usr/local/bin:/usr/bin:/bin")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s%s", name, args, err, out, stderr.String())
	}
	return string(out)
}

// home makes a directory for p, which a store and scripts may be in.
func (p person) home(t *testing.T) (store string) {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "tiffin-byhand-") // not /tmp, which may be too small for an unpacked image
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chown(dir, p.uid, p.gid); err != nil {
		t.Fatal(err)
	}
	return dir + "/store"
}

// needTools skips a test on a machine where the script cannot run.
func needTools(t *testing.T) {
	t.Helper()
	for _, tool := range []string{"unshare", "setpriv", "pivot_root", "chroot", "setsid", "mktemp", "hostname", "ip", "awk", "tar", "env"} {
		must.Tool(t, tool)
	}
}

// compare runs the observer in a container and in what the script makes, and compares the two
// processes.
func compare(t *testing.T, p person, store string, args ...string) {
	t.Helper()
	args = append(args, "sh", "-c", observer)
	container := observed(t, p.as(t, store, "", binary, append([]string{"run", "--rm"}, args...)...))
	script := p.as(t, store, "", binary, append([]string{"explain", "--script"}, args...)...)
	byHand := observed(t, p.as(t, store, script, "sh"))

	for i, n := range []string{"user", "mnt", "pid", "net", "uts", "ipc", "cgroup"} {
		host, err := os.Readlink("/proc/self/ns/" + n)
		if err != nil {
			t.Fatal(err)
		}
		shared := slices.Contains(args, "host") && (n == "net" || n == "ipc")
		for what, line := range map[string]string{"container": container["ns"][i], "script": byHand["ns"][i]} {
			if (line == n+" "+host) != shared {
				t.Errorf("%s: namespace %s, and the host's is %s", what, line, host)
			}
		}
	}
	explained := make([]bool, len(unavoidable))
	for section, want := range container {
		if section == "ns" {
			continue
		}
		got := byHand[section]
	lines:
		for i := range max(len(want), len(got)) {
			w, g := at(want, i), at(got, i)
			if w == g {
				continue
			}
			for n, u := range unavoidable {
				re := regexp.MustCompile(u.line)
				if u.section == section && re.MatchString(w) && re.MatchString(g) {
					explained[n] = true
					continue lines
				}
			}
			t.Errorf("%s:\ncontainer %s\nscript    %s", section, w, g)
		}
	}
	for n, u := range unavoidable {
		if !explained[n] {
			t.Errorf("listed as unavoidable, but there is no difference: %s %s", u.section, u.line)
		}
	}
	left, err := filepath.Glob(filepath.Dir(store) + "/tiffin.*")
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func at(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "(nothing)"
}

func TestTheScriptMakesTheSameProcess(t *testing.T) {
	needTools(t)
	for _, p := range people(t) {
		t.Run(p.name, func(t *testing.T) {
			if p.uid == 0 {
				t.Skip("unshare(1) maps one id of root's, and tiffin all of them")
			}
			need(t, p)
			store := p.home(t)
			dir := filepath.Dir(store)
			p.as(t, store, "", "sh", "-c", "mkdir -p data 'with space'; echo kept > data/file; echo line > one")
			t.Run("plain", func(t *testing.T) { compare(t, p, store, "--hostname", "box", "tiffin/base") })
			t.Run("everything", func(t *testing.T) {
				compare(t, p, store, "--hostname", "box", "-e", "A=b c\n  'd' \"e\" $HOME", "-e", "EMPTY=", "-w", "/srv/new dir", "-u", "root",
					"-v", dir+"/data:/data:ro", "-v", dir+"/one:/etc/one", "-v", dir+"/with space:/new space", "--tmpfs", "/scratch:size=1m,mode=700", "tiffin/base")
			})
			t.Run("read-only", func(t *testing.T) {
				compare(t, p, store, "--hostname", "box", "--read-only", "-w", "/etc", "tiffin/base")
			})
			t.Run("without", func(t *testing.T) { compare(t, p, store, "--hostname", "box", "--without", "mask,shm", "tiffin/base") })
			t.Run("shared", func(t *testing.T) {
				compare(t, p, store, "--hostname", "box", "--network", "host", "--ipc", "host", "tiffin/base")
			})
			if ids := p.as(t, store, "", binary, "run", "--rm", "tiffin/base", "cat", "/proc/self/uid_map"); strings.Count(ids, "\n") > 1 {
				t.Run("user", func(t *testing.T) { compare(t, p, store, "--hostname", "box", "-u", "7:8", "tiffin/base") })
			}
		})
	}
}

// What an image says must not become a command of the outer shell.
func TestTheScriptQuotesWhatComesFromTheImage(t *testing.T) {
	needTools(t)
	p := person{uid: os.Getuid(), gid: os.Getgid()}
	need(t, p)
	store := p.home(t)
	evil := "x\nEND_OF_SHELL_5\nEND_OF_SHELL_4\ntouch " + filepath.Dir(store) + "/escaped\n'\"$(touch " + filepath.Dir(store) + "/escaped)"
	script := p.as(t, store, "", binary, "explain", "--script", "-e", "EVIL="+evil, "tiffin/base", "sh", "-c", "printf %s \"$EVIL\"")
	if out := p.as(t, store, script, "sh"); out != evil {
		t.Errorf("got %q, want %q", out, evil)
	}
	if _, err := os.Stat(filepath.Dir(store) + "/escaped"); err == nil {
		t.Error("a variable became a command")
	}
	script = p.as(t, store, "", binary, "explain", "--script", "--without", "pid,net", "tiffin/base", "sh", "-c", "echo $$; readlink /proc/self/ns/net")
	host, err := os.Readlink("/proc/self/ns/net")
	if out := p.as(t, store, script, "sh"); err != nil || strings.HasPrefix(out, "1\n") || !strings.HasSuffix(out, "\n"+host+"\n") {
		t.Errorf("without pid and net: %q, host %s %v", out, host, err)
	}
	script = p.as(t, store, "", binary, "explain", "--script", "--without", "mount", "tiffin/base", "ls", "-d", filepath.Dir(store))
	if out := p.as(t, store, script, "sh"); out != filepath.Dir(store)+"\n" {
		t.Errorf("without mount: %q", out)
	}
	// A script that comes through a pipe is not the command's input, and a signal ends all of it.
	script = p.as(t, store, "", binary, "explain", "--script", "tiffin/base", "cat")
	if out := p.as(t, store, script, "sh"); out != "" {
		t.Errorf("the command read %q", out)
	}
	script = p.as(t, store, "", binary, "explain", "--script", "tiffin/base", "sh", "-c", "echo up; sleep 1000")
	if err := os.WriteFile(filepath.Dir(store)+"/by-hand.sh", []byte(script), 0o644); err != nil {
		t.Fatal(err)
	}
	endsByASignal(t, store)
	cmd := exec.Command("sh")
	cmd.Stdin = strings.NewReader(p.as(t, store, "", binary, "explain", "--script", "tiffin/base", "sh", "-c", "exit 7"))
	if err := cmd.Run(); cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 7 {
		t.Errorf("exit status of the script: %v", err)
	}
}

// TestTheScriptRunsWithoutCapabilities: CAP_SYS_CHROOT and CAP_SETUID stay in the bounding set,
// and the script says so.
func TestTheScriptRunsWithoutCapabilities(t *testing.T) {
	needTools(t)
	p := person{uid: os.Getuid(), gid: os.Getgid()}
	need(t, p)
	store := p.home(t)
	script := p.as(t, store, "", binary, "explain", "--script", "--cap-drop", "ALL", "tiffin/base", "sh", "-c", "grep ^CapBnd: /proc/self/status")
	if out, want := p.as(t, store, script, "sh"), fmt.Sprintf("CapBnd:\t%016x\n", 1<<unix.CAP_SYS_CHROOT|1<<unix.CAP_SETUID); out != want {
		t.Errorf("%q instead of %q", out, want)
	}
	if !strings.Contains(script, "# too many by SETUID SYS_CHROOT:") {
		t.Error("the script does not say that they stay")
	}
}

// endsByASignal runs by-hand.sh beside the store until it prints something, and interrupts it.
func endsByASignal(t *testing.T, store string) {
	t.Helper()
	// Tests in the background of a shell ignore it, and so would the script: signal(7).
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, os.Interrupt)
	defer signal.Stop(caught)
	cmd := exec.Command("sh", filepath.Dir(store)+"/by-hand.sh")
	cmd.Env = append(os.Environ(), "TMPDIR="+filepath.Dir(store))
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var b [3]byte
	if _, err := io.ReadFull(out, b[:]); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	rest, _ := io.ReadAll(out) // until the last process that has it is gone
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != 130 || len(rest) > 0 {
		t.Errorf("interrupted: exit status %d, %q", got, rest)
	}
	if left, err := filepath.Glob(filepath.Dir(store) + "/tiffin.*"); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// The same tree: whiteouts and opaque directories are translated.
func TestTheScriptMergesARealImage(t *testing.T) {
	layout := os.Getenv("TIFFIN_TEST_IMAGE")
	if layout == "" {
		must.Skip(t, "", "TIFFIN_TEST_IMAGE is not set: make an image with scripts/testimage")
	}
	needTools(t)
	ps := people(t)
	p := ps[len(ps)-1]
	if p.uid == 0 {
		t.Skip("unshare(1) maps one id of root's, and tiffin all of them: .ci/run has users, too")
	}
	need(t, p)
	store := p.home(t)
	p.as(t, store, "", binary, "load", "-i", layout)
	const tree = `cd /; find . -xdev ! -type b ! -type c ! -path './dev/*' -printf '%y %m %U:%G %p %l\n' | sort`
	args := []string{"--hostname", "box", "debian", "sh", "-c", tree}
	want := p.as(t, store, "", binary, append([]string{"run", "--rm"}, args...)...)
	got := p.as(t, store, p.as(t, store, "", binary, append([]string{"explain", "--script"}, args...)...), "sh")
	if want != got {
		t.Errorf("the trees differ: %s", firstDifference(strings.Split(want, "\n"), strings.Split(got, "\n")))
	}
	if n := strings.Count(want, "\n"); n < 1000 {
		t.Errorf("only %d files", n)
	}
	compare(t, p, store, "--hostname", "box", "debian")
}

func firstDifference(want, got []string) string {
	for i := range max(len(want), len(got)) {
		if w, g := at(want, i), at(got, i); w != g {
			return fmt.Sprintf("%d lines and %d; line %d\ncontainer %s\nscript    %s", len(want), len(got), i, w, g)
		}
	}
	return "not at all"
}

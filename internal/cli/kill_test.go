package cli_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestKillingAnyProcessAtAnyMomentLeavesNothing runs containers in the
// foreground and kills one of the processes that make it up, the client, the
// supervisor, or one below it, at a random moment of its life. Whichever it is,
// all of them must be gone soon, with no mount, and the store must work.
func TestKillingAnyProcessAtAnyMomentLeavesNothing(t *testing.T) {
	for _, p := range people(t) {
		t.Run(p.name, func(t *testing.T) {
			need(t, p)
			k := newKiller(t, p)
			if out := k.tiffin("run", "--rm", "tiffin/base", "echo", "works"); out != "works\n" {
				t.Fatalf("before any kill: %q", out)
			}
			for i := range 24 {
				if !k.round(i % 3) {
					t.Fatalf("in round %d of seed %d", i, k.seed)
				}
			}
			if out := k.tiffin("run", "--rm", "tiffin/base", "echo", "works"); out != "works\n" {
				t.Errorf("after the kills: %q", out)
			}
			k.tiffin("prune", "-f")
			k.age()
			if out := k.tiffin("ps", "-aq"); out != "" {
				t.Errorf("containers with --rm are left: %s", out)
			}
			checkLeaks(t, k.store)
		})
	}
}

type killer struct {
	t     *testing.T
	p     person
	store string
	seed  uint64
	rand  *rand.Rand
}

// newKiller has a store that belongs to p.
func newKiller(t *testing.T, p person) *killer {
	dir := t.TempDir()
	for d := dir; len(d) > len(os.TempDir()); d = filepath.Dir(d) {
		os.Chmod(d, 0o755)
	}
	if err := os.Chown(dir, p.uid, p.gid); err != nil {
		t.Fatal(err)
	}
	store := filepath.Join(dir, "store")
	t.Cleanup(func() { // what supervisors do behind their clients' backs is over before the store goes
		for end := time.Now().Add(time.Minute); len(supervisors(store)) > 0 && time.Now().Before(end); {
			time.Sleep(5 * time.Millisecond)
		}
	})
	seed := uint64(time.Now().UnixNano())
	return &killer{t: t, p: p, store: store, seed: seed, rand: rand.New(rand.NewPCG(seed, 0))}
}

func (k *killer) command(args ...string) *exec.Cmd {
	cmd := exec.Command(binary, args...)
	cmd.SysProcAttr = k.p.attr()
	cmd.Env = append(os.Environ(), "TIFFIN_ROOT="+k.store, "HOME="+filepath.Dir(k.store))
	return cmd
}

// tiffin runs a command that must succeed, and returns what it prints.
func (k *killer) tiffin(args ...string) string {
	k.t.Helper()
	cmd := k.command(args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		k.t.Errorf("tiffin %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

// age makes the directories of containers look old: one that has no lock yet
// is left alone for a minute, since its maker may still be alive.
func (k *killer) age() {
	dirs, _ := filepath.Glob(filepath.Join(k.store, "containers", "*"))
	then := time.Now().Add(-time.Hour)
	for _, d := range dirs {
		os.Chtimes(d, then, then)
	}
}

// round starts a container, kills the client (0), the supervisor (1) or a
// process below it (2), and waits for all of them to be gone.
func (k *killer) round(victim int) bool {
	cmd := k.command("run", "--rm", "tiffin/base", "sh", "-c", "echo rice > /menu; sleep 1000; exit 3")
	if err := cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	time.Sleep(time.Duration(k.rand.IntN(80)) * time.Millisecond)
	// What a supervisor has just forked looks like it until execve(2).
	supers := slices.DeleteFunc(supervisors(k.store), func(pid int) bool { return parent(pid) != cmd.Process.Pid })
	var below []int
	for _, pid := range supers {
		below = append(below, children(pid)...)
	}
	pid, who := cmd.Process.Pid, "client"
	switch {
	case victim == 1 && len(supers) > 0:
		pid, who = supers[0], "supervisor"
	case victim == 2 && len(below) > 0:
		pid, who = below[k.rand.IntN(len(below))], "process of the container"
	}
	syscall.Kill(pid, syscall.SIGKILL)
	if victim == 2 { // it may have been one that nobody depends on: end the rest too
		time.AfterFunc(time.Second, func() { cmd.Process.Kill() })
	}

	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err := <-done:
		if err == nil {
			k.t.Errorf("the %s was killed, but run succeeded", who)
			return false
		}
	case <-time.After(2 * time.Minute):
		k.t.Errorf("the %s was killed, and run has not ended after two minutes", who)
		return false
	}
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
		left := fmt.Sprint(supervisors(k.store), alive(below))
		if left == "[] []" {
			return true
		}
		if time.Now().After(end) {
			k.t.Errorf("the %s was killed; after two minutes these supervisors and processes are left: %s", who, left)
			return false
		}
	}
}

// parent returns the parent of a process: /proc/pid/stat, field 4, proc(5).
func parent(pid int) int {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(b), ") ")
	if f := strings.Fields(rest); len(f) > 1 {
		ppid, _ := strconv.Atoi(f[1])
		return ppid
	}
	return 0
}

// children lists the descendants of a process: /proc/pid/task/tid/children, proc(5).
func children(pid int) (all []int) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, f := range files {
		b, _ := os.ReadFile(f)
		for _, s := range strings.Fields(string(b)) {
			if c, err := strconv.Atoi(s); err == nil {
				all = append(append(all, c), children(c)...)
			}
		}
	}
	return all
}

// alive returns those of pids that still run; a zombie, whose parent is slow to
// reap it, holds nothing any more.
func alive(pids []int) (left []int) {
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		if _, rest, ok := strings.Cut(string(b), ") "); ok && rest[0] != 'Z' && rest[0] != 'X' {
			left = append(left, pid)
		}
	}
	return left
}

// TestAVolumeIsEmptyOrFull kills supervisors while they fill a volume.
func TestAVolumeIsEmptyOrFull(t *testing.T) {
	for _, p := range people(t) {
		t.Run(p.name, func(t *testing.T) {
			need(t, p)
			k := newKiller(t, p)
			list := []string{"run", "--rm", "-v", "", "tiffin/base", "sh", "-c", "cat /bin/* | sha256sum; ls -lR /bin | sha256sum"}
			list[3] = "whole:/bin"
			want := k.tiffin(list...)
			for i := range 8 {
				list[3] = fmt.Sprintf("v%d:/bin", i)
				cmd := k.command(list...)
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Duration(k.rand.IntN(60)) * time.Millisecond)
				for _, pid := range supervisors(k.store) {
					syscall.Kill(pid, syscall.SIGKILL)
				}
				_ = cmd.Wait()
				if got := k.tiffin(list...); got != want {
					t.Fatalf("round %d: %q, want %q", i, got, want)
				}
			}
		})
	}
}

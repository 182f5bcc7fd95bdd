package cli_test

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	built "tiffin/internal/test/binary"
	"tiffin/internal/test/must"
	"tiffin/ns/cgroup"
)

// The scripts in testdata/script run the built binary, each in a store of its
// own: as root if that is who runs the tests, and then as ordinary users too;
// else as the user. Afterwards nothing may be left: no process, no mount, no
// temporary, no container that does not show.
//
// Commands besides testscript's own:
//
//	tiffin ARGS…         the binary, as the user; with `stdin` as usual
//	sh 'SCRIPT'          a shell as the user, with tiffin on its PATH; $W is the directory
//	status N             the exit status of the last tiffin was N
//	until 'SCRIPT'       repeats the shell script until it succeeds, two minutes at most

// binary is the tiffin under test.
var binary string

func TestMain(m *testing.M) {
	testscript.Main(wrapper{m}, map[string]func(){"tiffin-as": runAs, "sh-as": shAs, "driver-probe": driverProbe, "account-probe": accountProbe, "agent-probe": agentProbe, "visitor": visitor, "nameserver": nameserver, "member": member})
}

// wrapper builds the binary before the tests.
type wrapper struct{ m *testing.M }

func (w wrapper) Run() int { return built.Main(w.m, func(file string) { binary = file }) }

// person is a user to run scripts as.
type person struct {
	name     string
	uid, gid int
}

// people are the users that a test runs as. Where root runs the tests these are root, a user with
// subordinate ids and one without, unless TIFFIN_ONE_PERSON says that those run them too (.ci/run).
func people(t *testing.T) []person {
	t.Helper()
	if os.Getenv("TIFFIN_ONE_PERSON") != "" {
		return []person{{"user", os.Getuid(), os.Getgid()}}
	}
	return everybody(t)
}

// everybody is for the tests that take root and somebody else.
func everybody(t *testing.T) []person {
	t.Helper()
	if os.Getuid() != 0 {
		return []person{{"user", os.Getuid(), os.Getgid()}}
	}
	ps := []person{{"root", 0, 0}, {"nobody-in-particular", 54321, 54321}}
	subuid, _ := os.ReadFile("/etc/subuid")
	for line := range strings.Lines(string(subuid)) {
		name, _, _ := strings.Cut(line, ":")
		u, err := user.Lookup(name)
		if err != nil || u.Uid == "0" {
			continue
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		return append(ps, person{"with-subuids", uid, gid})
	}
	if must.Have("subids") {
		t.Fatal("TIFFIN_MUST has subids, but /etc/subuid names no user")
	}
	return ps
}

// need skips a test on a machine that cannot run containers, or fails it if
// TIFFIN_MUST says that this machine can.
func need(t *testing.T, p person) {
	t.Helper()
	cmd := exec.Command(binary, "doctor")
	cmd.SysProcAttr = p.attr()
	// A store that is not there, in a place where anybody could make one: doctor tries the disk.
	cmd.Env = append(os.Environ(), "TIFFIN_ROOT="+filepath.Join(os.TempDir(), "no-store"))
	out, err := cmd.CombinedOutput()
	if err == nil {
		return
	}
	must.Skip(t, "userns", "containers cannot run here:\n%s", out)
}

func (p person) attr() *syscall.SysProcAttr {
	if p.uid == os.Getuid() {
		return nil
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(p.uid), Gid: uint32(p.gid)}}
}

// needExec fails where TIFFIN_MUST is set and a script would leave lines out, or
// itself, for want of a program: a condition [exec:NAME].
func needExec(t *testing.T, dir string) {
	t.Helper()
	scripts, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts in %s: %v", dir, err)
	}
	for _, script := range scripts {
		text, err := os.ReadFile(script)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^\[!?exec:([^]]+)\]`).FindAllSubmatch(text, -1) {
			if _, err := exec.LookPath(string(m[1])); err != nil && must.Have("") {
				t.Fatalf("TIFFIN_MUST is set, but %s needs what .ci/run installs: %v", script, err)
			}
		}
	}
}

func TestScripts(t *testing.T) {
	const scripts = "testdata/script"
	needExec(t, scripts)
	for _, p := range people(t) {
		t.Run(p.name, func(t *testing.T) {
			need(t, p)
			root, err := os.MkdirTemp("", "tiffin-script-")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(root) }) // after the scripts, which run in parallel
			if err := os.Chmod(root, 0o755); err != nil {
				t.Fatal(err)
			}
			testscript.Run(t, params(scripts, root, p.setup))
		})
	}
}

func params(scripts, root string, setup func(*testscript.Env) error) testscript.Params {
	return testscript.Params{
		Dir: scripts, WorkdirRoot: root, RequireExplicitExec: true, Setup: setup,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"tiffin": cmdTiffin, "sh": cmdSh, "status": cmdStatus, "until": cmdUntil,
		},
	}
}

// setup gives the script's files to the person, and looks for leaks afterwards.
func (p person) setup(e *testscript.Env) error {
	err := filepath.WalkDir(e.WorkDir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, p.uid, p.gid)
	})
	if err != nil {
		return err
	}
	store := filepath.Join(e.WorkDir, "store")
	e.Setenv("TIFFIN_ROOT", store)
	e.Setenv("TEST_UID", strconv.Itoa(p.uid))
	e.Setenv("TEST_GID", strconv.Itoa(p.gid))
	e.Setenv("TEST_BIN", binary)
	e.Setenv("HOME", e.WorkDir)
	e.Setenv("W", e.WorkDir)
	t := e.T().(testing.TB)
	e.Defer(func() { checkLeaks(t, store) })
	return nil
}

// checkLeaks ends what a failed script left running, and fails if a script
// that did not fail left something.
func checkLeaks(t testing.TB, store string) {
	left := supervisors(store)
	for end := time.Now().Add(time.Minute); len(left) > 0 && time.Now().Before(end); left = supervisors(store) {
		time.Sleep(10 * time.Millisecond)
	}
	for _, pid := range left {
		if !t.Failed() {
			t.Errorf("supervisor %d is left", pid)
		}
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	if strings.Contains(string(mounts), store) {
		t.Errorf("a mount is left:\n%s", mounts)
	}
	for _, dir := range []string{"tmp", "containers"} {
		ents, _ := os.ReadDir(filepath.Join(store, dir))
		for _, e := range ents {
			path := filepath.Join(store, dir, e.Name())
			if _, err := os.Stat(filepath.Join(path, "state.json")); err != nil {
				t.Errorf("left behind: %s", path)
			}
		}
	}
}

// supervisors finds the processes that serve a store; below one of them the
// kernel lets nothing outlive it.
func supervisors(store string) (pids []int) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		args, _ := os.ReadFile(filepath.Join(d, "cmdline"))
		env, _ := os.ReadFile(filepath.Join(d, "environ"))
		if (strings.Contains(string(args), "\x00__supervisor\x00") || strings.Contains(string(args), "\x00__keeper\x00")) && strings.Contains(string(env)+"\x00", "TIFFIN_ROOT="+store+"\x00") {
			pid, _ := strconv.Atoi(filepath.Base(d))
			pids = append(pids, pid)
		}
	}
	return pids
}

// become turns this process into another program run by the script's user.
func become(path string, args []string) {
	uid, _ := strconv.Atoi(os.Getenv("TEST_UID"))
	gid, _ := strconv.Atoi(os.Getenv("TEST_GID"))
	var err error
	if dir := os.Getenv("TEST_CGROUP"); dir != "" {
		err = cgroup.Move(dir, os.Getpid())
	}
	if err == nil && uid != os.Getuid() {
		if err = syscall.Setgroups([]int{gid}); err == nil {
			if err = syscall.Setgid(gid); err == nil {
				err = syscall.Setuid(uid)
			}
		}
	}
	if err == nil {
		err = syscall.Exec(path, args, os.Environ())
	}
	fmt.Fprintln(os.Stderr, "become:", err)
	os.Exit(99)
}

func runAs() { become(os.Getenv("TEST_BIN"), append([]string{"tiffin"}, os.Args[1:]...)) }

func shAs() {
	os.Setenv("PATH", filepath.Dir(os.Getenv("TEST_BIN"))+":"+os.Getenv("PATH"))
	become("/bin/sh", append([]string{"sh", "-c"}, os.Args[1:]...))
}

func cmdTiffin(ts *testscript.TestScript, neg bool, args []string) {
	check(ts, neg, ts.Exec("tiffin-as", args...))
}

func cmdSh(ts *testscript.TestScript, neg bool, args []string) {
	check(ts, neg, ts.Exec("sh-as", args...))
}

// check notes the exit status for the command status.
func check(ts *testscript.TestScript, neg bool, err error) {
	code := 0
	if err != nil {
		code = -1
		if e, ok := err.(*exec.ExitError); ok {
			code = e.ExitCode()
		}
	}
	ts.Setenv("STATUS", strconv.Itoa(code))
	if neg && err == nil {
		ts.Fatalf("unexpected success")
	}
	if !neg && err != nil {
		ts.Fatalf("%v\n%s", err, ts.ReadFile("stderr"))
	}
}

func cmdStatus(ts *testscript.TestScript, _ bool, args []string) {
	if got := ts.Getenv("STATUS"); got != args[0] {
		ts.Fatalf("exit status %s, want %s\n%s", got, args[0], ts.ReadFile("stderr"))
	}
}

func cmdUntil(ts *testscript.TestScript, _ bool, args []string) {
	var err error
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err = ts.Exec("sh-as", args...); err == nil {
			return
		}
	}
	ts.Fatalf("not in two minutes: %v\n%s", err, ts.ReadFile("stderr"))
}

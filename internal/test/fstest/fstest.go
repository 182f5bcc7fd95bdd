// Package fstest runs a test inside a mounted union, as an ordinary user or as
// root, without the server ever seeing its own mount.
//
// A FUSE server that touches its own mount point deadlocks sooner or later
// (see the package comment of fs), and a test binary touches everything. So
// the test binary re-executes itself three times:
//
//	T  the test as `go test` started it
//	└─ anchor   new user namespace (ids mapped) and mount namespace, all private
//	   ├─ server   same namespaces: opens /dev/fuse, fs.New, fs.Serve
//	   └─ client   new mount namespace: mount(2), then the test itself again
//
// The client is the test binary with -test.run set to the test that called
// Run; there Run calls the function it was given. So the code of a test before
// Run runs twice, once in T and once in the client, and must be deterministic;
// its results, failures and output come back to T as if they were T's own.
//
// The anchor outlives servers: the client can ask it for another one
// (Mount.Remount), or to kill the one there is (Mount.Kill). The client talks
// to the server over a socket: it receives the descriptor of /dev/fuse, mounts
// with it, and says when to serve; reading the descriptor before mount(2) gives
// EPERM, which is why the two must agree on the moment.
//
// When the client is done the anchor looks for what was left behind:
// processes, mounts, descriptors in the server, files in the work directory,
// and anything in the upper directory that its rules do not allow (see Fsck).
//
// A missing capability of the machine skips the test with the reason and what
// to do about it, unless the environment variable TIFFIN_MUST (a list such as
// "userns,fuse") says that this machine has to have it.
package fstest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tiffin/internal/test/must"
)

// Options says what to mount. The zero value is an empty writable union on
// disk with one id mapped.
type Options struct {
	Layers [][]byte // tarballs, the bottom layer first; internal/test/tartest makes them
	Image  *Image   // instead of Layers: a merged image made before

	ReadOnly   bool          // no upper directory
	Uncached   bool          // as of fs.Config
	Volatile   bool          // as of fs.Config
	Ramfs      bool          // put upper and work on a disk without extended attributes, so that there is a sidecar
	Sidecar    bool          // have a sidecar on a disk that would not need it, but can all else
	UpperTmpfs int64         // bytes: put upper and work on a tmpfs of this size instead of on disk; 0 = disk
	IDs        uint32        // ids to map into the namespace, from 0; 0 and 1 need no privilege and no subordinate ids
	DropCaches time.Duration // how often to make the kernel forget its unused dentries and inodes; 0 = never
	Timeout    time.Duration // after which the server's stacks are printed and all is killed; 0 = 15 minutes
}

// Environment variables by which the three processes know what they are.
const (
	envRole = "TIFFIN_FSTEST_ROLE" // anchor, server, client
	envSpec = "TIFFIN_FSTEST_SPEC" // a spec as JSON
)

// spec is what T tells the other processes.
type spec struct {
	Test     string // name of the test
	Call     int    // how many calls of Run this test made before
	Args     []string
	Dir      string // everything below is in it
	Image    Image
	Upper    string // "" = read-only
	Work     string
	Tmpfs    int64
	Sidecar  bool
	Ramfs    bool
	Drop     time.Duration
	Uncached bool
	Volatile bool
	Faults   bool // have the server's system calls announced, see faults

	WaitForIDs bool // wait for T to map the ids with newuidmap(1)
}

func (s *spec) mountPoint() string { return filepath.Join(s.Dir, "mnt") }

// Main is the body of a package's TestMain: it either runs the tests or
// becomes one of the processes described above. It does not return.
func Main(m *testing.M) {
	role := os.Getenv(envRole)
	var s spec
	if role != "" {
		if err := json.Unmarshal([]byte(os.Getenv(envSpec)), &s); err != nil {
			fmt.Fprintln(os.Stderr, "fstest: read the specification:", err)
			os.Exit(2)
		}
	}
	switch role {
	case "anchor":
		os.Exit(anchorMain(&s))
	case "server":
		os.Exit(serverMain(&s))
	case "client":
		os.Exit(clientMain(&s, m))
	}
	os.Exit(m.Run())
}

var calls sync.Map // *testing.T → *int, its calls of Run so far

func callNumber(t *testing.T) int {
	n, _ := calls.LoadOrStore(t, new(int))
	p := n.(*int)
	*p++
	return *p - 1
}

// Run mounts what o describes and runs f with it in the client process. It
// returns when everything is unmounted again and fails t for whatever failed
// in f or was left behind.
func Run(t *testing.T, o Options, f func(t *testing.T, m *Mount)) {
	t.Helper()
	call := callNumber(t)
	if client.spec != nil {
		if client.spec.Test == t.Name() && client.spec.Call == call {
			f(t, client.mount)
		}
		return
	}
	dir := scratch(t)
	s := &spec{Test: t.Name(), Call: call, Args: testArgs(t), Dir: dir, Uncached: o.Uncached, Volatile: o.Volatile, Drop: o.DropCaches, Tmpfs: o.UpperTmpfs, Sidecar: o.Sidecar, Ramfs: o.Ramfs}
	if o.Image == nil {
		o.Image = Union(t, o.Layers...)
	}
	s.Image = *o.Image
	if !o.ReadOnly {
		s.Upper, s.Work = filepath.Join(dir, "disk", "upper"), filepath.Join(dir, "disk", "work")
	}
	if o.Timeout == 0 {
		o.Timeout = 15 * time.Minute
	}
	out, res := startAnchor(t, s, o)
	relay(t, out, res)
}

// scratch is a directory that every user in the namespace can reach, unlike
// what testing makes.
func scratch(t *testing.T) string {
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"mnt", "disk"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// testArgs makes the client run this test alone, but with the caller's own
// choice of its subtests.
func testArgs(t *testing.T) []string {
	var run []string
	for _, e := range strings.Split(t.Name(), "/") {
		run = append(run, "^"+regexp.QuoteMeta(e)+"$")
	}
	args := []string{"-test.v", "-test.count=1", "-test.timeout=0"}
	for _, a := range os.Args[1:] {
		if want, ok := strings.CutPrefix(a, "-test.run="); ok {
			if es := strings.Split(want, "/"); len(es) > len(run) {
				run = append(run, es[len(run):]...)
			}
		}
		if a == "-test.short" || strings.HasPrefix(a, "-test.short=") {
			args = append(args, a)
		}
	}
	return append(args, "-test.run="+strings.Join(run, "/"))
}

// result is what the anchor reports to T.
type result struct {
	Missing string   // "userns" or "fuse": what the machine lacks
	Why     string   // and how that was noticed
	Errors  []string // what was wrong or left behind
	Exit    int      // exit status of the client
}

// startAnchor runs the anchor to its end and returns what was printed.
func startAnchor(t *testing.T, s *spec, o Options) ([]byte, *result) {
	t.Helper()
	resR, resW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer resR.Close()
	var out bytes.Buffer
	ids := newIDMap(o.IDs)
	s.WaitForIDs = ids.helper
	cmd := self("anchor", s)
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &out, time.Minute
	cmd.SysProcAttr = ids.attr()
	cmd.ExtraFiles = []*os.File{resW, ids.gate()}
	// The anchor dies with the thread that started it, prctl(2) PR_SET_PDEATHSIG.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err = cmd.Start()
	resW.Close()
	if err != nil {
		return nil, &result{Missing: "userns", Why: err.Error()}
	}
	if err := ids.write(cmd.Process.Pid); err != nil {
		cmd.Process.Kill()
		cmd.Wait()
		return nil, &result{Missing: "subids", Why: err.Error()}
	}
	// SIGTERM asks the anchor for the stacks and the end of all the others.
	timer := time.AfterFunc(o.Timeout, func() { cmd.Process.Signal(syscall.SIGTERM) })
	defer timer.Stop()
	res := &result{Exit: -1}
	derr := json.NewDecoder(resR).Decode(res)
	werr := cmd.Wait()
	if derr != nil {
		res.Errors = append(res.Errors, fmt.Sprintf("the anchor process ended without a report: %v, %v", derr, werr))
	}
	return out.Bytes(), res
}

// need skips or fails the test because the machine lacks what.
func need(t *testing.T, what, why string) {
	t.Helper()
	advice := map[string]string{
		"userns": "see user_namespaces(7): allow them with sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns",
		"fuse":   "load the module with 'modprobe fuse' and make /dev/fuse readable and writable for everyone, 'chmod 666 /dev/fuse'",
		"subids": "install newuidmap(1) (package uidmap) and give the user a range in /etc/subuid and /etc/subgid, subuid(5)",
	}[what]
	must.Skip(t, what, "this machine has no %s: %s\n%s", what, why, advice)
}

var subtestLine = regexp.MustCompile(`(?m)^\s+--- (PASS|FAIL|SKIP): (\S+) \(`)

// relay makes what happened in the client the outcome of t: each subtest
// becomes one of t's, and the output is shown when something failed.
func relay(t *testing.T, out []byte, res *result) {
	t.Helper()
	if res.Missing != "" {
		need(t, res.Missing, res.Why)
	}
	text := "| " + strings.ReplaceAll(strings.TrimSpace(string(out)), "\n", "\n| ")
	bad := res.Exit != 0 || len(res.Errors) > 0
	for _, m := range subtestLine.FindAllSubmatch(out, -1) {
		name, ok := strings.CutPrefix(string(m[2]), t.Name()+"/")
		if !ok || strings.Contains(name, "/") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			switch string(m[1]) {
			case "FAIL":
				t.Error("failed in the client, see its output")
			case "SKIP":
				t.Skip("skipped in the client, see its output")
			}
		})
	}
	for _, e := range res.Errors {
		t.Error(e)
	}
	switch {
	case bad:
		t.Errorf("output of the client (exit status %d) and server:\n%s", res.Exit, text)
	case bytes.Contains(out, []byte("\n--- SKIP: "+t.Name()+" ")):
		t.Skip("skipped in the client:\n" + text)
	case testing.Verbose():
		t.Log("output of the client and server:\n" + text)
	}
}

// errMissing is an error that says the machine lacks something.
type errMissing struct {
	what string
	err  error
}

func (e *errMissing) Error() string { return e.what + ": " + e.err.Error() }

func missing(err error) (what string, ok bool) {
	var m *errMissing
	if errors.As(err, &m) {
		return m.what, true
	}
	return "", false
}

// self is the command that runs this binary in another role.
func self(role string, s *spec, args ...string) *exec.Cmd {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // a spec has nothing that JSON cannot say
	}
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), envRole+"="+role, envSpec+"="+string(b))
	return cmd
}

// InClient reports whether this process is the client: a test can do what only
// T should do, or may do, if not. Environment variables that T sets reach the
// client.
func InClient() bool { return client.spec != nil }

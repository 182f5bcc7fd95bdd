package ns

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tiffin/internal/test/must"
	"tiffin/internal/test/reexec"
	"tiffin/internal/wire"

	"golang.org/x/sys/unix"
)

// The tests run real containers. The test binary plays every part: the client
// that a user starts, the supervisor, init, and, copied into a small root file system,
// the command inside.
func TestMain(m *testing.M) {
	status := reexec.Main(m, reexec.Parts{
		InitCommand: reexec.Never(InitMain), ExecCommand: reexec.Never(ExecMain), "test-client": testClient,
		"test-supervisor": testSupervisor, "test-plumbing": testPlumbing, "applet": applet,
		"/bin/trap": func([]string) int { // executed by the first line of a script: security_test.go
			return waitFor("/tmp/seen")
		},
	})
	if binDir != "" {
		os.RemoveAll(binDir)
	}
	os.Exit(status)
}

// job is what a test asks for.
type job struct {
	Spec     Spec
	SingleID bool
	Explain  bool
	Execs    []Process      // commands to execute while the first one runs
	Hold     bool           // print PID 1's number and wait to be killed
	Signal   syscall.Signal // after the execs
	Input    string         // typed into the terminal
	Patient  bool           // let the first command end by itself after the execs
	DeadFuse bool           // mount /dev/fuse, and close it instead of serving
	OwnPipe  bool           // the command's output goes through a pipe of the supervisor
	Victim   string         // play init and exec by this copy of the program
	Unsafe   bool           // and without protecting it

	RemoveSelf bool // the program's file is gone when init starts
}

// outcome is what came of it.
type outcome struct {
	Error   *wire.Error
	Status  int
	Notes   []Note
	Created []string
	IDs     IDMap
	Reports []Report
	Execs   []execOutcome
	Console string // what the terminal showed
	Stdout  string // of the command and the execs, one after the other
	Stderr  string
}

type execOutcome struct {
	Error   *wire.Error
	Status  int
	Console string
}

// person is a user that a test runs as.
type person struct {
	name     string
	uid, gid uint32
	single   bool // without subordinate ids
}

// people returns the users that the tests run as: the user who runs go test and, if that is
// root, an ordinary user with subordinate ids and one without.
func people(t testing.TB) []person {
	t.Helper()
	if os.Getuid() != 0 {
		me := person{"me", uint32(os.Getuid()), uint32(os.Getgid()), false}
		ranges, _ := SubIDs("/etc/subuid", me.uid, UserName(me.uid))
		me.single = len(ranges) == 0
		one := me
		one.name, one.single = "me, one id", true
		return []person{me, one}
	}
	list := []person{{"root", 0, 0, false}, {"somebody", 64017, 64017, true}}
	if p, ok := withSubIDs(); ok {
		list = append(list, p)
	} else if must.Have("subids") {
		t.Fatal("no user with subordinate ids in /etc/subuid")
	}
	return list
}

// withSubIDs finds a user that /etc/subuid and /etc/passwd know.
func withSubIDs() (p person, ok bool) {
	f, err := os.Open("/etc/passwd")
	if err != nil {
		return p, false
	}
	defer f.Close()
	_ = scanPasswd(f, func(u passwdEntry) bool {
		ranges, err := SubIDs("/etc/subuid", u.uid, u.name)
		if err == nil && len(ranges) > 0 && u.uid != 0 {
			p, ok = person{u.name, u.uid, u.gid, false}, true
		}
		return !ok
	})
	return p, ok
}

// needUserNS skips where user namespaces are forbidden, unless they must work.
func needUserNS(t testing.TB) {
	t.Helper()
	cmd := reexec.Command("applet", "true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}
	if err := cmd.Run(); err != nil {
		must.Skip(t, "userns", "there are no user namespaces: %v", err)
	}
}

// binDir holds one copy of the test binary, for all root file systems to link to.
var binDir string

func testBinary(t testing.TB) string {
	t.Helper()
	if binDir == "" {
		dir, err := os.MkdirTemp("", "tiffin-ns-test-")
		if err != nil {
			t.Fatal(err)
		}
		binDir = dir
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile("/proc/self/exe")
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "applet"), data, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(binDir, "applet")
}

// sandbox is a directory of its own for one test, owned by whom it runs as: root/ is the
// root file system, target/ where it is mounted.
type sandbox struct {
	t   testing.TB
	dir string
	who person

	binary string   // what plays tiffin, "" = the common copy
	env    []string // added to the client's
	open   []int    // numbers from 4 up that the client finds open
}

func newSandbox(t testing.TB, who person) *sandbox {
	t.Helper()
	needUserNS(t)
	binary := testBinary(t)
	dir, err := os.MkdirTemp("", "tiffin-ns-")
	if err != nil {
		t.Fatal(err)
	}
	s := &sandbox{t: t, dir: dir, who: who}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for _, d := range []string{".", "target", "root", "root/bin", "root/etc", "root/tmp"} {
		s.mkdir(d)
	}
	if err := os.Link(binary, s.path("root/bin/applet")); err != nil {
		t.Fatal(err)
	}
	s.write("root/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n")
	s.write("root/etc/group", "root:x:0:\nuser:x:1000:\nextra:x:1001:other,user\n")
	return s
}

func (s *sandbox) path(p string) string { return filepath.Join(s.dir, p) }

func (s *sandbox) own(p string) {
	if err := os.Lchown(s.path(p), int(s.who.uid), int(s.who.gid)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *sandbox) mkdir(p string) {
	s.t.Helper()
	if err := os.MkdirAll(s.path(p), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Chmod(s.path(p), 0o755); err != nil {
		s.t.Fatal(err)
	}
	s.own(p)
}

func (s *sandbox) write(p, text string) {
	s.t.Helper()
	if err := os.WriteFile(s.path(p), []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
	s.own(p)
}

func (s *sandbox) symlink(target, p string) {
	s.t.Helper()
	if err := os.Symlink(target, s.path(p)); err != nil {
		s.t.Fatal(err)
	}
}

// job returns a plain container that runs an applet.
func (s *sandbox) job(args ...string) *job {
	return &job{SingleID: s.who.single, Spec: Spec{
		Root:     Root{Target: s.path("target"), Bind: s.path("root")},
		Hostname: "box",
		Process:  Process{Args: append([]string{"/bin/applet", "applet"}, args...), Env: []string{"PATH=/bin", "A=b"}},
	}}
}

// client prepares a command that plays `tiffin run`. Its standard input gets the job.
func (s *sandbox) client(j *job) *exec.Cmd {
	s.t.Helper()
	doc, err := json.Marshal(j)
	if err != nil {
		s.t.Fatal(err)
	}
	binary := s.binary
	if binary == "" {
		binary = filepath.Join(binDir, "applet")
	}
	cmd := exec.Command(binary, "test-client")
	cmd.Stdin = bytes.NewReader(doc)
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: s.who.uid, Gid: s.who.gid}}
	}
	cmd.Dir = "/"
	cmd.Env = append(append(os.Environ(), "USER="+s.who.name), s.env...)
	return cmd
}

// run runs a container and returns what came of it.
func (s *sandbox) run(j *job) *outcome {
	s.t.Helper()
	cmd := s.client(j)
	r, w, err := os.Pipe()
	if err != nil {
		s.t.Fatal(err)
	}
	defer r.Close()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.ExtraFiles = []*os.File{w}
	for _, n := range s.open {
		for len(cmd.ExtraFiles) < n-2 {
			cmd.ExtraFiles = append(cmd.ExtraFiles, nil)
		}
		cmd.ExtraFiles[n-3] = w
	}
	done := make(chan []byte)
	go func() {
		doc, _ := io.ReadAll(r)
		done <- doc
	}()
	err = cmd.Run()
	w.Close()
	doc := <-done
	out := new(outcome)
	if e := json.Unmarshal(doc, out); e != nil || err != nil {
		s.t.Fatalf("client: %v, %v\n%s\n%s", err, e, stderr.String(), doc)
	}
	out.Stdout, out.Stderr = stdout.String(), stderr.String()
	return out
}

// ok runs a container whose command must succeed.
func (s *sandbox) ok(j *job) *outcome {
	s.t.Helper()
	out := s.run(j)
	if out.Error != nil {
		s.t.Fatalf("%s\nhint: %s", out.Error.Message, out.Error.Hint)
	}
	if out.Status != 0 {
		s.t.Fatalf("exit status %d\n%s%s", out.Status, out.Stdout, out.Stderr)
	}
	return out
}

// fails runs a container that must not come to its command, and returns the error.
func (s *sandbox) fails(j *job) *wire.Error {
	s.t.Helper()
	out := s.run(j)
	if out.Error == nil {
		s.t.Fatalf("it worked: %s", out.Stdout)
	}
	return out.Error
}

// testClient plays tiffin run: job on standard input, outcome to descriptor 3.
func testClient([]string) int {
	doc, err := io.ReadAll(os.Stdin)
	var j job
	if err == nil {
		err = json.Unmarshal(doc, &j)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	result := os.NewFile(3, "result")
	u := UserNS{
		Args: []string{"tiffin", "test-supervisor"}, Stdio: [3]*os.File{nil, os.Stdout, os.Stderr}, SingleID: j.SingleID,
	}
	p, err := u.Start()
	if err != nil {
		_ = json.NewEncoder(result).Encode(outcome{Error: wire.NewError(err)})
		return 0
	}
	if err := p.Conn.Send(&jobMessage{Job: &j, files: []*os.File{result}}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	notes, _ := json.Marshal(p.Notes)
	if len(p.Notes) > 0 {
		fmt.Fprintf(os.Stderr, "notes: %s\n", notes)
	}
	status, err := p.Wait()
	if err != nil || status != 0 {
		fmt.Fprintln(os.Stderr, "supervisor:", status, err)
		return 1
	}
	return 0
}

// jobMessage is what the client tells the supervisor; with a file for the outcome.
type jobMessage struct {
	NumFiles int
	Job      *job
	files    []*os.File
}

func (m *jobMessage) Attached() (*int, *[]*os.File) { return &m.NumFiles, &m.files }

// testSupervisor plays the supervisor.
func testSupervisor([]string) int {
	conn, ids, err := Entered()
	var m jobMessage
	if err == nil {
		err = conn.Receive(&m)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	m.Job.Spec.IDs = ids
	out := supervise(m.Job)
	out.IDs = ids
	if err := json.NewEncoder(m.files[0]).Encode(out); err != nil {
		return 1
	}
	return 0
}

func supervise(j *job) *outcome {
	out := new(outcome)
	stdio := [3]*os.File{nil, os.Stdout, os.Stderr}
	s := Start{Spec: &j.Spec, Stdio: stdio}
	if j.OwnPipe {
		r, w, err := os.Pipe()
		if err != nil {
			return &outcome{Error: wire.NewError(err)}
		}
		s.Stdio[1] = w
		copied := make(chan struct{})
		go func() {
			_, _ = io.Copy(os.Stdout, r)
			close(copied)
		}()
		defer func() {
			w.Close()
			<-copied
		}()
	}
	if j.Victim != "" {
		protect = func(string) (*os.File, error) {
			if j.Unsafe {
				return os.Open(j.Victim)
			}
			fd, err := readOnlyClone(j.Victim)
			if err != nil {
				return nil, err
			}
			return os.NewFile(uintptr(fd), "victim"), nil
		}
	}
	if j.RemoveSelf {
		_ = os.Remove(readlink(selfExe))
	}
	if j.DeadFuse {
		s.Mounted = func(fuse *os.File) { fuse.Close() }
	}
	if j.Explain {
		s.Report = func(r Report) { out.Reports = append(out.Reports, r) }
	}
	c, err := s.Run()
	if err != nil {
		out.Error = wire.NewError(err)
		return out
	}
	defer c.Close()
	out.Created, out.Notes = c.Created, c.Notes
	shown := readConsole(c, j.Input)
	if j.Hold {
		pid, _ := c.HostPid()
		fmt.Printf("pid %d supervisor %s\n", pid, readlink("/proc/self"))
		time.Sleep(time.Hour) // not select {}, which Go's runtime calls a deadlock
	}
	for _, p := range j.Execs {
		out.Execs = append(out.Execs, execOne(j, c, p, stdio))
	}
	if len(j.Execs) > 0 && !j.Patient {
		_ = c.Signal(unix.SIGKILL)
	}
	if j.Signal != 0 {
		_ = c.Signal(j.Signal)
	}
	out.Status, err = c.Wait()
	if err != nil {
		out.Error = wire.NewError(err)
	}
	out.Console = <-shown
	return out
}

func execOne(j *job, c *Child, p Process, stdio [3]*os.File) (out execOutcome) {
	e := Exec{Container: c, IDs: j.Spec.IDs, Process: p, Stdio: stdio}
	x, err := e.Run()
	if err != nil {
		out.Error = wire.NewError(err)
		return out
	}
	defer x.Close()
	shown := readConsole(x, "")
	if out.Status, err = x.Wait(); err != nil {
		out.Error = wire.NewError(err)
	}
	out.Console = <-shown
	return out
}

// readConsole collects what a terminal shows, until the other side is closed (EIO).
func readConsole(c *Child, input string) <-chan string {
	done := make(chan string, 1)
	if c.Console == nil {
		done <- ""
		return done
	}
	go func() {
		_, _ = io.WriteString(c.Console, input)
		text, _ := io.ReadAll(c.Console)
		done <- string(text)
	}()
	return done
}

// alive tells whether a process exists and is no zombie.
func alive(pid int) bool {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	return !strings.HasPrefix(rest, "Z")
}

// String shows the error itself, not where it is in memory.
func (x execOutcome) String() string {
	if x.Error == nil {
		return fmt.Sprintf("exit status %d, console %q", x.Status, x.Console)
	}
	return fmt.Sprintf("%s (code %d, hint: %s)", x.Error.Message, x.Error.Code, x.Error.Hint)
}

// plain runs an applet without a container.
func (s *sandbox) plain(args ...string) error {
	return exec.Command(filepath.Join(binDir, "applet"), append([]string{"applet"}, args...)...).Run()
}

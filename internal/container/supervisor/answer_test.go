// Each operation is answered, and none of them can be used to break the supervisor: a container
// whose first process has no handle stands in for one that runs.

package supervisor

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/fs"
	"tiffin/image/layer"
	"tiffin/internal/container/control"
	"tiffin/internal/container/disk"
	"tiffin/internal/test/fstest"
	"tiffin/internal/test/reexec"
	"tiffin/internal/test/tartest"
	"tiffin/internal/wire"
	"tiffin/ns"
)

func TestMain(m *testing.M) {
	os.Exit(reexec.Main(m, reexec.Parts{control.HelperCommand: func([]string) int { return help(false) }}))
}

// fake makes a supervisor that has started something, which has not ended.
func fake(t testing.TB) *supervisor {
	t.Helper()
	dir := t.TempDir()
	var tarball bytes.Buffer
	err := tartest.Write(&tarball, tartest.Dir("d"), tartest.File("d/f", "x"))
	if err != nil {
		t.Fatal(err)
	}
	im, err := fstest.BuildImage(dir, tarball.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	index, err := layer.OpenIndex(im.Index)
	if err != nil {
		t.Fatal(err)
	}
	same := func(id uint32) uint32 { return id }
	served, err := fs.New(fs.Config{Index: index, MapUID: same, MapGID: same})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "containers"), 0o700); err != nil {
		t.Fatal(err)
	}
	c, lock, err := disk.In(dir).Create(disk.Config{Cmd: []string{"x"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lock.Close() })
	s := &supervisor{c: c, fs: served}
	s.fresh()
	return s
}

// fresh begins a run.
func (s *supervisor) fresh() {
	s.req, s.child, s.io = &control.Start{}, new(ns.Child), newTerminal(nil)
	s.started, s.ended, s.sessions = make(chan struct{}), make(chan struct{}), sessions{}
	s.exit, s.failed, s.state = 7, nil, disk.State{}
	close(s.started)
}

// answers sends a request, and returns what is answered until the end, up to n messages.
func (s *supervisor) answers(t *testing.T, m *control.Message, n int) (all []*control.Message) {
	t.Helper()
	client, server := connection(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.answer(server)
	}()
	if err := client.Send(m); err != nil {
		t.Fatal(err)
	}
	for range n {
		a, err := client.Receive()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				t.Errorf("%s: %v", m.Op, err)
			}
			break
		}
		all = append(all, a)
	}
	client.Close()
	<-done
	return all
}

func TestEveryRequestIsAnswered(t *testing.T) {
	s := fake(t)
	end := func(s *supervisor) { time.AfterFunc(30*time.Millisecond, func() { close(s.ended) }) }
	for _, e := range []struct {
		name  string
		ask   control.Message
		set   func(*supervisor)
		want  string // operations of the answers
		error string
	}{
		{"how often it was asked", control.Message{Op: control.OpCounts}, nil, "ok", ""},
		{"the end", control.Message{Op: control.OpWait}, end, "exit", ""},
		{"an end that has come", control.Message{Op: control.OpWait}, func(s *supervisor) { close(s.ended) }, "exit", ""},
		{"stop", control.Message{Op: control.OpStop, Signal: 15, Seconds: -1}, end, "exit", ""},
		{"stop, for as long as it wants", control.Message{Op: control.OpStop, Signal: 15, Seconds: 60}, end, "exit", ""},
		{"to watch", control.Message{Op: control.OpAttach}, end, "ok exit", ""},
		{"events", control.Message{Op: control.OpTrace}, end, "ok exit", ""},
		{"to hold still what has ended", control.Message{Op: control.OpFreeze}, func(s *supervisor) { close(s.ended) }, "ok", ""},
		{"to hold still what takes a while to end", control.Message{Op: control.OpFreeze}, func(s *supervisor) { time.AfterFunc(300*time.Millisecond, func() { close(s.ended) }) }, "ok", ""},
		{"to hold still what cannot be synced", control.Message{Op: control.OpFreeze}, func(s *supervisor) { s.state.Status = disk.Running }, "error", "write out what the container has in memory"},
		{"a signal to nobody", control.Message{Op: control.OpSignal, Signal: 9}, nil, "error", "bad file descriptor"},
		{"a command without a word", control.Message{Op: control.OpExec}, nil, "error", "exec of nothing"},
		{"a command in no container", control.Message{Op: control.OpExec, Exec: &control.Exec{Args: []string{"x"}, Stdin: true}}, nil, "error", "no container"},
		{"a command at a terminal", control.Message{Op: control.OpExec, Exec: &control.Exec{TTY: true}}, nil, "error", "no container"},
		{"files of nobody", control.Message{Op: control.OpCopy, Copy: &control.Copy{Op: control.CopyStat, Path: "/"}}, nil, "error", "find the number of a process"},
		{"a start, which is not for others to ask for", control.Message{Op: control.OpStart, Start: &control.Start{Dir: "/"}}, nil, "error", "unknown operation"},
		{"what only a helper does", control.Message{Op: control.OpErase, Upper: &disk.Upper{Dir: "/nosuch"}}, nil, "error", "unknown operation"},
		{"a step, where there is none", control.Message{Op: control.OpShell, Shell: &control.Shell{}}, nil, "error", "unknown operation"},
		{"nothing", control.Message{}, nil, "error", "unknown operation"},
		{"a start that has failed", control.Message{Op: control.OpCounts}, func(s *supervisor) { s.failed = errors.New("no luck") }, "error", "no luck"},
	} {
		s.fresh()
		if e.set != nil {
			e.set(s)
		}
		n := 9
		if strings.HasPrefix(e.name, "to hold") {
			n = 1 // it goes on until the client leaves
		}
		var ops []string
		for _, a := range s.answers(t, &e.ask, n) {
			ops = append(ops, a.Op)
			if a.Op == control.AnsExit && a.Exit != 7 {
				t.Errorf("%s: exit status %d", e.name, a.Exit)
			}
			if a.Op == control.AnsError && !strings.Contains(a.Error.Message, e.error) {
				t.Errorf("%s: %s", e.name, a.Error.Message)
			}
		}
		if got := strings.Join(ops, " "); got != e.want {
			t.Errorf("%s: answered %q, want %q", e.name, got, e.want)
		}
	}
	// What was held still goes on when the client has left, however it did.
	s.fresh()
	close(s.ended)
	if a := s.answers(t, &control.Message{Op: control.OpFreeze}, 1); len(a) != 1 || a[0].Op != control.AnsOK {
		t.Error("it is held still for ever")
	}
}

// openFiles counts the descriptors of this process.
func openFiles(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// settled waits until there are no more descriptors than before.
func settled(t testing.TB, before int, what string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); openFiles(t) > before; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Errorf("%s: %d descriptors before, %d after", what, before, openFiles(t))
			return
		}
	}
}

// TestDescriptorsThatNobodyAskedForAreClosed at once, and not when the garbage collector comes by.
func TestDescriptorsThatNobodyAskedForAreClosed(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // which closes what is forgotten
	s := fake(t)
	for _, op := range []string{control.OpCounts, control.OpWait, control.OpSignal, control.OpAttach, control.OpExec, control.OpTrace, control.OpCopy, control.OpStop, "nonsense"} {
		for _, n := range []int{1, 2, 5} {
			s.fresh()
			close(s.ended)
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			files := slices.Repeat([]*os.File{w}, n)
			s.answers(t, &control.Message{Op: op, Exec: &control.Exec{}, Copy: &control.Copy{}, Files: files}, 9)
			w.Close()
			// The pipe has an end only when nobody has the other side open.
			_ = r.SetReadDeadline(time.Now().Add(time.Minute))
			if _, err := r.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Errorf("%s with %d descriptors: %v", op, n, err)
			}
			r.Close()
		}
	}
}

func TestASupervisorEndsWhenAllAreAnswered(t *testing.T) {
	var s sessions
	for range 2 {
		if !s.enter() {
			t.Fatal("not let in")
		}
	}
	over := make(chan struct{})
	go func() {
		s.finish()
		close(over)
	}()
	for s.enter() { // until finish has begun
		s.leave()
		time.Sleep(time.Millisecond)
	}
	s.leave()
	select {
	case <-over:
		t.Fatal("one is not answered yet")
	case <-time.After(20 * time.Millisecond):
	}
	s.leave()
	<-over
	if s.enter() {
		t.Error("let in after the end")
	}
	var none sessions
	none.finish()
}

func TestHelpersDoNothingElse(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "tarball"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	me := os.Getpid()
	for _, e := range []struct {
		ask  control.Message
		want string
	}{
		{control.Message{Op: control.OpSync, PID: -1}, "no such file"},
		{control.Message{Op: control.OpCopy, PID: me}, "nothing that a helper does"},
		{control.Message{Op: control.OpCopy, PID: -1, Copy: &control.Copy{}}, "perhaps ended"},
		{control.Message{Op: control.OpCopy, PID: me, Copy: &control.Copy{Op: control.CopyPack, Path: "/"}}, "without a tarball"},
		{control.Message{Op: control.OpCopy, PID: me, Copy: &control.Copy{Op: "nonsense"}, Files: []*os.File{f}}, "unknown operation"},
		{control.Message{Op: control.OpErase}, "nothing that a helper does"},
		{control.Message{Op: control.OpDiff, Upper: &disk.Upper{}}, "nothing that a helper does"},
		{control.Message{Op: control.OpDiff, Upper: &disk.Upper{Union: "/nosuch"}, Files: []*os.File{f}}, "/nosuch"},
		{control.Message{Op: control.OpCounts}, "nothing that a helper does"},
	} {
		if err := do(&e.ask, ns.IDMap{}, new(control.Message)); err == nil || !strings.Contains(err.Error(), e.want) {
			t.Errorf("%+v: %v, want %q", e.ask, err, e.want)
		}
	}
	ans := new(control.Message)
	ask := control.Message{Op: control.OpCopy, PID: me, Copy: &control.Copy{Op: control.CopyStat, Path: dir}}
	if err := do(&ask, ns.IDMap{}, ans); err != nil || ans.Copied == nil || !ans.Copied.Info.Dir {
		t.Errorf("%+v, %v", ans.Copied, err)
	}
}

// FuzzAnswer: whatever a stranger sends as a request, the supervisor answers the next one, waits
// for nothing that has ended, and has no descriptor more.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		`{"op":"counts"}`, `{"op":"wait"}`, `{"op":"exec","files":2,"exec":{"args":["x"],"tty":true,"rows":65535}}`, `{"op":"exec","exec":{"stdin":true}}`,
		`{"op":"attach","files":2}`, `{"op":"attach","files":1}`, `{"op":"signal","signal":-1}`, `{"op":"stop","seconds":-1}`, `{"op":"stop","seconds":9223372036854775807}`,
		`{"op":"trace","trace":{"ops":["READ"],"path":"\u0000"}}`, `{"op":"trace"}`, `{"op":"copy","copy":{"op":"pack"},"files":1}`, `{"op":"freeze"}`,
		`{"op":"start","start":{"idle":true},"files":3}`, `{"op":"exec"`, `{"op":"wait","files":-1}`, `null`, `[]`, "\xff",
	} {
		f.Add([]byte(s), uint8(0))
		f.Add([]byte(s), uint8(2))
		f.Add([]byte(s), uint8(20))
	}
	s := fake(f)
	f.Fuzz(func(t *testing.T, data []byte, files uint8) {
		before := openFiles(t)
		s.fresh()
		server, theirs, err := wire.Pair()
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.answer(&control.Conn{Conn: server})
		}()
		var rights []byte
		if files > 0 {
			rights = unix.UnixRights(slices.Repeat([]int{int(theirs.Fd())}, int(files)%64)...)
		}
		_ = unix.Sendmsg(int(theirs.Fd()), append(data, '\n'), rights, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
		_ = unix.Shutdown(int(theirs.Fd()), unix.SHUT_WR)
		close(s.ended)
		select {
		case <-done:
		case <-time.After(time.Minute):
			t.Fatalf("%q: it waits for ever", data)
		}
		theirs.Close()
		settled(t, before, fmt.Sprintf("%q", data))
		if s.sessions.n != 0 {
			t.Errorf("%q: %d are still owed an answer", data, s.sessions.n)
		}
	})
}

// TestManyAskAtOnce for different things.
func TestManyAskAtOnce(t *testing.T) {
	s := fake(t)
	var all sync.WaitGroup
	for i := range 40 {
		ops := []string{control.OpCounts, control.OpWait, control.OpAttach, control.OpTrace}
		all.Go(func() {
			got := s.answers(t, &control.Message{Op: ops[i%len(ops)]}, 9)
			if len(got) == 0 || got[len(got)-1].Op == control.AnsError {
				t.Errorf("%s: %+v", ops[i%len(ops)], got)
			}
		})
	}
	time.Sleep(20 * time.Millisecond)
	close(s.ended)
	all.Wait()
	s.sessions.finish()
}

// TestWhatIsErasedIsCounted: a file of several names once.
func TestWhatIsErasedIsCounted(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tree")
	file := filepath.Join(dir, "sub", "file")
	err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, make([]byte, 1<<20), 0o600), os.Link(file, filepath.Join(dir, "second")))
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	if err := eraseTree(dir, &said); err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(said.String())
	if err != nil || n < 1<<20 || n > 1<<20+64<<10 {
		t.Errorf("%q, %v", said.String(), err)
	}
	if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

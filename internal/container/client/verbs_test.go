// What the commands of tiffin ask of a container that runs, and of one that does not.

package client

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/image"
	"tiffin/image/layer"
	"tiffin/internal/container/control"
	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
	"tiffin/internal/test/tartest"
	"tiffin/ns"
)

func TestExecRunsBesideTheCommand(t *testing.T) {
	b := newBox(t, disk.Config{Env: []string{"A=1"}}, "signals")
	s := b.start(StartOptions{})
	b.got.has("ready")
	out := newOutput(t)
	var steps []string
	e, err := Exec(b.Container, control.Exec{Args: []string{"/bin/box", "cat"}, Stdin: true}, func(plan *ns.Spec, r ns.Report) {
		if plan == nil || !slices.Contains(plan.Process.Args, "cat") {
			t.Errorf("%+v", plan)
		}
		steps = append(steps, r.Step)
	}, out.w, out.w)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(steps, "join") || steps[len(steps)-1] != "exec" {
		t.Errorf("explained: %q", steps)
	}
	if _, err := io.WriteString(e.Stdin, "what is typed"); err != nil {
		t.Fatal(err)
	}
	e.Stdin.Close()
	ends(t, e, 0)
	out.has("what is typed")
	if strings.Contains(b.got.String(), "typed") {
		t.Error("it went to the container's output too")
	}
	for _, c := range []struct {
		exec control.Exec
		code int
	}{
		{control.Exec{Args: []string{"/nosuch"}}, 127},
		{control.Exec{Args: []string{"/bin/text"}}, 126},
		{control.Exec{Args: []string{"/bin/box", "exit", "0"}, Dir: "/etc/menu"}, 126},
		{control.Exec{}, 125},
	} {
		if _, err := Exec(b.Container, c.exec, nil, nil, nil); errs.CodeOf(err, 125) != c.code || err == nil {
			t.Errorf("%+v: %v", c.exec, err)
		}
	}
	if e, err = Exec(b.Container, control.Exec{Args: []string{"/bin/box", "exit", "9"}}, nil, nil, nil); err != nil {
		t.Fatal(err)
	}
	ends(t, e, 9)
	_ = s.Signal(unix.SIGTERM)
	ends(t, s, 7)
}

// names are the entries of a tarball.
func names(t *testing.T, b []byte) (all []string) {
	t.Helper()
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, h.Name)
	}
}

func TestFilesAreCopiedWhetherItRunsOrNot(t *testing.T) {
	for _, running := range []bool{false, true} {
		b := newBox(t, disk.Config{}, "signals")
		store, err := image.Open(root)
		if err != nil {
			t.Fatal(err)
		}
		if running {
			b.start(StartOptions{})
			b.got.has("ready")
		} else {
			if err := b.Commission(nil); err != nil {
				t.Fatal(err)
			}
			b.lock.Close()
		}
		tree, err := OpenTree(b.Container, store)
		if err != nil {
			t.Fatal(err)
		}
		for path, want := range map[string]bool{"/etc": true, "/etc/menu": true, "/etc/nosuch": false, "/../../etc/menu": true} {
			if info, err := tree.Stat(path, true); err != nil || info.Exists != want {
				t.Errorf("running: %v: %s: %+v, %v", running, path, info, err)
			}
		}
		if n, err := tree.Unpack(bytes.NewReader(tartest.Of(t, tartest.File("new", "text"))), "/tmp", "", false); err != nil || n == 0 {
			t.Errorf("running: %v: %d bytes, %v", running, n, err)
		}
		var packed bytes.Buffer
		if err := tree.Pack(&packed, "/tmp", "x", false); err != nil || !slices.Contains(names(t, packed.Bytes()), "x/new") {
			t.Errorf("running: %v: %q, %v", running, names(t, packed.Bytes()), err)
		}
		full := errors.New("no room")
		if err := tree.Pack(failing{full}, "/bin", "x", false); !errors.Is(err, full) {
			t.Errorf("running: %v: who takes the tarball cannot say why not: %v", running, err)
		}
		if _, err := tree.Unpack(failing{full}, "/tmp", "", false); err == nil {
			t.Errorf("running: %v: half a tarball was taken", running)
		}
		if err := tree.Pack(io.Discard, "/nosuch", "x", false); err == nil {
			t.Errorf("running: %v: packed what is not there", running)
		}
		if !running { // nobody can start it meanwhile
			if _, err := b.LockNow(); !errors.Is(err, disk.ErrLocked) {
				t.Errorf("its lock is free: %v", err)
			}
			if status, err := b.State(); err != nil || status.Status != disk.Created {
				t.Errorf("%+v, %v: it is said to run", status, err)
			}
		}
		tree.Close()
		list, err := Changes(b.Container, store)
		if err != nil || !slices.ContainsFunc(list, func(c layer.Change) bool { return c.Path == "/tmp/new" || c.Path == "tmp/new" }) {
			t.Errorf("running: %v: changes %+v, %v", running, list, err)
		}
	}
}

// failing fails to read and to write.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error)  { return 0, f.err }
func (f failing) Write([]byte) (int, error) { return 0, f.err }

// TestWhatIsHeldStillGoesOn when its holder says so, or has gone without a word.
func TestWhatIsHeldStillGoesOn(t *testing.T) {
	b := newBox(t, disk.Config{}, "write", "/tmp/f")
	b.start(StartOptions{})
	b.got.has("writing")
	size := func() int64 {
		fi, err := os.Stat(b.Path("upper/tmp/f"))
		if err != nil {
			return -1
		}
		return fi.Size()
	}
	for round := range 2 {
		_, release, err := hold(b.Container)
		if err != nil {
			t.Fatal(err)
		}
		first := size()
		next := make(chan func(), 1) // the kernel writes when it is told to, so this one tells it
		go func() {
			_, again, err := hold(b.Container)
			if err != nil {
				t.Error(err)
			}
			next <- again
		}()
		select {
		case <-next:
			t.Fatalf("round %d: two hold it", round)
		case <-time.After(200 * time.Millisecond):
		}
		if now := size(); now != first || first < 0 {
			t.Errorf("round %d: %d bytes, then %d: it was written to", round, first, now)
		}
		release()
		if again := <-next; again != nil {
			again()
		}
		for end := time.Now().Add(time.Minute); size() <= first; time.Sleep(20 * time.Millisecond) {
			if _, h, err := hold(b.Container); err == nil {
				h()
			}
			if time.Now().After(end) {
				t.Fatalf("round %d: it does not go on", round)
			}
		}
	}
	if err := Kill(b.Container, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_, release, err := hold(b.Container) // one that has ended is locked
	if err != nil {
		t.Fatal(err)
	}
	if !b.Locked() {
		t.Error("somebody could start it")
	}
	release()
}

func TestATraceHasAllRequestsFromTheFirstOn(t *testing.T) {
	b := newBox(t, disk.Config{}, "say", "hello")
	var events []*control.TraceEvent
	var info control.TraceInfo
	s := b.start(StartOptions{Trace: &Tracing{
		Begin: func(i control.TraceInfo) { info = i },
		Event: func(e *control.TraceEvent) { events = append(events, e) },
	}})
	ends(t, s, 0)
	if info.Layers != 1 || !info.Uncached {
		t.Errorf("%+v", info)
	}
	looked := slices.IndexFunc(events, func(e *control.TraceEvent) bool { return e.Op == "LOOKUP" && e.Path == "/bin/box" })
	read := slices.IndexFunc(events, func(e *control.TraceEvent) bool { return e.Op == "READ" && e.Path == "/bin/box" })
	if looked < 0 || read < looked {
		t.Errorf("of %d events, the look-up is number %d and the first read number %d", len(events), looked, read)
	} else if e := events[looked]; e.By != "layer 0" || len(e.Layers) != 2 || e.Time.IsZero() {
		t.Errorf("%+v", e)
	}
}

func TestATraceEndsWithItsReaderOrTheContainer(t *testing.T) {
	b := newBox(t, disk.Config{}, "signals")
	s := b.start(StartOptions{})
	b.got.has("ready")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var all sync.WaitGroup
	begun := make(chan struct{}, 2)
	for _, ctx := range []context.Context{ctx, context.Background()} {
		all.Go(func() {
			err := Trace(ctx, b.Container, Tracing{Begin: func(control.TraceInfo) { begun <- struct{}{} }, Event: func(*control.TraceEvent) {}})
			if err != nil {
				t.Error(err)
			}
		})
	}
	<-begun
	<-begun
	cancel()
	if m, err := request(b.Container, &control.Message{Op: control.OpCounts}); err != nil || m.Counts["LOOKUP"] == 0 {
		t.Errorf("%+v, %v", m, err)
	}
	_ = s.Signal(unix.SIGTERM)
	ends(t, s, 7)
	all.Wait()
	if err := Trace(ctx, b.Container, Tracing{}); !errors.Is(err, ErrNotRunning) {
		t.Errorf("of a container that does not run: %v", err)
	}
}

// TestAnIndexThatIsDamagedIsMadeAnew: by the client, which has the image; and the start goes on.
func TestAnIndexThatIsDamagedIsMadeAnew(t *testing.T) {
	b := newBox(t, disk.Config{}, "exit", "3")
	whole, err := os.ReadFile(b.m.UnionPath)
	if err != nil {
		t.Fatal(err)
	}
	bad := slices.Clone(whole)
	bad[len(bad)/2] ^= 1
	_ = os.Remove(b.m.UnionPath) // it may be mapped
	if err := os.WriteFile(b.m.UnionPath, bad, 0o600); err != nil {
		t.Fatal(err)
	}
	ends(t, b.start(StartOptions{}), 3)
	if again, err := os.ReadFile(b.m.UnionPath); err != nil || !bytes.Equal(again, whole) {
		t.Errorf("it is not what it was: %v", err)
	}
}

func TestAnErrorKeepsItsKindOnItsWay(t *testing.T) {
	c, lock := create(t)
	defer lock.Close()
	l, err := control.Listen(c.Dir())
	if err != nil {
		t.Fatal(err)
	}
	sent := []error{errs.Code(errs.Hint(errors.New("a"), "b"), 99), layer.ErrCorrupt}
	go func() {
		for _, e := range sent {
			if conn, err := l.Accept(); err == nil {
				_, _ = conn.Receive()
				conn.Fail(e)
				conn.Close()
			}
		}
	}()
	if _, err := request(c, &control.Message{Op: control.OpCounts}); err == nil || err.Error() != "a" || errs.HintOf(err) != "b" || errs.CodeOf(err, 0) != 99 {
		t.Errorf("%v, %q, %d", err, errs.HintOf(err), errs.CodeOf(err, 0))
	}
	if _, err := request(c, &control.Message{Op: control.OpWait}); !errors.Is(err, layer.ErrCorrupt) {
		t.Error(err)
	}
}

func TestInspectionsHaveDockersWords(t *testing.T) {
	c, lock := create(t)
	defer lock.Close()
	wait := 3
	c.Entrypoint, c.Cmd, c.Network, c.TTY, c.StopTimeout = []string{"/e"}, []string{"a", "b"}, "host", true, &wait
	c.CapDrop, c.NoSeccomp, c.Driver = []string{"ALL"}, true, disk.DriverOverlay
	c.Volumes = []disk.Volume{{Source: "/s", Target: "/t", ReadOnly: true}, {Source: "/s2", Target: "/t2"}, {Target: "/m", Options: "size=1m"}}
	if err := c.WriteState(disk.State{Status: disk.Running, Pid: 5, Supervisor: 4}); err != nil {
		t.Fatal(err)
	}
	x, err := Inspect(c)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(x)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"Path":"/e","Args":["a","b"]`, `"Status":"running","Running":true,"Paused":false,"Restarting":false,"OOMKilled":false,"Pid":5,"SupervisorPid":4`, `"Binds":["/s:/t:ro","/s2:/t2"]`, `"NetworkMode":"host"`,
		`"SecurityOpt":["seccomp=unconfined"]`, `"Tmpfs":{"/m":"size=1m"}`, `"GraphDriver":{"Name":"overlay"`, `"Tty":true`, `"StopTimeout":3`, `"Name":"/box"`,
		`{"Type":"bind","Source":"/s","Destination":"/t","Mode":"ro","Propagation":"rprivate","RW":false}`, `{"Type":"tmpfs","Source":"","Destination":"/m","Mode":"size=1m","Propagation":"","RW":true}`,
	} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	lock.Close()
	if x, err = Inspect(c); err != nil || x.State.Running || x.State.SupervisorPid != 0 || x.State.ExitCode != 137 {
		t.Errorf("%+v, %v", x.State, err)
	}
}

func TestAStoreKnowsWhichImagesContainersNeed(t *testing.T) {
	b := newBox(t, disk.Config{}, "exit", "0")
	uses, err := Uses(disk.In(root))()
	if err != nil || len(uses) != 1 {
		t.Fatalf("%v, %v", uses, err)
	}
	for id := range uses {
		if id.String() != b.ImageID {
			t.Errorf("%s, want %s", id, b.ImageID)
		}
	}
}

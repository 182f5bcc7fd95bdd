// Containers that run, for the tests of this package: the test binary plays the supervisor, init
// and every helper, and is the one program of the image.

package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tiffin/image"
	"tiffin/image/cache"
	"tiffin/internal/container/control"
	"tiffin/internal/container/disk"
	"tiffin/internal/container/supervisor"
	"tiffin/internal/network/port"
	"tiffin/internal/test/must"
	"tiffin/internal/test/reexec"
	"tiffin/internal/test/tartest"
	"tiffin/ns"
	"tiffin/ns/probe"
)

func TestMain(m *testing.M) {
	parts := reexec.Parts{probe.Command: reexec.Never(probe.Main), "client": reexec.Fails(clientMain),
		KeeperCommand: func(args []string) int { KeeperMain(args); return 0 }}
	for _, name := range []string{ns.InitCommand, ns.ExecCommand, control.SupervisorCommand, control.HelperCommand, control.InsideCommand, port.Command} {
		parts[name] = func([]string) int {
			status, _ := supervisor.Main(os.Args)
			return status
		}
	}
	for name, f := range commands {
		parts[name] = f
	}
	os.Exit(reexec.Main(tests{m}, parts))
}

type tests struct{ m *testing.M }

// Run gives the tests a store.
func (t tests) Run() int {
	dir, err := os.MkdirTemp("", "tiffin-client-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	root = filepath.Join(dir, "store")
	return t.m.Run()
}

// commands are what the program of the image can be told to do.
var commands = reexec.Parts{
	"exit": func(args []string) int { n, _ := strconv.Atoi(args[0]); return n },
	"say":  func(args []string) int { fmt.Println(strings.Join(args, " ")); return 0 },
	"cat":  func([]string) int { _, _ = io.Copy(os.Stdout, os.Stdin); return 0 },
	"sleep": func([]string) int {
		fmt.Println("asleep")
		time.Sleep(time.Hour)
		return 1
	},
	"signals": func([]string) int { // says which come, and ends with SIGTERM
		c := make(chan os.Signal, 8)
		signal.Notify(c, syscall.SIGUSR1, syscall.SIGTERM)
		fmt.Println("ready")
		for s := range c {
			fmt.Println(s)
			if s == syscall.SIGTERM {
				break
			}
		}
		return 7
	},
	"patient": func([]string) int { // counts SIGTERM for a second
		c := make(chan os.Signal, 8)
		signal.Notify(c, syscall.SIGTERM)
		fmt.Println("ready")
		<-c
		time.Sleep(time.Second)
		return 1 + len(c)
	},
	"serve": serve,
	"write": func(args []string) int { // a line more, again and again
		f, err := os.OpenFile(args[0], os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
		for i := 0; err == nil; i++ {
			_, err = fmt.Fprintln(f, i)
			if i == 0 {
				fmt.Println("writing")
			}
			time.Sleep(time.Millisecond)
		}
		return 1
	},
}

// root is the store of all tests, and theImage its only image.
var root string

var theImage = sync.OnceValues(func() (*cache.Mountable, error) {
	store, err := image.Open(root)
	if err != nil {
		return nil, err
	}
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	var tarball bytes.Buffer
	err = tartest.Write(&tarball, tartest.Dir("bin"), tartest.Dir("tmp"), tartest.File("bin/box", string(program), tartest.Mode(0o755)), tartest.File("etc/menu", "rice"), tartest.File("bin/text", "no program"))
	if err != nil {
		return nil, err
	}
	img, err := store.Import(context.Background(), &tarball, image.ImportOptions{Ref: "box"})
	if err != nil {
		return nil, err
	}
	imageID = img.ID.String()
	return store.Mountable(img)
})

var imageID string

// box is a container under test.
type box struct {
	*disk.Container
	t    *testing.T
	lock *os.File
	m    *cache.Mountable
	got  *output // what it prints, if it is not detached
}

// newBox makes a container that will run the image's program with args.
func newBox(t *testing.T, cfg disk.Config, args ...string) *box {
	t.Helper()
	cmd := reexec.Command("exit", "0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}
	if err := cmd.Run(); err != nil {
		must.Skip(t, "userns", "there are no user namespaces: %v", err)
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		must.Skip(t, "fuse", "%v", err)
	}
	m, err := theImage()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Cmd, cfg.ImageID, cfg.SingleID = append([]string{"/bin/box"}, args...), imageID, true
	c, lock, err := disk.In(root).Create(cfg)
	if err != nil {
		t.Fatal(err)
	}
	b := &box{Container: c, t: t, lock: lock, m: m, got: newOutput(t)}
	t.Cleanup(b.remove)
	return b
}

// remove ends the container, and looks for what is left of it.
func (b *box) remove() {
	b.lock.Close()
	s, _ := b.ReadState()
	err := Remove(b.Container, true)
	if errors.Is(err, disk.ErrNotFound) { // it has never been complete
		err = Discard(b.Container)
	}
	if err != nil {
		b.t.Errorf("remove: %v", err)
	}
	if _, err := os.Stat(b.Dir()); err == nil {
		b.t.Errorf("%s is left", b.Dir())
	}
	if s.SupervisorStart != 0 && disk.StartTime(s.Supervisor) == s.SupervisorStart {
		gone(b.t, s.Supervisor)
	}
}

// gone waits for the end of a process, which is a zombie at least.
func gone(t *testing.T, pid int) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		text, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if _, rest, _ := strings.Cut(string(text), ") "); rest == "" || rest[0] == 'Z' {
			return
		}
	}
	t.Errorf("process %d is left", pid)
}

// start starts it in the foreground; its output is in b.got.
func (b *box) start(o StartOptions) *Session {
	b.t.Helper()
	o.Stdout, o.Stderr = b.got.w, b.got.w
	return b.startAs(o)
}

// detached starts it in the background.
func (b *box) detached() *Session {
	b.t.Helper()
	return b.startAs(StartOptions{})
}

func (b *box) startAs(o StartOptions) *Session {
	b.t.Helper()
	s, err := Start(b.Container, nil, b.lock, b.m, o)
	if err != nil {
		b.t.Fatal(err)
	}
	b.lock.Close()
	return s
}

// ends waits for the end of a command.
func ends(t *testing.T, s *Session, want int) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if status, err := s.Wait(); status != want || err != nil {
			t.Errorf("exit status %d, %v; want %d", status, err, want)
		}
	}()
	select {
	case <-done:
	case <-time.After(2 * time.Minute):
		t.Fatal("it does not end")
	}
}

// output is what somebody prints.
type output struct {
	t    *testing.T
	w    *os.File
	mu   sync.Mutex
	text strings.Builder
	more chan struct{}
}

func newOutput(t *testing.T) *output {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	o := &output{t: t, w: w, more: make(chan struct{}, 1)}
	t.Cleanup(func() { w.Close(); r.Close() })
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := r.Read(b)
			if err != nil {
				return
			}
			o.mu.Lock()
			o.text.Write(b[:n])
			o.mu.Unlock()
			select {
			case o.more <- struct{}{}:
			default:
			}
		}
	}()
	return o
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// has waits until text was printed.
func (o *output) has(text string) {
	o.t.Helper()
	for end := time.After(2 * time.Minute); !strings.Contains(o.String(), text); {
		select {
		case <-o.more:
		case <-end:
			o.t.Fatalf("%q did not come, but %q", text, o.String())
		}
	}
}

// clientMain is a client in a process of its own: it starts a container, whose lock it has
// inherited, tells that it runs, and ends as it does. For arguments it execs a command instead.
func clientMain(args []string) error {
	c, err := disk.Open(args[0])
	if err != nil {
		return err
	}
	var s *Session
	if len(args) > 1 {
		s, err = Exec(c, control.Exec{Args: args[1:]}, nil, os.Stdout, os.Stderr)
	} else {
		var store *image.Store
		var m *cache.Mountable
		if store, err = image.Open(c.Root()); err == nil {
			_, m, err = mountable(c, store)
		}
		if err == nil {
			lock := os.NewFile(3, "lock")
			s, err = Start(c, nil, lock, m, StartOptions{Stdout: os.Stdout, Stderr: os.Stderr, Tied: true})
			lock.Close()
		}
	}
	if err != nil {
		return err
	}
	fmt.Println("client runs")
	status, err := s.Wait()
	if err == nil && status != 0 {
		os.Exit(status)
	}
	return err
}

// client starts clientMain for the container.
func (b *box) client(args ...string) (*exec.Cmd, *output) {
	b.t.Helper()
	cmd, out := reexec.Command("client", append([]string{b.Dir()}, args...)...), newOutput(b.t)
	cmd.Stdout, cmd.Stderr = out.w, out.w
	if len(args) == 0 {
		cmd.ExtraFiles = []*os.File{b.lock}
	}
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	if len(args) == 0 {
		b.lock.Close()
	}
	b.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	out.has("client runs\n")
	return cmd, out
}

// state waits until the container is as want says, and returns its state.
func (b *box) state(want disk.Status) disk.State {
	b.t.Helper()
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(2 * time.Millisecond) {
		s, err := b.State()
		if err == nil && s.Status == want {
			return s
		}
		if time.Now().After(end) {
			b.t.Fatalf("%+v, %v; want %s", s, err, want)
		}
	}
}

// The keeper starts a container again when it has ended, as its restart policy says. A supervisor
// cannot: it has given up the rights that it takes to build a container (Spec.Seal of package ns),
// and its pid namespace ends with it. So a container with a policy has one process more, outside of
// all namespaces, which sleeps until the supervisor has gone and then does what `tiffin start`
// does. It holds the container's lock all the time: between two runs the container is nobody
// else's.

package client

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/image"
	"tiffin/internal/container/control"
	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
)

// KeeperCommand is the first argument of a keeper.
const KeeperCommand = "__keeper"

// The descriptors that a keeper inherits.
const (
	keeperFile  = 3 // of disk.Container.Keep
	keeperLock  = 4 // the container's
	keeperBegun = 5 // a pipe that ends when the first run has begun, or will not
)

// Docker's pauses before a restart: each is twice the one before, unless the container has worked.
const (
	firstPause = 100 * time.Millisecond
	mostPause  = time.Minute
	works      = 10 * time.Second // it has, after that long
)

// keep starts a keeper for a container, whose lock the caller holds; none if its policy asks for
// none. It waits until begun is called.
func keep(c *disk.Container, lock *os.File) (begun func(), err error) {
	if c.Restart.Policy == "" {
		return func() {}, nil
	}
	file, err := c.Keep()
	if err != nil {
		return nil, err
	}
	defer file.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start the keeper of container %s: %w", c.Name, err)
	}
	defer r.Close()
	// A session of its own: it outlives this client, and its terminal.
	cmd := exec.Cmd{Path: "/proc/self/exe", Args: []string{"tiffin", KeeperCommand, c.Root(), c.Dir()}, Dir: "/",
		ExtraFiles: []*os.File{file, lock, r}, SysProcAttr: &syscall.SysProcAttr{Setsid: true}}
	if err := cmd.Start(); err != nil {
		w.Close()
		c.Forsake()
		return nil, fmt.Errorf("start the keeper of container %s: %w", c.Name, err)
	}
	go func() { _ = cmd.Wait() }()
	return func() { w.Close() }, nil
}

// Keep gives a container that runs the keeper that its policy asks for, if it has none.
func Keep(c *disk.Container) error {
	if c.Kept(nil) {
		return nil
	}
	ans, err := request(c, &control.Message{Op: control.OpLock})
	if err != nil {
		return err
	}
	defer ans.Close()
	if len(ans.Files) != 1 {
		return fmt.Errorf("keep container %s: its supervisor has no lock", c.Name)
	}
	begun, err := keep(c, ans.Files[0])
	if err == nil {
		begun()
	}
	return err
}

// keeper is a process that keeps a container.
type keeper struct {
	*disk.Container
	images     string // root of the store that has its image
	file, lock *os.File
}

// KeeperMain is the main function of a keeper: args are the root of the store that has the image,
// and the container's directory.
func KeeperMain(args []string) {
	for fd := keeperFile; fd <= keeperBegun; fd++ {
		unix.CloseOnExec(fd)
	}
	k := keeper{file: os.NewFile(keeperFile, "keeper"), lock: os.NewFile(keeperLock, "lock")}
	_, _ = io.Copy(io.Discard, os.NewFile(keeperBegun, "begun"))
	if len(args) != 2 || k.find(args[0], args[1]) != nil {
		return
	}
	k.images = args[0]
	defer func() {
		if k.Kept(k.file) {
			k.Forsake()
		}
	}()
	for pause := firstPause; ; pause = min(2*pause, mostPause) {
		s, again := k.ended()
		if !again || k.find(k.images, k.Dir()) != nil {
			return
		}
		if s.Finished.Sub(s.Started) >= works {
			pause = firstPause
		}
		s.Status, s.Restarts = disk.Restarting, s.Restarts+1
		if k.WriteState(s) != nil || !k.rest(pause, s) {
			return
		}
		if err := k.start(s); err != nil {
			s.Error, s.ExitCode = err.Error(), errs.CodeOf(err, 125)
			s.Finished = time.Now().UTC()
			s.Started = s.Finished
			s.Networks, s.Ports = nil, nil // perhaps it was one of these, which somebody else has now
			_ = k.WriteState(s)
		}
	}
}

// find looks the container up again: its policy may have been changed.
func (k *keeper) find(images, dir string) (err error) {
	k.Container, err = disk.At(images, filepath.Dir(filepath.Dir(dir))).Find(filepath.Base(dir))
	return err
}

// ended waits until the container's supervisor has gone. again tells whether the container is to be
// started again.
func (k *keeper) ended() (s disk.State, again bool) {
	reap()
	debug.FreeOSMemory() // this is where it spends its life
	s, err := k.ReadState()
	if err == nil && s.Status == disk.Running {
		if p, e := processAt(s.Supervisor, s.SupervisorStart); e == nil {
			// pidfd_open(2): readable when the process has ended.
			for e = unix.EINTR; e == unix.EINTR; {
				_, e = unix.Poll([]unix.PollFd{{Fd: int32(p.Fd()), Events: unix.POLLIN}}, -1)
			}
			p.Close()
		}
		s, err = k.ReadState()
	}
	if err != nil {
		return s, false
	}
	if s.Status == disk.Running { // it was killed, and has not written how it ended
		if !k.Kept(k.file) {
			return s, false // State of package disk shows it as it is
		}
		s.Killed(time.Now().UTC())
		if again = k.Again(s); !again {
			_ = k.WriteState(s)
		}
		return s, again
	}
	return s, s.Status == disk.Restarting && k.Kept(k.file) && k.Again(s)
}

// reap takes what the kernel keeps of children that have ended: wait(2), NOTES. Each start leaves
// the supervisor before.
func reap() {
	for pid, err := 1, error(nil); pid > 0 || err == unix.EINTR; {
		pid, err = unix.Wait4(-1, nil, unix.WNOHANG|unix.WALL, nil)
	}
}

// rest lets some time pass before the next start. It answers those who ask for the container
// meanwhile, and returns false if they have stopped it.
func (k *keeper) rest(pause time.Duration, s disk.State) bool {
	l, err := control.Listen(k.Dir())
	if err != nil { // the disk is full, perhaps: nobody can ask
		time.Sleep(pause)
		return k.Kept(k.file)
	}
	defer l.Close()
	l.Until(time.Now().Add(pause))
	for {
		conn, err := l.Accept()
		if err != nil {
			return k.wanted(s)
		}
		conn.SetDeadline(time.Now().Add(time.Second))
		m, err := conn.Receive()
		wanted := k.wanted(s)
		switch {
		case err != nil:
		case m.Op == control.OpWait, m.Op == control.OpStop, m.Op == control.OpSignal && !wanted:
			_ = conn.Send(&control.Message{Op: control.AnsExit, Exit: s.ExitCode})
		default:
			conn.Fail(fmt.Errorf("container %s is not running: it has ended with status %d, and is started again soon", k.Name, s.ExitCode))
		}
		conn.Close()
		if !wanted {
			return false
		}
	}
}

// wanted tells whether the container is still to be started again. If not, it has ended.
func (k *keeper) wanted(s disk.State) bool {
	if k.Kept(k.file) && k.Again(disk.State{ExitCode: s.ExitCode, Restarts: s.Restarts - 1}) {
		return true
	}
	s.Status, s.Ports = disk.Exited, nil
	_ = k.WriteState(s)
	return false
}

// start does what `tiffin start` does. s is how the container was.
func (k *keeper) start(s disk.State) error {
	store, err := image.Open(k.images)
	if err != nil {
		return err
	}
	_, m, err := mountable(k.Container, store)
	if err != nil {
		return err
	}
	for i, n := range k.Networks { // the addresses that it had
		for _, had := range s.Networks {
			if had.Name == n.Name && !n.IPv4.IsValid() && !n.IPv6.IsValid() {
				k.Networks[i].IPv4, k.Networks[i].IPv6 = had.IPv4.Addr(), had.IPv6.Addr()
			}
		}
	}
	session, err := Start(k.Container, nil, k.lock, m, StartOptions{kept: true})
	if err != nil {
		return err
	}
	if err := session.Detach(); err != nil {
		return err
	}
	if !k.Kept(k.file) { // it was stopped just now
		return Stop(k.Container, nil)
	}
	return nil
}

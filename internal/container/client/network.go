// What a container needs before it starts to have a network: of this machine, or of the container
// whose network it shares.

package client

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"tiffin/internal/container/control"
	"tiffin/internal/container/disk"
	"tiffin/internal/container/member"
	"tiffin/internal/errs"
	"tiffin/internal/network"
	"tiffin/internal/programs"
	"tiffin/internal/wire"
	"tiffin/ns"
)

// joined is what a client hands to the supervisor for the container's network. Close it.
type joined struct {
	shares string   // directory of the container whose network it is; "" = it is its own
	first  *os.File // pidfd of that one's first process
	// program carries packets between the container and the rest of the world: tiffin's own, or
	// network.Foreign; nil = the container has only loopback, or the host's network.
	program *os.File
	// attached are networks with a name, to which conns lead.
	attached []disk.Attachment
	conns    []*os.File
	notes    []ns.Note
}

func (n *joined) close() {
	for _, f := range append(n.conns, n.first, n.program) {
		if f != nil {
			f.Close()
		}
	}
}

// add completes a request to start.
func (n *joined) add(req *control.Message) {
	if n.shares != "" {
		req.Start.Shares, req.Files = n.shares, append(req.Files, n.first)
	}
	if n.program != nil {
		req.Start.Network, req.Files = true, append(req.Files, n.program)
	}
	req.Start.Joined, req.Files = n.attached, append(req.Files, n.conns...)
	req.Start.Notes = append(req.Start.Notes, n.notes...)
}

// joinNetwork prepares the network of a container. A supervisor whose container is to share the
// network of another must be in the user namespace of that one's supervisor: package ns, "Sharing a
// network". So another one takes the place of *l.
func joinNetwork(c *disk.Container, l **Launch) (*joined, error) {
	id := c.Shares()
	if id == "" {
		n := new(joined)
		if err := n.lay(c); err != nil {
			return nil, err
		}
		for _, m := range c.Networks {
			if err := n.join(c, m); err != nil {
				n.close()
				return nil, fmt.Errorf("join network %s: %w", m.Name, err)
			}
		}
		return n, nil
	}
	root, stderr := (*l).root, (*l).stderr
	(*l).Cancel()
	other, err := disk.Open(filepath.Join(filepath.Dir(c.Dir()), id))
	if errors.Is(err, os.ErrNotExist) {
		err = errs.Hint(fmt.Errorf("container %s shares the network of container %.12s, which is not there any more", c.Name, id), "make a new one of the same image")
	}
	if err != nil {
		return nil, err
	}
	first, above, err := processesOf(other)
	if err != nil {
		return nil, fmt.Errorf("share the network of container %s: %w", other.Name, err)
	}
	defer above.Close()
	*l = NewLaunch(root, stderr, above).MapIDs(c.SingleID)
	return &joined{shares: other.Dir(), first: first}, nil
}

// processesOf returns pidfds of a running container's first process and of its supervisor.
func processesOf(c *disk.Container) (first, above *os.File, err error) {
	s, err := c.State()
	if err == nil && s.Status == disk.Running {
		first, err = processAt(s.Pid, s.PidStart)
		if err == nil {
			if above, err = processAt(s.Supervisor, s.SupervisorStart); err != nil {
				first.Close()
			}
		}
	} else if err == nil {
		err = ErrNotRunning
	}
	if errors.Is(err, ErrNotRunning) || errors.Is(err, unix.ESRCH) {
		err = errs.Hint(fmt.Errorf("it %w", ErrNotRunning), fmt.Sprintf("`tiffin start %s` starts it", c.Name))
	}
	return first, above, err
}

// processAt returns a pidfd of process pid if it is still the one that started at start.
func processAt(pid int, start uint64) (*os.File, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, os.NewSyscallError("pidfd_open", err)
	}
	if disk.StartTime(pid) != start {
		unix.Close(fd)
		return nil, unix.ESRCH
	}
	return os.NewFile(uintptr(fd), "pidfd"), nil
}

// lay opens the network program for a container whose packets are to be carried. If that cannot be
// here, there is a note, and the container has only loopback; unless it is one of others, which the
// user has asked for by name.
func (n *joined) lay(c *disk.Container) error {
	choice, err := network.ParseChoice(cmp.Or(c.Network, network.None))
	if err != nil {
		return err
	}
	if f := choice.Foreign(); f != nil {
		path, err := exec.LookPath(f.Name)
		if err == nil {
			n.program, err = os.Open(path)
		}
		if err != nil {
			return errs.Hint(fmt.Errorf("network %s: %w", f.Name, err), fmt.Sprintf("the program is in the package %s, and needs no administrator but to be installed; --network user needs none of it", f.Package))
		}
		return nil
	}
	if choice.Kind != network.User {
		return nil
	}
	var fix string
	if n.program, fix, err = networkProgram(c.Root()); err != nil {
		n.notes = append(n.notes, ns.Note{What: "network", Why: "there is nothing but loopback: " + err.Error(), Fix: fix})
	}
	return nil
}

// networkProgram opens it, if this machine has interfaces for containers. fix is what an
// administrator types if not.
func networkProgram(root string) (program *os.File, fix string, err error) {
	p, err := programs.Find(programs.Network)
	if err == nil {
		fix, err = ns.TryTap()
	}
	if err == nil {
		program, err = p.Open(root)
	}
	return program, fix, err
}

// join makes the container a member of a network with a name.
func (n *joined) join(c *disk.Container, m disk.Membership) (err error) {
	if n.program == nil {
		fix := ""
		if n.program, fix, err = networkProgram(c.Root()); fix != "" {
			err = errs.Hint(err, "an administrator can type: "+fix)
		}
		if err != nil {
			return err
		}
	}
	conn, a, err := member.Join(c, m, n.detached)
	if err != nil {
		return err
	}
	defer conn.Close()
	f, err := conn.File()
	if err == nil {
		n.conns, n.attached = append(n.conns, f), append(n.attached, a)
	}
	return err
}

// detached starts the network program in a session of its own: it outlives this process, and its
// terminal.
func (n *joined) detached() (*wire.Conn, error) {
	conn, theirs, err := wire.Pair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	cmd := &exec.Cmd{Path: "/proc/self/fd/4", Args: []string{"tiffin", network.ProgramCommand}, Env: []string{}, Dir: "/",
		ExtraFiles: []*os.File{theirs, n.program}, SysProcAttr: &syscall.SysProcAttr{Setsid: true}}
	if err = cmd.Start(); err != nil {
		conn.Close()
		return nil, err
	}
	go func() { _ = cmd.Wait() }()
	return conn, nil
}

// Connect has a container that runs join a further network, which its configuration names already.
// It returns the paths of files inside that somebody has changed, and that do not know of it.
func Connect(c *disk.Container, m disk.Membership) (changed []string, err error) {
	n := new(joined)
	defer n.close()
	if err := n.join(c, m); err != nil {
		return nil, err
	}
	return changeNetwork(c, &control.Message{Op: control.OpConnect, Networks: n.attached, Files: append(n.conns, n.program)})
}

// Disconnect has a container that runs leave a network. It returns what Connect does.
func Disconnect(c *disk.Container, name string) (changed []string, err error) {
	return changeNetwork(c, &control.Message{Op: control.OpDisconnect, Networks: []disk.Attachment{{Name: name}}})
}

func changeNetwork(c *disk.Container, m *control.Message) (changed []string, err error) {
	ans, err := request(c, m)
	if err != nil {
		return nil, err
	}
	for _, r := range ans.Names {
		changed = append(changed, r.Path)
	}
	return changed, nil
}

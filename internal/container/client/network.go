// What a container needs of others before it starts, because it shares their network.

package client

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"tiffin/internal/container/control"
	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
)

// joined is what a client hands to the supervisor for the container's network. Close it.
type joined struct {
	shares string   // directory of the container whose network it is; "" = it is its own
	first  *os.File // pidfd of that one's first process
}

func (n *joined) close() {
	if n.first != nil {
		n.first.Close()
	}
}

// add completes a request to start.
func (n *joined) add(req *control.Message) {
	if n.shares != "" {
		req.Start.Shares, req.Files = n.shares, append(req.Files, n.first)
	}
}

// joinNetwork prepares the network of a container. A supervisor whose container is to share the
// network of another must be in the user namespace of that one's supervisor: package ns, "Sharing a
// network". So another one takes the place of *l.
func joinNetwork(c *disk.Container, l **Launch) (*joined, error) {
	id := c.Shares()
	if id == "" {
		return new(joined), nil
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
	return &joined{other.Dir(), first}, nil
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

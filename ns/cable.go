// A cable is laid to a container that runs: a helper in its network namespace makes one more
// interface there, or gives another one the way out. The steps are those of interface.go.

package ns

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"tiffin/internal/network"
	"tiffin/internal/wire"
)

// cable is what the helper is told.
type cable struct {
	network.Addresses
	There bool // the interface is, and only lacks the routes
}

// Connect gives the container an interface with these addresses, and returns the other end of its
// cable.
func (c *Child) Connect(a network.Addresses) (tap *os.File, err error) {
	return c.lay(&cable{Addresses: a})
}

// Route makes the gateways among these addresses the container's way out.
func (c *Child) Route(a network.Addresses) error {
	_, err := c.lay(&cable{a, true})
	return err
}

// lay has a helper do it.
func (c *Child) lay(w *cable) (tap *os.File, err error) {
	helper, conn, err := c.Helper(CableCommand, unix.CLONE_NEWNET)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	m := new(message)
	if err = conn.Send(&message{Op: opCable, Cable: w}); err == nil {
		err = conn.Receive(m)
	}
	_, _ = helper.Wait()
	helper.Close()
	tap = m.file()
	m.close()
	if err == nil && m.Error != nil {
		err = m.Error.Err()
	}
	if err == nil && tap == nil && !w.There {
		err = errors.New("no tap device came from the helper")
	}
	if err != nil {
		return nil, fmt.Errorf("make an interface: %w", err)
	}
	return tap, nil
}

// CableMain is the helper's main function. It returns the exit status.
func CableMain() int {
	b := &builder{spec: &Spec{}}
	m, err := b.configured(opCable)
	if err == nil && m.Cable == nil {
		err = errors.New("read the configuration: there is none")
	}
	if err != nil {
		return 125
	}
	if err = b.lay(m.Cable); err != nil {
		_ = b.send(&message{Op: opError, Error: wire.NewError(err)})
		return 1
	}
	return 0
}

// lay is what there is to do for the helper. What it needs of the host's files it opens before it
// hides them.
func (b *builder) lay(w *cable) error {
	tap, name, six := -1, "", hasIPv6()
	var err error
	if !w.There {
		if tap, name, err = b.openTap("eth%d"); err != nil {
			return err
		}
	}
	if err = Hide(); err != nil {
		return err
	}
	if w.There {
		if err = b.route(&w.Addresses, six); err != nil {
			return err
		}
		return b.send(&message{Op: opTap})
	}
	if err = b.configureInterface(name, &w.Addresses, six); err != nil {
		return err
	}
	return b.send(&message{Op: opTap}, tap)
}

// Hide keeps what a helper in the container's user namespace has of the host's from the container's
// processes: with `--without pid` they see it, and may do to it what one process of a user may do
// to another. proc(5), /proc/pid/root: whoever traces it would get at the host's files, so it keeps
// none but an empty root directory (that of its descriptors' numbers, since chroot(2) finds no
// other everywhere). prctl(2), PR_SET_DUMPABLE: nobody without CAP_SYS_PTRACE traces it at all.
func Hide() error {
	err := unix.Chroot("/proc/self/fdinfo")
	if err == nil {
		err = unix.Chdir("/")
	}
	if err == nil {
		err = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	}
	return err
}

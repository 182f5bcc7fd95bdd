// The client, the process that sees the mounted union and runs the test in it.

package fstest

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/fs"
	"tiffin/internal/wire"
)

// client is what this process knows if it is one.
var client struct {
	spec  *spec
	mount *Mount
}

// Mount is the mounted union, as the test in the client process sees it. Its
// methods fail the process with a message, for want of a better place, when
// the machinery (not the union) does not work.
type Mount struct {
	Dir     string // the union
	Upper   string // "" if read-only
	Work    string
	Scratch string // a plain directory on the same disk as Dir's parent
	Image   Image

	anchor, server *wire.Conn
	faults         bool
	busy           sync.Mutex // held by DropCaches, whose path lookup would make umount(2) say EBUSY
}

func clientMain(s *spec, m *testing.M) int {
	anchor, err := wire.Inherited()
	if err != nil {
		fmt.Fprintln(os.Stderr, "fstest:", err)
		return 2
	}
	mnt := &Mount{Dir: s.mountPoint(), Upper: s.Upper, Work: s.Work, Scratch: s.Dir, Image: s.Image, anchor: anchor}
	client.spec, client.mount = s, mnt
	if err := mnt.Start(); err != nil {
		if what, ok := missing(err); ok {
			anchor.Send(&message{Op: "missing", What: what, Err: err.Error()})
		}
		fmt.Fprintln(os.Stderr, "fstest:", err)
		return 2
	}
	if s.Drop > 0 {
		go func() {
			for range time.Tick(s.Drop) {
				mnt.DropCaches()
			}
		}()
	}
	status := m.Run()
	if mnt.server != nil {
		if err := mnt.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "fstest: left behind:", err)
			status = max(status, 1)
		}
	}
	return status
}

// Start mounts the union again after Stop or Kill, with a new server.
func (m *Mount) Start() error {
	server, theirs, err := wire.Pair()
	if err != nil {
		return err
	}
	_, err = ask(m.anchor, &message{Op: "start", Faults: m.faults, files: []*os.File{theirs}})
	theirs.Close()
	if err != nil {
		return err
	}
	m.server = server
	var fuse *os.File
	first, err := receive(server)
	if err == nil {
		fuse, err = first.file()
	}
	if err != nil {
		return fmt.Errorf("start the server: %w", err)
	}
	defer fuse.Close()
	source, fstype, data := fs.MountOptions(0, 0, int(fuse.Fd()))
	if err := unix.Mount(source, m.Dir, fstype, unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOATIME, data); err != nil {
		err = fmt.Errorf("mount -t %s -o %s: %w", fstype, data, err)
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENODEV) {
			err = &errMissing{"fuse", err}
		}
		return err
	}
	return server.Send(&message{Op: "serve"})
}

// Stop unmounts, which fails with EBUSY while a file is open, and waits for the
// server to end.
func (m *Mount) Stop() error {
	m.busy.Lock()
	err := unix.Unmount(m.Dir, 0)
	m.busy.Unlock()
	if err != nil {
		return fmt.Errorf("unmount %s: %w", m.Dir, err)
	}
	m.server.Close()
	m.server = nil
	_, err = ask(m.anchor, &message{Op: "wait"})
	return err
}

// Remount is Stop and Start: the same layers and upper, another server.
func (m *Mount) Remount(t testing.TB) {
	t.Helper()
	if err := m.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
}

// Kill ends the server with SIGKILL and detaches the dead mount. Start
// mounts again.
func (m *Mount) Kill(t testing.TB) {
	t.Helper()
	if _, err := ask(m.anchor, &message{Op: "kill"}); err != nil {
		t.Fatal(err)
	}
	m.server.Close()
	m.server = nil
	if err := unix.Unmount(m.Dir, unix.MNT_DETACH); err != nil {
		t.Fatalf("detach %s: %v", m.Dir, err)
	}
}

// EnableFaults prepares the servers that are started from now on for Fault.
// It makes each of their calls that change the disk somewhat slower.
func (m *Mount) EnableFaults() { m.faults = true }

// Fault makes the server's at-th call from now that changes the disk fail with
// errno, or kills the server before that call if errno is 0; at = 0 calls it
// off. It reports whether the fault set before has happened.
func (m *Mount) Fault(t testing.TB, at int, errno unix.Errno) (hit bool) {
	t.Helper()
	r, err := ask(m.anchor, &message{Op: "fault", N: at, Errno: int(errno)})
	if err != nil {
		t.Fatal(err)
	}
	return r.Hit
}

// DropCaches makes the kernel write back what is dirty and forget every dentry
// and inode of the union that is not in use. A remount does that for one file
// system (reconfigure_super calls shrink_dcache_sb), whereas
// /proc/sys/vm/drop_caches needs root and takes the caches of all others too.
func (m *Mount) DropCaches() error {
	m.busy.Lock()
	defer m.busy.Unlock()
	return unix.Mount("", m.Dir, "", unix.MS_REMOUNT|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOATIME, "")
}

func (m *Mount) ask(op string) *message {
	r, err := ask(m.server, &message{Op: op})
	if err != nil {
		panic(fmt.Sprintf("fstest: ask the server for %s: %v", op, err))
	}
	return r
}

// Requests runs f and returns how many requests of each kind the server
// answered meanwhile, as "LOOKUP 1, READ 2" sorted by name, without the
// kernel's FORGETs and INTERRUPTs, which come when they like.
func (m *Mount) Requests(f func()) map[string]uint64 {
	m.ask("reset")
	f()
	c := m.ask("counts").Counts
	for k := range c {
		if strings.Contains(k, "FORGET") || k == "INTERRUPT" {
			delete(c, k)
		}
	}
	return c
}

// Freeze and Thaw call the server's methods of that name.
func (m *Mount) Freeze() { m.ask("freeze") }

// Thaw is the end of Freeze.
func (m *Mount) Thaw() { m.ask("thaw") }

// Events runs f and returns the events that the server emitted meanwhile, each
// printed with %+v.
func (m *Mount) Events(f func()) []string {
	m.ask("subscribe")
	f()
	return m.ask("events").Events
}

// Fsck checks the upper directory now and returns what is wrong with it, see
// the function Fsck. The union must be quiet.
func (m *Mount) Fsck(crashed bool) []string { return checkUpper(client.spec, crashed) }

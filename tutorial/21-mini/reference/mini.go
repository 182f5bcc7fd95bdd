// Mini is a container in 300 lines, without a library.
//
//	mini run DIR COMMAND…          the command, with DIR for its root directory
//	mini merge LAYER.tar… OUT      the files of the layers, the lowest first, in directory OUT
package main

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"unsafe"
)

func main() {
	runtime.LockOSThread() // what prctl(2) sets belongs to a thread
	status, err := 125, errors.New("usage: mini run DIR COMMAND… | mini merge LAYER.tar… OUT")
	if len(os.Args) > 3 {
		args := os.Args[2:]
		switch os.Args[1] {
		case "run":
			status, err = run(args)
		case "init": // what run becomes as process 1
			status, err = initProcess(args[0], args[1:])
		case "merge":
			status, err = 0, merge(args[:len(args)-1], args[len(args)-1])
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mini:", err)
		os.Exit(max(status, 125))
	}
	os.Exit(status)
}

// run starts this program again in new namespaces.
func run(args []string) (int, error) {
	cmd := exec.Command("/proc/self/exe", append([]string{"init"}, args...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		// stage 2, 3 and 5
		Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID |
			syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWNET,
		// stage 2: user_namespaces(7), "Defining user and group ID mappings"
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	// stage 8: execve(2) keeps what is not marked. CLOSE_RANGE_CLOEXEC is 4: close_range(2).
	if _, _, errno := syscall.RawSyscall(sysCloseRange, 3, uintptr(^uint32(0)), 4); errno != 0 {
		return 125, fmt.Errorf("close_range: %w", errno)
	}
	signals := catch()
	if err := cmd.Start(); err != nil {
		return 125, err
	}
	go relay(signals, cmd.Process.Pid)
	var status *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &status) {
		return 125, err
	}
	return statusOf(cmd.ProcessState.Sys().(syscall.WaitStatus)), nil
}

const sysCloseRange = 436 // on every architecture

// stage 1
func catch() chan os.Signal {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals)
	return signals
}

// relay sends on what this process gets. SIGURG is the Go scheduler's own.
func relay(signals chan os.Signal, pid int) {
	for s := range signals {
		if s != syscall.SIGCHLD && s != syscall.SIGURG {
			_ = syscall.Kill(pid, s.(syscall.Signal))
		}
	}
}

func statusOf(ws syscall.WaitStatus) int {
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}

// initProcess is process 1: it builds the walls, starts the command and waits for every child.
func initProcess(dir string, command []string) (int, error) {
	signals := catch()
	for _, step := range []func() error{names, func() error { return root(dir) }, rights} {
		if err := step(); err != nil {
			return 125, err
		}
	}
	file, err := exec.LookPath(command[0])
	if err != nil {
		return 127, err
	}
	pid, err := syscall.ForkExec(file, command, &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}})
	if err != nil {
		return 126, err
	}
	go relay(signals, pid)
	// stage 7: orphans are children of process 1, too
	for {
		var ws syscall.WaitStatus
		child, err := syscall.Wait4(-1, &ws, 0, nil)
		if err == nil && child == pid {
			return statusOf(ws), nil
		} else if err != nil && err != syscall.EINTR {
			return 125, err
		}
	}
}

// stage 5: a host name, and lo up (netdevice(7), SIOCSIFFLAGS).
func names() error {
	if err := syscall.Sethostname([]byte("mini")); err != nil {
		return fmt.Errorf("sethostname: %w", err)
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	defer syscall.Close(fd)
	request := struct {
		name  [syscall.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}{name: [syscall.IFNAMSIZ]byte{'l', 'o'}, flags: syscall.IFF_UP}
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), syscall.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&request))); errno != 0 {
		return fmt.Errorf("set lo up: %w", errno)
	}
	return nil
}

// stage 3 and 4: DIR becomes the root mount, with a /proc of the new pid namespace.
func root(dir string) error {
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"make mounts private", func() error { return syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "") }},
		{"bind DIR", func() error { return syscall.Mount(dir, dir, "", syscall.MS_BIND|syscall.MS_REC, "") }},
		{"enter DIR", func() error { return os.Chdir(dir) }},
		{"mount proc", func() error { return syscall.Mount("proc", "proc", "proc", 0, "") }},
		// pivot_root(2), NOTES, pivot_root(".", "."): the old root lies on top of the new one.
		{"pivot_root", func() error { return syscall.PivotRoot(".", ".") }},
		{"unmount the old root", func() error { return syscall.Unmount(".", syscall.MNT_DETACH) }},
		{"enter the new root", func() error { return os.Chdir("/") }},
	} {
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return nil
}

// keep are the capabilities of docker, by number: linux/capability.h.
var keep = []uintptr{0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31}

// stage 6: when user 0 executes the command, it gets what is in the bounding set, and no more.
// PR_CAPBSET_DROP is 24, PR_SET_NO_NEW_PRIVS 38: linux/prctl.h.
func rights() error {
	for c := range uintptr(64) { // what the kernel does not know is EINVAL
		if slices.Contains(keep, c) {
			continue
		}
		if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, 24, c, 0); errno == syscall.EPERM {
			return fmt.Errorf("drop capability %d: %w", c, errno)
		}
	}
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRCTL, 38, 1, 0, 0, 0, 0); errno != 0 {
		return fmt.Errorf("no_new_privs: %w", errno)
	}
	return nil
}

// stage 9: OCI image-spec v1.1 layer.md, "Applying Changesets"
func merge(layers []string, out string) error {
	for _, l := range layers {
		// Whiteouts first: they hide what is below, wherever in the tarball they stand.
		for _, put := range []func(*tar.Header, io.Reader, string) error{hide, add} {
			if err := each(l, out, put); err != nil {
				return fmt.Errorf("%s: %w", l, err)
			}
		}
	}
	return nil
}

// each calls a function with every entry of a tarball, and its place below out.
func each(tarball, out string, do func(*tar.Header, io.Reader, string) error) error {
	f, err := os.Open(tarball)
	if err != nil {
		return err
	}
	defer f.Close()
	r := tar.NewReader(f)
	for {
		h, err := r.Next()
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		name := path.Clean("/" + h.Name) // no ".." leads out of it
		if name != "/" {
			if err := directories(out, path.Dir(name)); err != nil {
				return err
			}
			if h.Typeflag == tar.TypeLink {
				h.Linkname = filepath.Join(out, path.Clean("/"+h.Linkname))
			}
			if err := do(h, r, filepath.Join(out, name)); err != nil {
				return err
			}
		}
	}
}

// hide removes what a whiteout names.
func hide(_ *tar.Header, _ io.Reader, at string) error {
	name, whiteout := strings.CutPrefix(filepath.Base(at), ".wh.")
	switch dir := filepath.Dir(at); {
	case !whiteout:
		return nil
	case name == ".wh..opq":
		entries, err := os.ReadDir(dir)
		for _, e := range entries {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
		return err
	default:
		return os.RemoveAll(filepath.Join(dir, name))
	}
}

// add puts an entry in the place of what is there.
func add(h *tar.Header, data io.Reader, at string) error {
	if strings.HasPrefix(filepath.Base(at), ".wh.") {
		return nil
	}
	mode := fs.FileMode(h.Mode & 0o777)
	if h.Typeflag == tar.TypeDir {
		if err := directory(at); err != nil {
			return err
		}
		return os.Chmod(at, mode)
	}
	if err := os.RemoveAll(at); err != nil { // a new file: other names of the old one keep it
		return err
	}
	switch h.Typeflag {
	case tar.TypeSymlink:
		return os.Symlink(h.Linkname, at)
	case tar.TypeLink:
		return os.Link(h.Linkname, at)
	}
	f, err := os.OpenFile(at, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		_, err = io.Copy(f, data)
		err = errors.Join(err, f.Chmod(mode), f.Close())
	}
	return err
}

// directories makes the directories of a name, one by one: what is in the way, a link too, goes.
func directories(out, name string) error {
	if name == "/" {
		return nil
	}
	if err := directories(out, path.Dir(name)); err != nil {
		return err
	}
	return directory(filepath.Join(out, name))
}

func directory(at string) error {
	if st, err := os.Lstat(at); err == nil && st.IsDir() {
		return nil
	}
	if err := os.RemoveAll(at); err != nil {
		return err
	}
	return os.Mkdir(at, 0o755)
}

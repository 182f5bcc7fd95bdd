// The checks that need a user namespace around them: mounts, /proc, message queues, networks.
// They change nothing outside it.

package probe

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"tiffin/ns"
)

// place is a directory every Linux system has. The mounts made on it are seen by this
// process only.
const place = "/proc"

// inside makes the checks that need a user namespace around them. /proc is left alone until the
// last.
func inside() []Result {
	results := append([]Result{seccomp()}, fuse()...)
	return append(results, network(), tap(), queues(), newProc(), tmpfs(), overlay(place))
}

// fuse ends with what is wrong, if something is.
func fuse() []Result {
	fd, device := fuseDevice()
	if !device.OK {
		return []Result{device}
	}
	return []Result{device, fuseMount(fd)}
}

// network makes a network namespace: without one, a container would share this machine's.
func network() Result {
	r := Result{Name: "network namespace", Level: Required, Page: "network_namespaces(7)", Found: "can be created"}
	err := inThread(func() error { return unix.Unshare(unix.CLONE_NEWNET) })
	if r.OK = err == nil; !r.OK {
		r.Why = fmt.Sprintf("cannot be created: %v", err)
		if errors.Is(err, unix.ENOSPC) { // unshare(2), ERRORS
			r.Why, r.Fix = "the limit in /proc/sys/user/max_net_namespaces is reached", "sysctl -w user.max_net_namespaces=15000"
		}
	}
	return r
}

// tap makes an interface in a network namespace, for a container's way out.
func tap() Result {
	r := Result{Name: "network interface", Level: Optional, Page: "the kernel's Documentation/networking/tuntap.rst", Found: "containers can have a network of their own"}
	err := inThread(func() error {
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			r.Fix, err = ns.ProbeTap()
		}
		return err
	})
	if r.OK = err == nil; !r.OK {
		r.Why = fmt.Sprintf("containers have only loopback, or this machine's network: %v", err)
	}
	return r
}

// queues mounts the POSIX message queues of a new ipc namespace: mq_overview(7).
func queues() Result {
	r := Result{Name: "message queues", Level: Optional, Page: "mq_overview(7)", Found: "POSIX message queues can be mounted"}
	err := inThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWIPC); err != nil {
			return err
		}
		if err := unix.Mount("mqueue", place, "mqueue", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
			return err
		}
		return unix.Unmount(place, unix.MNT_DETACH)
	})
	if r.OK = err == nil; !r.OK {
		r.Why = fmt.Sprintf("POSIX message queues cannot be mounted: %v; the kernel needs CONFIG_POSIX_MQUEUE", err)
	}
	return r
}

// inThread calls f in a thread that ends with the process: what f changes of it stays there.
func inThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlock
		done <- f()
		select {}
	}()
	return <-done
}

// tmpfs mounts an empty file system, and looks whether it is writable.
func tmpfs() Result {
	r := Result{Name: "mount", Level: Required, Page: "mount_namespaces(7)", Found: "a tmpfs can be mounted"}
	err := unix.Mount("tmpfs", place, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755,size=1m")
	if err == nil {
		err = os.WriteFile(place+"/file", []byte("x"), 0o644)
	}
	if err != nil {
		r.Why, r.Fix = mountDenied("a tmpfs", err)
		return r
	}
	r.OK = true
	return r
}

// mountDenied says why a mount in a user namespace of one's own may fail.
func mountDenied(what string, err error) (why, fix string) {
	why = fmt.Sprintf("%s cannot be mounted in a user namespace: %v", what, err)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		if apparmorRestricts(readSetting) {
			return why + ": AppArmor takes the capabilities of new user namespaces away", appArmorFix()
		}
		if confined(readSetting) {
			return why + ": a seccomp filter around this session forbids it, as in a container", outerFix
		}
	}
	return why, ""
}

// newProc mounts a /proc of the new pid namespace, in which this process is number 1.
func newProc() Result {
	r := Result{Name: "proc", Level: Optional, Page: "pid_namespaces(7), \"/proc and PID namespaces\"", Found: "a new /proc can be mounted"}
	err := unix.Mount("proc", place, "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	switch {
	case err == nil:
		r.OK = true
	case errors.Is(err, unix.EPERM) && !apparmorRestricts(readSetting):
		// mount_too_revealing in the kernel's fs/namespace.c.
		r.Why = "the kernel refuses a new /proc because parts of this one are covered, as in a container; containers here see this one"
		r.Fix = "docker run --security-opt systempaths=unconfined …   # for the container around this session"
	default:
		r.Why, r.Fix = mountDenied("a /proc", err)
	}
	return r
}

// fuseDevice opens /dev/fuse, in the user namespace that will own the mount: fuse(4).
func fuseDevice() (int, Result) {
	r := Result{Name: "/dev/fuse", Level: Optional, Page: "fuse(4)", Found: "can be opened"}
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	switch {
	case err == nil:
		r.OK = true
	case errors.Is(err, unix.ENOENT):
		r.Why, r.Fix = "/dev/fuse does not exist", "modprobe fuse   # in a container: docker run --device /dev/fuse …"
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		r.Why, r.Fix = "the kernel has no FUSE", "modprobe fuse"
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		r.Why, r.Fix = "/dev/fuse may not be opened by everybody", "chmod 666 /dev/fuse   # a rule of udev keeps it over the next boot"
	default:
		r.Why = err.Error()
	}
	return fd, r
}

// fuseMount mounts a FUSE file system that nobody serves, and takes it away again. The first
// mount(2) of FUSE in a user namespace came with Linux 4.18.
func fuseMount(fd int) Result {
	r := Result{Name: "fuse mount", Level: Optional, Page: "mount.fuse3(8)", Found: "FUSE can be mounted without fusermount"}
	data := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fd)
	err := unix.Mount("probe", place, "fuse", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOATIME, data)
	if err == nil {
		r.OK = true
		err = unix.Unmount(place, unix.MNT_DETACH)
	}
	_ = unix.Close(fd)
	if err != nil {
		r.Why, r.Fix = mountDenied("FUSE", err)
	}
	return r
}

// overlay mounts the kernel's overlayfs in a directory, Linux 5.11, "userxattr", and has it
// remember a deletion and a directory that was replaced: what its upper side must be able to hold.
func overlay(dir string) Result {
	r := Result{Name: "overlayfs", Level: Optional, Page: "the kernel's Documentation/filesystems/overlayfs.rst",
		Found: "the kernel's overlayfs can be mounted"}
	err := tryOverlay(dir)
	if r.OK = err == nil; !r.OK {
		r.Why = fmt.Sprintf("overlayfs does not work in a user namespace: %v", err)
	}
	return r
}

func tryOverlay(dir string) (err error) {
	dirs := []string{"lower", "upper", "work", "merged"}
	for i, d := range dirs {
		dirs[i] = dir + "/" + d
		if err := os.Mkdir(dirs[i], 0o755); err != nil {
			return err
		}
		defer os.RemoveAll(dirs[i])
	}
	lower, upper, work, merged := dirs[0], dirs[1], dirs[2], dirs[3]
	if err := errors.Join(os.Mkdir(lower+"/box", 0o755), os.WriteFile(lower+"/box/file", nil, 0o644)); err != nil {
		return err
	}
	// The names of the store may have what separates options.
	escape := strings.NewReplacer(`\`, `\\`, ",", `\,`, ":", `\:`).Replace
	data := "userxattr,lowerdir=" + escape(lower) + ",upperdir=" + escape(upper) + ",workdir=" + escape(work)
	if err := unix.Mount("overlay", merged, "overlay", 0, data); err != nil {
		return fmt.Errorf("mount it: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Unmount(merged, unix.MNT_DETACH)) }()
	if err := os.RemoveAll(merged + "/box"); err != nil {
		return fmt.Errorf("delete a file of the lower side: %w", err)
	}
	if err := os.Mkdir(merged+"/box", 0o755); err != nil {
		return fmt.Errorf("replace a directory of the lower side: %w", err)
	}
	if left, err := os.ReadDir(merged + "/box"); err != nil || len(left) > 0 {
		return fmt.Errorf("a directory that was replaced still shows the old one: %v", err)
	}
	return nil
}

// seccomp loads a filter that allows everything, in a thread of its own.
func seccomp() Result {
	r := Result{Name: "seccomp", Level: Required, Page: "seccomp(2)", Found: "system call filters can be loaded"}
	if err := inThread(loadFilter); err != nil {
		r.Why = fmt.Sprintf("a filter cannot be loaded: %v; the kernel needs CONFIG_SECCOMP_FILTER", err)
		return r
	}
	r.OK = true
	return r
}

func loadFilter() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	allow := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW}
	prog := unix.SockFprog{Len: 1, Filter: &allow}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return errno
	}
	return nil
}

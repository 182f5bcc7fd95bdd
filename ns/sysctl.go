// The step sysctl: settings of the kernel that namespaces have for themselves.

package ns

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"tiffin/internal/errs"
)

// lastPid is the setting of a pid namespace, pid_namespaces(7): the number after which the next
// process is numbered.
const lastPid = "kernel.ns_last_pid"

// ownSysctls are the settings of IPC namespaces, ipc_namespaces(7), and lastPid.
var ownSysctls = []string{
	"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem",
	"kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced", lastPid,
}

// ParseSysctl reads NAME=VALUE. Settings that are not those of a network, IPC or pid namespace are
// those of the whole machine, and refused.
func ParseSysctl(s string) (Sysctl, error) {
	name, value, ok := strings.Cut(s, "=")
	c := Sysctl{strings.ReplaceAll(name, "/", "."), value}
	switch {
	case !ok || name == "" || strings.ContainsAny(s, "\x00\n") || slices.Contains(strings.Split(c.Name, "."), ""):
		return c, fmt.Errorf("sysctl %q is not NAME=VALUE", s)
	case !c.ofNetwork() && !strings.HasPrefix(c.Name, "fs.mqueue.") && !slices.Contains(ownSysctls, c.Name):
		return c, errs.Hint(fmt.Errorf("sysctl %s is a setting of the whole machine", name),
			"a container has its own settings of net.*, fs.mqueue.* and "+strings.Join(ownSysctls, " ")+": see namespaces(7)")
	}
	return c, nil
}

func (c Sysctl) ofNetwork() bool { return strings.HasPrefix(c.Name, "net.") }

// path is that of the file, sysctl(8): dots separate, but not those in the name of an interface,
// which is written with "/".
func (c Sysctl) path() string { return "/proc/sys/" + strings.ReplaceAll(c.Name, ".", "/") }

// runSysctl writes them into the container's own /proc.
func runSysctl(b *builder) error {
	for _, c := range b.spec.Sysctls {
		if err := b.writeSysctl(c); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) writeSysctl(c Sysctl) error {
	if shared := b.spec.sharer(c); shared != "" {
		return errs.Code(errs.Hint(fmt.Errorf("sysctl %s: with %s the setting is not the container's own", c.Name, shared), "leave one of the two out"), 125)
	}
	fd, err := openIn(b.root, c.path(), unix.O_WRONLY, 0, inRoot|unix.RESOLVE_NO_SYMLINKS)
	if err := b.opened(fd, c.path(), "RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS|RESOLVE_NO_SYMLINKS", err); err != nil {
		return sysctlError(c, err)
	}
	defer unix.Close(fd)
	// An image's own file, where --without has left /proc out, is no setting.
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil || st.Type != unix.PROC_SUPER_MAGIC {
		return fmt.Errorf("sysctl %s: there is no /proc in the container", c.Name)
	}
	n, err := unix.Write(fd, []byte(c.Value))
	if err := b.returned(n, err, "write(%d, %q)", fd, c.Value); err != nil {
		return sysctlError(c, err)
	}
	return nil
}

// sharer is why a setting is that of a namespace of somebody else, "" if it is not.
func (s *Spec) sharer(c Sysctl) string {
	switch {
	case c.ofNetwork() && s.Network == "host":
		return "--network host"
	case c.ofNetwork() && strings.HasPrefix(s.Network, SharedNetwork):
		return "--network container:…"
	case c.ofNetwork() && s.leavesOut("net"):
		return "--without net"
	case c.Name == lastPid:
		if s.leavesOut("pid") {
			return "--without pid"
		}
	case !c.ofNetwork() && s.HostIPC:
		return "--ipc host"
	case !c.ofNetwork() && s.leavesOut("ipc"):
		return "--without ipc"
	}
	return ""
}

func sysctlError(c Sysctl, err error) error {
	hint := "proc(5) lists what is below /proc/sys"
	switch {
	case errors.Is(err, unix.ENOENT):
		err = errors.New("this kernel has no such setting")
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		hint = "this kernel keeps it for root of the machine; a newer one may not"
	case errors.Is(err, unix.EINVAL):
		err = fmt.Errorf("the kernel does not take %q", c.Value)
	}
	return errs.Code(errs.Hint(fmt.Errorf("sysctl %s: %w", c.Name, err), hint), 125)
}

// Signals by number and name, and kill, which the shell has as a builtin too.

package box

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Signal finds a signal by number or by name, with or without "SIG".
func Signal(s string) (syscall.Signal, bool) {
	if n, err := strconv.Atoi(s); err == nil {
		return syscall.Signal(n), n >= 0 && n <= 64
	}
	s = strings.TrimPrefix(strings.ToUpper(s), "SIG")
	n := unix.SignalNum("SIG" + s)
	return n, n != 0
}

// SignalName is the name without "SIG"; the number where there is no name.
func SignalName(s syscall.Signal) string {
	if name := unix.SignalName(s); name != "" {
		return strings.TrimPrefix(name, "SIG")
	}
	return strconv.Itoa(int(s))
}

// SignalList is the table that kill -l prints.
func SignalList() string {
	var b strings.Builder
	for n := 1; n < 32; n++ {
		fmt.Fprintf(&b, "%2d) SIG%-9s", n, SignalName(syscall.Signal(n)))
		if n%5 == 0 || n == 31 {
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// KillArgs parses the arguments of kill: -SIG, -s SIG, -n SIG, then targets.
// It returns the signal, the targets, and list for -l.
func KillArgs(args []string) (sig syscall.Signal, targets []string, list bool, err error) {
	sig = syscall.SIGTERM
	if len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' && args[0] != "--" {
		spec := args[0][1:]
		args = args[1:]
		if spec == "l" || spec == "L" {
			return 0, args, true, nil
		}
		if (spec == "s" || spec == "n") && len(args) > 0 {
			spec, args = args[0], args[1:]
		}
		var ok bool
		if sig, ok = Signal(spec); !ok {
			return 0, nil, false, fmt.Errorf("unknown signal %s", spec)
		}
	}
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	return sig, args, false, nil
}

// KillNames answers "kill -l [N...]": names for numbers (also exit statuses
// above 128) and numbers for names.
func KillNames(args []string) (string, error) {
	if len(args) == 0 {
		return SignalList(), nil
	}
	var b strings.Builder
	for _, a := range args {
		if n, err := strconv.Atoi(a); err == nil {
			if n > 128 {
				n -= 128
			}
			fmt.Fprintln(&b, SignalName(syscall.Signal(n)))
		} else if s, ok := Signal(a); ok {
			fmt.Fprintln(&b, int(s))
		} else {
			return "", fmt.Errorf("unknown signal %s", a)
		}
	}
	return b.String(), nil
}

// kill: send a signal to processes. A number below 0 names a process group.
func kill(c *Call) {
	sig, targets, list, err := KillArgs(c.args)
	if err != nil {
		c.die(1, "%s", err)
	}
	if list {
		text, err := KillNames(targets)
		if err != nil {
			c.die(1, "%s", err)
		}
		fmt.Fprint(c.out, text)
		return
	}
	if len(targets) == 0 {
		c.usage()
	}
	for _, t := range targets {
		pid, err := strconv.Atoi(t)
		if err != nil {
			c.warn("%s: not a process number", t)
			continue
		}
		if err := syscall.Kill(pid, sig); err != nil {
			c.fail(t, err)
		}
	}
}

// capNames are the capabilities by number: capabilities(7), linux/capability.h.
var capNames = [...]string{"chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid",
	"setuid", "setpcap", "linux_immutable", "net_bind_service", "net_broadcast", "net_admin", "net_raw",
	"ipc_lock", "ipc_owner", "sys_module", "sys_rawio", "sys_chroot", "sys_ptrace", "sys_pacct", "sys_admin",
	"sys_boot", "sys_nice", "sys_resource", "sys_time", "sys_tty_config", "mknod", "lease", "audit_write",
	"audit_control", "setfcap", "mac_override", "mac_admin", "syslog", "wake_alarm", "block_suspend",
	"audit_read", "perfmon", "bpf", "checkpoint_restore"}

// capSet spells out a hexadecimal set as /proc/PID/status has it.
func capSet(text string) (string, error) {
	set, err := strconv.ParseUint(strings.TrimPrefix(strings.TrimSpace(text), "0x"), 16, 64)
	if err != nil {
		return "", fmt.Errorf("%s: not a hexadecimal set", text)
	}
	var names []string
	for i := range 64 {
		if set>>i&1 == 0 {
			continue
		}
		if i < len(capNames) {
			names = append(names, "cap_"+capNames[i])
		} else {
			names = append(names, strconv.Itoa(i))
		}
	}
	return strings.Join(names, ","), nil
}

// capsh: show the capabilities of this process, or decode a set.
func capsh(c *Call) {
	for _, a := range c.args {
		if set, ok := strings.CutPrefix(a, "--decode="); ok {
			s, err := capSet(set)
			if err != nil {
				c.die(1, "%s", err)
			}
			fmt.Fprintf(c.out, "0x%016s=%s\n", strings.TrimPrefix(set, "0x"), s)
			return
		}
	}
	if !slices.Equal(c.args, []string{"--print"}) {
		c.usage()
	}
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		c.die(1, "/proc/self/status: %s", reason(err))
	}
	titles := map[string]string{"CapInh": "Inheritable", "CapPrm": "Permitted", "CapEff": "Effective",
		"CapBnd": "Bounding set", "CapAmb": "Ambient set"}
	for line := range strings.Lines(string(text)) {
		key, val, _ := strings.Cut(line, ":")
		val = strings.TrimSpace(val)
		if title := titles[key]; title != "" {
			s, _ := capSet(val)
			fmt.Fprintf(c.out, "%-12s =%s\n", title, s)
		}
		if key == "NoNewPrivs" || key == "Seccomp" {
			fmt.Fprintf(c.out, "%-12s =%s\n", key, val)
		}
	}
	fmt.Fprintf(c.out, "uid=%d euid=%d gid=%d egid=%d\n", os.Getuid(), os.Geteuid(), os.Getgid(), os.Getegid())
}

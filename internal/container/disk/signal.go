// Signals by name and number, and how a container is stopped.

package disk

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/internal/errs"
)

// HowToStop tells how the container is asked to end, and how long it may take; negative: for ever.
func (c *Config) HowToStop() (sig syscall.Signal, wait time.Duration, err error) {
	sig, wait = unix.SIGTERM, 10*time.Second
	if c.StopSignal != "" {
		sig, err = ParseSignal(c.StopSignal)
	}
	if c.StopTimeout != nil {
		wait = time.Duration(*c.StopTimeout) * time.Second
	}
	return sig, wait, err
}

// Caught are the signals that process pid has handlers for, a bit each, signal 1 the lowest:
// proc(5), SigCgt.
func Caught(pid int) uint64 {
	n, _ := strconv.ParseUint(readStatus(pid)["SigCgt"], 16, 64)
	return n
}

// ParseSignal reads a signal as people write it: "TERM", "SIGTERM", "15",
// "RTMIN+3".
func ParseSignal(s string) (syscall.Signal, error) {
	if n, err := strconv.Atoi(s); err == nil && n > 0 && n <= 64 {
		return syscall.Signal(n), nil
	}
	name := strings.TrimPrefix(strings.ToUpper(s), "SIG")
	if sig := unix.SignalNum("SIG" + name); sig != 0 {
		return sig, nil
	}
	// signal(7), "Real-time signals": glibc keeps 32 and 33 for itself.
	for prefix, base := range map[string]int{"RTMIN": 34, "RTMAX": 64} {
		rest, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		n, err := strconv.Atoi("0" + strings.TrimLeft(rest, "+-"))
		if strings.HasPrefix(rest, "-") {
			n = -n
		}
		if err == nil && base+n >= 34 && base+n <= 64 {
			return syscall.Signal(base + n), nil
		}
	}
	return 0, errs.Hint(fmt.Errorf("no such signal: %s", s), "use a name like TERM or a number from 1 to 64; see signal(7)")
}

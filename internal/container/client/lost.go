// Why a supervisor that was to start a container has gone without an answer.

package client

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"

	"tiffin/internal/container/control"
	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
)

// lost is err, or if that is that the supervisor has gone, how it ended: by its exit status, 128+N
// after signal N, and whether it had begun to unpack the image.
func (l *Launch) lost(c *disk.Container, err error, status int) error {
	if !errors.Is(err, control.ErrGone) {
		return err
	}
	how := fmt.Sprintf("ended with status %d", status)
	if status > 128 {
		how = "was killed by " + unix.SignalName(syscall.Signal(status-128))
	}
	hint := "start it again"
	if l.unpacking {
		how += " while it unpacked the image"
		hint += ": the image is unpacked anew"
	}
	if status == 128+int(unix.SIGKILL) {
		hint += "; if nobody killed it, memory was short: dmesg(1), or the log of the batch system, has that"
	}
	return errs.Hint(fmt.Errorf("start container %s: its supervisor %s", c.Name, how), hint)
}

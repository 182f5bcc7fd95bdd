// Flags of clone(2), mount(2) and mount_setattr(2) by the names that the manual gives them.

package ns

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// flagName is a bit and what the manual calls it.
type flagName struct {
	bit  uint64
	name string
}

// flagNames writes a set of bits as the manual does, for --explain and for errors.
func flagNames(bits uint64, names []flagName) string {
	var out []string
	for _, f := range names {
		if bits&f.bit != 0 {
			out = append(out, f.name)
			bits &^= f.bit
		}
	}
	if bits != 0 || len(out) == 0 {
		out = append(out, fmt.Sprintf("%#x", bits))
	}
	return strings.Join(out, "|")
}

func mountFlags(bits uintptr) string {
	return flagNames(uint64(bits), []flagName{
		{unix.MS_RDONLY, "MS_RDONLY"}, {unix.MS_NOSUID, "MS_NOSUID"}, {unix.MS_NODEV, "MS_NODEV"},
		{unix.MS_NOEXEC, "MS_NOEXEC"}, {unix.MS_NOATIME, "MS_NOATIME"}, {unix.MS_RELATIME, "MS_RELATIME"},
		{unix.MS_STRICTATIME, "MS_STRICTATIME"}, {unix.MS_SYNCHRONOUS, "MS_SYNCHRONOUS"},
		{unix.MS_BIND, "MS_BIND"}, {unix.MS_REC, "MS_REC"}, {unix.MS_PRIVATE, "MS_PRIVATE"},
	})
}

func attrFlags(bits uint64) string {
	return flagNames(bits, []flagName{
		{unix.MOUNT_ATTR_RDONLY, "MOUNT_ATTR_RDONLY"}, {unix.MOUNT_ATTR_NOSUID, "MOUNT_ATTR_NOSUID"},
		{unix.MOUNT_ATTR_NODEV, "MOUNT_ATTR_NODEV"}, {unix.MOUNT_ATTR_NOEXEC, "MOUNT_ATTR_NOEXEC"},
	})
}

func cloneFlagNames(bits uintptr) string {
	return flagNames(uint64(bits), []flagName{
		{unix.CLONE_NEWUSER, "CLONE_NEWUSER"}, {unix.CLONE_NEWNS, "CLONE_NEWNS"}, {unix.CLONE_NEWPID, "CLONE_NEWPID"},
		{unix.CLONE_NEWNET, "CLONE_NEWNET"}, {unix.CLONE_NEWUTS, "CLONE_NEWUTS"},
		{unix.CLONE_NEWIPC, "CLONE_NEWIPC"}, {unix.CLONE_NEWCGROUP, "CLONE_NEWCGROUP"},
	})
}

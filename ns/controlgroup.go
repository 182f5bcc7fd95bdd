// The container's control group: made and entered by init, entered by the helper of exec.

package ns

import (
	"strings"

	"golang.org/x/sys/unix"

	"tiffin/ns/cgroup"
)

// ownCgroupNS tells whether the step makes a cgroup namespace.
func (s *Spec) ownCgroupNS() bool { return s.Cgroup != nil && !s.leavesOut("cgroup") }

// controlGroup is the line of version 2 in /proc/pid/cgroup: cgroups(7), "/proc files".
func controlGroup(b *builder) string {
	for line := range strings.Lines(b.readOwn("cgroup")) {
		if strings.HasPrefix(line, "0::") {
			return strings.TrimSpace(line)
		}
	}
	return "none"
}

// runControlGroup comes before the container has a tree: the files are those of the host. They
// belong to the user, as whom the kernel sees this process.
func runControlGroup(b *builder) error {
	g, call := b.spec.Cgroup, cgroup.Calls(b.call)
	if b.joining {
		return g.Enter(call) // the step "join" enters the namespace
	}
	if err := g.Make(call); err != nil {
		return err
	}
	if err := g.Enter(call); err != nil || !b.spec.ownCgroupNS() {
		return err
	}
	return b.call(unix.Unshare(unix.CLONE_NEWCGROUP), "unshare(CLONE_NEWCGROUP)")
}

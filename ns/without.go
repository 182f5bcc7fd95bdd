// Leaving out one wall, to see what it was for: Spec.Without. Each of its names is that of a step,
// or of a namespace, which the step "namespaces" then does not make; "caps" stands for two steps.
// Two names do not mean exactly what they say:
//
// "mount" leaves out the mount namespace with all that is mounted in it. The command runs in the
// user's own tree, because a root file system without a mount namespace to be in would be the
// supervisor's root too, which serves it and must never meet it.
//
// "user-map" gives the command one more user namespace, without an id map. The container's own
// needs one: in a user namespace without ids nobody can own a file, and the kernel mounts nothing
// with an owner (EINVAL).

package ns

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"tiffin/internal/errs"
)

const (
	withoutMount   = "mount"
	withoutUserMap = "user-map"
)

// mountSteps are those that "mount" leaves out.
var mountSteps = [...]string{"propagation", "sources", "root", "overlay", "proc", "dev", "devpts", "shm", "mqueue", "sys", "cgroup",
	"volumes", "files", "mask", "readonly-paths", "pivot", "read-only"}

// namespaceFlags are the namespaces that can be left out by name. "cgroup" is the name of a step
// too, and both go together: the mount is refused to those who do not own the namespace.
var namespaceFlags = [...]struct {
	name string
	flag uintptr
}{
	{withoutMount, unix.CLONE_NEWNS}, {"pid", unix.CLONE_NEWPID}, {"net", unix.CLONE_NEWNET}, {"uts", unix.CLONE_NEWUTS},
	{"ipc", unix.CLONE_NEWIPC}, {"cgroup", unix.CLONE_NEWCGROUP},
}

// namespaceFlag is the flag of clone(2) for a namespace's name, 0 for other names.
func namespaceFlag(name string) uintptr {
	for _, n := range namespaceFlags {
		if n.name == name {
			return n.flag
		}
	}
	return 0
}

// ParseWithout checks what a user wants to leave out, and returns it as Spec.Without has it.
func ParseWithout(names []string) ([]string, error) {
	var out []string
	for _, name := range names {
		switch name {
		case "caps":
			out = append(out, "bounding-set", "capabilities")
			continue
		case withoutMount:
			out = append(append(out, withoutMount), mountSteps[:]...)
			continue
		case withoutUserMap:
			out = append(out, withoutUserMap)
			continue
		}
		if namespaceFlag(name) == 0 {
			i := stepNumber(name) - 1
			if i < 0 || Steps()[i].Where == "exec" {
				return nil, errs.Hint(fmt.Errorf("cannot leave out %q: the runner has no such step or namespace", name),
					"these can be left out: "+strings.Join(removable(), " "))
			}
			if why := Steps()[i].Needed; why != "" {
				return nil, errs.Hint(fmt.Errorf("cannot leave out %q: %s", name, why),
					"these can be left out: "+strings.Join(removable(), " "))
			}
		}
		out = append(out, name)
	}
	return out, nil
}

// removable lists what can be left out.
func removable() []string {
	names := []string{"caps", withoutUserMap}
	for _, n := range namespaceFlags {
		names = append(names, n.name)
	}
	for _, s := range Steps() {
		if s.Needed == "" && s.Where != "exec" {
			names = append(names, s.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// leavesOut tells whether the step or namespace is to be left out.
func (s *Spec) leavesOut(name string) bool { return slices.Contains(s.Without, name) }

// OwnTree tells whether the container has a tree of its own.
func (s *Spec) OwnTree() bool { return !s.leavesOut(withoutMount) }

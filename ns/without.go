package ns

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"tiffin/internal/errs"
)

// This file is about leaving one wall out, to see what it was for: Spec.Without. A name in it is that
// of a step, or of a namespace that the step "namespaces" then does not make; "caps" is two steps.

// namespaceFlags are the namespaces that can be left out by name. The mount namespace is not among them:
// the supervisor must never meet the mount that it serves. "cgroup" is the name of a step too, and both
// go together: the mount is refused to those who do not own the namespace.
var namespaceFlags = [...]struct {
	name string
	flag uintptr
}{
	{"pid", unix.CLONE_NEWPID}, {"net", unix.CLONE_NEWNET}, {"uts", unix.CLONE_NEWUTS},
	{"ipc", unix.CLONE_NEWIPC}, {"cgroup", unix.CLONE_NEWCGROUP},
}

// namespaceFlag is the flag of clone(2) for a name, 0 if it is none.
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
		if name == "caps" {
			out = append(out, "bounding-set", "capabilities")
			continue
		}
		if namespaceFlag(name) == 0 {
			i := stepNumber(name) - 1
			if i < 0 || Steps()[i].Where == "exec" {
				return nil, errs.Hint(fmt.Errorf("cannot leave out %q: the runner has no such step or namespace", name),
					"these can be left out: "+strings.Join(Removable(), " "))
			}
			if why := Steps()[i].Needed; why != "" {
				return nil, errs.Hint(fmt.Errorf("cannot leave out %q: %s", name, why),
					"these can be left out: "+strings.Join(Removable(), " "))
			}
		}
		out = append(out, name)
	}
	return out, nil
}

// Removable lists what can be left out.
func Removable() []string {
	names := []string{"caps"}
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

// What a lab needs of the machine, and whether it is there. A lab that cannot work here says so
// instead of failing.

package tutorial

import (
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"

	"tiffin/internal/errs"
	"tiffin/ns/cgroup"
	"tiffin/ns/probe"
)

// capability is a word of `needs:`, with checks of `tiffin doctor` or a try of its own.
type capability struct {
	need   string
	checks []string
	try    func() error
}

// capabilities are the words of `needs:`, each with the checks of `tiffin
// doctor` that must succeed for it. They try the thing itself: a setting that
// allows it proves nothing. A word without checks has a try of its own.
var capabilities = [...]capability{
	{"userns", []string{"kernel", "user namespace", "mount", "proc"}, nil},
	{"fuse", []string{"/dev/fuse", "fuse mount"}, nil},
	{"subids", []string{"subordinate ids"}, nil},
	{"net", []string{"network namespace"}, nil},
	{"overlay", []string{"overlayfs"}, nil},
	{"mqueue", []string{"message queues"}, nil},
	{"curl", nil, func() error {
		if _, err := exec.LookPath("curl"); err != nil {
			return errors.New("curl is not installed")
		}
		return nil
	}},
	{"cgroup2", nil, canLimit},
}

// canLimit tells whether containers can have limits of memory, processes and processor time. What
// doctor calls a success takes two controllers more.
func canLimit() error {
	need := []string{"cpu", "memory", "pids"}
	socket, has := cgroup.Manager()
	if socket == "" {
		_, err := cgroup.Delegated(need)
		return err
	}
	if lacking := cgroup.Lacking(need, has); len(lacking) > 0 {
		return fmt.Errorf("systemd gives no controller %s", strings.Join(lacking, ", "))
	}
	return nil
}

// needed is what a word of `needs:` stands for; a Lab has no others.
func needed(word string) capability {
	return capabilities[slices.Index(capabilityNames(), word)]
}

func capabilityNames() []string {
	var names []string
	for _, c := range capabilities {
		names = append(names, c.need)
	}
	return names
}

// machine is what this one allows: asked once, which takes some 50 ms.
var machine = sync.OnceValue(probe.All)

// missing returns the first of the lab's needs that the machine does not
// allow, "" if there is none, and why.
func (l *Lab) missing() (need, why string) {
	for _, n := range l.Needs {
		c := needed(n)
		if c.try != nil {
			if err := c.try(); err != nil {
				return n, err.Error()
			}
			continue
		}
		for _, r := range machine() {
			if !r.OK && slices.Contains(c.checks, r.Name) {
				return n, fmt.Sprintf("%s: %s", r.Name, r.Why)
			}
		}
	}
	return "", ""
}

// brokenError is a lab whose own scripts do not work.
type brokenError struct{ error }

func (b *brokenError) Unwrap() error { return b.error }

// broken says that a script of the lab failed, with the end of what it printed.
func broken(l *Lab, script string, why error, output string) error {
	msg := fmt.Sprintf("lab %s is broken: %s: %v", l.Name, script, why)
	if output = clean(output); output != "" {
		msg += "\nit printed: " + strings.ReplaceAll(output, "\n", "\n            ")
	}
	return errs.Hint(&brokenError{fmt.Errorf("%s", msg)}, "this is no fault of yours: tell who gave you the lab, with these lines")
}

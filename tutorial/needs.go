// What a lab needs of the machine, and whether it is there. A lab that cannot work here says so
// instead of failing.

package tutorial

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"

	"tiffin/internal/errs"
	"tiffin/ns/probe"
)

// capabilities are the words of `needs:`, each with the checks of `tiffin
// doctor` that must succeed for it. They try the thing itself: a setting that
// allows it proves nothing. A word without checks is a program of this machine's.
var capabilities = [...]struct {
	need   string
	checks []string
}{
	{"userns", []string{"kernel", "user namespace", "mount", "proc"}},
	{"fuse", []string{"/dev/fuse", "fuse mount"}},
	{"subids", []string{"subordinate ids"}},
	{"net", []string{"network namespace"}},
	{"overlay", []string{"overlayfs"}},
	{"mqueue", []string{"message queues"}},
	{"curl", nil},
}

// checksFor are the checks for a need, none if it is a program.
func checksFor(need string) []string {
	for _, c := range capabilities {
		if c.need == need {
			return c.checks
		}
	}
	return nil
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
		checks := checksFor(n)
		if checks == nil {
			if _, err := exec.LookPath(n); err != nil {
				return n, n + " is not installed"
			}
			continue
		}
		for _, r := range machine() {
			if !r.OK && slices.Contains(checks, r.Name) {
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

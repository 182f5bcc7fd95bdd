// Package probe finds out what this machine lets its users do, by doing it.
//
// Settings lie: a sysctl that allows user namespaces says nothing of an AppArmor
// rule that takes their capabilities away again, and a newuidmap that is
// installed may have lost its setuid bit on the way through a backup. So each
// check does the very thing that tiffin needs, in a process of its own: a user
// namespace is created, ids are mapped, file systems are mounted, /dev/fuse is opened and
// mounted, a filter is loaded. Only when that fails are settings looked at,
// to find the one at fault and the line that changes it.
//
//	this process        "user namespace", "subordinate ids", "kernel", "cgroup"
//	 └─ __probe         in a new user, mount and pid namespace: "mount", "proc", "/dev/fuse",
//	                    "fuse mount", "overlayfs", "seccomp", "network namespace",
//	                    "network interface", "message queues"
//
// `tiffin doctor` prints All; when a container cannot be started, Explain adds the
// advice of the check that fails to the error. So both say the same.
package probe

import (
	"errors"
	"fmt"
	"io"
	"os"

	"tiffin/internal/errs"
	"tiffin/ns"
)

// Command is the name main dispatches on, as os.Args[1]: → Main.
const Command = "__probe"

// Levels of a Result.
const (
	Required = "required" // without it no container runs
	Optional = "optional" // without it something is left out
)

// Result is what became of one check.
type Result struct {
	Name  string // "user namespace"
	OK    bool
	Level string // Required or Optional
	Found string // what there is: "mapped 65537 ids"
	Why   string // why it is not OK
	Fix   string // the line an administrator types, or ""
	Page  string // where to read on: "user_namespaces(7)"
}

// All makes all checks. It takes some tens of milliseconds.
func All() []Result {
	results := []Result{kernel()}
	p, err := enter(true)
	results = append(results, userNamespace(err))
	if err == nil {
		results = append(results, p...)
	}
	return append(results, subordinate(err), controlGroups())
}

// Explain adds to the error of a failed start what the failing check advises. An error
// that is the command's own (it has an exit status) and one that no check explains come back
// as they are.
func Explain(err error) error {
	if err == nil || errs.CodeOf(err, 0) != 0 {
		return err
	}
	for _, r := range All() {
		if r.OK || r.Level != Required {
			continue
		}
		hint := "see " + r.Page
		if r.Fix != "" {
			hint = "an administrator can change that: " + r.Fix + "   (" + hint + ")"
		}
		return errs.Hint(fmt.Errorf("%w (%s: %s)", err, r.Name, r.Why), hint)
	}
	return err
}

// Overlay mounts the kernel's overlayfs with all its directories in dir, an empty directory,
// changes files in it, and leaves dir empty. It does so with the caller's id alone, or with all the
// ids that a container has. With an error, there is not even a user namespace.
func Overlay(dir string, single bool) (Result, error) { return one(single, "overlay", dir) }

// FUSE opens /dev/fuse and mounts it, as a container does. With an error, there is not even a user
// namespace.
func FUSE() (Result, error) { return one(true, "fuse") }

// one returns the last of the results of enter.
func one(single bool, check ...string) (Result, error) {
	results, err := enter(single, check...)
	if err == nil && len(results) == 0 {
		err = errors.New("nothing was checked in the new user namespace")
	}
	if err != nil {
		return Result{}, err
	}
	return results[len(results)-1], nil
}

// enter runs the checks that need a user namespace inside of one: those of a name, or all.
func enter(single bool, check ...string) ([]Result, error) {
	u := ns.UserNS{Args: append([]string{"tiffin", Command}, check...), SingleID: single}
	p, err := u.Start()
	if err != nil {
		return nil, err
	}
	defer p.Conn.Close()
	var m message
	err = p.Conn.Receive(&m)
	if errors.Is(err, io.EOF) {
		err = errors.New("the process in the new user namespace ended early")
	}
	if _, e := p.Wait(); err == nil {
		err = e
	}
	return m.Results, err
}

// message is what the process inside sends: package wire.
type message struct {
	NumFiles int `json:"files,omitempty"`
	Results  []Result
	files    []*os.File
}

func (m *message) Attached() (*int, *[]*os.File) { return &m.NumFiles, &m.files }

// Main makes the checks inside the user namespace. It never returns.
func Main() {
	conn, _, err := ns.Entered()
	if err == nil {
		var results []Result
		switch args := append(os.Args, "", "", "")[2:]; args[0] {
		case "overlay":
			results = []Result{overlay(args[1])}
		case "fuse":
			results = fuse()
		default:
			results = inside()
		}
		err = conn.Send(&message{Results: results})
	}
	if err != nil {
		os.Exit(1)
	}
	os.Exit(0)
}

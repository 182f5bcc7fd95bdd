// The life of a group: made, entered, frozen, removed.

package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Group is a container's control group.
type Group struct {
	Dir      string    // its directory, an absolute path; "" = not known yet
	Settings []Setting // its limits
	There    bool      // it is there: exec, which only enters it
}

// prefix begins the name of every group that is made here.
const prefix = "tiffin-"

// Name begins the name of a group of the container with an ID.
func Name(id string) string { return prefix + id }

// Calls is told of each kernel call with its error.
type Calls func(err error, format string, args ...any) error

// Make makes the group and sets its limits.
func (g *Group) Make(call Calls) error {
	if err := call(unix.Mkdir(g.Dir, 0o755), "mkdir(%q, 0755)", g.Dir); err != nil {
		return err
	}
	for _, s := range g.Settings {
		if err := g.set(call, s); err != nil {
			return err
		}
	}
	return nil
}

func (g *Group) set(call Calls, s Setting) error {
	err := write(g.Dir, s.File, s.Value)
	if errors.Is(err, unix.ENOENT) && s.Else != nil {
		s = *s.Else
		err = write(g.Dir, s.File, s.Value)
	}
	if errors.Is(err, unix.ENOENT) {
		if s.File == "memory.swap.max" && noSwap() {
			return nil // there is nothing to bound
		}
		return fmt.Errorf("this kernel has no %s", s.File)
	}
	return call(base(err), "write(%s, %q)", filepath.Join(g.Dir, s.File), s.Value)
}

// Change sets limits of a group that is there.
func (g *Group) Change() error {
	for _, s := range g.Settings {
		err := g.set(func(err error, _ string, _ ...any) error { return err }, s)
		if err != nil {
			return fmt.Errorf("set %s to %s: %w", s.File, s.Value, err)
		}
	}
	return nil
}

// Enter moves this process into the group: cgroups(7), "Creating cgroups and moving processes", 0
// is the writing process.
func (g *Group) Enter(call Calls) error {
	return call(base(write(g.Dir, "cgroup.procs", "0")), "write(%s/cgroup.procs, \"0\")", g.Dir)
}

// Move moves a process.
func Move(dir string, pid int) error { return write(dir, "cgroup.procs", fmt.Sprint(pid)) }

// base is the error of the kernel, without the path that os adds.
func base(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// freezeLimit is how long processes may take to stop: those that wait for a disk take as long as
// it.
const freezeLimit = 5 * time.Second

// Freeze stops all processes of a group, unseen by them, or lets them go on: cgroup-v2.rst,
// "cgroup.freeze".
func Freeze(dir string, frozen bool) error {
	value := map[bool]string{true: "1", false: "0"}[frozen]
	if err := write(dir, "cgroup.freeze", value); err != nil {
		return err
	}
	for end := time.Now().Add(freezeLimit); event(dir, "cgroup.events", "frozen") != value; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			_ = write(dir, "cgroup.freeze", "0")
			return fmt.Errorf("the processes in %s have not stopped within %v", dir, freezeLimit)
		}
	}
	return nil
}

// event is the value of a key in a file of flat keyed format, "" if it is not there.
func event(dir, file, key string) string {
	for line := range strings.Lines(read(filepath.Join(dir, file))) {
		if k, v, _ := strings.Cut(strings.TrimSpace(line), " "); k == key {
			return v
		}
	}
	return ""
}

// OOMKilled tells whether the kernel has killed a process of the group for want of memory:
// cgroup-v2.rst, "memory.events".
func OOMKilled(dir string) bool {
	n := event(dir, "memory.events", "oom_kill")
	return n != "" && n != "0"
}

// Remove removes a group that Name has named, and the groups that the container has made in it.
// What still runs there is killed: nothing outlives a container. That it is gone already is no
// error.
func Remove(dir string) error {
	if !strings.HasPrefix(filepath.Base(dir), prefix) || !onCgroup2(dir) {
		return nil
	}
	_ = write(dir, "cgroup.kill", "1") // since Linux 5.14; before that, only an end of all is waited for
	var err error
	for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if err = removeAll(dir); err == nil || !errors.Is(err, unix.EBUSY) {
			break
		}
	}
	return err
}

// removeAll removes the directories, the deepest first; the files go with them.
func removeAll(dir string) error {
	var dirs []string
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	for _, d := range slices.Backward(dirs) {
		if err := unix.Rmdir(d); err != nil && !errors.Is(err, unix.ENOENT) {
			return &os.PathError{Op: "rmdir", Path: d, Err: err}
		}
	}
	return nil
}

// Sweep removes from dir groups that were made and never entered, by a start that was killed in
// between.
func Sweep(dir string) {
	groups, _ := filepath.Glob(filepath.Join(dir, prefix+"*"))
	for _, g := range groups {
		fi, err := os.Stat(g)
		if err == nil && time.Since(fi.ModTime()) > time.Minute {
			_ = unix.Rmdir(g) // refused if anything is in it
		}
	}
}

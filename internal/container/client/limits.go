// Where the container's control group is going to be. Limits that nothing can hold are refused.

package client

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"

	"tiffin/internal/container/control"
	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
	"tiffin/ns"
	"tiffin/ns/cgroup"
)

// limit finds a place for the container's control group, if it is to have one. With
// disk.LimitsBestEffort, and no place, it falls back on limits of each process.
func (l *Launch) limit(c *disk.Container, req *control.Start) error {
	if old, err := c.ReadState(); err == nil && old.Cgroup != "" {
		_ = cgroup.Remove(old.Cgroup) // its supervisor was killed
	}
	if !c.WantsCgroup() {
		return nil
	}
	name, need := fmt.Sprintf("%s-%d", cgroup.Name(c.Short()), l.proc.Pid), c.Limits.Controllers()
	dir, err := groupFor(l.proc.Pid, name, need)
	if err == nil {
		req.Cgroup = filepath.Join(dir, name)
		return nil
	}
	if c.LimitsBy != disk.LimitsBestEffort {
		return cgroup.Missing(err, need, ns.UserName(uint32(os.Geteuid())))
	}
	return bestEffort(c.Limits, err, req)
}

// groupFor returns a group in which the supervisor pid may make the one called name: in a scope
// that systemd makes for it, or in what the user was given.
func groupFor(pid int, name string, need []string) (string, error) {
	socket, has := cgroup.Manager()
	if socket == "" {
		dir, err := cgroup.Delegated(need)
		if err != nil {
			return "", fmt.Errorf("no user manager of systemd runs for you, and %w", err)
		}
		cgroup.Sweep(dir)
		return dir, nil
	}
	if lacking := cgroup.Lacking(need, has); len(lacking) > 0 {
		return "", fmt.Errorf("systemd's manager for you was not given %s", strings.Join(lacking, ", "))
	}
	if err := startScope(socket, name+".scope", pid); err != nil {
		return "", fmt.Errorf("ask systemd for a scope: %w", err)
	}
	dir := cgroup.Of(pid)
	if filepath.Base(dir) != name+".scope" {
		return "", fmt.Errorf("systemd has made a scope, but process %d is in %s", pid, dir)
	}
	// The scope hands controllers down, so the supervisor must not be in it, but below it.
	own := filepath.Join(dir, "supervisor")
	if err := os.Mkdir(own, 0o755); err != nil {
		return "", err
	}
	if err := cgroup.Move(own, pid); err != nil {
		return "", err
	}
	return dir, cgroup.HandDown(dir, need)
}

// property is a pair of the types that StartTransientUnit takes.
type property struct {
	Name  string
	Value dbus.Variant
}

// startScope has systemd put the process pid into a new scope, and give the scope's control group
// away: org.freedesktop.systemd1(5), StartTransientUnit(); systemd.scope(5). socket is the
// manager's own, which systemctl(1) uses, too: no bus needs to run.
func startScope(socket, unit string, pid int) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := dbus.Dial("unix:path="+dbus.EscapeBusAddressValue(socket), dbus.WithContext(ctx))
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(os.Geteuid()))}); err != nil {
		return err
	}
	signals := make(chan *dbus.Signal, 64)
	conn.Signal(signals)
	properties := []property{
		{"Description", dbus.MakeVariant("container of tiffin")},
		{"PIDs", dbus.MakeVariant([]uint32{uint32(pid)})},
		{"Delegate", dbus.MakeVariant(true)},
		{"CollectMode", dbus.MakeVariant("inactive-or-failed")},
	}
	auxiliary := []struct {
		Name       string
		Properties []property
	}{}
	var job dbus.ObjectPath
	manager := conn.Object("org.freedesktop.systemd1", "/org/freedesktop/systemd1")
	err = manager.CallWithContext(ctx, "org.freedesktop.systemd1.Manager.StartTransientUnit", 0, unit, "fail", properties, auxiliary).Store(&job)
	for err == nil {
		select {
		case s, ok := <-signals: // JobRemoved: number, job, unit, result
			if !ok {
				return errors.New("it has hung up")
			}
			if s.Name != "org.freedesktop.systemd1.Manager.JobRemoved" || len(s.Body) < 4 || s.Body[1] != job {
				continue
			}
			if s.Body[3] != "done" {
				return fmt.Errorf("the job ended as %q", s.Body[3])
			}
			return nil
		case <-ctx.Done():
			err = errors.New("no answer within 10 s")
		}
	}
	return err
}

// bestEffort turns limits into what setrlimit(2) has. Each holds for a part of the container, so
// a note says which; what has no such form is refused.
func bestEffort(l cgroup.Limits, why error, req *control.Start) error {
	limit := func(flag, name string, n int64, what string) {
		if n > 0 {
			req.Rlimits = append(req.Rlimits, ns.Rlimit{Name: name, Soft: uint64(n), Hard: uint64(n)})
			req.Notes = append(req.Notes, ns.Note{What: flag + ", as far as it goes without a control group", Why: what})
		}
	}
	limit("--memory", "data", l.Memory, "RLIMIT_DATA bounds what each process alone sets aside, used or not, and counts no shared memory and no files in memory")
	limit("--pids-limit", "nproc", l.Pids, "RLIMIT_NPROC bounds the processes and threads of each user of the container; before Linux 5.14, of yours on the whole machine")
	if l.MemorySwap > 0 {
		req.Notes = append(req.Notes, ns.Note{What: "--memory-swap, as far as it goes without a control group", Why: "no limit of a process counts swap"})
	}
	l.Memory, l.Pids, l.MemorySwap = 0, 0, 0
	if rest := l.Controllers(); len(rest) > 0 {
		return errs.Hint(fmt.Errorf("no control group: %w; and no limit of a process stands in for %s", why, strings.Join(rest, ", ")),
			"--limits best-effort has --memory and --pids-limit alone")
	}
	return nil
}

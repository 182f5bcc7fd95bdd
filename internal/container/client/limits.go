// Where the container's control group is going to be. Limits that nothing can hold are refused.

package client

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
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

// setAside is what the runtime of Go sets aside when it starts, in bytes, and never uses: with a
// limit of less than that, no program in Go comes up.
const setAside = 80 << 20

// bestEffort turns limits into what a process may set for itself and what it starts. Each holds for
// a part of what was asked for, so a note says which; what has no such form is refused.
func bestEffort(l cgroup.Limits, why error, req *control.Start) error {
	b := &req.Bounds
	note := func(flag, format string, args ...any) {
		req.Notes = append(req.Notes, ns.Note{What: flag + ", as far as it goes without a control group", Why: fmt.Sprintf(format, args...)})
	}
	limit := func(name string, n int64) {
		b.Rlimits = append(b.Rlimits, ns.Rlimit{Name: name, Soft: uint64(n), Hard: uint64(n)})
	}
	if l.Memory > 0 {
		limit("data", l.Memory+setAside)
		note("--memory", "RLIMIT_DATA bounds what each process alone sets aside, used or not, and counts no shared memory and no files in memory; it is %d MiB more, which programs in Go set aside at their start", setAside>>20)
	}
	if l.MemorySwap > 0 {
		note("--memory-swap", "no limit of a process counts swap")
	}
	if l.Pids > 0 {
		limit("nproc", l.Pids)
		note("--pids-limit", "RLIMIT_NPROC bounds the processes and threads of each user of the container; before Linux 5.14, of yours on the whole machine")
	}
	if l.NanoCPUs > 0 || l.Cpuset != "" {
		cpus, err := l.CPUs()
		if err != nil {
			return err
		}
		if n := int((l.NanoCPUs + 1e9 - 1) / 1e9); n > 0 && n < len(cpus) {
			first := rand.IntN(len(cpus)) // not all containers on the same
			cpus = append(cpus[first:], cpus[:first]...)[:n]
			slices.Sort(cpus)
		}
		b.CPUs = cpus
		note("--cpus and --cpuset-cpus", "the processes run on %d of the CPUs, sched_setaffinity(2), each of which they may use up; a process can take that back", len(cpus))
	}
	if l.CPUShares > 0 {
		// sched(7), "The nice value": a step is a factor of 1.25.
		b.Nice = min(max(int(math.Round(math.Log(1024/float64(l.CPUShares))/math.Log(1.25))), 0), 19)
		note("--cpu-shares", "the nice value is %d more, setpriority(2), which counts for each process, and with autogroups only within the container, sched(7); above 1024 shares nothing can be done", b.Nice)
	}
	if l.BlkioWeight > 0 {
		level := 7 - int(l.BlkioWeight)*7/1000
		b.IOPriority = 2<<13 | level // IOPRIO_CLASS_BE, ioprio_set(2)
		note("--blkio-weight", "the priority is %d of 0 to 7, ioprio_set(2), which only some schedulers of disks look at", level)
	}
	rest := cgroup.Limits{MemoryReservation: l.MemoryReservation}
	if need := rest.Controllers(); len(need) > 0 {
		return errs.Hint(fmt.Errorf("no control group: %w; and nothing that a process can set stands in for --memory-reservation", why), "leave it out")
	}
	return nil
}

// What a container uses, and a change of what it may use.

package client

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
	"tiffin/ns/cgroup"
)

// Usage is what a container has used up to a moment.
type Usage struct {
	cgroup.Usage
	At            time.Time
	Grouped       bool   // a control group has counted; else processes were added up
	NetIn, NetOut uint64 // bytes, by the container's own interfaces but lo
}

// Measure reads what a container uses. Without a control group that is the sum over its living
// processes: memory that they share is counted for each, and disks are not counted. all are the
// processes of this moment.
func Measure(c *disk.Container, all disk.Processes) (Usage, error) {
	s, err := c.State()
	if err != nil {
		return Usage{}, err
	}
	if s.Status != disk.Running {
		return Usage{}, fmt.Errorf("container %s %w", c.Name, ErrNotRunning)
	}
	u := Usage{At: time.Now(), Grouped: s.Cgroup != ""}
	if u.Grouped {
		u.Usage = cgroup.UsageOf(s.Cgroup)
	}
	var sum cgroup.Usage // for what no controller has counted
	for _, p := range c.ProcessesIn(all, s) {
		sum.CPU += p.CPU
		sum.Memory += p.RSS
		sum.Pids += p.Threads
	}
	u.CPU, u.Memory, u.Pids = cmp.Or(u.CPU, sum.CPU), cmp.Or(u.Memory, sum.Memory), cmp.Or(u.Pids, sum.Pids)
	var machine unix.Sysinfo_t
	if unix.Sysinfo(&machine) == nil { // a limit beyond what there is says nothing
		if total := uint64(machine.Totalram) * uint64(machine.Unit); u.MemoryLimit == 0 || u.MemoryLimit > total {
			u.MemoryLimit = total
		}
	}
	if c.Network != "host" {
		u.NetIn, u.NetOut = traffic(s.Pid)
	}
	return u, nil
}

// traffic adds up the bytes of the network interfaces that a process has, but lo: proc(5),
// /proc/net/dev.
func traffic(pid int) (in, out uint64) {
	text, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/net/dev")
	for line := range strings.Lines(string(text)) {
		name, counters, ok := strings.Cut(line, ":")
		f := strings.Fields(counters)
		if !ok || strings.TrimSpace(name) == "lo" || len(f) < 9 {
			continue
		}
		received, _ := strconv.ParseUint(f[0], 10, 64)
		sent, _ := strconv.ParseUint(f[8], 10, 64)
		in, out = in+received, out+sent
	}
	return in, out
}

// Update changes what a container may use: at once if it runs, and for its next start.
func Update(c *disk.Container, l cgroup.Limits) error {
	s, err := c.State()
	if err != nil {
		return err
	}
	if s.Status == disk.Running {
		if s.Cgroup == "" {
			return errs.Hint(fmt.Errorf("container %s runs without a control group", c.Name), "stop it, change it, and start it again")
		}
		err := cgroup.HandDown(filepath.Dir(s.Cgroup), l.Controllers())
		if err == nil {
			err = (&cgroup.Group{Dir: s.Cgroup, Settings: l.Settings()}).Change()
		}
		if err != nil {
			return fmt.Errorf("update container %s: %w", c.Name, err)
		}
	}
	return c.SetLimits(l.Bounding())
}

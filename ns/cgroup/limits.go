// Package cgroup bounds what all processes of a container use together, by control groups version
// 2: cgroups(7), and the kernel's Documentation/admin-guide/cgroup-v2.rst, "Interface Files".
//
// A control group is a directory; its limits are files in it; a process is in it once its number
// was written to cgroup.procs. Whoever is not root may make groups where the administrator, or
// systemd, has delegated a part of the tree to them. Three rules of the kernel shape what
// is here:
//
//   - No internal processes: a group that hands controllers down to its children, by
//     cgroup.subtree_control, has no processes of its own. So the supervisor and the container are
//     beside each other in groups of their own.
//   - Delegation containment: a process can be moved if its mover may write to cgroup.procs of the
//     closest group that is above both where it is and where it goes.
//   - A group can be removed when no living process and no group is in it.
//
// limits.go has the numbers, find.go where groups may be made, group.go a group's life, and
// usage.go what it counts. Nothing here speaks to systemd.
package cgroup

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"tiffin/internal/errs"
)

// Limits are what docker-run(1) calls --memory and so on. Zero means that it was not given.
type Limits struct {
	Memory            int64  `json:"memory,omitempty"`            // bytes; -1 = no limit
	MemorySwap        int64  `json:"memorySwap,omitempty"`        // bytes of memory and swap together; -1 = swap without limit
	MemoryReservation int64  `json:"memoryReservation,omitempty"` // bytes that are taken away last; -1 = none
	NanoCPUs          int64  `json:"nanoCPUs,omitempty"`          // billionths of a CPU; -1 = no limit
	CPUShares         int64  `json:"cpuShares,omitempty"`         // 2–262144, 1024 is usual
	Cpuset            string `json:"cpuset,omitempty"`            // "0-2,5": cpuset(7), "List format"
	Pids              int64  `json:"pids,omitempty"`              // processes and threads; -1 = no limit
	BlkioWeight       int64  `json:"blkioWeight,omitempty"`       // 10–1000; -1 = the usual share
}

// Setting is a file of a control group and what is written to it.
type Setting struct {
	File, Value string
	// Else is for kernels that lack the file.
	Else *Setting `json:",omitempty"`
}

// Controller is the part of the kernel that has the file: its name up to the first dot.
func (s Setting) Controller() string {
	name, _, _ := strings.Cut(s.File, ".")
	return name
}

// period is the length of time that cpu.max divides, in microseconds: the kernel's default.
const period = 100_000

// Settings are the files that hold the limits. The numbers of docker are those of version 1; how
// they become those of version 2 is crun(1), "CGROUP v2", and for the CPU's share as runc does
// since 1.3.2.
func (l Limits) Settings() (all []Setting) {
	set := func(file, value string) { all = append(all, Setting{File: file, Value: value}) }
	bytes := func(file string, n int64, none string) {
		if n > 0 {
			none = strconv.FormatInt(n, 10)
		}
		if n != 0 {
			set(file, none)
		}
	}
	bytes("memory.max", l.Memory, "max")
	bytes("memory.low", l.MemoryReservation, "0")
	switch {
	case l.MemorySwap < 0, l.Memory < 0:
		set("memory.swap.max", "max")
	case l.MemorySwap > 0: // in version 2 the two are counted apart
		set("memory.swap.max", strconv.FormatInt(l.MemorySwap-l.Memory, 10))
	case l.Memory > 0: // docker-run(1), --memory-swap: as much swap as memory
		set("memory.swap.max", strconv.FormatInt(l.Memory, 10))
	}
	if l.NanoCPUs < 0 {
		set("cpu.max", "max")
	} else if l.NanoCPUs > 0 {
		set("cpu.max", fmt.Sprintf("%d %d", max(l.NanoCPUs*period/1e9, 1000), period))
	}
	if l.CPUShares > 0 {
		set("cpu.weight", strconv.FormatInt(weightOfShares(l.CPUShares), 10))
	}
	if l.Cpuset != "" {
		set("cpuset.cpus", l.Cpuset)
	}
	bytes("pids.max", l.Pids, "max")
	if l.BlkioWeight < 0 {
		all = append(all, Setting{"io.weight", "default 100", &Setting{File: "io.bfq.weight", Value: "100"}})
	} else if l.BlkioWeight > 0 {
		// From 10–1000 to 1–10000. The scheduler BFQ has a file of its own, with docker's range.
		all = append(all, Setting{"io.weight", strconv.FormatInt(1+(l.BlkioWeight-10)*9999/990, 10),
			&Setting{File: "io.bfq.weight", Value: strconv.FormatInt(l.BlkioWeight, 10)}})
	}
	return all
}

// weightOfShares is cpu.weight, 1–10000, for CPU shares: a curve on which the least, the usual
// and the greatest value of both lie, 2 and 1, 1024 and 100, 262144 and 10000.
func weightOfShares(shares int64) int64 {
	switch {
	case shares <= 2:
		return 1
	case shares >= 262144:
		return 10000
	}
	l := math.Log2(float64(shares))
	return int64(math.Ceil(math.Pow(10, (l*l+125*l)/612-7.0/34)))
}

// Bounding returns the limits without each -1, no limit: a new group has none.
func (l Limits) Bounding() Limits {
	l.Memory, l.MemoryReservation, l.Pids = max(l.Memory, 0), max(l.MemoryReservation, 0), max(l.Pids, 0)
	l.NanoCPUs, l.BlkioWeight = max(l.NanoCPUs, 0), max(l.BlkioWeight, 0)
	if l.Memory == 0 {
		l.MemorySwap = 0
	}
	return l
}

// Controllers are those that the limits need, sorted.
func (l Limits) Controllers() (names []string) {
	for _, s := range l.Settings() {
		names = append(names, s.Controller())
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// leastMemory is docker's: with less, no command starts.
const leastMemory = 6 << 20

// Check says what docker would object to.
func (l Limits) Check() error {
	cpus := runtime.NumCPU()
	switch {
	case l.Memory < -1 || l.MemorySwap < -1 || l.MemoryReservation < -1:
		return fmt.Errorf("a limit of memory is negative or too large")
	case l.Memory > 0 && l.Memory < leastMemory:
		return fmt.Errorf("--memory: the least limit is 6m, not %d bytes", l.Memory)
	case l.MemorySwap > 0 && l.Memory <= 0:
		return errs.Hint(fmt.Errorf("--memory-swap without --memory"), "it is memory and swap together: give --memory, too")
	case l.MemorySwap > 0 && l.MemorySwap < l.Memory:
		return errs.Hint(fmt.Errorf("--memory-swap is below --memory"), "it is memory and swap together")
	case l.Memory > 0 && l.MemoryReservation > l.Memory:
		return fmt.Errorf("--memory-reservation is above --memory")
	case l.NanoCPUs != 0 && (l.NanoCPUs < 1e7 || l.NanoCPUs > int64(cpus)*1e9):
		return fmt.Errorf("--cpus: the range is from 0.01 to %d.00, as there are %d CPUs", cpus, cpus)
	case l.CPUShares < 0:
		return fmt.Errorf("--cpu-shares %d is negative", l.CPUShares)
	case l.Pids < -1:
		return fmt.Errorf("--pids-limit %d: -1 is no limit", l.Pids)
	case l.BlkioWeight != 0 && (l.BlkioWeight < 10 || l.BlkioWeight > 1000):
		return fmt.Errorf("--blkio-weight %d: the range is from 10 to 1000", l.BlkioWeight)
	}
	_, err := l.CPUs()
	return err
}

// CPUs are those that processes with these limits may use, of those that this process may.
func (l Limits) CPUs() (cpus []int, err error) {
	var mine unix.CPUSet
	if err := unix.SchedGetaffinity(0, &mine); err != nil {
		return nil, fmt.Errorf("--cpuset-cpus: %w", err)
	}
	list := l.Cpuset
	if list == "" {
		for n := range len(mine) * 64 {
			if mine.IsSet(n) {
				cpus = append(cpus, n)
			}
		}
		return cpus, nil
	}
	for part := range strings.SplitSeq(list, ",") {
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		a, err1 := strconv.ParseUint(from, 10, 16)
		b, err2 := strconv.ParseUint(to, 10, 16)
		if err1 != nil || err2 != nil || a > b {
			return nil, errs.Hint(fmt.Errorf("--cpuset-cpus %s: it is no list of CPUs", list), "such as 0-2,5")
		}
		for n := a; n <= b; n++ {
			if !mine.IsSet(int(n)) {
				return nil, fmt.Errorf("--cpuset-cpus %s: CPU %d is not available", list, n)
			}
			cpus = append(cpus, int(n))
		}
	}
	return cpus, nil
}

// noSwap tells whether this machine swaps to nothing, so that swap need not be bounded: proc(5),
// /proc/swaps.
func noSwap() bool {
	text, err := os.ReadFile("/proc/swaps")
	return err != nil || strings.Count(string(text), "\n") <= 1
}

// What a group has used.

package cgroup

import (
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Usage is what a container uses, or has used since it was started.
type Usage struct {
	CPU         time.Duration // of all CPUs together
	Memory      uint64        // bytes
	MemoryLimit uint64        // bytes; 0 = none
	Read, Write uint64        // bytes from and to disks
	Pids        uint64        // processes and threads
	PidsLimit   uint64        // 0 = none
}

// UsageOf reads the counters of a group. What no controller counts is 0. Memory is without pages of
// files that were not used lately, as docker has it, since the kernel can take these back at once.
func UsageOf(dir string) Usage {
	number := func(file string) uint64 { // "max" is 0
		n, _ := strconv.ParseUint(read(filepath.Join(dir, file)), 10, 64)
		return n
	}
	key := func(file, key string) uint64 {
		n, _ := strconv.ParseUint(event(dir, file, key), 10, 64)
		return n
	}
	u := Usage{
		CPU:    time.Duration(key("cpu.stat", "usage_usec")) * time.Microsecond,
		Memory: number("memory.current"), MemoryLimit: number("memory.max"),
		Pids: number("pids.current"), PidsLimit: number("pids.max"),
	}
	u.Memory -= min(u.Memory, key("memory.stat", "inactive_file"))
	// A line for each device: "8:0 rbytes=1 wbytes=2 …".
	for field := range strings.FieldsSeq(read(filepath.Join(dir, "io.stat"))) {
		name, value, _ := strings.Cut(field, "=")
		n, _ := strconv.ParseUint(value, 10, 64)
		switch name {
		case "rbytes":
			u.Read += n
		case "wbytes":
			u.Write += n
		}
	}
	return u
}

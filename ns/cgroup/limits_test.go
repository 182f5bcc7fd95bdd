package cgroup

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// TestSettings has docker's numbers and what docker with runc 1.4 writes for them.
func TestSettings(t *testing.T) {
	const m = 1 << 20
	for _, c := range []struct {
		l    Limits
		want string
	}{
		{Limits{}, ""},
		{Limits{Memory: 64 * m}, "memory.max=67108864 memory.swap.max=67108864"},
		{Limits{Memory: 64 * m, MemorySwap: 64 * m}, "memory.max=67108864 memory.swap.max=0"},
		{Limits{Memory: 64 * m, MemorySwap: 96 * m}, "memory.max=67108864 memory.swap.max=33554432"},
		{Limits{Memory: 64 * m, MemorySwap: -1}, "memory.max=67108864 memory.swap.max=max"},
		{Limits{Memory: -1}, "memory.max=max memory.swap.max=max"},
		{Limits{MemoryReservation: 32 * m}, "memory.low=33554432"},
		{Limits{NanoCPUs: 15e8}, "cpu.max=150000 100000"},
		{Limits{NanoCPUs: 1e7}, "cpu.max=1000 100000"},
		{Limits{CPUShares: 1}, "cpu.weight=1"},
		{Limits{CPUShares: 2}, "cpu.weight=1"},
		{Limits{CPUShares: 1024}, "cpu.weight=100"},
		{Limits{CPUShares: 2000}, "cpu.weight=170"},
		{Limits{CPUShares: 262144}, "cpu.weight=10000"},
		{Limits{CPUShares: 1 << 40}, "cpu.weight=10000"},
		{Limits{Cpuset: "0-1"}, "cpuset.cpus=0-1"},
		{Limits{NanoCPUs: -1}, "cpu.max=max"},
		{Limits{BlkioWeight: -1}, "io.weight=default 100|io.bfq.weight=100"},
		{Limits{Pids: 100}, "pids.max=100"},
		{Limits{Pids: -1}, "pids.max=max"},
		{Limits{BlkioWeight: 10}, "io.weight=1|io.bfq.weight=10"},
		{Limits{BlkioWeight: 1000}, "io.weight=10000|io.bfq.weight=1000"},
	} {
		var got []string
		for _, s := range c.l.Settings() {
			text := s.File + "=" + s.Value
			if s.Else != nil {
				text += "|" + s.Else.File + "=" + s.Else.Value
			}
			got = append(got, text)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%+v: %q, want %q", c.l, got, c.want)
		}
	}
	all := Limits{Memory: m, NanoCPUs: 1, Cpuset: "0", Pids: 1, BlkioWeight: 10}.Controllers()
	if fmt.Sprint(all) != "[cpu cpuset io memory pids]" {
		t.Error(all)
	}
}

func TestCheck(t *testing.T) {
	const m = 1 << 20
	none := fmt.Sprint(runtime.NumCPU() + 4096)
	for _, c := range []struct {
		l    Limits
		want string // in the error, "" = it is right
	}{
		{Limits{}, ""},
		{Limits{Memory: 6 * m, MemorySwap: 6 * m, MemoryReservation: 6 * m, NanoCPUs: 1e7, CPUShares: 2, Cpuset: "", Pids: -1, BlkioWeight: 10}, ""},
		{Limits{Memory: -1, MemorySwap: -1}, ""},
		{Limits{Memory: m}, "least"},
		{Limits{Memory: -2}, "negative"},
		{Limits{MemorySwap: m}, "without --memory"},
		{Limits{Memory: 64 * m, MemorySwap: 32 * m}, "below"},
		{Limits{Memory: 64 * m, MemoryReservation: 65 * m}, "above"},
		{Limits{NanoCPUs: 1e6}, "0.01"},
		{Limits{NanoCPUs: -1}, "0.01"},
		{Limits{NanoCPUs: int64(runtime.NumCPU())*1e9 + 1}, "range"},
		{Limits{CPUShares: -1}, "negative"},
		{Limits{Pids: -2}, "no limit"},
		{Limits{BlkioWeight: 9}, "1000"},
		{Limits{BlkioWeight: 1001}, "1000"},
		{Limits{Cpuset: none}, "not available"},
		{Limits{Cpuset: "x"}, "no list"},
		{Limits{Cpuset: "1-0"}, "no list"},
		{Limits{Cpuset: "0,"}, "no list"},
		{Limits{Cpuset: "99999999999999999999"}, "no list"},
	} {
		err := c.l.Check()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.l, err, c.want)
		}
	}
}

package cgroup

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestUsageOf reads files as the kernel writes them.
func TestUsageOf(t *testing.T) {
	dir := t.TempDir()
	if got := UsageOf(dir); got != (Usage{}) || OOMKilled(dir) {
		t.Errorf("no file: %+v", got)
	}
	for name, text := range map[string]string{
		"cpu.stat":       "usage_usec 1500000\nuser_usec 1000000\nsystem_usec 500000\n",
		"memory.current": "1048576\n", "memory.max": "max\n",
		"memory.stat":   "anon 5\ninactive_file 48576\nactive_file 7\n",
		"memory.events": "low 0\nhigh 0\nmax 3\noom 1\noom_kill 1\noom_group_kill 0\n",
		"pids.current":  "7\n", "pids.max": "100\n",
		"io.stat": "8:16 rbytes=100 wbytes=20 rios=1 wios=1 dbytes=0 dios=0\n8:0 rbytes=1 wbytes=2 rios=1 wios=1 dbytes=0 dios=0\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := Usage{CPU: 1500 * time.Millisecond, Memory: 1000000, Read: 101, Write: 22, Pids: 7, PidsLimit: 100}
	if got := UsageOf(dir); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if !OOMKilled(dir) {
		t.Error("oom_kill 1 is not seen")
	}
}

// TestRemoveTakesOnlyGroups: what is not a control group of a container stays, whatever a state
// file says.
func TestRemoveTakesOnlyGroups(t *testing.T) {
	dir := filepath.Join(t.TempDir(), Name("x"))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, "/sys/fs/cgroup", "/"} {
		if err := Remove(path); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(dir); err != nil {
		t.Error(err)
	}
}

package disk

import (
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/internal/test/reexec"
)

// init keeps main, and so a part of this binary, in the first thread.
func init() { runtime.LockOSThread() }

// firstThreadEnds is a process whose first thread ends, and another goes on: _exit(2), NOTES.
func firstThreadEnds() {
	go func() { time.Sleep(time.Hour) }()
	_, _, _ = unix.Syscall(unix.SYS_EXIT, 0, 0, 0)
}

func TestAProcessEndsWithItsLastThread(t *testing.T) {
	cmd := reexec.Command("first thread ends")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	until := func(what string, is func() bool) {
		t.Helper()
		for end := time.Now().Add(time.Minute); !is(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal(what)
			}
		}
	}
	until("its first thread has not ended", func() bool { return statFields(cmd.Process.Pid)(9)&0x4 != 0 })
	if Ending(cmd.Process.Pid) {
		t.Error("it is said to end with its first thread")
	}
	_ = cmd.Process.Kill()
	until("it is not said to end", func() bool { return Ending(cmd.Process.Pid) })
	_ = cmd.Wait()
	if !Ending(cmd.Process.Pid) {
		t.Error("it is not said to be gone")
	}
}

func TestDescendantsAreFound(t *testing.T) {
	cmd := exec.Command("sh", "-c", "sleep 1000 & wait")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var all []Process
	asleep := func() bool { return len(all) == 2 && all[1].Name == "sleep" && all[1].State == 'S' }
	for end := time.Now().Add(time.Minute); !asleep() && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		all = Descendants(os.Getpid())
	}
	if len(all) != 2 || all[0].Pid != cmd.Process.Pid || all[1].Parent != all[0].Pid || all[0].Parent != os.Getpid() {
		t.Fatalf("%+v", all)
	}
	p := all[1]
	if p.Name != "sleep" || len(p.Args) != 2 || p.Args[1] != "1000" || p.State != 'S' || p.Threads != 1 ||
		p.UID != uint32(os.Geteuid()) || p.RSS == 0 || p.Size < p.RSS || len(p.Numbers) != Depth(os.Getpid()) {
		t.Errorf("%+v", p)
	}
	if got := uint64(p.Started * ticks / time.Second); got != StartTime(p.Pid) {
		t.Errorf("started at %d, not %d", got, StartTime(p.Pid))
	}
	for _, p := range all {
		KillStale(p.Pid, StartTime(p.Pid))
	}
	_ = cmd.Wait()
	if Depth(-1) != 0 || StartTime(-1) != 0 {
		t.Error("a process that is not there has been found")
	}
}

// Holding a container with the kernel's overlayfs still. tiffin's own file system holds back
// requests; overlayfs sends none, so the processes are stopped, as by Ctrl-Z at a terminal. (The
// freezer of a control group would do it unseen, but needs a delegated group: cgroups(7).)

package supervisor

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// pauseLimit is how long to wait for processes to stop. One that waits for a disk or a network
// file system stops when that has answered.
const pauseLimit = 5 * time.Second

// pause stops all processes of the container until resume is called.
func (s *supervisor) pause() (resume func()) {
	s.paused.Lock() // no further ones by `tiffin exec`, and no `tiffin cp` under way
	before := map[int]bool{}
	for _, p := range s.descendants() {
		if p.stopped() {
			before[p.pid] = true // stopped by another process: it must stay so
		}
	}
	// kill(2), pid -1: all in this pid namespace but its process 1, which is the supervisor. None
	// can be missed: a fork(2) fails and is begun again while a signal is pending.
	_ = unix.Kill(-1, unix.SIGSTOP)
	for end := time.Now().Add(pauseLimit); time.Now().Before(end) && !allStopped(s.descendants()); {
		time.Sleep(time.Millisecond)
	}
	return func() {
		for _, p := range s.descendants() {
			if !before[p.pid] {
				_ = unix.Kill(p.pid, unix.SIGCONT)
			}
		}
		s.paused.Unlock()
	}
}

// process has some fields of /proc/pid/stat, proc(5).
type process struct {
	pid   int  // in the supervisor's pid namespace
	state byte // field 3
}

func (p process) stopped() bool { return p.state == 'T' || p.state == 't' }

func allStopped(ps []process) bool {
	for _, p := range ps {
		if !p.stopped() && p.state != 'Z' && p.state != 'X' {
			return false
		}
	}
	return true
}

// descendants lists the processes of the supervisor's pid namespace but itself. The /proc that is
// mounted is the host's: "NSpid" in /proc/pid/status, proc(5), has a process's number in each
// namespace from that one down.
func (s *supervisor) descendants() []process {
	me, parent, status := strconv.Itoa(s.hostPid()), map[string]string{}, map[string]map[string]string{}
	files, _ := filepath.Glob("/proc/[0-9]*/status")
	for _, file := range files {
		pid := filepath.Base(filepath.Dir(file))
		if f := readStatus(file); f["PPid"] != "" {
			parent[pid], status[pid] = f["PPid"], f
		}
	}
	depth := len(strings.Fields(status[me]["NSpid"]))
	var out []process
	for pid, f := range status {
		above := parent[pid]
		for above != me && above != "" {
			above = parent[above]
		}
		numbers := strings.Fields(f["NSpid"])
		if above != me || len(numbers) < depth || f["State"] == "" {
			continue
		}
		n, err := strconv.Atoi(numbers[depth-1])
		if err == nil {
			out = append(out, process{n, f["State"][0]})
		}
	}
	return out
}

// hostPid is the supervisor's number on the host.
func (s *supervisor) hostPid() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.Supervisor
}

// readStatus reads a file in the form of /proc/pid/status, proc(5).
func readStatus(file string) map[string]string {
	text, _ := os.ReadFile(file)
	f := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok {
			f[name] = strings.TrimSpace(value)
		}
	}
	return f
}

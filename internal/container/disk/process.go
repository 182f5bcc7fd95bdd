// Processes on this machine: one is recognised by its number and the time of its start, because
// numbers are used again; those of a container are listed, with what top(1) and ps(1) show of them.

package disk

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Process is what /proc/pid/status and /proc/pid/stat say, proc(5).
type Process struct {
	Pid, Parent int    // as the host numbers them
	Numbers     []int  // the process's in each pid namespace from the host's down
	State       byte   // 'R', 'S', …, 'T' = stopped
	UID         uint32 // effective user id on the host
	Threads     uint64
	CPU         time.Duration // used since its start, all threads together
	Started     time.Duration // since boot
	TTY         uint32        // device number, 0 = none
	Size, RSS   uint64        // bytes: of the address space, and of it in memory
	Name        string        // of the program, 15 bytes at most: strangers chose it
	Args        []string      // likewise; nil if it has none, or is a zombie
}

// Processes lists the processes of a container that runs, by number.
func (c *Container) Processes(s State) []Process { return c.ProcessesIn(ReadProcesses(), s) }

// ProcessesIn is Processes, found among those that were there at one moment.
func (c *Container) ProcessesIn(all Processes, s State) []Process {
	depth := Depth(s.Pid)
	return slices.DeleteFunc(all.below(s.Supervisor), func(p Process) bool {
		return depth == 0 || len(p.Numbers) < depth // a helper of the supervisor's
	})
}

// Depth is how many pid namespaces a process is in, the host's included; 0 if there is no such
// process.
func Depth(pid int) int { return len(readStatus(pid).numbers()) }

// Descendants lists the processes below the process pid, by number.
func Descendants(pid int) []Process { return ReadProcesses().below(pid) }

// Processes are all processes of the machine at one moment.
type Processes struct {
	status   map[int]status
	children map[int][]int
}

// ReadProcesses looks at all of them: some 20 µs for each. Who asks about many containers does it
// once.
func ReadProcesses() Processes {
	all := Processes{map[int]status{}, map[int][]int{}}
	files, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range files {
		n, _ := strconv.Atoi(filepath.Base(dir))
		if s := readStatus(n); s != nil {
			all.status[n] = s
			all.children[s.number("PPid")] = append(all.children[s.number("PPid")], n)
		}
	}
	return all
}

// below lists the processes below the process pid, by number.
func (all Processes) below(pid int) (list []Process) {
	// A number that was given anew meanwhile could close a circle.
	for todo := slices.Clone(all.children[pid]); len(todo) > 0 && len(list) < len(all.status); todo = todo[1:] {
		list = append(list, all.status[todo[0]].process(todo[0]))
		todo = append(todo, all.children[todo[0]]...)
	}
	slices.SortFunc(list, func(a, b Process) int { return a.Pid - b.Pid })
	return list
}

// status is /proc/pid/status; nil if there is no such process.
type status map[string]string

func readStatus(pid int) (s status) {
	text, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok {
			if s == nil {
				s = status{}
			}
			s[name] = strings.TrimSpace(value)
		}
	}
	return s
}

func (s status) number(name string) int {
	n, _ := strconv.Atoi(s[name])
	return n
}

// numbers are those of "NSpid".
func (s status) numbers() (all []int) {
	for f := range strings.FieldsSeq(s["NSpid"]) {
		n, _ := strconv.Atoi(f)
		all = append(all, n)
	}
	return all
}

// ticks is how many clock ticks a second has for user space: sysconf(3), _SC_CLK_TCK.
const ticks = 100

func (s status) process(pid int) Process {
	p := Process{Pid: pid, Parent: s.number("PPid"), Numbers: s.numbers(), Name: s["Name"], State: (s["State"] + "?")[0]}
	if ids := strings.Fields(s["Uid"]); len(ids) == 4 { // real, effective, saved, file system
		n, _ := strconv.ParseUint(ids[1], 10, 32)
		p.UID = uint32(n)
	}
	f := statFields(pid)
	duration := func(n uint64) time.Duration { return time.Duration(n) * time.Second / ticks }
	p.CPU, p.Started = duration(f(14)+f(15)), duration(f(22))
	p.TTY, p.Threads, p.Size, p.RSS = uint32(f(7)), f(20), f(23), f(24)*uint64(os.Getpagesize())
	if b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline"); err == nil && len(b) > 0 {
		p.Args = strings.Split(strings.TrimRight(string(b), "\x00"), "\x00")
	}
	return p
}

// statFields gives access to the numbers in /proc/pid/stat, by proc(5)'s count; all are 0 if
// there is no such process.
func statFields(pid int) func(n int) uint64 { return statOf("/proc/" + strconv.Itoa(pid)) }

// statOf is statFields of a directory of /proc: that of a process, or of a thread.
func statOf(dir string) func(n int) uint64 {
	b, _ := os.ReadFile(dir + "/stat")
	// Field 2 is the name in parentheses and may contain anything, so count from the last one.
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	return func(n int) uint64 {
		if n-3 >= len(f) {
			return 0
		}
		v, _ := strconv.ParseUint(f[n-3], 10, 64)
		return v
	}
}

// StartTime is when process pid was started, in clock ticks since boot, or 0
// if there is no such process. pid is a number of the /proc that is mounted.
func StartTime(pid int) uint64 { return statFields(pid)(22) }

// Ending tells whether process pid has begun to end, or is gone: all of its threads have, since the
// first may end alone, pthread_exit(3). Process 1 of a pid namespace has begun to before it takes
// the others along: pid_namespaces(7).
func Ending(pid int) bool {
	const exiting = 0x4 // PF_EXITING, see proc(5), /proc/pid/stat, flags
	threads, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*")
	return !slices.ContainsFunc(threads, func(dir string) bool {
		field := statOf(dir)
		return field(22) != 0 && field(9)&exiting == 0
	})
}

// KillStale ends process pid if it is still the one that started at start.
func KillStale(pid int, start uint64) {
	if pid <= 0 || start == 0 {
		return
	}
	// The descriptor names one process for good: look first, then check.
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if StartTime(pid) == start {
		_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	}
}

package ns

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/internal/test/reexec"
)

// facts is what a process inside a container finds out about itself.
type facts struct {
	Status     map[string]string // /proc/self/status
	Mounts     string
	Dev        map[string]string // name → type and number, or link target
	Writable   map[string]bool   // can these paths be written?
	FDs        []string
	NS         map[string]string
	Hostname   string
	Lo         string
	Interfaces []string
	Env        []string
	Cwd        string
	Umask      int
	Sid, Pid   int
	TTY        bool     // there is a controlling terminal
	Processes  []string // /proc/N
}

// execAgain executes itself again and again, each time from a thread that is not the first, with
// many others to be ended before: see whileLiving.
func execAgain() int {
	_ = os.WriteFile("/tmp/ready", nil, 0o644)
	for range 200 {
		go func() {
			runtime.LockOSThread()
			_ = unix.Pause()
		}()
	}
	time.Sleep(5 * time.Millisecond) // so that there are threads, and that a command can get in
	failed := make(chan error)
	for {
		go func() {
			runtime.LockOSThread()
			if unix.Gettid() == os.Getpid() {
				failed <- nil // and keep it, for the next to have another
				select {}
			}
			failed <- syscall.Exec("/bin/applet", []string{"applet", "applet", "exec-again"}, os.Environ())
		}()
		if err := <-failed; err != nil {
			fmt.Println(err)
			return 1
		}
	}
}

// applet is the command inside the container.
func applet(args []string) int {
	switch args[0] {
	case "true":
		return 0
	case "exit":
		n, _ := strconv.Atoi(args[1])
		return n
	case "suicide":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case "facts":
		_ = json.NewEncoder(os.Stdout).Encode(gather())
		return 0
	case "cat":
		for _, f := range args[1:] {
			text, err := os.ReadFile(f)
			if err != nil {
				fmt.Println(err)
				return 1
			}
			os.Stdout.Write(text)
		}
		return 0
	case "write":
		if err := os.WriteFile(args[1], []byte(args[2]), 0o644); err != nil {
			fmt.Println(err)
			return 1
		}
		return 0
	case "sleep":
		time.Sleep(time.Hour)
		return 0
	case "trap": // waits for a signal and tells which
		ch := make(chan os.Signal, 1)
		signal.Notify(ch, syscall.SIGTERM, syscall.SIGHUP)
		_ = os.WriteFile("/tmp/ready", nil, 0o644)
		s := <-ch
		fmt.Println("got", s)
		return 7
	case "orphans":
		return orphans()
	case "orphan-parent":
		return orphanParent()
	case "orphan":
		return orphan()
	case "cat-init":
		return catInit()
	case "volumes":
		return volumes()
	case "limits":
		return limits()
	case "overwrite":
		return overwrite(args[1])
	case "facts-sleep":
		_ = json.NewEncoder(os.Stdout).Encode(gather())
		_ = os.WriteFile("/tmp/ready", nil, 0o644)
		time.Sleep(time.Hour)
		return 0
	case "exec-again":
		return execAgain()
	case "lurk":
		return lurk()
	case "reach-out":
		return reachOut()
	case "wait-for":
		return waitFor(args[1])
	case "open-stdout":
		f, err := os.OpenFile("/dev/stdout", os.O_WRONLY, 0)
		if err != nil {
			fmt.Println(err)
			return 1
		}
		fmt.Fprintln(f, "opened")
		return 0
	case "watch-exe":
		return watchExe()
	case "call":
		return rawCall(args[1:])
	case "tty":
		return ttyApplet()
	}
	fmt.Println("unknown applet", args)
	return 99
}

func gather() *facts {
	f := &facts{Status: map[string]string{}, Dev: map[string]string{}, Writable: map[string]bool{}, NS: map[string]string{}}
	for line := range strings.Lines(readAll("/proc/self/status")) {
		if k, v, ok := strings.Cut(line, ":"); ok {
			f.Status[k] = strings.Join(strings.Fields(v), " ")
		}
	}
	f.Mounts = readAll("/proc/self/mountinfo")
	entries, _ := os.ReadDir("/dev")
	for _, e := range entries {
		var st unix.Stat_t
		p := "/dev/" + e.Name()
		if target, err := os.Readlink(p); err == nil {
			f.Dev[e.Name()] = target
		} else if unix.Stat(p, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR {
			f.Dev[e.Name()] = fmt.Sprintf("c %d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
		} else {
			f.Dev[e.Name()] = "other"
		}
	}
	for _, p := range []string{"/proc/sysrq-trigger", "/proc/sys/kernel/hostname", "/sys/kernel/notes", "/dev/null", "/proc/kcore"} {
		fd, err := os.OpenFile(p, os.O_WRONLY, 0)
		if f.Writable[p] = err == nil; err == nil {
			fd.Close()
		}
	}
	fds, _ := os.ReadDir("/proc/self/fd")
	for _, e := range fds {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			f.FDs = append(f.FDs, e.Name()+" "+target)
		}
	}
	for _, n := range []string{"user", "mnt", "pid", "net", "uts", "ipc", "cgroup"} {
		f.NS[n] = readlink("/proc/self/ns/" + n)
	}
	f.Hostname, _ = os.Hostname()
	f.Lo = loopbackState(nil)
	ifs, _ := net.Interfaces()
	for _, i := range ifs {
		f.Interfaces = append(f.Interfaces, i.Name)
	}
	f.Env = os.Environ()
	f.Cwd, _ = os.Getwd()
	f.Umask = unix.Umask(0)
	f.Sid, _ = unix.Getsid(0)
	f.Pid = os.Getpid()
	if tty, err := os.Open("/dev/tty"); err == nil {
		f.TTY = true
		tty.Close()
	}
	numbers, _ := filepath.Glob("/proc/[0-9]*")
	f.Processes = numbers
	sort.Strings(f.Env)
	return f
}

// orphans leaves grandchildren behind, whose parent must be PID 1, and which it must reap.
func orphans() int {
	r, w, err := os.Pipe()
	if err != nil {
		return 1
	}
	cmd := reexec.Command("applet", "orphan-parent")
	cmd.ExtraFiles = []*os.File{w}
	if err := cmd.Run(); err != nil {
		fmt.Println(err)
		return 1
	}
	w.Close()
	_, _ = io.Copy(os.Stdout, r) // until the grandchild has ended
	for end := time.Now().Add(time.Minute); zombies() > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			fmt.Println(zombies(), "zombies")
			return 1
		}
	}
	fmt.Println("no zombies")
	return 0
}

// orphanParent starts a grandchild and ends before it.
func orphanParent() int {
	cmd := reexec.Command("applet", "orphan")
	cmd.ExtraFiles = []*os.File{os.NewFile(3, "w")}
	if err := cmd.Start(); err != nil {
		return 1
	}
	return 0
}

func orphan() int {
	for os.Getppid() != 1 {
		time.Sleep(5 * time.Millisecond)
	}
	fmt.Fprintln(os.NewFile(3, "w"), "parent is", os.Getppid())
	return 0
}

func zombies() int {
	n := 0
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, s := range stats {
		if _, rest, ok := strings.Cut(readAll(s), ") "); ok && strings.HasPrefix(rest, "Z") {
			n++
		}
	}
	return n
}

// catInit prints the status of all threads of PID 1.
func catInit() int {
	threads, _ := filepath.Glob("/proc/1/task/*/status")
	for _, t := range threads {
		fmt.Print(readAll(t))
	}
	return 0
}

func volumes() int {
	for _, p := range []string{"/data/rw/file", "/data/ro/file", "/etc/one"} {
		fmt.Printf("%s: %s\n", p, readAll(p))
	}
	for _, p := range []string{"/data/rw/new", "/data/ro/new", "/scratch/new"} {
		err := os.WriteFile(p, []byte("x"), 0o644)
		var e *os.PathError
		switch {
		case errors.As(err, &e):
			fmt.Printf("write %s: %v\n", p, e.Err)
		default:
			fmt.Printf("write %s: ok\n", p)
		}
	}
	return 0
}

func limits() int {
	var core, files unix.Rlimit
	_ = unix.Getrlimit(unix.RLIMIT_NOFILE, &files)
	_ = unix.Getrlimit(unix.RLIMIT_CORE, &core)
	fmt.Println("nofile", files.Cur, files.Max)
	fmt.Println("core", core.Cur, core.Max)
	fmt.Println("oom", strings.TrimSpace(readAll("/proc/self/oom_score_adj")))
	return 0
}

// ttyApplet tells whether the standard files are a terminal, and the controlling one.
func ttyApplet() int {
	size, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ)
	if err != nil {
		fmt.Println("no terminal:", err)
		return 1
	}
	fmt.Printf("size %dx%d\n", size.Row, size.Col)
	fmt.Println("stdin", readlink("/proc/self/fd/0"))
	var console, in unix.Stat_t
	_ = unix.Stat("/dev/console", &console)
	_ = unix.Fstat(0, &in)
	fmt.Println("console", console.Rdev == in.Rdev)
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		fmt.Println("no controlling terminal:", err)
		return 1
	}
	fmt.Fprintln(tty, "hello from /dev/tty")
	pgrp, err := unix.IoctlGetInt(0, unix.TIOCGPGRP)
	fmt.Println("foreground", err == nil && pgrp == unix.Getpgrp())
	return 0
}

// rawCall makes a system call by number with zeros as arguments, and prints its error.
func rawCall(args []string) int {
	for _, a := range args {
		n, _ := strconv.ParseUint(a, 0, 32)
		_, _, errno := unix.RawSyscall6(uintptr(n), 0, 0, 0, 0, 0, 0)
		fmt.Println(a, unix.ErrnoName(errno))
	}
	return 0
}

// overwrite tries to write to a program, in all ways a path gives.
func overwrite(path string) int {
	for _, flags := range []int{os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC, os.O_WRONLY | os.O_APPEND} {
		f, err := os.OpenFile(path, flags, 0)
		if err != nil {
			fmt.Println(err)
			continue
		}
		_, err = f.WriteString("overwritten by the container, which must never happen")
		fmt.Println("wrote", err)
		f.Close()
	}
	// By a descriptor of the file, after the process that ran it is gone.
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		fmt.Println("open:", err)
		return 0
	}
	return reopen(fd, 0)
}

// reopen opens a descriptor again for writing, again and again: while the program runs, that
// fails with ETXTBSY.
func reopen(fd int, patience time.Duration) int {
	path := "/proc/self/fd/" + strconv.Itoa(fd)
	for end := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err == nil {
			_, err = f.WriteString("overwritten by the container, which must never happen")
			fmt.Println("wrote", err)
			f.Close()
			return 0
		}
		if !errors.Is(err, unix.ETXTBSY) {
			fmt.Println(err)
			return 0
		}
		if time.Now().After(end) {
			return 0
		}
	}
}

// watchExe waits for a process that runs the program of the exec helper, keeps that open and
// writes to it when the process is gone.
func watchExe() int {
	_ = os.Remove("/tmp/seen")
	_ = os.WriteFile("/tmp/ready", nil, 0o644)
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		numbers, _ := filepath.Glob("/proc/[0-9]*")
		for _, p := range numbers {
			target, err := os.Readlink(p + "/exe")
			if err != nil || target == "/bin/applet" {
				continue
			}
			fd, err := unix.Open(p+"/exe", unix.O_PATH|unix.O_CLOEXEC, 0)
			if err != nil {
				continue
			}
			_ = os.WriteFile("/tmp/seen", nil, 0o644)
			return reopen(fd, time.Minute)
		}
	}
	fmt.Println("nothing seen")
	return 1
}

// waitFor waits for a file.
func waitFor(path string) int {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if _, err := os.Stat(path); err == nil {
			return 0
		}
	}
	return 1
}

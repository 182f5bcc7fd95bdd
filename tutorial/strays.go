// What a script has left behind (containers and processes), found and ended after each trial.

package tutorial

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// container is a line of `tiffin ps`.
type container struct {
	id, name string
	pid      int
}

// tiffin runs this program as a person would: what a lab needs of the store is
// what `ps`, `images`, `rm` and `rmi` do.
func (r *Runner) tiffin(args ...string) ([]string, error) {
	cmd := exec.Command(r.Binary, args...)
	cmd.Env = append(os.Environ(), r.Env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("tiffin %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return strings.FieldsFunc(string(out), func(r rune) bool { return r == '\n' }), nil
}

func (r *Runner) containers() ([]container, error) {
	lines, err := r.tiffin("ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.Pid}} {{.Names}}")
	if err != nil {
		return nil, err
	}
	var all []container
	for _, l := range lines {
		f := strings.Fields(l)
		if len(f) != 3 {
			continue
		}
		pid, _ := strconv.Atoi(f[1])
		all = append(all, container{f[0], f[2], pid})
	}
	return all, nil
}

// sweep ends every process that carries a variable, removes the containers
// among them, and waits until they are gone.
func (r *Runner) sweep(variable, value string) {
	if len(marked(variable, value)) == 0 {
		return
	}
	r.removeRunning(variable, value)
	// Again and again, since one may have started another meanwhile; but not for
	// ever: what sleeps in the kernel cannot be ended, kill(2) or not.
	for end := time.Now().Add(grace); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		left := marked(variable, value)
		if len(left) == 0 {
			return
		}
		for _, pid := range left {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
}

// removeRunning removes the containers whose supervisor carries a variable. Stopped containers
// stay: nothing tells whether the student has made them.
func (r *Runner) removeRunning(variable, value string) {
	left := marked(variable, value)
	ctrs, _ := r.containers() // without them, the processes are ended all the same
	for _, c := range ctrs {
		if slices.Contains(left, parent(c.pid)) {
			_, _ = r.tiffin("rm", "-f", c.id)
		}
	}
}

// marked are the processes that carry a variable, without this one:
// proc(5), /proc/pid/environ. Those of others cannot be read, and are not ours.
func marked(variable, value string) (pids []int) {
	want := []byte("\x00" + variable + "=" + value + "\x00")
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		env, err := environ(d)
		if err != nil || !bytes.Contains(append([]byte{0}, env...), want) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(d)); err == nil && pid != os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids
}

// environ reads the environment of a process, by its directory in /proc. One that execve(2) is just
// replacing has none for a moment, and is not taken for one without the variable.
func environ(dir string) (env []byte, err error) {
	for range 200 {
		replaced := beingReplaced(dir) // before the look, or it might have ended in between
		if env, err = os.ReadFile(filepath.Join(dir, "environ")); err != nil || len(env) > 0 || !replaced {
			break
		}
		time.Sleep(time.Millisecond)
	}
	return env, err
}

// beingReplaced tells whether a process has a program, but no place for its environment yet:
// proc(5), /proc/pid/stat, env_start. Threads of the kernel have no program.
func beingReplaced(dir string) bool {
	if _, err := os.Readlink(filepath.Join(dir, "exe")); err != nil {
		return false
	}
	stat, _ := os.ReadFile(filepath.Join(dir, "stat"))
	_, rest, _ := strings.Cut(string(stat), ") ") // the name may have spaces, and is the second field
	fields := strings.Fields(rest)
	const envStart = 50 - 3 // fields count from 1, and rest begins with the third
	return len(fields) > envStart && fields[envStart] == "0"
}

// parent is the number of a process's parent, 0 if there is none:
// proc(5), /proc/pid/status.
func parent(pid int) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "PPid:"); ok {
			n, _ := strconv.Atoi(strings.TrimSpace(v))
			return n
		}
	}
	return 0
}

// tempPattern names the temporaries; each is locked while it is used.
const tempPattern = "tiffin-lab-"

// makeTemp makes a private temporary directory, whose lock is held until it is
// closed, and removes those that a killed tiffin left: nobody holds their
// locks. On a file system without locks they stay.
func makeTemp() (dir string, held *os.File, err error) {
	if dir, err = os.MkdirTemp("", tempPattern); err != nil {
		return "", nil, fmt.Errorf("make a place for the lab's scripts: %w", err)
	}
	if held = lock(dir); held == nil {
		return dir, nil, nil
	}
	old, _ := filepath.Glob(filepath.Join(os.TempDir(), tempPattern+"*"))
	for _, d := range old {
		st, err := os.Lstat(d)
		// One that is younger may be somebody's who is about to lock it.
		if err != nil || d == dir || !st.IsDir() || time.Since(st.ModTime()) < time.Hour {
			continue
		}
		if f := lock(d); f != nil {
			_ = removeAll(d)
			f.Close()
		}
	}
	return dir, held, nil
}

// lock takes flock(2) on a directory of ours without waiting; nil if it cannot.
func lock(dir string) *os.File {
	f, err := os.OpenFile(dir, unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil
	}
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil || int(st.Uid) != os.Getuid() || unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		f.Close()
		return nil
	}
	return f
}

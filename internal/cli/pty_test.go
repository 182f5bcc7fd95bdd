package cli_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// typist is a terminal with tiffin at the other end.
type typist struct {
	t      *testing.T
	fd     int // of master, for ioctl(2)
	master *os.File
	slave  *os.File
	cmd    *exec.Cmd
	before unix.Termios

	mu   sync.Mutex
	seen bytes.Buffer
}

// atTerminal starts tiffin on a new pseudo terminal of 24 rows and 80 columns.
func atTerminal(t *testing.T, store string, args ...string) *typist {
	t.Helper()
	// Not blocking, and never by os.File.Fd, which changes that: a Close would wait for the Read.
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	master := os.NewFile(uintptr(fd), "/dev/ptmx")
	// ptsname(3), unlockpt(3)
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := &typist{t: t, fd: fd, master: master, slave: slave}
	p.resize(24, 80)
	before, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	p.before = *before
	p.cmd = exec.Command(binary, args...)
	p.cmd.Env = append(os.Environ(), "TIFFIN_ROOT="+store)
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = slave, slave, slave
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := master.Read(b)
			p.mu.Lock()
			p.seen.Write(b[:n])
			p.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		slave.Close()
		master.Close()
	})
	return p
}

func (p *typist) resize(rows, cols uint16) {
	if err := unix.IoctlSetWinsize(p.fd, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols}); err != nil {
		p.t.Fatal(err)
	}
}

func (p *typist) types(s string) {
	if _, err := p.master.WriteString(s); err != nil {
		p.t.Fatal(err)
	}
}

// sees waits for text on the screen, and forgets all up to it.
func (p *typist) sees(text string) {
	p.t.Helper()
	p.until(text)
}

// until is sees that returns what came before the text.
func (p *typist) until(text string) string {
	p.t.Helper()
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		p.mu.Lock()
		before, after, ok := strings.Cut(p.seen.String(), text)
		if ok {
			p.seen.Reset()
			p.seen.WriteString(after)
		}
		p.mu.Unlock()
		if ok {
			return before
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.t.Fatalf("%q did not appear; on the screen is %q", text, p.seen.String())
	return ""
}

// ends waits for tiffin's end, and looks whether the terminal is as it was.
func (p *typist) ends(status int) {
	p.t.Helper()
	err := p.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	if got := p.cmd.ProcessState.ExitCode(); got != status {
		p.t.Errorf("exit status %d, want %d", got, status)
	}
	after, err := unix.IoctlGetTermios(int(p.slave.Fd()), unix.TCGETS)
	if err != nil {
		p.t.Fatal(err)
	}
	if *after != p.before {
		p.t.Error("the terminal is not as it was")
	}
}

// terminalStore is a store for tests of this file, with leak checks.
func terminalStore(t *testing.T) string {
	t.Helper()
	need(t, person{uid: os.Getuid(), gid: os.Getgid()})
	store := t.TempDir() + "/store"
	t.Cleanup(func() { checkLeaks(t, store) })
	return store
}

func TestATraceIsAsWideAsTheTerminal(t *testing.T) {
	dir := strings.Repeat("/a-directory", 6)
	p := atTerminal(t, terminalStore(t), "run", "--rm", "--trace", "tiffin/base", "sh", "-c", "mkdir -p "+dir+"; echo x > "+dir+"/file")
	text := p.until(" of data, ")
	if !strings.Contains(text, "a-directory/file: upper") {
		t.Errorf("the end of a long path is not there:\n%s", text)
	}
	for line := range strings.Lines(text) {
		if n := utf8.RuneCountInString(strings.TrimRight(line, "\r\n")); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	p.ends(0)
}

func TestInteractiveShell(t *testing.T) {
	p := atTerminal(t, terminalStore(t), "run", "-it", "--rm", "tiffin/base", "sh")
	p.sees("# ")
	p.types("tty; stty size\r")
	p.sees("/dev/pts/0\r\n")
	p.sees("24 80")
	p.resize(50, 132)
	p.types("until stty size | grep '50 1[3]2'; do sleep 0.1; done\r")
	p.sees("50 132")
	p.sees("# ")
	p.types("cat /etc/shells -\r")
	p.sees("/bin/sh\r\n")
	p.types("\x03") // Ctrl-C is for what runs in the container
	p.sees("# ")
	p.types("exit 9\r")
	p.ends(9)
}

func TestTerminalOfCommandsThatCannotStart(t *testing.T) {
	p := atTerminal(t, terminalStore(t), "run", "-it", "--rm", "tiffin/base", "nosuch")
	p.sees("executable file not found")
	p.ends(127)
}

func TestStatsClearTheScreen(t *testing.T) {
	p := atTerminal(t, terminalStore(t), "stats")
	p.sees("\x1b[2J\x1b[HCONTAINER ID")
	p.sees("\x1b[2J\x1b[HCONTAINER ID")
	p.types("\x03")
	p.ends(-1)
}

func TestDetachAndAttach(t *testing.T) {
	store := terminalStore(t)
	p := atTerminal(t, store, "run", "-it", "--name", "shell", "tiffin/base", "sh")
	p.sees("# ")
	p.types("X=kept\r")
	p.sees("# ")
	p.types("\x10\x11")
	p.ends(0)
	p = atTerminal(t, store, "attach", "--detach-keys", "ctrl-a,x", "shell")
	time.Sleep(300 * time.Millisecond)
	p.types("\x01x")
	p.ends(0)
	p = atTerminal(t, store, "attach", "shell")
	time.Sleep(300 * time.Millisecond)
	p.types("\x10") // held back, but not for ever: the line before
	p.sees("X=kept")
	p.types("\x15echo $X-$X\r")
	p.sees("kept-kept")
	p.types("exit 3\r")
	p.ends(3)
	p = atTerminal(t, store, "exec", "-it", "shell", "sh")
	p.sees("is not running")
	p.ends(1)
}

func TestExecAtATerminal(t *testing.T) {
	store := terminalStore(t)
	p := atTerminal(t, store, "run", "-d", "--name", "idle", "tiffin/base", "sleep", "1000")
	p.ends(0)
	p = atTerminal(t, store, "exec", "-it", "idle", "sh")
	p.sees("# ")
	p.types("stty size; exit 4\r")
	p.sees("24 80")
	p.ends(4)
	p = atTerminal(t, store, "rm", "-f", "idle")
	p.ends(0)
}

func TestASignalGivesTheTerminalBackAndTheContainerGoesOn(t *testing.T) {
	store := terminalStore(t)
	p := atTerminal(t, store, "run", "-it", "--rm", "--name", "shell", "tiffin/base", "sh")
	p.sees("# ")
	if err := p.cmd.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.sees("tiffin: container shell goes on; `tiffin attach shell` is there again\r\n")
	p.ends(128 + 15)
	p = atTerminal(t, store, "start", "-ai", "shell") // which runs
	p.types("echo it is $((6*7))\r")
	p.sees("it is 42")
	p.types("exit 3\r")
	p.ends(3)
}

func TestADetachedContainerOutlivesItsTerminal(t *testing.T) {
	store := terminalStore(t)
	p := atTerminal(t, store, "run", "-d", "--name", "idle", "tiffin/base", "sleep", "1000")
	p.ends(0)
	p.slave.Close()
	p.master.Close() // SIGHUP for what is left in the session
	time.Sleep(100 * time.Millisecond)
	p = atTerminal(t, store, "ps")
	p.sees("idle")
	p.ends(0)
	p = atTerminal(t, store, "rm", "-f", "idle")
	p.ends(0)
}

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A terminal is the master side of a pseudo-terminal with a shell on the other
// side: pty(7).
type terminal struct {
	t      *testing.T
	master *os.File
	fd     int // of master: File.Fd would make it block
	cmd    *exec.Cmd

	mu   sync.Mutex
	text strings.Builder // all that the shell has printed
	seen int             // how much of it expect has passed
	end  chan struct{}   // closed when the other side is
}

func openTerminal(t *testing.T) (*terminal, string, string) {
	t.Helper()
	bin, dir := binDir(t), t.TempDir()
	// Not blocking, so that closing it ends the Read of collect.
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	master := os.NewFile(uintptr(fd), "/dev/ptmx")
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80})
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer slave.Close()
	term := &terminal{t: t, master: master, fd: fd, end: make(chan struct{})}
	term.cmd = exec.Command(filepath.Join(bin, "sh"))
	term.cmd.Args[0] = "sh"
	term.cmd.Dir = dir
	term.cmd.Env = []string{"PATH=" + bin, "HOME=" + dir, "TERM=xterm", "PS1=@> ", "PS2=more> "}
	term.cmd.Stdin, term.cmd.Stdout, term.cmd.Stderr = slave, slave, slave
	term.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := term.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go term.collect()
	t.Cleanup(func() {
		term.cmd.Process.Kill()
		term.cmd.Wait()
		master.Close()
	})
	term.expect("@> ")
	return term, bin, dir
}

func (term *terminal) collect() {
	defer close(term.end)
	buf := make([]byte, 4096)
	for {
		n, err := term.master.Read(buf)
		term.mu.Lock()
		term.text.Write(buf[:n])
		term.mu.Unlock()
		if err != nil { // EIO: the last process has closed the terminal
			return
		}
	}
}

func (term *terminal) send(keys string) {
	term.t.Helper()
	if _, err := term.master.WriteString(keys); err != nil {
		term.t.Fatal(err)
	}
}

// patience is how long a terminal is waited for. What comes is there within milliseconds, unless
// others need the processors.
const patience = 2 * time.Minute

// comes reports whether want comes, after what earlier calls have seen, within d.
func (term *terminal) comes(want string, d time.Duration) bool {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		term.mu.Lock()
		text := term.text.String()
		term.mu.Unlock()
		if i := strings.Index(text[term.seen:], want); i >= 0 {
			term.seen += i + len(want)
			return true
		}
	}
	return false
}

// expect waits until want has come after what earlier calls have seen.
func (term *terminal) expect(want string) {
	term.t.Helper()
	if term.comes(want, patience) {
		return
	}
	term.fatalf("no %q", want)
}

// insist sends keys until want comes: a key that arrives while the terminal's mode changes is
// dropped, and a user presses it again.
func (term *terminal) insist(keys, want string) {
	term.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		term.send(keys)
		if term.comes(want, time.Second) {
			return
		}
	}
	term.fatalf("no %q, however often %q is typed", want, keys)
}

// foreground waits until a command has the terminal: ioctl_tty(2), TIOCGPGRP.
func (term *terminal) foreground(name string) {
	term.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		group, err := unix.IoctlGetInt(term.fd, unix.TIOCGPGRP)
		if err != nil {
			term.t.Fatal(err)
		}
		if args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", group)); strings.HasPrefix(string(args), name+"\x00") {
			return
		}
	}
	term.fatalf("%s is not in the foreground", name)
}

// fatalf ends the test, and shows what has come.
func (term *terminal) fatalf(format string, args ...any) {
	term.t.Helper()
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", term.cmd.Process.Pid))
	term.t.Logf("the shell's /proc/pid/stat: %s", stat)
	term.mu.Lock()
	defer term.mu.Unlock()
	term.t.Fatalf("%s after %q in\n%q", fmt.Sprintf(format, args...), term.text.String()[:term.seen], term.text.String()[term.seen:])
}

// run sends a line and waits for its output and the next prompt.
func (term *terminal) run(line, want string) {
	term.t.Helper()
	term.send(line + "\r")
	term.expect("\r\n" + want)
	term.expect("@> ")
}

// status waits until the shell has ended.
func (term *terminal) status() int {
	term.t.Helper()
	term.cmd.Wait()
	return term.cmd.ProcessState.ExitCode()
}

func TestTerminalPromptAndExit(t *testing.T) {
	term, _, _ := openTerminal(t)
	term.run("echo a$((1+1))", "a2\r\n")
	term.run("false", "")
	term.run("echo $?", "1\r\n")
	term.send("exit 5\r")
	if got := term.status(); got != 5 {
		t.Errorf("exit status %d, want 5", got)
	}
}

func TestTerminalControlDExits(t *testing.T) {
	term, _, _ := openTerminal(t)
	term.run("false", "")
	term.send("\x04")
	term.expect("exit")
	if got := term.status(); got != 1 {
		t.Errorf("exit status %d, want 1", got)
	}
}

func TestTerminalControlCInterruptsCommand(t *testing.T) {
	term, _, _ := openTerminal(t)
	term.send("echo begin; sleep 1000\r")
	term.expect("\nbegin")
	term.foreground("sleep")
	term.send("\x03")
	term.expect("@> ")
	term.run("echo $?", "130\r\n")
}

func TestTerminalControlCRightAfterEnterCounts(t *testing.T) {
	term, _, _ := openTerminal(t)
	for i := range 20 {
		term.send("sleep 1000\r")
		time.Sleep(time.Duration(10+3*i) * time.Millisecond)
		term.insist("\x03", "^C")
		term.expect("@> ")
	}
	term.insist("echo on\r", "\r\non\r\n") // the last of several keys may have dropped the line
}

func TestTerminalControlCInterruptsLoops(t *testing.T) {
	for name, loop := range map[string]string{
		"of builtins": "echo begin; while :; do :; done",
		"of commands": "echo begin; while true; do sleep 0.05; done",
		"pipeline":    "echo begin; sleep 1000 | cat",
		"read":        "echo begin; read x",
		"wait":        "sleep 1000 & echo begin; wait",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			term, _, _ := openTerminal(t)
			term.send(loop + "\r")
			term.expect("\nbegin")
			time.Sleep(200 * time.Millisecond) // for it to be in what the name says
			if name == "of commands" {
				// A key that comes between two of the commands may find neither. The last of
				// several may come late, and drop a line: the runtime hands signals on, it is not
				// the kernel that interrupts the shell.
				term.insist("\x03", "@> ")
				term.insist("echo settled\r", "\r\nsettled\r\n")
			} else {
				term.send("\x03")
				term.expect("@> ")
				term.run("echo $?", "130\r\n")
			}
			if name == "wait" {
				term.run("kill $!", "")
			}
			term.run(":", "")
			term.run("(exit 3); echo $?", "3\r\n")
		})
	}
}

func TestTerminalControlCAtThePromptDropsTheLine(t *testing.T) {
	term, _, _ := openTerminal(t)
	term.send("echo not this\x03")
	term.expect("^C")
	term.expect("@> ")
	term.run("echo $?", "130\r\n")
	term.send("if true\r")
	term.expect("more> ")
	term.send("\x03")
	term.expect("@> ")
	term.run("echo fresh", "fresh\r\n")
}

func TestTerminalContinuesLines(t *testing.T) {
	term, _, _ := openTerminal(t)
	for _, lines := range [][]string{
		{"echo 'a", "b'", "a\r\nb\r\n"},
		{"cat <<E", "x $((1+2))", "E", "x 3\r\n"},
		{"cat <<'E'", "x $y", "E", "x $y\r\n"},
		{"for i in 1 2", "do echo $i", "done", "1\r\n2\r\n"},
		{"if true; then", "echo yes", "fi", "yes\r\n"},
		{"echo a \\", "b", "a b\r\n"},
		{"true &&", "echo c", "c\r\n"},
	} {
		last := len(lines) - 2
		for _, line := range lines[:last] {
			term.send(line + "\r")
			term.expect("more> ")
		}
		term.run(lines[last], lines[last+1])
	}
}

func TestTerminalEditsLines(t *testing.T) {
	term, _, _ := openTerminal(t)
	for _, e := range []struct{ keys, want string }{
		{"cho ab\x01e", "ab"},                     // Ctrl-A
		{"echo b\x1b[Da", "ab"},                   // left
		{"echo abc\x7f", "ab"},                    // backspace
		{"echo a junk\x17b", "a b"},               // Ctrl-W
		{"junk\x15echo a", "a"},                   // Ctrl-U
		{"echo a junk\x1bb\x0bb", "a b"},          // Alt-B, Ctrl-K
		{"echo ab\x1b[H\x1b[3~\x1b[Fb", ""},       // Home, Delete, End: "cho abb"
		{"echo one\rx\x15\x1b[A", "one"},          // up
		{"echo \xc3\xa4\xc3\xb6\x7f", "\xc3\xa4"}, // backspace takes a whole character
	} {
		term.send(e.keys + "\r")
		if e.want == "" {
			term.expect("cho: not found")
		} else {
			term.expect("\r\n" + e.want + "\r\n")
		}
		term.expect("@> ")
	}
	term.run("echo find me", "find me\r\n")
	term.run("echo other", "other\r\n")
	term.send("\x12find\r") // Ctrl-R
	term.expect("\r\nfind me\r\n")
}

func TestTerminalCompletes(t *testing.T) {
	term, _, dir := openTerminal(t)
	for _, name := range []string{"alpha one", "beta1", "beta2"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	term.send("cat al\t\r")
	term.expect("\r\nalpha one\r\n")
	term.send("realp\tsu\t\r") // command, then directory
	term.expect("/sub\r\n")
	term.send("cat be\t\t")
	term.expect("beta1  beta2")
	term.send("2\r")
	term.expect("\r\nbeta2\r\n")
}

func TestTerminalJobControl(t *testing.T) {
	term, _, _ := openTerminal(t)
	term.send("echo begin; sleep 1000\r")
	term.expect("\nbegin")
	term.foreground("sleep")
	term.send("\x1a")
	term.expect("Stopped")
	term.expect("@> ")
	term.run("jobs", "[1]+  Stopped")
	term.run("bg", "[1]+ ")
	term.run("jobs", "[1]+  Running")
	term.send("fg\r")
	term.expect("sleep 1000")
	term.foreground("sleep")
	term.send("\x03")
	term.expect("@> ")
	term.run("sleep 1000 &", "[1] ")
	term.send("kill %1; wait %1; echo $?\r")
	term.expect("\r\n143\r\n")
}

func TestTerminalGivesEachJobItsOwnGroup(t *testing.T) {
	term, _, _ := openTerminal(t)
	term.send("ps -o pid,pgid,tpgid,stat,comm | cat\r")
	term.expect(" ps\r\n")
	text := term.text.String()
	row := strings.Fields(text[strings.LastIndex(text[:strings.LastIndex(text, " ps")], "\n"):])
	if len(row) < 4 || row[1] != row[2] || row[1] == strconv.Itoa(term.cmd.Process.Pid) || !strings.Contains(row[3], "+") {
		t.Errorf("ps is not in a foreground group of its own: %q", row)
	}
}

func TestTerminalModesAreRestored(t *testing.T) {
	term, _, _ := openTerminal(t)
	term.run("stty -echo -icanon; sh -c 'kill -9 $$'", "Killed\r\n")
	term.run("stty -a | grep -c -e '-echo '", "")
	term.run("stty size", "24 80\r\n")
}

// A PID 1 survives the SIGHUP that comes when the other side of its terminal is
// gone, and then every read gives 0 or EIO. The trap stands for being PID 1.
func TestTerminalThatHangsUpEndsTheShell(t *testing.T) {
	for name, before := range map[string]string{
		"at the prompt":      "",
		"inside a line":      "echo half",
		"inside a statement": "while true\r",
		"searching":          "\x12ec",
		"in read":            "read x\r",
		"in a command":       "sleep 1\r",
		"without an editor":  "exec env TERM=dumb sh\r",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			term, _, _ := openTerminal(t)
			term.run("trap '' HUP; exec sh", "")
			term.send(before)
			if before != "" {
				time.Sleep(200 * time.Millisecond) // until it is where the name says
			}
			term.hangUp()
			ended := make(chan int, 1)
			go func() { ended <- term.status() }()
			select {
			case <-ended:
			case <-time.After(patience):
				t.Errorf("the shell still runs; processor time %s", term.processorTime())
			}
		})
	}
}

// hangUp closes the master side.
func (term *terminal) hangUp() {
	term.master.Close()
	<-term.end
}

// processorTime is what the shell has used: fields 14 and 15 of
// /proc/PID/stat, in ticks of 10 ms, proc(5).
func (term *terminal) processorTime() string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", term.cmd.Process.Pid))
	if f := strings.Fields(string(b)); err == nil && len(f) > 14 {
		return f[13] + " + " + f[14] + " ticks"
	}
	return "an unknown amount"
}

// A lesson is typed as a student types it: command by command, into a shell at a terminal. So what
// asks a question is found, which would take the next line for the answer.

package tutorial

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// typist is a shell at a terminal of 24 rows and 80 columns.
type typist struct {
	*bench
	terminal *os.File
	shell    *exec.Cmd
	prompt   string // what the shell prints before the exit status, when it waits for a command
	seen     chan []byte
}

// newTypist starts the shell in the work directory.
func (b *bench) newTypist() (*typist, error) {
	run := rand.Text()
	t := &typist{bench: b, prompt: "<" + run + ":", seen: make(chan []byte)}
	t.shell = exec.Command("sh", "-c", `unset LAB WORK SEED P ENV; exec sh -i`)
	t.shell.Dir = b.work
	t.shell.Env = append(b.environ(run), "PS1="+t.prompt+"$?>", "PS2=", "TERM=dumb")
	var err error
	// A session of its own with this terminal: setsid(2), ioctl_tty(2), TIOCSCTTY.
	if t.terminal, err = pty.StartWithSize(t.shell, &pty.Winsize{Rows: 24, Cols: 80}); err != nil {
		return nil, fmt.Errorf("start a shell at a terminal: %w", err)
	}
	go func() {
		defer close(t.seen)
		for {
			text := make([]byte, 4096)
			n, err := t.terminal.Read(text)
			if t.seen <- text[:n]; err != nil {
				return
			}
		}
	}()
	return t, nil
}

// close ends the shell. What it has started in the background goes on.
func (t *typist) close() {
	_ = t.shell.Process.Kill()
	t.terminal.Close()
	for range t.seen {
	}
	_ = t.shell.Wait()
}

// enter types a command, "" for none, and waits until the shell asks for the next. It returns what
// was printed meanwhile; an error says what is wrong with the command.
func (t *typist) enter(ctx context.Context, command string) (string, error) {
	if command != "" {
		if _, err := t.terminal.WriteString(command + "\n"); err != nil {
			return "", err
		}
	}
	limit, look := time.After(t.Limit), time.NewTicker(200*time.Millisecond)
	defer look.Stop()
	var said strings.Builder
	asked := 0
	for {
		select {
		case text, open := <-t.seen:
			asked = 0
			said.Write(text)
			before, after, found := strings.Cut(said.String(), t.prompt)
			status, _, whole := strings.Cut(after, ">")
			switch {
			case found && whole && status == "0":
				return before, nil
			case found && whole:
				return before, fmt.Errorf("ends with status %s: %s", status, lastLines(before))
			case !open:
				return before, fmt.Errorf("ends the shell: %s", lastLines(before))
			}
		case <-look.C:
			if asked++; !t.reads() {
				asked = 0
			} else if asked >= 5 {
				return said.String(), fmt.Errorf("waits for an answer from the keyboard: %s", lastLines(said.String()))
			}
		case <-limit:
			return said.String(), fmt.Errorf("does not end within %v: %s", t.Limit, lastLines(said.String()))
		case <-ctx.Done():
			return said.String(), ctx.Err()
		}
	}
}

// reads tells whether a process in the foreground, not the shell, reads from the terminal: proc(5),
// /proc/pid/syscall.
func (t *typist) reads() bool {
	front, err := unix.IoctlGetInt(int(t.terminal.Fd()), unix.TIOCGPGRP)
	if err != nil || front == t.shell.Process.Pid {
		return false
	}
	all, _ := filepath.Glob("/proc/[0-9]*/syscall")
	for _, path := range all {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if group, err := unix.Getpgid(pid); err != nil || group != front {
			continue
		}
		b, _ := os.ReadFile(path)
		call := strings.Fields(string(b)) // its number, and its arguments in hexadecimal digits
		if len(call) < 2 || call[0] != strconv.Itoa(unix.SYS_READ) {
			continue
		}
		fd, _ := strconv.ParseUint(strings.TrimPrefix(call[1], "0x"), 16, 31)
		if to, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, fd)); strings.HasPrefix(to, "/dev/pts/") || to == "/dev/tty" {
			return true
		}
	}
	return false
}

// lastLines is the end of what was printed.
func lastLines(s string) string {
	lines := strings.Split(strings.TrimSpace(clean(strings.ReplaceAll(s, "\r", ""))), "\n")
	return squeeze(strings.Join(lines[max(0, len(lines)-6):], " / "))
}

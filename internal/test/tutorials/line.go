// A line of a tutorial: what is typed, what must be seen, and how it must end.

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/creack/pty"
)

// item is a command, or a file that is there before the next one.
type item struct {
	command string
	dialog  []step
	status  int

	file, text string
}

// step is a word of a dialog: typed, or seen.
type step struct {
	typed string
	seen  *regexp.Regexp
}

// parse reads a tutorial; scripts/tutorial describes the form.
func parse(text string) (items []item, err error) {
	for number, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		mark, rest, _ := strings.Cut(line, " ")
		last := &item{}
		if len(items) > 0 {
			last = &items[len(items)-1]
		}
		switch {
		case mark == "#" || line == "":
		case mark == "$":
			items = append(items, item{command: rest})
		case mark == "@":
			items = append(items, item{file: rest})
		case mark == "|" && last.file != "":
			last.text += rest + "\n"
		case mark == "<" && last.command != "":
			last.dialog = append(last.dialog, step{typed: keys(rest)})
		case mark == ">" && last.command != "":
			last.dialog = append(last.dialog, step{seen: regexp.MustCompile(regexp.QuoteMeta(os.ExpandEnv(rest)))})
		case mark == "~" && last.command != "":
			seen, err := regexp.Compile("(?m)" + rest)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", number+1, err)
			}
			last.dialog = append(last.dialog, step{seen: seen})
		case mark == "?" && last.command != "":
			if last.status, err = strconv.Atoi(rest); err != nil {
				return nil, fmt.Errorf("line %d: %w", number+1, err)
			}
		default:
			return nil, fmt.Errorf("line %d means nothing here: %s", number+1, line)
		}
	}
	return items, nil
}

// keys are the bytes of what is typed: ^C and the like, or a line.
func keys(s string) string {
	if !strings.HasPrefix(s, "^") {
		return s + "\n"
	}
	var typed strings.Builder
	for _, letter := range strings.Split(s[1:], "^") {
		typed.WriteByte(letter[0] & 0x1f)
	}
	return typed.String()
}

const limit = 5 * time.Minute // for one line

// try runs the line, and tells what is wrong with it. Lines at which something is typed get a
// terminal, and others that ask for one.
func (it item) try(cmd *exec.Cmd) error {
	out := &output{}
	var terminal *os.File
	var err error
	if it.atTerminal() {
		if terminal, err = pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 80}); err == nil {
			defer terminal.Close()
		}
	} else {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.Stdout, cmd.Stderr = out, out
		err = cmd.Start()
	}
	if err != nil {
		return err
	}
	overdue := time.AfterFunc(limit, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	read := make(chan struct{})
	go func() {
		defer close(read)
		if terminal != nil {
			_, _ = terminal.WriteTo(out) // until EIO, when nobody has the other end
		}
	}()
	var wrong error
	if terminal != nil {
		wrong = it.converse(terminal, out)
		if wrong != nil {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		}
	}
	err = cmd.Wait()
	<-read
	if terminal == nil {
		wrong = it.compare(out.String())
	}
	if !overdue.Stop() {
		return fmt.Errorf("does not end within %v: %s", limit, out.end())
	}
	if status := cmd.ProcessState.ExitCode(); wrong == nil && status != it.status {
		return fmt.Errorf("ends with status %d instead of %d: %s", status, it.status, out.end())
	}
	if wrong == nil && err != nil && !errors.As(err, new(*exec.ExitError)) {
		return fmt.Errorf("keeps its output open: %w", err)
	}
	if wrong != nil {
		return fmt.Errorf("%w: %s", wrong, out.end())
	}
	return nil
}

// asks finds the flags that ask for a terminal.
var asks = regexp.MustCompile(`^docker (run|exec) -it `)

func (it item) atTerminal() bool {
	for _, s := range it.dialog {
		if s.typed != "" {
			return true
		}
	}
	return asks.MatchString(it.command)
}

// compare looks for what must be seen, in its order.
func (it item) compare(seen string) error {
	for _, s := range it.dialog {
		at := s.seen.FindStringIndex(seen)
		if at == nil {
			return fmt.Errorf("does not print %v", s.seen)
		}
		seen = seen[at[1]:]
	}
	return nil
}

// converse types as a person does: after what must be seen before, when nothing has been printed
// for a moment.
func (it item) converse(terminal *os.File, out *output) error {
	read := 0 // bytes of the output that have been dealt with
	for _, s := range it.dialog {
		if s.seen == nil {
			most := time.Minute
			if strings.HasPrefix(it.command, "docker attach ") {
				most = 5 * time.Second // a shell that is attached to says nothing
			}
			out.quiet(read, most)
			read = len(out.String())
			for _, chunk := range strings.SplitAfter(s.typed, string(rune('P'&0x1f))) { // keys are not hit all at once
				if _, err := terminal.WriteString(chunk); err != nil {
					return err
				}
				time.Sleep(50 * time.Millisecond)
			}
			continue
		}
		for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
			if at := s.seen.FindStringIndex(out.String()[read:]); at != nil {
				read += at[1]
				break
			}
			if time.Since(began) > limit/3 {
				return fmt.Errorf("does not print %v", s.seen)
			}
		}
	}
	return nil
}

// output is what has been printed so far.
type output struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.all.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.all.String()
}

// quiet waits until there is more than read bytes, and no more has come for a moment.
func (o *output) quiet(read int, most time.Duration) {
	size, since := len(o.String()), time.Now()
	for began := time.Now(); time.Since(began) < most; time.Sleep(20 * time.Millisecond) {
		if n := len(o.String()); n != size {
			size, since = n, time.Now()
		}
		if size > read && time.Since(since) > 100*time.Millisecond {
			return
		}
	}
}

// end is the last lines, as one.
func (o *output) end() string {
	lines := strings.Split(strings.TrimSpace(strings.ReplaceAll(o.String(), "\r", "")), "\n")
	return fmt.Sprintf("%.300q", strings.Join(lines[max(0, len(lines)-4):], " / "))
}

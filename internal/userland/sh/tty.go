// The interactive shell: its terminal, its prompts, the signals that it survives.

package sh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"

	"tiffin/userland/box"
)

// errInterrupted is what reading a line returns on Ctrl-C.
var errInterrupted = errors.New("interrupted")

func isTerminal(fd int) bool {
	_, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	return err == nil
}

// keeps lists the signals an interactive shell survives (POSIX, sh,
// "ASYNCHRONOUS EVENTS"). They are caught and not ignored, so that children
// get the default action. SIGPIPE is caught by every shell, see print.
func (s *shell) keeps(sig os.Signal) bool {
	if sig == syscall.SIGPIPE {
		return true
	}
	if !s.interactive {
		return false
	}
	switch sig {
	case syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM:
		return true
	case syscall.SIGTSTP, syscall.SIGTTIN:
		return s.jobs.tty >= 0
	}
	return false
}

// startInteractive takes the terminal, the signals and the start-up file $ENV.
func (s *shell) startInteractive() {
	if isTerminal(0) {
		if err := s.jobs.takeTerminal(0); err != nil {
			fmt.Fprintf(os.Stderr, "%s: no job control on this terminal: %s\n", s.label(), err)
		}
		s.edit = newEditor(s)
	}
	for _, sig := range []os.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGTSTP, syscall.SIGTTIN} {
		if s.keeps(sig) {
			s.traps.listen(sig)
		}
	}
	s.setStatus(0) // the interpreter shows its variables only once it has run something
	if env := os.Getenv("ENV"); env != "" {
		s.profile(env)
	}
}

func (s *shell) setCancel(f context.CancelFunc) {
	s.cancelMu.Lock()
	defer s.cancelMu.Unlock()
	s.cancel = f
	if f != nil && s.early {
		f()
	}
	s.early = false
}

// interrupt stops the statement that runs, as Ctrl-C does. It tells whether
// there was one; if not, the one that is about to run is stopped.
func (s *shell) interrupt() bool {
	s.cancelMu.Lock()
	defer s.cancelMu.Unlock()
	if !s.interactive {
		return false
	}
	if s.cancel == nil {
		s.early = true
		return false
	}
	s.cancel()
	return true
}

// controlC is a SIGINT that came to the shell and has no trap. A command that
// has just been started, and did not have the terminal yet, gets it, too.
func (s *shell) controlC() {
	if s.edit.interrupt() {
		return
	}
	if s.interrupt() {
		fmt.Fprintln(os.Stderr) // after the "^C"
		s.jobs.signalForeground(syscall.SIGINT)
	}
}

// builtinRead is "read" from the terminal of an interactive shell: the
// interpreter's own could not be interrupted. It reads the line and has the
// interpreter's take it apart.
func (s *shell) builtinRead(ctx context.Context, hc interp.HandlerContext, args []string) error {
	var flags []string
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' {
		if args[0] == "-p" && len(args) > 1 {
			fmt.Fprint(os.Stderr, args[1])
			args = args[2:]
			continue
		}
		flags, args = append(flags, args[0]), args[1:]
	}
	line := ""
	for !strings.HasSuffix(line, "\n") {
		fds := []unix.PollFd{{Fd: 0, Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 100) // milliseconds; a signal does not wake this thread
		if ctx.Err() != nil || s.traps.first() != 0 {
			return interp.ExitStatus(128 + int(syscall.SIGINT))
		}
		if n == 0 || err == unix.EINTR {
			continue
		}
		var b [1]byte
		if n, err := unix.Read(0, b[:]); n != 1 || err != nil {
			break
		}
		line += string(b[:])
	}
	words := []string{"read"}
	for _, a := range append(flags, args...) {
		words = append(words, quote(a))
	}
	err := hc.Builtin(ctx, []string{"eval", strings.Join(words, " ") + " <<< " + quote(strings.TrimSuffix(line, "\n"))})
	if err == nil && !strings.HasSuffix(line, "\n") {
		return interp.ExitStatus(1) // end of input
	}
	return err
}

// repl reads and runs commands until the end of input or "exit".
func (s *shell) repl() {
	s.lines(&promptReader{s: s, plain: lineReader{f: os.Stdin}})
}

// promptReader shows a prompt before each line.
type promptReader struct {
	s     *shell
	plain lineReader
}

func (p *promptReader) line(more bool) (string, error) {
	s := p.s
	s.jobs.notify()
	s.setCancel(nil) // an interrupt up to here was for the last statement
	name, prompt := "PS1", `\u@\h:\w\$ `
	if more {
		name, prompt = "PS2", "> "
	}
	if v, ok := s.r.Vars[name]; ok && v.IsSet() {
		prompt = v.String()
	}
	prompt = s.prompt(prompt)
	if s.edit == nil {
		fmt.Fprint(os.Stderr, strings.NewReplacer(promptHide, "", promptShow, "").Replace(prompt))
		return p.plain.line(more)
	}
	line, err := s.edit.read(prompt)
	if err == io.EOF {
		if more {
			return "", io.EOF
		}
		fmt.Fprintln(os.Stderr, "exit")
	}
	return line, err
}

// \[ and \] in a prompt: what is between them takes no room on the screen.
const (
	promptHide = "\x01"
	promptShow = "\x02"
)

// prompt expands the backslash escapes of bash(1), "PROMPTING", and $NAME.
func (s *shell) prompt(text string) string {
	var b strings.Builder
	host := ""
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		host = unix.ByteSliceToString(u.Nodename[:])
	}
	now := time.Now()
	for i := 0; i < len(text); i++ {
		if text[i] == '$' && i+1 < len(text) {
			j := i + 1
			for j < len(text) && syntax.ValidName(text[i+1:j+1]) {
				j++
			}
			if j > i+1 {
				b.WriteString(s.r.Vars[text[i+1:j]].String())
				i = j - 1
				continue
			}
		}
		if text[i] != '\\' || i+1 == len(text) {
			b.WriteByte(text[i])
			continue
		}
		i++
		switch text[i] {
		case 'u':
			b.WriteString(box.UserName(os.Geteuid()))
		case 'h':
			short, _, _ := strings.Cut(host, ".")
			b.WriteString(short)
		case 'H':
			b.WriteString(host)
		case 'w', 'W':
			b.WriteString(s.shownDir(text[i] == 'W'))
		case '$':
			if os.Geteuid() == 0 {
				b.WriteByte('#')
			} else {
				b.WriteByte('$')
			}
		case 't':
			b.WriteString(now.Format("15:04:05"))
		case 'A':
			b.WriteString(now.Format("15:04"))
		case 'd':
			b.WriteString(now.Format("Mon Jan _2"))
		case 'n':
			b.WriteByte('\n')
		case 'e':
			b.WriteByte(0x1b)
		case 's':
			b.WriteString(s.label())
		case '[':
			b.WriteString(promptHide)
		case ']':
			b.WriteString(promptShow)
		case '\\':
			b.WriteByte('\\')
		default:
			b.WriteString(text[i-1 : i+1])
		}
	}
	return b.String()
}

// shownDir is the working directory with "~" for home, or its last part.
func (s *shell) shownDir(last bool) string {
	dir, home := s.r.Dir, s.r.Vars["HOME"].String()
	if home != "" && home != "/" {
		if dir == home {
			return "~"
		}
		if rest, ok := strings.CutPrefix(dir, home+"/"); ok {
			dir = "~/" + rest
		}
	}
	if i := strings.LastIndexByte(dir, '/'); last && i >= 0 && len(dir) > 1 {
		dir = dir[i+1:]
	}
	return dir
}

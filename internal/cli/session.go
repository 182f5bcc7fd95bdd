// The user's side of a command that runs in the foreground: the terminal, its size and its
// signals. The command's output does not come by here: the supervisor writes it itself.

package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"tiffin/internal/container/client"
	"tiffin/internal/errs"
)

// terminal is the user's side of a command in the foreground: what is typed,
// the window, the signals. The command's output does not come by here.
type terminal struct {
	tty, input bool // -t, -i
	keys       detachKeys
	late       bool // the terminal is needed for something else before the command has started: --step

	name      string // of the container that goes on when this process goes; "": there is none
	unproxied bool   // signals are for this process: --sig-proxy=false
	attached  bool   // there is a controlling terminal

	giveUp      chan struct{} // closed when a signal ends what start is at: starting
	caught      chan struct{} // closed when signals come here
	restoreOnce sync.Once
	saved       *term.State // of the user's terminal while it is raw
	suspend     uint8       // the other character for Ctrl-Z: interruptible
}

// terminalOf returns that of a command with detachKeysFlag.
func terminalOf(c *cli.Context, tty, input bool) (*terminal, error) {
	keys, err := parseDetachKeys(c.String("detach-keys"))
	return &terminal{tty: tty, input: input, keys: detachKeys{keys: keys}}, err
}

// check fails if a terminal is asked for and the input is not a terminal.
func (t *terminal) check() error {
	if t.tty && t.input && !isTerminal(os.Stdin) {
		return errs.Hint(errors.New("the input device is not a TTY"), "leave -t away when the input comes from a file or a pipe")
	}
	return nil
}

// size is that of the user's window, 0 if it is not known.
func (t *terminal) size() (rows, cols uint16) {
	if t.tty {
		for fd := range 3 {
			if w, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ); err == nil {
				return w.Row, w.Col
			}
		}
	}
	return 0, 0
}

// raw makes the user's terminal hand on every key as it is: the container's
// terminal is the one that makes Ctrl-C a signal.
func (t *terminal) raw() {
	if !t.tty || !t.input {
		return
	}
	t.saved, _ = term.MakeRaw(int(os.Stdin.Fd()))
	t.interruptible(true)
}

// interruptible tells whether Ctrl-C is a signal for this process though the terminal is raw: while
// there is no terminal of the container yet. Ctrl-Z is none: termios(3).
func (t *terminal) interruptible(yes bool) {
	mode, err := unix.IoctlGetTermios(int(os.Stdin.Fd()), unix.TCGETS)
	if t.saved == nil || err != nil {
		return
	}
	mode.Lflag &^= unix.ISIG
	if yes {
		mode.Lflag |= unix.ISIG
	}
	mode.Cc[unix.VSUSP], t.suspend = t.suspend, mode.Cc[unix.VSUSP]
	_ = unix.IoctlSetTermios(int(os.Stdin.Fd()), unix.TCSETS, mode)
}

// errors is standard error for text that is printed while the terminal is raw: termios(3), without
// OPOST a line's end does not return the cursor.
func (t *terminal) errors() io.Writer {
	if t != nil && t.tty && t.input && isTerminal(os.Stderr) {
		return &plainText{to: lineEnds{os.Stderr}}
	}
	return stderr
}

type lineEnds struct{ w io.Writer }

func (e lineEnds) Write(b []byte) (int, error) {
	if _, err := e.w.Write(bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n"))); err != nil {
		return 0, err
	}
	return len(b), nil
}

// restore puts the terminal back as it was.
func (t *terminal) restore() {
	t.restoreOnce.Do(func() {
		if t.saved != nil {
			_ = term.Restore(int(os.Stdin.Fd()), t.saved)
		}
	})
}

// proxied are the signals that go to the command in the container. Not among
// them: those that cannot be caught, those about this process (CHLD, PIPE,
// URG, which Go's scheduler uses), and those of job control.
var proxied = []os.Signal{
	unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGABRT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM, unix.SIGTERM,
	unix.SIGCONT, unix.SIGWINCH, unix.SIGIO, unix.SIGPWR, unix.SIGXCPU, unix.SIGXFSZ, unix.SIGVTALRM,
}

// follow starts a command in the foreground and stays with it until it ends.
// The error it returns carries the command's exit status.
func (t *terminal) follow(start func() (*client.Session, error)) error {
	signals := make(chan os.Signal, 64)
	t.caught = make(chan struct{})
	go func() { // 50 µs for each, most of which one thread of Go waits for another
		signal.Notify(signals, proxied...)
		close(t.caught)
	}()
	defer t.restore()
	t.attached = hasTerminal()
	if t.tty { // nobody would restore it
		<-t.caught
	}
	if !t.late {
		t.raw()
	}
	s, err := t.starting(start, signals)
	<-t.caught
	if err != nil {
		return err
	}
	t.interruptible(false)
	left := make(chan error, 1) // the user, or a signal, ends it before the command does
	go t.guard(func() { left <- t.passSignals(s, signals) })
	if s.Stdin != nil && t.input {
		go t.guard(func() {
			if t.passInput(s) {
				left <- nil
			}
		})
	}
	ended := make(chan error, 1)
	go t.guard(func() {
		code, err := s.Wait()
		switch {
		case code == 0:
		case err == nil:
			err = exitStatus(code)
		default:
			err = errs.Code(err, code)
		}
		ended <- err
	})
	select {
	case err = <-ended:
	case err = <-left:
		if err == nil {
			err = s.Detach()
		} else if t.name != "" {
			t.restore()
			fmt.Fprintf(stderr, "tiffin: container %s goes on; `tiffin attach %s` is there again\n", t.name, t.name)
		}
	}
	t.restore()
	return err
}

// starting starts a command. That takes long if its image is unpacked first, or if somebody else is
// at that: a signal that would end the command has the start given up. What comes of the others,
// or too late, is left in signals.
func (t *terminal) starting(start func() (*client.Session, error), signals chan os.Signal) (*client.Session, error) {
	t.giveUp = make(chan struct{})
	started, early := make(chan struct{}), make(chan []os.Signal)
	fatal := syscall.Signal(0)
	go func() {
		var got []os.Signal
		for {
			select {
			case sig := <-signals:
				got = append(got, sig)
				n := sig.(syscall.Signal)
				if fatal == 0 && !t.late && (n == unix.SIGINT || n == unix.SIGTERM || n == unix.SIGHUP || n == unix.SIGQUIT) {
					fatal = n
					close(t.giveUp)
				}
			case <-started:
				early <- got
				return
			}
		}
	}()
	s, err := start()
	close(started)
	for _, sig := range <-early {
		select {
		case signals <- sig:
		default: // as signal.Notify does
		}
	}
	if err != nil && fatal != 0 {
		err = exitStatus(128 + int(fatal))
	}
	return s, err
}

// guard runs f, and gives the terminal back if f panics.
func (t *terminal) guard(f func()) {
	defer func() {
		if r := recover(); r != nil {
			t.restore()
			panic(r)
		}
	}()
	f()
}

// hasTerminal tells whether there is a controlling terminal: tty(4). It is gone when it is closed.
func hasTerminal() bool {
	f, err := os.Open("/dev/tty")
	if err == nil {
		f.Close()
	}
	return err == nil
}

// passSignals hands signals on. With a terminal only changes of the window's size are handed on:
// keys like Ctrl-C are characters then, and any other signal is meant for this process, which ends.
// So is SIGHUP of a terminal that was closed.
func (t *terminal) passSignals(s *client.Session, signals <-chan os.Signal) error {
	interrupts := 0
	for sig := range signals {
		n := sig.(syscall.Signal)
		switch {
		case n == unix.SIGWINCH:
			t.resize(s)
		case (t.saved != nil || t.unproxied) && n != unix.SIGCONT, n == unix.SIGHUP && t.attached && !hasTerminal():
			return exitStatus(128 + int(n))
		default:
			_ = s.Signal(n)
			if n == unix.SIGINT || n == unix.SIGTERM {
				interrupts++
			}
			if interrupts == 3 {
				// docker's rule. Process 1 without a handler ignores all but
				// SIGKILL, pid_namespaces(7).
				_ = s.Signal(unix.SIGKILL)
			}
		}
	}
	return nil
}

func (t *terminal) resize(s *client.Session) {
	if !t.tty || s.Stdin == nil {
		return
	}
	if rows, cols := t.size(); rows > 0 {
		_ = unix.IoctlSetWinsize(int(s.Stdin.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols})
	}
}

// passInput writes what is typed, or comes through a pipe, to the command. It
// returns true if the user typed the keys to leave.
func (t *terminal) passInput(s *client.Session) (leave bool) {
	if !t.tty {
		_, _ = io.CopyBuffer(struct{ io.Writer }{s.Stdin}, struct{ io.Reader }{os.Stdin}, make([]byte, 64<<10))
		s.Stdin.Close()
		return false
	}
	in := make(chan []byte)
	go func() {
		defer close(in)
		for {
			b := make([]byte, 4096)
			n, err := os.Stdin.Read(b)
			in <- b[:n]
			if err != nil {
				return
			}
		}
	}()
	for {
		var late <-chan time.Time
		if t.keys.held() {
			late = time.After(detachDelay)
		}
		var out []byte
		leave, more := false, true
		select {
		case b, ok := <-in:
			if more = ok; ok {
				out, leave = t.keys.filter(b)
			}
		case <-late:
			out = t.keys.release()
		}
		if _, err := s.Stdin.Write(out); err != nil || !more {
			return false
		}
		if leave {
			return true
		}
	}
}

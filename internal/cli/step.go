// The flag --step of run: the runner waits after each step, and offers a shell in the container as
// far as it has been built.

package cli

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"tiffin/image/store"
	"tiffin/internal/container/client"
	"tiffin/internal/errs"
	"tiffin/internal/programs"
	"tiffin/ns"
)

func stepFlag() cli.Flag {
	return newOptionalFlag("step", "as --explain, and wait after each step, where you can look around in a shell; =`NAME`: only after that one")
}

func predictFlag() cli.Flag {
	return &cli.BoolFlag{Name: "predict", Usage: "as --step, and ask first what a command will print after the step"}
}

// stepper is an explainer that waits after each step: --step.
type stepper struct {
	*explainer
	t       *terminal // of the command, nil if it runs in the background; not raw before the last step
	only    string    // the step to stop at; "": at each
	predict bool
	running bool // no more stops
	signals chan os.Signal
}

// newStepper returns what --step and --explain ask for, as client.StartOptions has it: nil for
// neither.
func newStepper(c *cli.Context, t *terminal) (func(*ns.Spec, ns.Report, *client.Pause) error, error) {
	only, ok := optionalValue(c, "step")
	if !ok && !c.Bool("predict") {
		return newExplainer(c, t.errors()).teller(), nil
	}
	if format, _ := optionalValue(c, "explain"); format == "json" {
		return nil, errs.Code(errors.New("--step and --predict wait for a person, and --explain=json is for programs"), exitUsage)
	}
	if !isTerminal(os.Stdin) || !isTerminal(os.Stderr) {
		return nil, errs.Code(errs.Hint(errors.New("--step and --predict need a terminal: standard input and standard error"),
			"`tiffin run --explain` tells of the steps without waiting"), exitUsage)
	}
	if t != nil {
		t.late = true
	}
	s := &stepper{explainer: &explainer{w: stderr, steps: ns.Steps()}, t: t, only: only, predict: c.Bool("predict")}
	if i := s.number(only) - 1; only != "" && (i < 0 || s.steps[i].Where == "exec") {
		return nil, errs.Code(errs.Hint(fmt.Errorf("--step: a start has no step %q", only), "`tiffin explain` lists them"), exitUsage)
	}
	return s.at, nil
}

// at tells of a step and waits.
func (s *stepper) at(spec *ns.Spec, r ns.Report, p *client.Pause) error {
	if s.only != "" && s.only != r.Step {
		s.last(r)
		return nil
	}
	if s.signals == nil {
		s.signals = make(chan os.Signal, 1)
		signal.Notify(s.signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	}
	if err := s.told(spec, r, p); err != nil {
		return err
	}
	for !s.running {
		fmt.Fprintf(stderr, "[%d/%d %s] Enter: go on, s: shell, c: no more stops, q: give up > ", r.N, len(s.steps), r.Step)
		switch s.ask() {
		case "":
			fmt.Fprintln(stderr)
			s.last(r)
			return nil
		case "s":
			if err := s.shell(spec, r, p); err != nil {
				printError(stderr, err)
			}
		case "c":
			s.running = true
		case "q", "end":
			return s.givenUp(r)
		}
	}
	s.last(r)
	return nil
}

func (s *stepper) givenUp(r ns.Report) error {
	return errs.Code(fmt.Errorf("given up after step %d, %s", r.N, r.Step), exitUsage)
}

// last gives the keyboard to the command, which is what comes next.
func (s *stepper) last(r ns.Report) {
	if r.N == len(s.steps) {
		if s.signals != nil {
			signal.Stop(s.signals)
		}
		if s.t != nil {
			s.t.raw()
		}
	}
}

// ask reads a line. It returns "end" at the end of the input, or when a signal came.
func (s *stepper) ask() string {
	line := make(chan string, 1)
	go func() {
		// One read(2) is one line of a terminal, and no more is taken from the command:
		// termios(3), "Canonical mode".
		var b [256]byte
		n, err := os.Stdin.Read(b[:])
		if err != nil {
			line <- "end"
			return
		}
		line <- strings.TrimSpace(string(b[:n]))
	}()
	select {
	case answer := <-line:
		return answer
	case <-s.signals:
		fmt.Fprintln(stderr)
		return "end"
	}
}

// shell shows a shell that the supervisor runs. It has a pseudo terminal of its own, because this
// one cannot be the controlling terminal of two sessions: credentials(7), "Sessions".
func (s *stepper) shell(spec *ns.Spec, r ns.Report, p *client.Pause) error {
	return s.inShell(spec, r, p, func(master, over *os.File) error {
		fmt.Fprintln(stderr, "`exit`, or Ctrl-D, comes back here.")
		saved, err := term.MakeRaw(0)
		if err != nil {
			return err
		}
		defer func() { _ = term.Restore(0, saved) }()
		relay(master, over)
		return nil
	})
}

// inShell runs a shell in the container as far as it has been built, and meanwhile do with the
// other side of its terminal, and a descriptor that comes to its end when the shell has ended.
func (s *stepper) inShell(spec *ns.Spec, r ns.Report, p *client.Pause, do func(master, over *os.File) error, args ...string) error {
	userland, err := programs.Find(programs.Userland)
	if err != nil {
		return fmt.Errorf("start a shell: %w", err)
	}
	root, err := store.DefaultRoot()
	if err != nil {
		return err
	}
	program, err := userland.Open(root)
	if err != nil {
		return err
	}
	defer program.Close()
	master, slave, err := openPTY()
	if err != nil {
		return err
	}
	defer master.Close()
	defer slave.Close()
	path := os.Getenv("PATH")
	if r.N > s.number("pivot") {
		path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	}
	env := []string{"PATH=" + path, "HOME=/", "TERM=" + os.Getenv("TERM"), "ROOT=" + spec.Root.Target,
		fmt.Sprintf("PS1=%d %s# ", r.N, r.Step)}
	ended := make(chan error, 1)
	over, wake, err := os.Pipe()
	if err != nil {
		return err
	}
	defer over.Close()
	go func() {
		ended <- p.Shell(program, slave, env, args...)
		wake.Close()
	}()
	if err := do(master, over); err != nil {
		return err
	}
	return <-ended
}

// number is that of a step.
func (s *stepper) number(name string) int {
	for i := range s.steps {
		if s.steps[i].Name == name {
			return i + 1
		}
	}
	return 0
}

// openPTY opens a pseudo terminal: pts(4), ioctl_tty(2).
func openPTY() (master, slave *os.File, err error) {
	m, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("open a pseudo terminal: /dev/ptmx: %w", err)
	}
	if err := unix.IoctlSetPointerInt(m, unix.TIOCSPTLCK, 0); err != nil {
		unix.Close(m)
		return nil, nil, fmt.Errorf("open a pseudo terminal: TIOCSPTLCK: %w", err)
	}
	n, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(m), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		unix.Close(m)
		return nil, nil, fmt.Errorf("open a pseudo terminal: TIOCGPTPEER: %w", errno)
	}
	return os.NewFile(uintptr(m), "ptmx"), os.NewFile(n, "pts"), nil
}

// relay copies between the user's terminal and master until the other end of over is closed. It
// takes nothing from the terminal after that: what is typed then is for the next reader.
func relay(master, over *os.File) {
	fds := []unix.PollFd{{Fd: 0, Events: unix.POLLIN}, {Fd: int32(master.Fd()), Events: unix.POLLIN}, {Fd: int32(over.Fd()), Events: unix.POLLIN}}
	var b [4096]byte
	for {
		if w, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ); err == nil {
			_ = unix.IoctlSetWinsize(int(fds[1].Fd), unix.TIOCSWINSZ, w) // no signal if it is as it was
		}
		if _, err := unix.Poll(fds, -1); err != nil && err != unix.EINTR {
			return
		}
		switch {
		case fds[1].Revents&unix.POLLIN != 0: // all of it, before the end is looked at
			n, err := unix.Read(int(fds[1].Fd), b[:])
			if err == nil {
				_, _ = os.Stderr.Write(b[:n])
			}
		case fds[2].Revents != 0:
			return
		case fds[0].Revents != 0:
			n, err := unix.Read(0, b[:])
			if n <= 0 || err != nil {
				return
			}
			_, _ = master.Write(b[:n])
		}
	}
}

// The builtin trap: what is done when a signal comes or the shell ends.

package sh

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"mvdan.cc/sh/v3/interp"

	"tiffin/userland/box"
	sigs "tiffin/userland/sig"
)

// trapTable has what "trap" set for signals. The interpreter itself only knows
// EXIT and ERR.
type trapTable struct {
	s        *shell
	mu       sync.Mutex
	actions  map[syscall.Signal]string
	pending  []syscall.Signal
	atExit   string // for listing, and to keep the process until then
	onErr    string
	ch       chan os.Signal
	inAction bool
}

func (t *trapTable) init(s *shell) {
	t.s = s
	t.actions = map[syscall.Signal]string{}
	// Caught, because it is for one stage of a pipeline, and all stages are in this process.
	if !sigs.Ignored(syscall.SIGPIPE) {
		t.listen(syscall.SIGPIPE)
	}
}

// endsBy tells whether a signal ends the shell: it is neither ignored nor trapped.
func (t *trapTable) endsBy(sig syscall.Signal) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, trapped := t.actions[sig]
	return !trapped && !sigs.Ignored(sig)
}

// any tells whether a trap is set.
func (t *trapTable) any() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.actions) > 0 || t.atExit != ""
}

// first is the first signal whose trap is due, 0 if none is.
func (t *trapTable) first() syscall.Signal {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.pending) == 0 || t.inAction {
		return 0
	}
	return t.pending[0]
}

// listen has the signal delivered to us.
func (t *trapTable) listen(list ...os.Signal) {
	if t.ch == nil {
		t.ch = make(chan os.Signal, 16)
		go t.receive()
	}
	sigs.Notify(t.ch, list...)
}

// receive notes signals, and wakes up who waits. An interrupt without a trap
// stops what an interactive shell is doing.
func (t *trapTable) receive() {
	for sig := range t.ch {
		n := sig.(syscall.Signal)
		t.mu.Lock()
		_, trapped := t.actions[n]
		if trapped {
			t.pending = append(t.pending, n)
		}
		t.mu.Unlock()
		if !trapped && n == syscall.SIGINT {
			t.s.controlC()
		}
		t.s.jobs.mu.Lock()
		t.s.jobs.cond.Broadcast()
		t.s.jobs.mu.Unlock()
	}
}

// run runs the actions that are due. The error is not nil if an action ended
// the shell or the function.
func (t *trapTable) run(ctx context.Context, hc interp.HandlerContext) error {
	for {
		sig := t.first()
		if sig == 0 {
			return nil
		}
		t.mu.Lock()
		t.pending = t.pending[1:]
		action := t.actions[sig]
		t.inAction = true
		t.mu.Unlock()
		// ":" at the end makes the status 0 unless the action leaves by exit or return.
		err := hc.Builtin(ctx, []string{"eval", rewriteText(action) + "\n:"})
		t.mu.Lock()
		t.inAction = false
		t.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

// await waits until a signal that this process has just sent itself has come
// in, so that its trap runs before the next command.
func (t *trapTable) await(sig syscall.Signal) {
	t.mu.Lock()
	action := t.actions[sig]
	t.mu.Unlock()
	for i := 0; action != "" && t.first() == 0 && i < 100; i++ {
		time.Sleep(time.Millisecond)
	}
}

// beforeExec gives ignored signals that were ours alone back.
func (t *trapTable) beforeExec() {
	if t.s.jobs.tty >= 0 {
		signal.Reset(syscall.SIGTTOU)
	}
}

// builtinTrap is "trap [-lp] [ACTION] [SIGNAL...]": POSIX, 2.14, trap.
func (s *shell) builtinTrap(ctx context.Context, hc interp.HandlerContext, args []string) error {
	if len(args) > 0 && args[0] == "-l" {
		fmt.Fprint(hc.Stdout, box.SignalList())
		return nil
	}
	if len(args) > 0 && (args[0] == "--" || args[0] == "-p") {
		args = args[1:]
	}
	if len(args) == 0 {
		s.traps.print(hc)
		return nil
	}
	action, set := args[0], true
	_, isSignal := box.Signal(args[0])
	if len(args) == 1 || isSignal && args[0] != "" && args[0][0] >= '0' && args[0][0] <= '9' {
		set = false // only signals: back to the default
	} else {
		args = args[1:]
		if action == "-" {
			set = false
		}
	}
	status := 0
	for _, name := range args {
		name = strings.TrimPrefix(strings.ToUpper(name), "SIG")
		if name == "0" {
			name = "EXIT"
		}
		if name == "EXIT" || name == "ERR" {
			if err := s.traps.setSpecial(ctx, hc, name, action, set); err != nil {
				return err
			}
			continue
		}
		sig, ok := box.Signal(name)
		if !ok || sig == 0 {
			fmt.Fprintf(hc.Stderr, "trap: %s: no such signal\n", name)
			status = 1
			continue
		}
		s.traps.set(sig, action, set)
	}
	if status != 0 {
		return interp.ExitStatus(status)
	}
	return nil
}

// setSpecial passes EXIT and ERR on to the interpreter.
func (t *trapTable) setSpecial(ctx context.Context, hc interp.HandlerContext, name, action string, set bool) error {
	if !set {
		action = ""
	}
	if name == "EXIT" {
		t.atExit = action
	} else {
		t.onErr = action
	}
	if !set {
		action = "-"
	}
	return hc.Builtin(ctx, []string{"trap", "--", rewriteText(action), name})
}

func (t *trapTable) set(sig syscall.Signal, action string, set bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.actions, sig)
	switch {
	case !set && t.s.keeps(sig):
		t.listen(sig)
	case !set:
		signal.Reset(sig)
		sigs.Default(sig)
	case action == "":
		signal.Ignore(sig)
		t.actions[sig] = ""
	default:
		t.actions[sig] = action
		t.listen(sig)
	}
}

func (t *trapTable) print(hc interp.HandlerContext) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.atExit != "" {
		fmt.Fprintf(hc.Stdout, "trap -- %s EXIT\n", quote(t.atExit))
	}
	if t.onErr != "" {
		fmt.Fprintf(hc.Stdout, "trap -- %s ERR\n", quote(t.onErr))
	}
	var list []syscall.Signal
	for sig := range t.actions {
		list = append(list, sig)
	}
	slices.Sort(list)
	for _, sig := range list {
		fmt.Fprintf(hc.Stdout, "trap -- %s %s\n", quote(t.actions[sig]), box.SignalName(sig))
	}
}

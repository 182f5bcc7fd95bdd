// The shell of run --step: it runs in the half-built container while the start waits.

package ns

import (
	"os"

	"golang.org/x/sys/unix"
)

// Shell runs a shell in a container whose start waits at a step: in the namespaces and with the
// mounts that have been made so far, and with the user, capabilities and filter of the command, as
// far as the steps have set them. It is the helper of `tiffin exec`, stopped early.
type Shell struct {
	Program *os.File // is executed as "sh"
	Init    *Child   // nil after the first step: the supervisor's namespaces are all there is
	Spec    *Spec
	Done    int      // number of the last step that was done
	TTY     *os.File // for standard input, output and error; it becomes the controlling terminal
	Env     []string
	Args    []string // of the shell; none: it reads from the terminal
}

// Run returns when the shell has ended.
func (s *Shell) Run() error {
	p := s.Spec.Process
	p.Args, p.Env, p.Terminal, p.Rlimits = append([]string{"sh"}, s.Args...), s.Env, true, withFiles(p.Rlimits)
	p.RootEmulation = false // nobody would answer
	spec := execSpec{Process: p, IDs: s.Spec.IDs, Without: s.Spec.Without, Until: s.Done}
	// Opened before the container's tree, which may have no shell, comes into view; and protected,
	// so that no process there can write to it.
	exe, err := protect(pathOf(s.Program))
	if err != nil {
		return err
	}
	defer exe.Close()
	var container *os.File
	if s.Init != nil {
		container, spec.Flags = s.Init.pidfd, s.Init.flags
	}
	if s.Done >= stepNumber("control-group") {
		spec.Cgroup = s.Spec.Cgroup
	} else if s.Spec.Cgroup != nil {
		spec.Flags &^= unix.CLONE_NEWCGROUP // it comes with that step
	}
	c, err := spec.run([3]*os.File{s.TTY, s.TTY, s.TTY}, container, exe, nil, nil)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Wait()
	return err
}

// reached tells whether a step of the exec helper is done: all are, unless a shell is to see the
// container as it is after step number until. i counts from 0, until from 1.
func (b *builder) reached(i int, s *Step) bool {
	switch {
	case b.until == 0:
		return true
	case s.Name == "join":
		return b.joinFlags != 0
	}
	return i < b.until && s.Name != "terminal" && s.Name != "exec"
}

// runShell, the last step in that case, executes the program at descriptor shell.
func (b *builder) runShell(shell int) error {
	resetSignals()
	if err := b.send(&message{Op: opReady}); err != nil {
		return err
	}
	return b.accompany(procFD(shell), b.proc.Env, shell)
}

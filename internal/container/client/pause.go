// A start that waits between two steps: run --step.

package client

import (
	"os"

	"tiffin/internal/container/control"
)

// Pause is a start that waits after a step, for as long as StartOptions.Explain does not return.
type Pause struct {
	conn *control.Conn
	done int // number of the step
}

// Shell runs a shell in the container as far as it has been built, and returns when the shell has
// ended. tty is its terminal, env are variables for it, and args its arguments, if any.
func (p *Pause) Shell(program, tty *os.File, env []string, args ...string) error {
	_, err := p.conn.Call(&control.Message{Op: control.OpShell, Shell: &control.Shell{Done: p.done, Env: env, Args: args}, Files: []*os.File{tty, program}})
	return err
}

// Whether a container that has ended is started again: its policy, and who sees to it.

package disk

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"tiffin/internal/errs"
)

// Restart is when a container that has ended is started again: docker-run(1), "--restart".
type Restart struct {
	Policy string `json:"policy,omitempty"` // "" = never
	Max    int    `json:"max,omitempty"`    // of RestartOnFailure: starts in all, 0 = no limit
}

// What Restart.Policy can be besides "". Nothing of tiffin runs when the machine comes up, so that
// two of them are the same.
const (
	RestartOnFailure     = "on-failure"
	RestartAlways        = "always"
	RestartUnlessStopped = "unless-stopped"
)

// ParseRestart reads "no", "always", "unless-stopped", "on-failure" and "on-failure:NUMBER".
func ParseRestart(s string) (r Restart, err error) {
	policy, limit, limited := strings.Cut(s, ":")
	if limited {
		r.Max, err = strconv.Atoi(limit)
	}
	switch policy {
	case RestartOnFailure:
		r.Policy = policy
	case RestartAlways, RestartUnlessStopped:
		r.Policy = policy
		if limited {
			err = errors.New("only on-failure has a number")
		}
	case "no", "":
		if limited {
			err = errors.New("only on-failure has a number")
		}
	default:
		err = errors.New("there is no such policy")
	}
	if err != nil || r.Max < 0 {
		return r, errs.Hint(fmt.Errorf("--restart %s cannot be read", s), "use no, on-failure, on-failure:NUMBER, unless-stopped or always")
	}
	return r, nil
}

// SetRestart changes the policy, also of a container that runs.
func (c *Container) SetRestart(r Restart) error {
	c.Restart = r
	if err := c.writeConfig(); err != nil {
		return fmt.Errorf("update container %s: %w", c.Name, err)
	}
	return nil
}

// keeperName is a file that is there for as long as somebody, its keeper, starts the container
// again when it has ended. To delete it needs no room on a disk that is full.
const keeperName = "keeper"

// Keep makes the caller the container's keeper, in place of one that there was.
func (c *Container) Keep() (*os.File, error) {
	c.Forsake()
	f, err := os.OpenFile(c.Path(keeperName), os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("keep container %s: %w", c.Name, err)
	}
	return f, nil
}

// Forsake has the container stay as it is when it has ended: it was stopped.
func (c *Container) Forsake() { _ = os.Remove(c.Path(keeperName)) }

// Kept tells whether the container has a keeper; whether it is the one with this file, if f is not
// nil.
func (c *Container) Kept(f *os.File) bool {
	there, err := os.Lstat(c.Path(keeperName))
	if err != nil || f == nil {
		return err == nil
	}
	mine, err := f.Stat()
	return err == nil && os.SameFile(mine, there)
}

// Again tells whether the container, which has ended as s says, is to be started again.
func (c *Container) Again(s State) bool {
	if !c.Kept(nil) {
		return false
	}
	now, err := Open(c.dir) // the policy may have been changed while it ran
	if err != nil {
		return false
	}
	switch r := now.Restart; r.Policy {
	case RestartAlways, RestartUnlessStopped:
		return true
	case RestartOnFailure:
		return s.ExitCode != 0 && (r.Max == 0 || s.Restarts < r.Max)
	}
	return false
}

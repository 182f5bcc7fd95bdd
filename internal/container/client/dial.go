// A connection to the supervisor of a container that runs.

package client

import (
	"errors"
	"fmt"
	"os"
	"time"

	"tiffin/internal/container/control"
	"tiffin/internal/container/disk"
)

// ErrNotRunning is wrapped by errors that say that a container does not run.
var ErrNotRunning = errors.New("is not running")

// dial connects to the container's supervisor.
func dial(c *disk.Container) (*control.Conn, error) {
	dir, err := os.Open(c.Dir())
	if err != nil {
		return nil, fmt.Errorf("%w: %s", disk.ErrNotFound, c.Name)
	}
	defer dir.Close()
	// A running container whose lock is free has lost its supervisor; one
	// whose lock is held and that does not listen yet is just starting.
	limit := 2 * time.Second
	for begun := time.Now(); ; time.Sleep(2 * time.Millisecond) {
		conn, err := control.Dial(dir)
		if err == nil {
			return conn, nil
		}
		if s, e := c.ReadState(); e == nil && s.Status == disk.Restarting {
			limit = patience // its keeper starts it, or answers
		}
		if !c.Locked() || time.Since(begun) > limit {
			return nil, fmt.Errorf("container %s %w", c.Name, ErrNotRunning)
		}
	}
}

// Whether a container works, as its healthcheck says: what is asked, and the file health.json with
// the answers. The supervisor alone writes it, and replaces it as a whole.

package disk

import (
	"cmp"
	"encoding/json"
	"os"
	"slices"
	"time"
)

// Healthcheck is a command in the container whose exit status says whether it works: docker's
// image specification, "Healthcheck". Zero values stand for the defaults.
type Healthcheck struct {
	Test          []string      // ["CMD", word, …] or ["CMD-SHELL", line]
	Interval      time.Duration `json:",omitempty"` // nanoseconds between two
	Timeout       time.Duration `json:",omitempty"` // nanoseconds that one may take
	StartPeriod   time.Duration `json:",omitempty"` // nanoseconds in which failures do not count at first
	StartInterval time.Duration `json:",omitempty"` // nanoseconds between two in that time
	Retries       int           `json:",omitempty"` // failures one after the other that make it unhealthy
}

// WithDefaults fills in docker's defaults: the Dockerfile reference, "HEALTHCHECK".
func (h Healthcheck) WithDefaults() Healthcheck {
	h.Interval, h.Timeout = cmp.Or(h.Interval, 30*time.Second), cmp.Or(h.Timeout, 30*time.Second)
	h.StartInterval, h.Retries = cmp.Or(h.StartInterval, 5*time.Second), cmp.Or(h.Retries, 3)
	return h
}

// Args is the command. shell is what runs a line, nil for sh -c.
func (h *Healthcheck) Args(shell []string) []string {
	if h.Test[0] == "CMD" {
		return h.Test[1:]
	}
	if len(shell) == 0 {
		shell = []string{"/bin/sh", "-c"}
	}
	return append(slices.Clone(shell), h.Test[1:]...)
}

// What Health.Status can be.
const (
	HealthStarting = "starting"
	Healthy        = "healthy"
	Unhealthy      = "unhealthy"
)

// Health is what the checks have found, in docker's words.
type Health struct {
	Status        string
	FailingStreak int            // failures since the last success, as far as they count
	Log           []HealthResult // the last ones, the newest at the end
}

// HealthResult is the outcome of one check.
type HealthResult struct {
	Start, End time.Time
	ExitCode   int    // -1: it could not be run, or took too long
	Output     string // the beginning of it
}

// WriteHealth records what the checks have found.
func (c *Container) WriteHealth(h Health) error { return ReplaceJSON(c.Path("health.json"), h) }

// Health is what the checks have found in the container's last run; nil without a healthcheck, and
// before the first run.
func (c *Container) Health() *Health {
	if c.Healthcheck == nil {
		return nil
	}
	h := new(Health)
	b, err := os.ReadFile(c.Path("health.json"))
	if err != nil || json.Unmarshal(b, h) != nil {
		return nil
	}
	return h
}

// The healthcheck: a command that is run in the container again and again, as `tiffin exec` would.
// What becomes of it never ends the container. Without a healthcheck there is nothing that wakes
// up.

package supervisor

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"tiffin/internal/container/disk"
	"tiffin/ns"
)

// What is kept of the checks: docker's numbers.
const (
	healthResults = 5
	healthOutput  = 4 << 10 // bytes of each
)

// eager is when a container is asked first, and then after twice that time and so on: one that
// works is known to before its first interval is over, as docker does not have it. Failures before
// that do not count.
const eager = 250 * time.Millisecond

// watchHealth runs the container's healthcheck until it ends.
func (s *supervisor) watchHealth() {
	if s.c.Healthcheck == nil {
		return
	}
	check := s.c.Healthcheck.WithDefaults()
	health, begun, soon := disk.Health{Status: disk.HealthStarting}, time.Now(), eager
	due := begun.Add(check.Interval) // the next one that counts
	for {
		wait := time.Until(due)
		if health.Status == disk.HealthStarting {
			wait, soon = min(wait, soon), 2*soon
			if time.Since(begun) < check.StartPeriod {
				wait = min(wait, check.StartInterval)
			}
		}
		select {
		case <-s.ended:
			return
		case <-time.After(wait):
		}
		if s.isPaused() {
			continue
		}
		result, err := s.checkHealth(&check)
		if err != nil {
			select {
			case <-s.ended: // there is nothing left to be asked
				return
			case <-time.After(execGrace):
			}
			result.ExitCode, result.Output = -1, err.Error()
		}
		s.paused.RLock()     // there is no news of a container that is paused
		if s.resume == nil { // else it could not answer
			early := result.Start.Before(due)
			judge(&health, &check, result, early || result.Start.Sub(begun) < check.StartPeriod)
			if !early || health.Status != disk.HealthStarting {
				due = result.End.Add(check.Interval)
			}
			s.recordHealth(health)
		}
		s.paused.RUnlock()
	}
}

func (s *supervisor) isPaused() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.Paused
}

// judge adds the result of a check, whose failure counts or not while the container is starting:
// the Dockerfile reference, "HEALTHCHECK".
func judge(h *disk.Health, check *disk.Healthcheck, r disk.HealthResult, young bool) {
	h.Log = append(h.Log, r)
	h.Log = h.Log[max(0, len(h.Log)-healthResults):]
	switch {
	case r.ExitCode == 0:
		h.Status, h.FailingStreak = disk.Healthy, 0
	case h.Status == disk.HealthStarting && young:
	default:
		if h.FailingStreak++; h.FailingStreak >= check.Retries {
			h.Status = disk.Unhealthy
		}
	}
}

// checkHealth runs the command once.
func (s *supervisor) checkHealth(check *disk.Healthcheck) (r disk.HealthResult, err error) {
	r.Start = time.Now().UTC()
	defer func() { r.End = time.Now().UTC() }()
	from, to, err := os.Pipe()
	if err != nil {
		return r, fmt.Errorf("make a pipe: %w", err)
	}
	defer from.Close()
	p := s.c.Process(s.ids)
	s.bound(&p)
	p.Args, p.Terminal = check.Args(s.c.Shell), false
	child, err := s.runExec(&ns.Exec{Container: s.child, IDs: s.ids, Process: p, Stdio: [3]*os.File{nil, to, to}, Without: s.c.Without, Emulate: s.emulate})
	to.Close()
	if err != nil {
		return r, err
	}
	defer child.Close()
	output := make(chan string)
	go func() { output <- beginning(from, healthOutput) }()
	ended := make(chan int)
	go func() {
		status, _ := child.Wait()
		ended <- status
	}()
	select {
	case r.ExitCode = <-ended:
	case <-time.After(check.Timeout):
		child.KillGroup()
		<-ended
		r.ExitCode = -1
	}
	// What it has left behind may hold its output open for ever.
	_ = from.SetReadDeadline(time.Now().Add(execGrace))
	r.Output = <-output
	if r.ExitCode == -1 {
		r.Output = strings.TrimPrefix(r.Output+"\n", "\n") + fmt.Sprintf("Health check exceeded timeout (%v)", check.Timeout)
	}
	return r, nil
}

// beginning reads to the end and returns the first n bytes.
func beginning(r io.Reader, n int64) string {
	var b strings.Builder
	_, _ = io.CopyN(&b, r, n)
	if more, _ := io.Copy(io.Discard, r); more > 0 {
		b.WriteString("...")
	}
	return strings.ToValidUTF8(b.String(), "\uFFFD")
}

// How a script of a lab is run: its environment, its time limit, and what ends with it.

package tutorial

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Runner runs the scripts of labs.
type Runner struct {
	Binary string        // the tiffin that the scripts use
	Limit  time.Duration // that one script may take
	Env    []string      // beyond this process's own: TIFFIN_ROOT of a test
}

const (
	// DefaultLimit is far more than any check takes, on the slowest machine.
	DefaultLimit = 2 * time.Minute
	// grace is the time between SIGTERM and SIGKILL.
	grace = 2 * time.Second
	// maxOutput is what a script may print, in bytes: it is looked at a few
	// times a second, so a script that prints without end stops a little later.
	maxOutput = 8 << 20
)

// Variables that mark the processes of a lab, so that none gets away: all that
// a script starts inherits them, also what leaves its session.
const (
	labVariable = "TIFFIN_LAB"     // = the work directory: until reset
	runVariable = "TIFFIN_LAB_RUN" // = one run of one script
)

// bench is a lab laid out for its scripts, in a private temporary directory:
//
//	bin/tiffin → this very program      lib.sh      lab/ without the answers      tmp/ = $TMPDIR
type bench struct {
	*Runner
	lab       *Lab
	dir, work string
	seed      string
	stage     int      // the one to be checked, 0: all
	start     *Start   // what setup.sh has made, once it has run
	held      *os.File // the lock on dir, or nil
}

// answers are the files of a lab that are not laid out: what passes and what does not is nowhere
// near a student's program that a check runs.
var answers = []string{"solution.sh", "reference", "wrong", "hints.txt", "claims.txt", "README"}

// set makes a bench for a lab and a student's work directory.
func (r *Runner) set(l *Lab, work, seed string) (b *bench, err error) {
	b = &bench{Runner: r, lab: l, work: work, seed: seed}
	if b.dir, b.held, err = makeTemp(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			b.clear()
		}
	}()
	lib, err := builtin.ReadFile("lib.sh")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(b.dir, "lib.sh"), lib, 0o644); err != nil {
		return nil, err
	}
	for _, d := range []string{"bin", "tmp"} {
		if err := os.Mkdir(filepath.Join(b.dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	if err := os.Symlink(r.Binary, filepath.Join(b.dir, "bin/tiffin")); err != nil {
		return nil, err
	}
	lab := filepath.Join(b.dir, "lab")
	if err := os.CopyFS(lab, l.files); err != nil {
		return nil, err
	}
	for _, name := range append(l.Languages(), answers...) {
		if err := os.RemoveAll(filepath.Join(lab, name)); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func (b *bench) clear() {
	_ = removeAll(b.dir)
	b.held.Close() // nil has a Close too
}

// environ is what the scripts see, besides what this process does.
func (b *bench) environ(run string) []string {
	set := append([]string{
		"LAB=" + filepath.Join(b.dir, "lab"), "WORK=" + b.work, "SEED=" + b.seed, "P=" + b.lab.prefix(), "STAGE=" + strconv.Itoa(b.stage),
		"PATH=" + filepath.Join(b.dir, "bin") + ":" + os.Getenv("PATH"), "TMPDIR=" + filepath.Join(b.dir, "tmp"),
		"LC_ALL=C", "CDPATH=", "PWD=" + b.work, labVariable + "=" + b.work, runVariable + "=" + run,
	}, b.Env...)
	return append(os.Environ(), set...) // the last of two wins: package exec
}

// prelude is what every script has read before it begins: the token of its report from standard
// input, lib.sh and values.sh.
const prelude = `read -r _token; exec </dev/null; . "$0"; if [ -f "$LAB/values.sh" ]; then . "$LAB/values.sh"; fi; `

// output is what a script left.
type output struct {
	records []Check
	forged  bool   // others wrote records, too
	text    string // what it printed, the end of it
}

// script runs one of the lab's own scripts, guarded: see lib.sh.
func (b *bench) script(ctx context.Context, name string) (*output, error) {
	if err := os.WriteFile(filepath.Join(b.dir, "made"), b.start.lines(), 0o644); err != nil {
		return nil, err
	}
	return b.shell(ctx, name, prelude+`guard; . "$LAB/$1"`, name)
}

// answer runs the solution or a wrong answer, as a student would type it. Only it sees the whole
// lab.
func (b *bench) answer(ctx context.Context, name string) (*output, error) {
	whole := filepath.Join(b.dir, "whole")
	defer func() { _ = removeAll(whole) }()
	if err := os.CopyFS(whole, b.lab.files); err != nil {
		return nil, err
	}
	return b.shell(ctx, name, prelude+`LAB=$1; . "$1/$2"`, whole, name)
}

// shell runs `sh -eu -c code lib.sh args…` in the work directory and waits for
// it. An error is the lab's: it is broken.
func (b *bench) shell(ctx context.Context, name, code string, args ...string) (*output, error) {
	text, err := os.CreateTemp(b.dir, "output-")
	if err != nil {
		return nil, err
	}
	defer text.Close()
	report, err := newReport()
	if err != nil {
		return nil, err
	}
	defer report.close()

	run := rand.Text()
	cmd := exec.Command("sh", append([]string{"-eu", "-c", code, filepath.Join(b.dir, "lib.sh")}, args...)...)
	cmd.Dir, cmd.Env = b.work, b.environ(run)
	if _, err := os.Stat(b.work); err != nil {
		cmd.Dir = b.dir // values.sh alone, of a lab that is not started
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = strings.NewReader(report.token+"\n"), text, text, []*os.File{report.script}
	// A process group of its own, to be ended as one: setpgid(2).
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("run the lab's %s: %w", name, err)
	}
	why := b.wait(ctx, cmd, text, func() { b.removeRunning(runVariable, run) })
	if why != nil || name == "check.sh" {
		b.sweep(runVariable, run) // what a check starts ends with it
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("interrupted: %s was ended", name)
	}
	out := &output{text: tail(text)}
	if why == nil {
		if out.records, why = report.read(); errors.Is(why, errForged) {
			out.forged, why = true, nil
		}
	}
	if why != nil {
		return out, broken(b.lab, name, why, out.text)
	}
	return out, nil
}

// wait waits for a script, and ends it if it does not, with its containers.
func (b *bench) wait(ctx context.Context, cmd *exec.Cmd, text *os.File, containers func()) error {
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	limit := time.NewTimer(b.Limit)
	defer limit.Stop()
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for {
		var why error
		select {
		case err := <-done:
			var status *exec.ExitError
			if errors.As(err, &status) {
				return fmt.Errorf("it ended with %v", status)
			}
			return err
		case <-look.C:
			if st, err := text.Stat(); err != nil || st.Size() <= maxOutput {
				continue
			}
			why = fmt.Errorf("it printed more than %d bytes and was ended", maxOutput)
		case <-limit.C:
			why = fmt.Errorf("it did not end within %v and was ended", b.Limit)
		case <-ctx.Done():
			why = ctx.Err()
		}
		// Containers first: one that has ended is nobody's. The shell stands still
		// meanwhile, so that it starts no other; a `tiffin run` must not, since
		// its container ends with its knowledge.
		_ = cmd.Process.Signal(syscall.SIGSTOP)
		containers()
		endGroup(cmd.Process.Pid, done)
		return why
	}
}

// endGroup ends a process group: first it is asked to. done tells that its
// leader has ended.
func endGroup(pgid int, done <-chan error) {
	_ = syscall.Kill(-pgid, syscall.SIGTERM)
	_ = syscall.Kill(-pgid, syscall.SIGCONT)
	select {
	case <-done:
		_ = syscall.Kill(-pgid, syscall.SIGKILL)
	case <-time.After(grace):
		_ = syscall.Kill(-pgid, syscall.SIGKILL)
		<-done
	}
}

// tail is the end of what a script printed, at most 20 lines.
func tail(f *os.File) string {
	st, err := f.Stat()
	if err != nil {
		return ""
	}
	const most = 4 << 10
	b, err := io.ReadAll(io.NewSectionReader(f, max(0, st.Size()-most), most))
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}

// values returns the student's values of keys.
func (b *bench) values(ctx context.Context, names []string) (map[string]string, error) {
	values := map[string]string{}
	if len(names) == 0 {
		return values, nil
	}
	out, err := b.shell(ctx, "values.sh", prelude+`for k; do eval "v=\$$k"; printf '%s=%s\n' "$k" "$v"; done`, names...)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(out.text) {
		k, v, _ := strings.Cut(strings.TrimRight(line, "\n"), "=")
		values[k] = v
	}
	return values, nil
}

// removeAll removes a tree even if its owner took the permission away from
// some directory in it.
func removeAll(dir string) error {
	if err := os.RemoveAll(dir); err == nil {
		return nil
	}
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = os.Chmod(path, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}

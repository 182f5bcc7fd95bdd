// Grading: what was handed in is replayed in a container of tiffin's own, with a new seed, and
// judged there.
//
// In the container are three parties. The lab's setup and the student's script are root without
// capabilities (but CAP_SETFCAP, which mapping one's own id takes: user_namespaces(7)) in a tree
// that cannot be written but for one small tmpfs. Then a process from outside joins the namespaces
// with every capability and judges: what has fewer can neither trace it nor open what it has open
// (ptrace(2), "Ptrace access mode checking"), and it writes in a mount namespace of its own. A
// student's process may still end it, or use up what the container has; that is the student's
// loss.

package tutorial

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"tiffin/internal/errs"
	"tiffin/tutorial/sandbox"

	"golang.org/x/sys/unix"
)

// Grader grades submissions.
type Grader struct {
	*Runner
	Labs  []*Lab
	Jobs  int           // replays at a time
	Seed  string        // of all replays; "": a new one for each
	Solve time.Duration // that a student's script may take
}

// Grade is the outcome for one lab of one submission.
type Grade struct {
	File            string
	Student         string // the seed in it
	Lab             string // as it is called there
	Hints, Attempts int    // as the student's record says
	Result          *Result
	Error           string // why there is none: not the student's fault, or no submission
}

// Turn is one lab of one submission, to be replayed. It is read when its turn comes: what students
// hand in may be large.
type Turn struct {
	File string
	At   int // which of the labs in it
}

// Grade grades files, and hands on each outcome as it comes, one at a time.
func (g *Grader) Grade(ctx context.Context, files []string, done func(Grade)) {
	var turns []Turn
	for _, f := range files {
		sub, err := ReadSubmission(f)
		if err != nil {
			done(Grade{File: f, Error: err.Error()})
			continue
		}
		for i := range sub.Labs {
			turns = append(turns, Turn{f, i})
		}
	}
	g.Replay(ctx, turns, func(_ int, o Grade) { done(o) })
}

// Replay replays and judges, and hands on the number and the outcome of each turn as it comes, one
// at a time.
func (g *Grader) Replay(ctx context.Context, turns []Turn, done func(int, Grade)) {
	var mu sync.Mutex
	tell := func(i int, o Grade) {
		mu.Lock()
		defer mu.Unlock()
		done(i, o)
	}
	binary, end, err := g.shown()
	if err != nil {
		for i := range turns {
			tell(i, Grade{File: turns[i].File, Error: err.Error()})
		}
		return
	}
	defer end()
	next := make(chan int)
	var all sync.WaitGroup
	for range max(1, g.Jobs) {
		all.Go(func() {
			for i := range next {
				tell(i, g.turn(ctx, turns[i], binary))
			}
		})
	}
	for i := range turns {
		if ctx.Err() == nil {
			next <- i
		}
	}
	close(next)
	all.Wait()
}

// shown is the program as the scripts of students may see it: the one that grades, without what
// passes the labs in it.
func (g *Grader) shown() (path string, end func(), err error) {
	program, err := os.ReadFile(g.Binary)
	if err != nil {
		return "", nil, fmt.Errorf("read the program: %w", err)
	}
	room, err := openRoom(g.Binary)
	if err != nil {
		return "", nil, err
	}
	if room != nil { // it is without them already
		room.held.Close()
	} else if err := redact(program); err != nil {
		return "", nil, err
	}
	dir, held, err := makeTemp()
	if err != nil {
		return "", nil, err
	}
	end = func() {
		_ = removeAll(dir)
		held.Close()
	}
	path = filepath.Join(dir, "tiffin")
	var st unix.Statfs_t
	if err = unix.Statfs(dir, &st); err == nil && st.Flags&unix.ST_NOEXEC != 0 {
		err = errs.Hint(fmt.Errorf("%s is mounted noexec, and the program is to be run from there", dir), "set TMPDIR to another directory")
	}
	if err == nil {
		err = os.WriteFile(path, program, 0o755)
	}
	if err != nil {
		end()
		return "", nil, err
	}
	return path, end, nil
}

func (g *Grader) turn(ctx context.Context, t Turn, binary string) Grade {
	o := Grade{File: t.File}
	sub, err := ReadSubmission(t.File)
	if err == nil && t.At >= len(sub.Labs) {
		err = errors.New("it was changed meanwhile")
	}
	if err == nil {
		h := sub.Labs[t.At]
		o.Student, o.Lab, o.Hints, o.Attempts = sub.Seed, h.Lab, h.Record.Hints, h.Record.Checks
		o.Result, err = g.one(ctx, h, binary)
	}
	if err != nil {
		o.Error = err.Error()
	}
	return o
}

// one replays one lab; binary is what shown has made.
func (g *Grader) one(ctx context.Context, h Handed, binary string) (*Result, error) {
	l, err := Find(g.Labs, h.Lab)
	if err != nil {
		return nil, err
	}
	if need, why := l.missing(); need != "" {
		return unsupported(l, "", why), nil
	}
	seed := g.Seed
	if seed == "" {
		seed = strings.ToLower(rand.Text()[:8])
	}
	dir, held, err := makeTemp()
	if err != nil {
		return nil, err
	}
	defer held.Close()
	defer func() { _ = removeAll(dir) }()
	handed := filepath.Join(dir, "handed")
	if err := os.Mkdir(handed, 0o755); err != nil {
		return nil, err
	}
	for name, b := range h.Files {
		if name != SolveScript && !slices.Contains(l.Files, name) {
			return nil, fmt.Errorf("%q cannot be handed in for lab %s", name, l.Name)
		}
		if err := os.WriteFile(filepath.Join(handed, name), b, 0o644); err != nil {
			return nil, err
		}
	}
	p := &replay{Grader: g, lab: l, seed: seed, name: "grade-" + strings.ToLower(rand.Text()[:12])}
	defer p.tiffin("rm", "-f", p.name) // what hangs in it hangs no more
	if err := p.start(dir, binary); err != nil {
		return nil, err
	}
	return p.run(ctx)
}

// replay is one lab of one student in its container.
type replay struct {
	*Grader
	lab  *Lab
	seed string
	name string // of the container
}

// Where things are in the container.
const (
	inHome   = "/grade"       // all that can be written: the store, the work directory
	inLabs   = "/grade/labs"  // the student's directory
	inBinary = sandbox.Binary // this program
	inHand   = "/run/handed"  // what was handed in
	inOwn    = "/run/own"     // the lab, if it is the instructor's own
	inCheck  = "/run/judging" // temporaries of the judge
)

var inEnv = []string{sandbox.Path, "HOME=" + inHome, "TIFFIN_ROOT=" + inHome + "/store", "TIFFIN_LABS=" + inLabs, "LC_ALL=C"}

// start starts the container. In dir is what was handed in. Of a lab of the instructor's own a copy
// is shown without what passes: the student's script can read all that is there.
func (p *replay) start(dir, binary string) error {
	args := append(sandbox.Args(p.name, binary), "--tmpfs", inHome+":exec,size=256m", "--tmpfs", inCheck+":size=1m",
		"-v", filepath.Join(dir, "handed")+":"+inHand+":ro")
	if p.lab.dir != "" {
		own := filepath.Join(dir, "own")
		if err := os.CopyFS(filepath.Join(own, p.lab.Name), p.lab.files); err != nil {
			return fmt.Errorf("copy lab %s: %w", p.lab.Name, err)
		}
		for _, name := range withheld {
			if err := removeAll(filepath.Join(own, p.lab.Name, name)); err != nil {
				return err
			}
		}
		args = append(args, "-v", own+":"+inOwn+":ro")
	}
	_, err := p.tiffin(append(args, "tiffin/base", "sleep", "100000")...)
	return err
}

// run goes through setup, the student's script and the check. An error is none of the student's.
func (p *replay) run(ctx context.Context) (*Result, error) {
	begun, cancel := context.WithTimeout(ctx, p.Limit)
	defer cancel()
	var b Begun
	if err := p.ask(begun, p.exec(begun, nil, inBinary, p.self("setup")...), Asked{Seed: p.seed}, &b); err != nil {
		return nil, fmt.Errorf("set lab %s up: %w", p.lab.Name, err)
	}
	if b.Unsupported != "" {
		return unsupported(p.lab, p.seed, b.Unsupported), nil
	}
	var values []string
	for k, v := range b.Values {
		values = append(values, k+"="+v)
	}
	solving, cancel := context.WithTimeout(ctx, p.Solve)
	defer cancel()
	const script = `cp -R "$2"/. "$1" && cd "$1" && exec sh solve.sh >/dev/null 2>&1`
	solved := p.exec(solving, values, "/bin/sh", "-c", script, "sh", filepath.Join(inLabs, p.lab.Name), inHand).Run()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	res, err := p.judge(ctx, b.Start)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		res = &Result{Lab: p.lab.Name, Title: p.lab.Title, Seed: p.seed, Checks: []Check{}}
		res.void("the check could be made", "check.sh ends", err.Error(),
			"After solve.sh the lab could not be looked at any more: did it end, fill or use up everything?")
	}
	var status *exec.ExitError
	switch {
	case solving.Err() != nil:
		res.void("solve.sh ends", "within "+p.Solve.String(), "it was ended", "What shall go on running belongs into the background, with &, and its output elsewhere.")
	case errors.As(solved, &status) && res.State != Passed:
		res.Why = fmt.Sprintf("solve.sh ended with status %d", status.ExitCode())
	case solved != nil && status == nil:
		return nil, solved
	}
	return res, nil
}

// judge has a process join the container that the student's cannot reach.
func (p *replay) judge(ctx context.Context, start *Start) (*Result, error) {
	ctx, cancel := context.WithTimeout(ctx, p.Limit)
	defer cancel()
	pid, err := p.tiffin("inspect", "--type", "container", "-f", "{{.State.Pid}}", p.name)
	if err != nil {
		return nil, err
	}
	if n, err := strconv.Atoi(strings.Join(pid, "")); err != nil || n <= 1 {
		return nil, errors.New("the container has ended")
	}
	const script = `mount -t tmpfs none "$1" && shift && exec "$@"`
	args := append([]string{"enter", "-a", "-t", pid[0], inBinary, "unshare", "-m", "/bin/sh", "-c", script, "sh", inCheck, inBinary}, p.self("judge")...)
	cmd := exec.CommandContext(ctx, p.Binary, args...)
	cmd.Env = append(inEnv[:len(inEnv):len(inEnv)], "TMPDIR="+inCheck)
	var res Result
	err = p.ask(ctx, cmd, Asked{Seed: p.seed, Start: start}, &res)
	return &res, err
}

// self are the arguments of the part of this program that works in the container.
func (p *replay) self(what string) []string {
	args := []string{GradeCommand, what, p.lab.Name}
	if p.lab.dir != "" {
		args = append(args, inOwn)
	}
	return args
}

// exec is a command in the container as the student.
func (p *replay) exec(ctx context.Context, env []string, command string, args ...string) *exec.Cmd {
	all := []string{"exec", "-i"}
	for _, e := range append(inEnv[:len(inEnv):len(inEnv)], env...) {
		all = append(all, "-e", e)
	}
	cmd := exec.CommandContext(ctx, p.Binary, append(append(all, p.name, command), args...)...)
	cmd.Env = append(os.Environ(), p.Env...)
	cmd.WaitDelay = grace
	return cmd
}

// maxAnswer is what a part of this program may answer, in bytes.
const maxAnswer = 4 << 20

// ask has a command read a question and print an answer, both JSON.
func (p *replay) ask(ctx context.Context, cmd *exec.Cmd, question, answer any) error {
	q, err := json.Marshal(question)
	if err != nil {
		return err
	}
	var said bytes.Buffer
	cmd.Stdin, cmd.Stderr, cmd.WaitDelay = bytes.NewReader(q), &said, grace
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	b, _ := io.ReadAll(io.LimitReader(out, maxAnswer))
	err = cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return errors.New("it did not end in time")
	case err != nil:
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(said.String()))
	}
	return json.Unmarshal(b, answer)
}

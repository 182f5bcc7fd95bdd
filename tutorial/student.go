// A student's directory of labs, and what one does with a lab in it: start, check, hint, reset.

package tutorial

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"tiffin/internal/errs"
)

// Student is somebody's directory of labs:
//
//	seed                  what the names and numbers of the labs are drawn from
//	progress.txt          see Progress
//	03-user-namespace/    the work directory of a lab
type Student struct {
	Dir string
	*Runner
}

// DefaultDir is where a student's work is: $TIFFIN_LABS, or ~/tiffin-labs.
func DefaultDir() (string, error) {
	if dir := os.Getenv("TIFFIN_LABS"); dir != "" {
		return filepath.Abs(dir)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", errs.Hint(fmt.Errorf("find the directory for labs: %w", err), "set TIFFIN_LABS")
	}
	return filepath.Join(home, "tiffin-labs"), nil
}

// Work is the work directory of a lab.
func (s *Student) Work(l *Lab) string { return filepath.Join(s.Dir, l.Name) }

// Seed reads the student's seed, and makes one if there is none: want, or
// letters by chance.
func (s *Student) Seed(want string) (string, error) {
	path := filepath.Join(s.Dir, "seed")
	b, err := os.ReadFile(path)
	if old := strings.TrimSpace(string(b)); err == nil && old != "" {
		if want != "" && want != old {
			return "", errs.Hint(fmt.Errorf("the seed is %q already", old), "labs that were started with it would not fit any more; remove "+path+" and reset them")
		}
		return old, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read the seed: %w", err)
	}
	if want = strings.TrimSpace(want); want == "" {
		want = strings.ToLower(rand.Text()[:8])
	}
	if clean(want) != want || strings.ContainsAny(want, "\n\t") {
		return "", fmt.Errorf("%q cannot be a seed: use one line of text", want)
	}
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return "", errs.Hint(fmt.Errorf("make the directory for labs: %w", err), "set TIFFIN_LABS to another")
	}
	return want, writeFile(path, want+"\n")
}

// writeFile replaces a file as a whole, on NFS too: rename(2).
func writeFile(path, text string) error {
	tmp := fmt.Sprintf("%s.%d", path, os.Getpid())
	err := os.WriteFile(tmp, []byte(text), 0o644)
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		_ = os.Remove(tmp)
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// Started tells whether a lab has a work directory.
func (s *Student) Started(l *Lab) bool {
	st, err := os.Stat(s.Work(l))
	return err == nil && st.IsDir()
}

// on makes a bench for a lab that the student has started.
func (s *Student) on(l *Lab) (*bench, error) {
	if !s.Started(l) {
		return nil, errs.Hint(fmt.Errorf("lab %s is not started", l.Name), "tiffin lab start "+l.Number())
	}
	seed, err := s.Seed("")
	if err != nil {
		return nil, err
	}
	return s.set(l, s.Work(l), seed)
}

// Start makes a lab's work directory and its start state. The result is nil,
// or says why this machine cannot do the lab.
func (s *Student) Start(ctx context.Context, l *Lab) (*Result, error) {
	seed, err := s.Seed("")
	if err != nil {
		return nil, err
	}
	if need, why := l.missing(); need != "" {
		return unsupported(l, seed, why), nil
	}
	work := s.Work(l)
	if err := os.MkdirAll(work, 0o755); err != nil {
		return nil, fmt.Errorf("make the work directory: %w", err)
	}
	b, err := s.set(l, work, seed)
	if err != nil {
		return nil, err
	}
	defer b.clear()
	res, err := b.setUp(ctx)
	if res != nil || err != nil {
		// Not half a lab, if it was interrupted too: the next start begins again.
		if e := b.wipe(context.WithoutCancel(ctx)); e == nil {
			_ = os.Remove(work)
		}
		return res, err
	}
	return nil, s.note(l, func(e *Entry) { *e = Entry{Lab: l.Name, State: Started} })
}

// setUp runs setup.sh. The result is nil, or that it is unsupported.
func (b *bench) setUp(ctx context.Context) (*Result, error) {
	out, err := b.script(ctx, "setup.sh")
	if err != nil {
		return nil, err
	}
	return b.refused(out), nil
}

// refused is the result if a script said that the machine lacks something.
func (b *bench) refused(out *output) *Result {
	for _, c := range out.records {
		if c.State == Unsupported {
			return unsupported(b.lab, b.seed, c.Why)
		}
	}
	return nil
}

// Check looks at the state of a lab.
func (s *Student) Check(ctx context.Context, l *Lab) (*Result, error) {
	b, err := s.on(l)
	if err != nil {
		return nil, err
	}
	defer b.clear()
	if need, why := l.missing(); need != "" {
		return unsupported(l, b.seed, why), nil
	}
	res, err := b.check(ctx)
	if err != nil || res.State == Unsupported {
		return res, err
	}
	return res, s.note(l, func(e *Entry) {
		e.Checked = time.Now().UTC().Truncate(time.Second)
		if e.State == Done && res.State != Passed {
			return // what was passed stays passed, also when its containers have been tidied away
		}
		e.Points, e.Of = res.Points, res.Of
		if e.State = Started; res.State == Passed {
			e.State = Done
		}
	})
}

// check runs check.sh.
func (b *bench) check(ctx context.Context) (*Result, error) {
	out, err := b.script(ctx, "check.sh")
	if err != nil {
		return nil, err
	}
	res, err := judge(b.lab, b.seed, out.records)
	if err != nil {
		return nil, broken(b.lab, "check.sh", err, out.text)
	}
	return res, nil
}

// Reset makes the start state of a lab again: all that the lab or the student
// made is gone. The result is as Start's.
func (s *Student) Reset(ctx context.Context, l *Lab) (*Result, error) {
	b, err := s.on(l)
	if err != nil {
		return nil, err
	}
	defer b.clear()
	if err := b.wipe(ctx); err != nil {
		return nil, err
	}
	if need, why := l.missing(); need != "" {
		return unsupported(l, b.seed, why), nil
	}
	res, err := b.setUp(ctx)
	if res != nil || err != nil {
		return res, err
	}
	return nil, s.note(l, func(e *Entry) { *e = Entry{Lab: l.Name, State: Started, Hints: e.Hints} })
}

// wipe removes what the lab has made: what cleanup.sh says, its containers and
// images, its processes, and all in the work directory. What goes wrong with one
// does not keep the others.
func (b *bench) wipe(ctx context.Context) error {
	var broken error
	if b.lab.has("cleanup.sh") {
		_, broken = b.script(ctx, "cleanup.sh")
	}
	err := b.removeNamed()
	b.sweep(labVariable, b.work)
	return errors.Join(broken, err, b.empty())
}

// empty empties the work directory. That itself stays, since the student's
// shell is in it.
func (b *bench) empty() error {
	ents, err := os.ReadDir(b.work)
	for _, e := range ents {
		err = errors.Join(err, removeAll(filepath.Join(b.work, e.Name())))
	}
	if err != nil {
		return fmt.Errorf("empty the work directory: %w", err)
	}
	return nil
}

// removeNamed removes the containers and images that carry the lab's prefix.
func (b *bench) removeNamed() error {
	ctrs, err := b.containers()
	if err != nil {
		return err
	}
	for _, c := range ctrs {
		if strings.HasPrefix(c.name, b.lab.prefix()+"-") {
			if _, err := b.tiffin("rm", "-f", c.id); err != nil {
				return err
			}
		}
	}
	names, err := b.tiffin("images", "--format", "{{.Repository}}:{{.Tag}}")
	if err != nil {
		return err
	}
	for _, n := range names {
		if strings.HasPrefix(n, b.lab.prefix()+"/") {
			if _, err := b.tiffin("rmi", n); err != nil {
				return err
			}
		}
	}
	return nil
}

// Lesson is the lab's text with the student's own values in it.
func (s *Student) Lesson(ctx context.Context, l *Lab) (string, error) {
	return s.replace(ctx, l, l.Lesson)
}

// replace puts the student's values into a text.
func (s *Student) replace(ctx context.Context, l *Lab, text string) (string, error) {
	names := keys(text)
	if len(names) == 0 {
		return text, nil
	}
	seed, err := s.Seed("")
	if err != nil {
		return "", err
	}
	b, err := s.set(l, s.Work(l), seed)
	if err != nil {
		return "", err
	}
	defer b.clear()
	return b.replace(ctx, text)
}

func (b *bench) replace(ctx context.Context, text string) (string, error) {
	values, err := b.values(ctx, keys(text))
	if err != nil {
		return "", err
	}
	return replaceKeys(text, values), nil
}

// Hint returns the next hint of a lab, its number and how many there are. After
// the last it is the last again.
func (s *Student) Hint(ctx context.Context, l *Lab) (text string, n, of int, err error) {
	hints, err := l.hints()
	if err != nil {
		return "", 0, 0, err
	}
	if of = len(hints); of == 0 {
		return "", 0, 0, fmt.Errorf("lab %s has no hints", l.Name)
	}
	p, err := s.Progress()
	if err != nil {
		return "", 0, 0, err
	}
	n = min(p.Entry(l.Name).Hints, of-1) + 1
	if text, err = s.replace(ctx, l, hints[n-1]); err != nil {
		return "", 0, 0, err
	}
	return text, n, of, s.note(l, func(e *Entry) { e.Hints = n })
}

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

	"tiffin/internal/errs"
)

// Student is somebody's directory of labs:
//
//	seed                  what the names and numbers of the labs are drawn from
//	class.json            the class that was joined, if any: see Joined
//	current               the name of the lab that was used last
//	record/               see Entry
//	kept/                 what was in the work directories when they were reset
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
	return want, writeFile(path, want+"\n", 0o644)
}

// writeFile replaces a file as a whole, on NFS too: rename(2).
func writeFile(path, text string, mode fs.FileMode) error {
	tmp := fmt.Sprintf("%s.%d", path, os.Getpid())
	err := os.WriteFile(tmp, []byte(text), mode)
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
	seed, err := s.seedOf(l)
	if err != nil {
		return nil, err
	}
	e, err := s.Entry(l.Name)
	if err != nil {
		return nil, err
	}
	b, err := s.set(l, s.Work(l), seed)
	if err != nil {
		return nil, err
	}
	b.start = e.Start
	return b, nil
}

// Start makes a lab's work directory and its start state. The result is nil,
// or says why this machine cannot do the lab.
func (s *Student) Start(ctx context.Context, l *Lab) (*Result, error) {
	seed, err := s.seedOf(l)
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
		if e := b.wipe(context.WithoutCancel(ctx), ""); e == nil {
			_ = os.Remove(work)
		}
		return res, err
	}
	return nil, s.note(l, func(e *Entry) { e.again(b.start) })
}

// setUp runs setup.sh. The result is nil, or that it is unsupported.
func (b *bench) setUp(ctx context.Context) (*Result, error) {
	out, err := b.script(ctx, "setup.sh")
	if err != nil {
		return nil, err
	}
	if res := b.refused(out); res != nil {
		return res, nil
	}
	b.start, err = b.look()
	return nil, err
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
		if e.State == Done {
			return // what was passed stays passed, also when its containers have been tidied away
		}
		e.Checks++
		e.Checked = now()
		e.Points, e.Of = res.Points, res.Of
		if e.State = Started; res.State == Passed {
			e.State = Done
		}
	})
}

// check runs check.sh, and looks itself whether the lab still is the one that began.
func (b *bench) check(ctx context.Context) (*Result, error) {
	out, err := b.script(ctx, "check.sh")
	if err != nil {
		return nil, err
	}
	res, err := judge(b.lab, b.seed, out.records)
	if err != nil && !out.forged {
		return nil, broken(b.lab, "check.sh", err, out.text)
	}
	if out.forged {
		if res == nil {
			res = &Result{Lab: b.lab.Name, Title: b.lab.Title, Seed: b.seed}
		}
		res.void("the report is that of the check alone", "what check.sh reports", "something that it did not write",
			"A program has written into the report of the check. Nothing counts until the check is alone.")
	}
	if res.State == Unsupported {
		return res, nil
	}
	expected, found, err := b.missed()
	if err != nil {
		return nil, err
	}
	if expected != "" {
		res.void("what the lab began with is there", expected, found,
			"The task is about what the lab has made, and that cannot be replaced by something of the same name. `tiffin lab reset` makes it again, and keeps a copy of your files.")
	}
	return res, nil
}

// Kept is where the files are that the last reset of a lab has taken away.
func (s *Student) Kept(l *Lab) string { return filepath.Join(s.Dir, "kept", l.Name) }

// Reset makes the start state of a lab again: all that the lab or the student made is gone, but for
// the files of the work directory, which are kept until the next reset. The result is as Start's.
func (s *Student) Reset(ctx context.Context, l *Lab) (*Result, error) {
	b, err := s.on(l)
	if err != nil {
		return nil, err
	}
	defer b.clear()
	if err := removeAll(s.Kept(l)); err != nil {
		return nil, fmt.Errorf("remove what an older reset has kept: %w", err)
	}
	if err := b.wipe(ctx, s.Kept(l)); err != nil {
		return nil, err
	}
	if need, why := l.missing(); need != "" {
		return unsupported(l, b.seed, why), nil
	}
	res, err := b.setUp(ctx)
	if res != nil || err != nil {
		return res, err
	}
	return nil, s.note(l, func(e *Entry) { e.again(b.start) })
}

// Clean removes all that a lab has made, and its work directory. The record stays: what was passed
// is passed.
func (s *Student) Clean(ctx context.Context, l *Lab) error {
	b, err := s.on(l)
	if err != nil {
		return err
	}
	defer b.clear()
	return errors.Join(b.wipe(ctx, ""), removeAll(s.Kept(l)), os.Remove(b.work))
}

// wipe removes what the lab has made: what cleanup.sh says, its containers and images, its
// processes, and all in the work directory, which goes to keep if that is not "". What goes wrong
// with one does not keep the others.
func (b *bench) wipe(ctx context.Context, keep string) error {
	var broken error
	if b.lab.has("cleanup.sh") {
		_, broken = b.script(ctx, "cleanup.sh")
	}
	err := b.removeNamed()
	b.sweep(labVariable, b.work)
	return errors.Join(broken, err, b.empty(keep))
}

// empty empties the work directory. That itself stays, since the student's
// shell is in it.
func (b *bench) empty(keep string) error {
	ents, err := os.ReadDir(b.work)
	if keep != "" && err == nil {
		err = os.MkdirAll(keep, 0o755)
	}
	for _, e := range ents {
		path := filepath.Join(b.work, e.Name())
		if keep == "" {
			err = errors.Join(err, removeAll(path))
			continue
		}
		if e.IsDir() { // to move a directory is to write into it: rename(2), EACCES
			err = errors.Join(err, os.Chmod(path, 0o755))
		}
		err = errors.Join(err, os.Rename(path, filepath.Join(keep, e.Name())))
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
	names, err := b.tiffin("images", "--format", imageName)
	if err != nil {
		return err
	}
	for _, n := range names {
		if strings.HasPrefix(n, b.lab.imagePrefix()) {
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
	seed, err := s.seedOf(l)
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
	e, err := s.Entry(l.Name)
	if err != nil {
		return "", 0, 0, err
	}
	n = min(e.Hints, of-1) + 1
	if text, err = s.replace(ctx, l, hints[n-1]); err != nil {
		return "", 0, 0, err
	}
	return text, n, of, s.note(l, func(e *Entry) { e.Hints = n })
}

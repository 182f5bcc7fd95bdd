// Labs in stages: a lab with pages stages/1.txt and so on. A page has a title, a blank line, what
// is to be done, and hints after lines `---`.

package tutorial

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"tiffin/internal/errs"
	"tiffin/tutorial/mini"
)

// Page is what a student reads of a stage.
type Page struct {
	Title, Text string
	Hints       []string // each says more than the one before
}

// Stages is how many stages a lab has: most have none.
func (l *Lab) Stages() int {
	names, _ := fs.Glob(l.files, "stages/[1-9].txt") // the pattern is good
	return len(names)
}

// Page is the page of stage n, from 1 on.
func (l *Lab) Page(n int) (*Page, error) {
	text, err := fs.ReadFile(l.files, fmt.Sprintf("stages/%d.txt", n))
	if err != nil {
		return nil, errs.Hint(fmt.Errorf("lab %s has no stage %d", l.Name, n), fmt.Sprintf("it has %d stages", l.Stages()))
	}
	parts := strings.Split(string(text), "\n---\n")
	title, body, _ := strings.Cut(parts[0], "\n\n")
	p := &Page{Title: strings.TrimSpace(title), Text: strings.Trim(body, "\n")}
	for _, h := range parts[1:] {
		p.Hints = append(p.Hints, strings.Trim(h, "\n"))
	}
	return p, nil
}

// CheckStage looks at one stage of a lab. What it finds is not noted: the lab is passed by Check.
func (s *Student) CheckStage(ctx context.Context, l *Lab, stage int) (*Result, error) {
	b, err := s.on(l)
	if err != nil {
		return nil, err
	}
	defer b.clear()
	if need, why := l.missing(); need != "" {
		return unsupported(l, b.seed, why), nil
	}
	b.stage = stage
	return b.check(ctx)
}

// HintStage returns the next hint of a stage, as Hint does of the lab.
func (s *Student) HintStage(l *Lab, stage int) (text string, n, of int, err error) {
	p, err := l.Page(stage)
	if err != nil {
		return "", 0, 0, err
	}
	e, err := s.Entry(l.Name)
	if err != nil {
		return "", 0, 0, err
	}
	of = len(p.Hints)
	n = min(e.StageHints[stage-1], of-1) + 1
	return p.Hints[n-1], n, of, s.note(l, func(e *Entry) { e.StageHints[stage-1] = n })
}

// judgeStore is a variable of the judge of what was handed in, for a check.sh that runs a student's
// program: a store that the student's processes cannot write.
const judgeStore = "JUDGE_STORE"

// MiniCommand is the name main dispatches on for CheckMini.
const MiniCommand = "__mini"

// CheckMini is `tiffin __mini STAGE PROGRAM ROOT DIR`, the part of a check.sh: it tries the
// student's PROGRAM in DIR, an empty directory, with a copy of ROOT, and writes a record for each
// thing that must hold, with the token that it reads. STAGE 0 is all.
func CheckMini(ctx context.Context, binary string, args []string, token io.Reader, report io.Writer) error {
	if len(args) != 4 {
		return errors.New(MiniCommand + " is for tiffin itself")
	}
	stage, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	secret, err := io.ReadAll(io.LimitReader(token, 1<<10))
	if err != nil {
		return err
	}
	var paths [3]string
	for i, p := range args[1:] {
		if paths[i], err = filepath.Abs(p); err != nil {
			return err
		}
	}
	b := &mini.Bench{Tiffin: binary, Root: paths[1], Dir: paths[2], Strict: os.Getenv(judgeStore) != ""}
	defer b.Close()
	if err := b.Open(ctx); err != nil {
		return err
	}
	if err := b.Put(paths[0]); err != nil {
		return err
	}
	found, err := b.Check(stage)
	if err != nil {
		return err
	}
	for _, f := range found {
		state := Passed
		if !f.OK {
			state = Failed
		}
		fields := []string{strings.TrimSpace(string(secret)), string(state), f.Name, "1", f.Expected, f.Found, f.Why, f.Evidence}
		for i := range fields {
			fields[i] = strings.NewReplacer("\x1e", "", "\x1f", "").Replace(fields[i])
		}
		if _, err := io.WriteString(report, strings.Join(fields, "\x1f")+"\x1e"); err != nil {
			return err
		}
	}
	return nil
}

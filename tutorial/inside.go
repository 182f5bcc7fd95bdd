// The part of grading that works inside the container of a replay: setting the lab up, and judging.

package tutorial

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// GradeCommand is the name main dispatches on for InSandbox.
const GradeCommand = "__grade"

// Asked is what the part inside is asked.
type Asked struct {
	Seed  string
	Start *Start // for the judge: what setup.sh had made
}

// Begun is the answer of setup.
type Begun struct {
	Unsupported string            // why the lab cannot be done there, or ""
	Start       *Start            // what setup.sh has made
	Values      map[string]string // the student's values, as the text shows them
}

// InSandbox is `tiffin __grade setup|judge LAB [DIR]`: it reads an Asked and answers with a Begun
// or a Result.
func InSandbox(ctx context.Context, args []string, question io.Reader) (any, error) {
	if len(args) < 2 {
		return nil, fmt.Errorf("%s is for tiffin itself", GradeCommand)
	}
	labs, err := Builtin()
	if len(args) > 2 {
		labs, err = ReadDir(args[2])
	}
	if err != nil {
		return nil, err
	}
	l, err := Find(labs, args[1])
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(question)
	if err != nil {
		return nil, err
	}
	var asked Asked
	if err := json.Unmarshal(b, &asked); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &Student{Dir: os.Getenv("TIFFIN_LABS"), Runner: &Runner{Binary: self, Limit: DefaultLimit}}
	if args[0] == "setup" {
		return s.begun(ctx, l, asked.Seed)
	}
	bench, err := s.set(l, filepath.Join(s.Dir, l.Name), asked.Seed)
	if err != nil {
		return nil, err
	}
	defer bench.clear()
	bench.Env = append(bench.Env, judgeStore+"="+os.Getenv("TMPDIR")+"/store")
	bench.start = asked.Start
	return bench.check(ctx)
}

// begun starts a lab and tells what there is then.
func (s *Student) begun(ctx context.Context, l *Lab, seed string) (*Begun, error) {
	if _, err := s.Seed(seed); err != nil {
		return nil, err
	}
	res, err := s.Start(ctx, l)
	if err != nil {
		return nil, err
	}
	if res != nil {
		return &Begun{Unsupported: res.Why}, nil
	}
	b, err := s.on(l)
	if err != nil {
		return nil, err
	}
	defer b.clear()
	values, err := b.values(ctx, keys(l.Lesson))
	return &Begun{Start: b.start, Values: values}, err
}

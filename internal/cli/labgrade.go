// The commands tiffin lab submit and lab grade: hand in, and replay what was handed in.

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"tiffin/internal/errs"
	"tiffin/tutorial"
	"tiffin/tutorial/gradebook"
	"tiffin/tutorial/similar"
)

func labSubmitCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] [LAB]",
		Description: "Packs solve.sh of each lab, and the files that the lab names, into one signed\n" +
			"file. solve.sh has the commands that solve the lab, begins in the work directory\n" +
			"and ends: what shall go on running is in the background. It is tried with\n" +
			"another seed. So names and numbers of yours are variables in it, called as in\n" +
			"the list that --values prints. `tiffin lab grade FILE` tries it as graders do.",
		Flags: []cli.Flag{labDirFlag(), labLimitFlag(),
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "submission.json", Usage: "write `FILE`"},
			&cli.BoolFlag{Name: "values", Usage: "print the lab's variables and your values of them"}},
		Action: takes(0, 1, "one lab at most, for --values", func(c *cli.Context) error {
			k, err := openCourse(c)
			if err != nil {
				return err
			}
			if c.Bool("values") {
				l, err := k.lab(c)
				if err != nil {
					return err
				}
				text, err := k.Values(c.Context, l)
				fmt.Fprint(stdout, text)
				return err
			}
			text, labs, err := k.Submit(k.labs)
			if err != nil {
				return err
			}
			if err := os.WriteFile(c.String("output"), text, 0o644); err != nil {
				return err
			}
			var names []string
			for _, l := range labs {
				names = append(names, l.Number())
			}
			fmt.Fprintf(stdout, "%s has what you hand in for lab %s\n", c.String("output"), strings.Join(names, ", "))
			return nil
		}),
	}
}

func labGradeCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] DIR|FILE…",
		Description: "Replays what was handed in, each lab in a container of its own without a network,\n" +
			"with a new seed, and judges it there. The exit status is 125 if something could\nnot be graded, whatever the marks.",
		Flags: []cli.Flag{labDirFlag(), labLimitFlag(),
			&cli.StringFlag{Name: "class", Usage: "give points to the students of the class in `DIR`"},
			&cli.IntFlag{Name: "jobs", Aliases: []string{"j"}, Value: runtime.NumCPU(), Usage: "replay `NUMBER` at a time"},
			&cli.StringFlag{Name: "seed", Usage: "draw names and numbers from `TEXT`, instead of by chance"},
			&cli.DurationFlag{Name: "solve-timeout", Value: time.Minute, Usage: "end a solve.sh that takes longer than `TIME`"},
			&cli.StringFlag{Name: "format", Usage: "write all in the `FORMAT`: " + strings.Join(gradebook.Formats(true), ", ")},
			&cli.BoolFlag{Name: "similar", Usage: "compare the scripts with one another, and replay none"}},
		Action: takes(1, -1, "files or directories", func(c *cli.Context) error {
			format := c.String("format")
			if err := gradebook.Known(format, true); format != "" && err != nil {
				return usagef("%v", err)
			}
			labs, err := labsToGrade(c.String("class"), c.String("dir"))
			if err != nil {
				return err
			}
			r, err := labRunner(c)
			if err != nil {
				return err
			}
			files, err := submissions(c.Args().Slice())
			if err != nil {
				return err
			}
			if c.Bool("similar") {
				printSimilar(gradebook.Similar(files, labs, nil))
				return nil
			}
			ctx, stop := labContext(c)
			defer stop()
			g := &tutorial.Grader{Runner: r, Labs: labs, Jobs: c.Int("jobs"), Seed: c.String("seed"), Solve: c.Duration("solve-timeout")}
			if dir := c.String("class"); dir != "" {
				return gradeClass(ctx, g, dir, files, format)
			}
			lost, all := 0, []tutorial.Grade{}
			g.Grade(ctx, files, func(o tutorial.Grade) {
				if o.Error != "" {
					lost++
				}
				all = append(all, o)
				printGrade(format, o)
			})
			if format != "" {
				if err := writeBook(format, gradebook.Plain(labs, all), labs, files); err != nil {
					return err
				}
			}
			if ctx.Err() != nil {
				return errors.New("interrupted: what is not printed is not graded")
			}
			if lost > 0 {
				return exitStatus(exitUsage)
			}
			return nil
		}),
	}
}

func writeBook(format string, marks *tutorial.Marks, labs []*tutorial.Lab, files []string) error {
	return gradebook.Write(os.Stdout, format, &gradebook.Book{Marks: marks, Made: time.Now().Truncate(time.Second),
		Similar: gradebook.Similar(files, labs, marks), Env: os.Getenv})
}

// InSandbox is the part of grading that works in a container. It returns the exit status.
func InSandbox(args []string) int {
	answer, err := tutorial.InSandbox(context.Background(), args, os.Stdin)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(answer)
	}
	if err != nil {
		printError(os.Stderr, err)
		return exitUsage
	}
	return 0
}

// CheckMini is the part of a check that tries a student's own container. It returns the status.
func CheckMini(args []string) int {
	const report = 3 // descriptor: see lib.sh
	unix.CloseOnExec(report)
	self, err := os.Executable()
	if err == nil {
		err = tutorial.CheckMini(context.Background(), self, args, os.Stdin, os.NewFile(report, "report"))
	}
	if err != nil {
		printError(os.Stderr, err)
		return exitUsage
	}
	return 0
}

// submissions are the files, and those in directories whose names end with .json. What cannot be
// read below a directory is said, and keeps nobody else from being graded.
func submissions(args []string) (files []string, err error) {
	for _, a := range args {
		err := filepath.WalkDir(a, func(path string, d fs.DirEntry, err error) error {
			if err != nil && path != a {
				printError(stderr, fmt.Errorf("not graded: %w", err))
				if d != nil && d.IsDir() {
					return fs.SkipDir
				}
				return nil
			}
			if err == nil && d.Type().IsRegular() && (path == a || filepath.Ext(path) == ".json") {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			return nil, errs.Hint(fmt.Errorf("nothing is graded: %w", err), "a submission is a file that `tiffin lab submit` has written, or a directory of such")
		}
	}
	if len(files) == 0 {
		return nil, errors.New("there is nothing to grade: a submission ends with .json")
	}
	return files, nil
}

// printGrade prints an outcome as it comes, beside what is written in a format.
func printGrade(format string, o tutorial.Grade) {
	out := io.Writer(stdout)
	if format != "" {
		out = os.Stderr
	}
	lab, state, reached, of, why := "-", "ERROR", 0, 0, o.Error
	if o.Lab != "" {
		lab = printable(o.Lab[:min(2, len(o.Lab))])
	}
	if r := o.Result; r != nil {
		state, reached, of, why = string(r.State), r.Points, r.Of, firstWhy(r)
	}
	fmt.Fprintf(out, "%-30s  lab %s  %-11s  %d/%d\n", o.File, lab, state, reached, of)
	if state != string(tutorial.Passed) {
		printWrapped(out, "    ", why)
	}
}

func printSimilar(pairs []similar.Pair) {
	for _, p := range pairs {
		fmt.Fprintf(stdout, "%3d %%  lab %s  %s and %s\n", p.Percent, p.Lab[:2], p.A, p.B)
		printWrapped(stdout, "       ", p.Why)
		for _, s := range p.Shared {
			printWrapped(stdout, "         ", printable(s))
		}
	}
	if len(pairs) == 0 {
		fmt.Fprintln(stdout, "no two scripts are much alike")
	}
}

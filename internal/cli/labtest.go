// The commands tiffin lab new and lab test, for authors: make the skeleton of a lab, and test that
// a lab judges as it should.

package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"tiffin/tutorial"
)

func labTestCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] [DIR…]",
		Description: "Tries each lab in a store and a directory of its own: the untouched start must\n" +
			"not pass, the solution must, each wrong answer must fail with its own message,\n" +
			"every command of the text must work, and a solved lab that is spoilt in any of\n" +
			"many ways (answers, images, containers, the start, forged reports) must fail. Without DIR: tiffin's labs. The exit\n" +
			"status is 0 if all is well, 1 if there are faults, 2 if a lab could not be\ntried on this machine.",
		Flags: []cli.Flag{labLimitFlag(),
			&cli.StringSliceFlag{Name: "seed", Usage: "draw names and numbers from `TEXT`; repeatable"},
			&cli.IntFlag{Name: "attacks", Usage: "try about `NUMBER` attacks on each lab, not all"}},
		Action: func(c *cli.Context) error {
			labs, err := labsToTest(c)
			if err != nil {
				return err
			}
			r, err := labRunner(c)
			if err != nil {
				return err
			}
			seeds := c.StringSlice("seed")
			if len(seeds) == 0 {
				seeds = []string{"first", "second"}
			}
			ctx, stop := labContext(c)
			defer stop()
			status := 0
			for _, l := range labs {
				for _, seed := range seeds {
					t, err := r.Test(ctx, l, tutorial.TestOptions{Seed: seed, Few: c.Int("attacks"), Step: testStep(l)})
					if err != nil {
						return err
					}
					printTrial(stdout, t, seed)
					switch {
					case len(t.Problems) > 0:
						status = exitNotYet
					case t.Unsupported != "" && status == 0:
						status = exitUnsupported
					}
					if len(t.Problems) > 0 {
						break // a further seed would say the same again
					}
				}
			}
			return exitStatus(status)
		},
	}
}

func labsToTest(c *cli.Context) ([]*tutorial.Lab, error) {
	if c.Args().Len() == 0 {
		return tutorial.Builtin()
	}
	var labs []*tutorial.Lab
	for _, dir := range c.Args().Slice() {
		l, err := tutorial.Read(dir)
		if err != nil {
			return nil, err
		}
		labs = append(labs, l)
	}
	return labs, nil
}

// testStep shows on a terminal what is tried, in a line that is overwritten.
func testStep(l *tutorial.Lab) func(string) {
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		return nil
	}
	return func(what string) { fmt.Fprintf(os.Stderr, "\r\033[K%s: %s\r", l.Name, what) }
}

func printTrial(w io.Writer, t *tutorial.Trial, seed string) {
	if term.IsTerminal(int(os.Stderr.Fd())) {
		fmt.Fprint(os.Stderr, "\r\033[K")
	}
	switch {
	case len(t.Problems) > 0:
		fmt.Fprintf(w, "FAULTY       %s (seed %s)\n", t.Lab.Name, seed)
		for _, p := range t.Problems {
			printField(w, "             ", p.String())
		}
	case t.Unsupported != "":
		printField(w, "unsupported  ", fmt.Sprintf("%s: %s", t.Lab.Name, t.Unsupported))
	default:
		sum := 0
		for _, c := range t.Checks {
			sum += c.Points
		}
		fmt.Fprintf(w, "ok           %s (seed %s): %d checks, %s, %d wrong answers, %d attacks, %d commands\n",
			t.Lab.Name, seed, len(t.Checks), points(sum), t.Wrongs, t.Tried, t.Commands)
	}
}

func labNewCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "DIR",
		Description: "Writes a small lab that works into the new directory DIR, whose name is two\n" +
			"digits and a name: 50-my-lab. Its files say in comments how to make another of\n" +
			"it; `tiffin lab test DIR` tells whether it still judges well.",
		Action: takes(1, 1, "one new directory", func(c *cli.Context) error {
			dir := c.Args().First()
			if err := tutorial.New(dir); err != nil {
				return err
			}
			fmt.Fprintf(stdout, "%s is a lab that works. Change it, and then:\n\n  tiffin lab test %s\n  tiffin lab start --dir %s %s\n", dir, dir, filepath.Dir(dir), filepath.Base(dir)[:2])
			return nil
		}),
	}
}

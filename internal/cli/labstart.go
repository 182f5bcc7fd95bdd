// The commands tiffin lab start, reset and next: make the work directory of a lab, or make it anew.

package cli

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"tiffin/tutorial"
)

func labStartCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] [LAB]",
		Description: "LAB is a number or a name. The work directory is ~/tiffin-labs/NN-name;\n" +
			"$TIFFIN_LABS overrides ~/tiffin-labs. A lab that was started before goes on\nwhere it was.",
		Flags: []cli.Flag{labDirFlag(), labLangFlag(), labLimitFlag(),
			&cli.StringFlag{Name: "seed", Usage: "draw names and numbers from `TEXT`, once"}},
		Action: func(c *cli.Context) error {
			k, err := openCourse(c)
			if err != nil {
				return err
			}
			l, err := k.lab(c)
			if err != nil {
				return err
			}
			if _, err := k.Seed(c.String("seed")); err != nil {
				return err
			}
			return k.start(c, l)
		},
	}
}

// start starts a lab, or goes on with it.
func (k *course) start(c *cli.Context, l *tutorial.Lab) error {
	ctx, stop := labContext(c)
	defer stop()
	if k.Started(l) {
		if err := k.Use(l); err != nil {
			return err
		}
		fmt.Fprintln(stdout, l.Say(fmt.Sprintf("lab %s goes on: %s", l.Number(), l.Title)))
	} else {
		res, err := k.Start(ctx, l)
		if err != nil {
			return err
		}
		if res != nil {
			return unsupportedHere(l, res)
		}
		fmt.Fprintln(stdout, l.Say(fmt.Sprintf("lab %s: %s (about %d minutes)", l.Number(), l.Title, l.Minutes)))
	}
	flag := ""
	if dir := c.String("dir"); dir != "" {
		if p, _, err := k.AddDir(dir, ""); err != nil {
			warn(fmt.Sprintf("%s is not remembered: %v", dir, err))
			flag = " --dir " + p.Dir
		}
	}
	if err := k.printDeadline(l); err != nil {
		return err
	}
	fmt.Fprint(stdout, "\n"+nextSteps(l, k.Work(l), flag))
	return nil
}

// nextSteps is what a student types next.
func nextSteps(l *tutorial.Lab, work, flag string) string {
	return "  cd " + fromHome(work) + "\n" +
		"  tiffin lab show" + flag + "     " + l.Say("read the text and the task") + "\n" +
		"  tiffin lab check" + flag + "    " + l.Say("when you think it is done") + "\n" +
		"  tiffin lab hint" + flag + "     " + l.Say("when you are stuck") + "\n"
}

// unsupportedHere tells that a lab cannot be done on this machine.
func unsupportedHere(l *tutorial.Lab, res *tutorial.Result) error {
	printWrapped(stdout, "", fmt.Sprintf("lab %s is unsupported here: %s.", l.Number(), strings.TrimRight(res.Why, ".")))
	printWrapped(stdout, "", "That is no fault of yours. `tiffin lab show "+l.Number()+"` prints its text all the same; `tiffin doctor` tells what an administrator can change.")
	return exitStatus(exitUnsupported)
}

func labResetCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] [LAB]",
		Description: "Removes all containers and images whose names begin with the lab's prefix\n" +
			"(lab03-… and lab03.example/…) and makes the start state. What is in the work\ndirectory goes to ~/tiffin-labs/kept, until the next reset.",
		Flags: []cli.Flag{labDirFlag(), labLimitFlag()},
		Action: onLab(func(ctx context.Context, k *course, l *tutorial.Lab) error {
			res, err := k.Reset(ctx, l)
			if err != nil {
				return err
			}
			if res != nil {
				return unsupportedHere(l, res)
			}
			fmt.Fprintf(stdout, "lab %s is as it was at the start; what you had is in %s\n", l.Number(), fromHome(k.Kept(l)))
			return nil
		}),
	}
}

func labCleanCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] [LAB]",
		Description: "Removes the lab's work directory, with what reset has kept of it, its processes,\n" +
			"containers and images. What was passed stays passed.",
		Flags: []cli.Flag{labDirFlag(), labLimitFlag()},
		Action: onLab(func(ctx context.Context, k *course, l *tutorial.Lab) error {
			if err := k.Clean(ctx, l); err != nil {
				return err
			}
			fmt.Fprintf(stdout, "nothing of lab %s is left\n", l.Number())
			return nil
		}),
	}
}

// fromHome is a path as a person writes it.
func fromHome(path string) string {
	if home, err := os.UserHomeDir(); err == nil {
		if rest, ok := strings.CutPrefix(path, home+"/"); ok {
			return "~/" + rest
		}
	}
	return path
}

func labNextCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS]",
		Flags:     []cli.Flag{labDirFlag(), labLimitFlag()},
		Action: takes(0, 0, "no arguments", func(c *cli.Context) error {
			k, err := openCourse(c)
			if err != nil {
				return err
			}
			open, err := k.Next(k.labs)
			if err == nil && len(open) == 0 {
				fmt.Fprintf(stdout, "all %d labs are passed\n", len(k.labs))
			}
			for _, l := range open {
				// A lab that this machine cannot do is skipped.
				if err = k.start(c, l); err != exitStatus(exitUnsupported) {
					break
				}
			}
			return err
		}),
	}
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"tiffin/internal/errs"
	"tiffin/tutorial"
)

// Exit statuses of lab check: a promise to scripts that grade. Everything else
// that can go wrong, a lab that is broken among it, is exitUsage.
const (
	exitNotYet      = 1
	exitUnsupported = 2
)

// labTable are the commands below `lab`.
var labTable = [...]command{
	{"list", "list the labs and how far you are", labListCommand, statusLike},
	{"start", "make a lab's work directory, and begin", labStartCommand, statusLike},
	{"show", "print the text of a lab", labShowCommand, statusLike},
	{"check", "look whether the task is done", labCheckCommand, statusLike},
	{"hint", "print the next of three hints", labHintCommand, statusLike},
	{"reset", "make the start state of a lab again", labResetCommand, statusLike},
	{"next", "start the next lab that is not passed", labNextCommand, statusLike},
	{"new", "write a lab to begin one's own with", labNewCommand, statusLike},
	{"test", "find out whether labs judge as they should", labTestCommand, statusLike},
}

func labCommand() *cli.Command {
	var b strings.Builder
	for _, c := range labTable {
		fmt.Fprintf(&b, "  %-10s %s\n", c.name, c.short)
	}
	return &cli.Command{
		Usage:     "learn how containers work, in tasks that check themselves",
		ArgsUsage: "COMMAND [ARGUMENTS]",
		Description: "Labs are small tasks on the parts of a container, each with a text to read,\n" +
			"commands to type and a check of what they have changed. Begin with\n`tiffin lab start 1`.\n\n" + b.String() +
			"\n`tiffin lab COMMAND --help` shows the flags of a command.",
		Action: func(c *cli.Context) error {
			if c.Args().Len() == 0 {
				cmd := labCommand()
				cmd.Name = "lab"
				printCommandHelp(os.Stdout, cmd)
				return nil
			}
			for i := range labTable {
				if labTable[i].name == c.Args().First() {
					sub := labTable[i]
					sub.name = "lab " + sub.name
					return exitStatus(sub.run(c.Args().Tail()))
				}
			}
			return usagef("there is no command lab %s: use %s", c.Args().First(), labNames())
		},
	}
}

func labNames() string {
	var names []string
	for _, c := range labTable {
		names = append(names, c.name)
	}
	return strings.Join(names, ", ")
}

// labDirFlag is for labs that do not come with tiffin.
func labDirFlag() cli.Flag {
	return &cli.StringFlag{Name: "dir", Usage: "labs in `DIR`, not tiffin's ($TIFFIN_LAB_DIR)"}
}

func labLimitFlag() cli.Flag {
	return &cli.DurationFlag{Name: "timeout", Value: tutorial.DefaultLimit, Usage: "end a script that takes longer than `TIME`"}
}

// course is what the commands of lab work with.
type course struct {
	*tutorial.Student
	labs    []*tutorial.Lab
	damaged error // why some are not among them
}

func openCourse(c *cli.Context) (*course, error) {
	r, err := labRunner(c)
	if err != nil {
		return nil, err
	}
	dir, err := tutorial.DefaultDir()
	if err != nil {
		return nil, err
	}
	labs, damaged := readLabs(c.String("dir"))
	if len(labs) == 0 && damaged != nil {
		return nil, damaged
	}
	return &course{&tutorial.Student{Dir: dir, Runner: r}, labs, damaged}, nil
}

func labRunner(c *cli.Context) (*tutorial.Runner, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find tiffin's own file: %w", err)
	}
	limit := tutorial.DefaultLimit
	if c.IsSet("timeout") {
		limit = c.Duration("timeout")
	}
	return &tutorial.Runner{Binary: self, Limit: limit}, nil
}

func readLabs(dir string) ([]*tutorial.Lab, error) {
	if dir == "" {
		dir = os.Getenv("TIFFIN_LAB_DIR")
	}
	if dir == "" {
		return tutorial.Builtin()
	}
	return tutorial.ReadDir(dir)
}

// lab is the one that the argument names, or the current one.
func (k *course) lab(c *cli.Context) (*tutorial.Lab, error) {
	if err := wantArgs(c, 0, 1, "the number or name of one lab"); err != nil {
		return nil, err
	}
	if c.Args().Present() {
		l, err := tutorial.Find(k.labs, c.Args().First())
		if err != nil && k.damaged != nil {
			err = k.damaged
		}
		return l, err
	}
	if l := k.Current(k.labs); l != nil {
		return l, nil
	}
	return nil, errs.Hint(errors.New("no lab is begun"), "`tiffin lab list` shows them, `tiffin lab start 1` begins the first")
}

// labContext ends what runs on a signal; what it leaves is cleaned up then.
func labContext(c *cli.Context) (context.Context, func()) {
	return signal.NotifyContext(c.Context, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
}

func labListCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage:   "[FLAGS]",
		Description: "Templates have .Number .Name .Title .State .Points .Of and .Minutes.",
		Flags: []cli.Flag{labDirFlag(),
			&cli.StringFlag{Name: "format", Usage: "`TEMPLATE` of Go for each, or json"}},
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 0, 0, "no arguments"); err != nil {
				return err
			}
			k, err := openCourse(c)
			if err != nil {
				return err
			}
			p, err := k.Progress()
			if err != nil {
				return err
			}
			return errors.Join(printLabs(c.String("format"), k.labs, p), k.damaged)
		},
	}
}

// labRow is a lab as `lab list` shows it, for templates too.
type labRow struct {
	Number, Name, Title, State string
	Points, Of, Minutes        int
}

func printLabs(format string, labs []*tutorial.Lab, p *tutorial.Progress) error {
	var rows []*labRow
	for _, l := range labs {
		e := p.Entry(l.Name)
		rows = append(rows, &labRow{l.Number(), l.Name[3:], l.Title, string(e.State), e.Points, e.Of, l.Minutes})
	}
	if format != "" && format != "table" {
		return printRows(os.Stdout, format, "", nil, rows)
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 1, 2, ' ', 0)
	fmt.Fprint(w, "LAB\tNAME\tSTATE\tPOINTS\tTITLE\n")
	for _, r := range rows {
		points := "-"
		if r.Of > 0 {
			points = fmt.Sprintf("%d/%d", r.Points, r.Of)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", r.Number, r.Name, r.State, points, r.Title)
	}
	w.Flush() // a strings.Builder takes all
	for line := range strings.Lines(b.String()) {
		if r := []rune(line); len(r) > columns+1 {
			line = string(r[:columns-1]) + "…\n"
		}
		fmt.Print(line)
	}
	return nil
}

func labStartCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] [LAB]",
		Description: "LAB is a number or a name. The work directory is ~/tiffin-labs/NN-name;\n" +
			"$TIFFIN_LABS overrides ~/tiffin-labs. A lab that was started before goes on\nwhere it was.",
		Flags: []cli.Flag{labDirFlag(), labLimitFlag(),
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
		fmt.Printf("lab %s goes on: %s\n", l.Number(), l.Title)
	} else {
		res, err := k.Start(ctx, l)
		if err != nil {
			return err
		}
		if res != nil {
			return unsupportedHere(l, res)
		}
		fmt.Printf("lab %s: %s (about %d minutes)\n", l.Number(), l.Title, l.Minutes)
	}
	fmt.Print("\n" + nextSteps(k.Work(l), c.String("dir")))
	return nil
}

// nextSteps is what a student types next; labs is where the labs are, if not in tiffin.
func nextSteps(work, labs string) string {
	flag := ""
	if dir, err := filepath.Abs(labs); labs != "" && err == nil {
		flag = " --dir " + dir
	}
	if home, err := os.UserHomeDir(); err == nil {
		if rest, ok := strings.CutPrefix(work, home+"/"); ok {
			work = "~/" + rest
		}
	}
	return "  cd " + work + "\n" +
		"  tiffin lab show" + flag + "     read the text and the task\n" +
		"  tiffin lab check" + flag + "    when you think it is done\n" +
		"  tiffin lab hint" + flag + "     when you are stuck\n"
}

// unsupportedHere tells that a lab cannot be done on this machine.
func unsupportedHere(l *tutorial.Lab, res *tutorial.Result) error {
	printWrapped(os.Stdout, "", fmt.Sprintf("lab %s is unsupported here: %s.", l.Number(), strings.TrimRight(res.Why, ".")))
	printWrapped(os.Stdout, "", "That is no fault of yours. `tiffin lab show "+l.Number()+"` prints its text all the same; `tiffin doctor` tells what an administrator can change.")
	return exitStatus(exitUnsupported)
}

func labShowCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] [LAB]",
		Flags:     []cli.Flag{labDirFlag()},
		Action: func(c *cli.Context) error {
			k, err := openCourse(c)
			if err != nil {
				return err
			}
			l, err := k.lab(c)
			if err != nil {
				return err
			}
			ctx, stop := labContext(c)
			defer stop()
			text, err := k.Lesson(ctx, l)
			if err != nil {
				return err
			}
			title := fmt.Sprintf("Lab %s: %s", l.Number(), l.Title)
			fmt.Printf("%s\n%s\n\n", title, strings.Repeat("=", utf8.RuneCountInString(title)))
			printWrapped(os.Stdout, "  ", l.Concept)
			fmt.Printf("\n%s\n", strings.Trim(text, "\n"))
			return nil
		},
	}
}

func labHintCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] [LAB]",
		Flags:     []cli.Flag{labDirFlag()},
		Action: func(c *cli.Context) error {
			k, err := openCourse(c)
			if err != nil {
				return err
			}
			l, err := k.lab(c)
			if err != nil {
				return err
			}
			ctx, stop := labContext(c)
			defer stop()
			text, n, of, err := k.Hint(ctx, l)
			if err != nil {
				return err
			}
			fmt.Printf("hint %d of %d for lab %s:\n\n%s\n", n, of, l.Number(), text)
			return nil
		},
	}
}

func labResetCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] [LAB]",
		Description: "Deletes everything in the lab's work directory, and all containers and images\n" +
			"whose names begin with the lab's prefix (lab03-… and lab03/…), and then makes\nthe start state.",
		Flags: []cli.Flag{labDirFlag(), labLimitFlag()},
		Action: func(c *cli.Context) error {
			k, err := openCourse(c)
			if err != nil {
				return err
			}
			l, err := k.lab(c)
			if err != nil {
				return err
			}
			ctx, stop := labContext(c)
			defer stop()
			res, err := k.Reset(ctx, l)
			if err != nil {
				return err
			}
			if res != nil {
				return unsupportedHere(l, res)
			}
			fmt.Printf("lab %s is as it was at the start\n", l.Number())
			return nil
		},
	}
}

func labNextCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS]",
		Flags:     []cli.Flag{labDirFlag(), labLimitFlag()},
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 0, 0, "no arguments"); err != nil {
				return err
			}
			k, err := openCourse(c)
			if err != nil {
				return err
			}
			open, err := k.Next(k.labs)
			if err == nil && len(open) == 0 {
				fmt.Printf("all %d labs are passed\n", len(k.labs))
			}
			for _, l := range open {
				// What this machine cannot do is no reason to stop.
				if err = k.start(c, l); err != exitStatus(exitUnsupported) {
					break
				}
			}
			return err
		},
	}
}

func labNewCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "DIR",
		Description: "Writes a small lab that works into the new directory DIR, whose name is two\n" +
			"digits and a name: 50-my-lab. Its files say in comments how to make another of\n" +
			"it; `tiffin lab test DIR` tells whether it still judges well.",
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 1, 1, "one new directory"); err != nil {
				return err
			}
			dir := c.Args().First()
			if err := tutorial.New(dir); err != nil {
				return err
			}
			fmt.Printf("%s is a lab that works. Change it, and then:\n\n  tiffin lab test %s\n  tiffin lab start --dir %s %s\n", dir, dir, filepath.Dir(dir), filepath.Base(dir)[:2])
			return nil
		},
	}
}

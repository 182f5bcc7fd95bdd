// The command tiffin lab: the table of its commands, and what they share: the labs and the
// student's directory.

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"tiffin/internal/errs"
	"tiffin/tutorial"
)

// Exit statuses of lab check: a promise to scripts that grade. Every other
// failure, such as a broken lab, is exitUsage.
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
	{"diff", "show a stage of yours beside tiffin's own", labDiffCommand, statusLike},
	{"reset", "make the start state of a lab again", labResetCommand, statusLike},
	{"clean", "remove all that a lab has made", labCleanCommand, statusLike},
	{"solution", "print the solution of a lab that is passed, and wrong answers", labSolutionCommand, statusLike},
	{"submit", "pack what is to be handed in", labSubmitCommand, statusLike},
	{"grade", "replay and judge what was handed in", labGradeCommand, statusLike},
	{"next", "start the next lab that is not passed", labNextCommand, statusLike},
	{"json", "print values of a JSON text, for scripts of labs", labJSONCommand, statusLike},
	{"pack", "pack labs into an artifact, for push and serve", labPackCommand, statusLike},
	{"add", "make the labs of a pack or directory known", labAddCommand, statusLike},
	{"remove", "forget a pack or directory that was added", labRemoveCommand, statusLike},
	{"new", "write a lab to begin one's own with", labNewCommand, statusLike},
	{"test", "find out whether labs judge as they should", labTestCommand, statusLike},
}

func labCommand() *cli.Command {
	return &cli.Command{
		Usage:     "learn how containers work, in tasks that check themselves",
		ArgsUsage: "COMMAND [ARGUMENTS]",
		Description: "Labs are small tasks on the parts of a container, each with a text to read,\n" +
			"commands to type and a check of what they have changed. Begin with\n`tiffin lab start 1`.\n\n" + listCommands(labTable[:]) +
			"\n`tiffin lab COMMAND --help` shows the flags of a command.",
		Action: subcommand("lab", labCommand, labTable[:]),
	}
}

// labDirFlag names a directory of labs that do not come with tiffin.
func labDirFlag() cli.Flag {
	return &cli.StringFlag{Name: "dir", Usage: "labs in `DIR` alone ($TIFFIN_LAB_DIR); start remembers it"}
}

func labLimitFlag() cli.Flag {
	return &cli.DurationFlag{Name: "timeout", Value: tutorial.DefaultLimit, Usage: "end a script that takes longer than `TIME`"}
}

// course is what the commands of lab work with.
type course struct {
	*tutorial.Student
	labs    []*tutorial.Lab
	damaged error // why some are not among them
	stage   int   // that the argument names, 0: none
}

func openCourse(c *cli.Context) (*course, error) {
	r, err := labRunner(c)
	if err != nil {
		return nil, err
	}
	s, err := student()
	if err != nil {
		return nil, err
	}
	s.Runner = r
	if err := joined(s); err != nil {
		return nil, err
	}
	labs, damaged := readLabs(c.String("dir"))
	if len(labs) == 0 && damaged != nil {
		return nil, damaged
	}
	for i, l := range labs {
		if t, err := l.In(tutorial.Languages()...); err == nil {
			labs[i] = t
		} else {
			damaged = errors.Join(damaged, err)
		}
	}
	return &course{Student: s, labs: labs, damaged: damaged}, nil
}

// joined refuses the labs of a class until it is joined.
func joined(s *tutorial.Student) error {
	room, err := tutorial.ThisRoom()
	if err != nil || room == nil {
		return err
	}
	j, err := s.Joined()
	if err == nil && (j == nil || j.Class.Name != room.Class.Name) {
		err = errs.Hint(fmt.Errorf("you have not joined the class %s yet", room.Class.Name), "`tiffin class join ID TOKEN`, with what your teacher sent you")
	}
	return err
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

// readLabs reads the labs in a directory, or, if that is "", all that the student has.
func readLabs(dir string) ([]*tutorial.Lab, error) {
	if dir == "" {
		dir = os.Getenv("TIFFIN_LAB_DIR")
	}
	if dir != "" {
		return tutorial.ReadDir(dir)
	}
	s, err := student()
	if err != nil {
		return nil, err
	}
	return s.Labs()
}

// onLab is the action of a command that does something with the lab that the argument names, or
// the current one.
func onLab(do func(ctx context.Context, k *course, l *tutorial.Lab) error) cli.ActionFunc {
	return func(c *cli.Context) error {
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
		return do(ctx, k, l)
	}
}

// lab is the one that the argument names, or the current one.
func (k *course) lab(c *cli.Context) (*tutorial.Lab, error) {
	if err := wantArgs(c, 0, 1, "the number or name of one lab"); err != nil {
		return nil, err
	}
	if c.Args().Present() {
		name, stage, staged := strings.Cut(c.Args().First(), "/")
		l, err := tutorial.Find(k.labs, name)
		if err != nil && k.damaged != nil {
			err = k.damaged
		}
		if staged && !strings.Contains(c.App.ArgsUsage, "STAGE") {
			return nil, usagef("it is for a whole lab: %s", name)
		}
		if err == nil && staged {
			if k.stage, err = strconv.Atoi(stage); err != nil {
				return nil, usagef("a stage is a number, as in %s/1, not %q", name, stage)
			}
			_, err = l.Page(k.stage)
		}
		return inLanguage(c, l, err)
	}
	if l := k.Current(k.labs); l != nil {
		return inLanguage(c, l, nil)
	}
	return nil, errs.Hint(errors.New("no lab is begun"), "`tiffin lab list` shows them, `tiffin lab start 1` begins the first")
}

func labLangFlag() cli.Flag {
	return &cli.StringFlag{Name: "lang", Usage: "in this `LANGUAGE`, such as de or en, not that of $LANG"}
}

// inLanguage is a lab in the language that --lang asks for.
func inLanguage(c *cli.Context, l *tutorial.Lab, err error) (*tutorial.Lab, error) {
	if lang := c.String("lang"); err == nil && lang != "" {
		return l.Original().MustIn(lang)
	}
	return l, err
}

// labContext ends what runs on a signal; what it leaves is cleaned up then.
func labContext(c *cli.Context) (context.Context, func()) {
	return signal.NotifyContext(c.Context, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
}

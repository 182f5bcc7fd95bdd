// The command tiffin class: what an instructor makes for a class, and how a student joins it.

package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/docker/go-units"
	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/urfave/cli/v2"

	"tiffin/image/reference"
	"tiffin/image/transfer"
	"tiffin/internal/errs"
	"tiffin/tutorial"
	"tiffin/tutorial/gradebook"
)

// classTable are the commands below `class`.
var classTable = [...]command{
	{"new", "make a class of a roster: its labs, deadlines and tokens", classNewCommand, statusLike},
	{"tokens", "write the students' tokens anew, after the roster was changed", classTokensCommand, statusLike},
	{"pack", "make one file of the class for its students", classPackCommand, statusLike},
	{"report", "write marks that were kept as JSON in another format", classReportCommand, statusLike},
	{"join", "make the labs here those of a student in the class", classJoinCommand, statusLike},
}

func classCommand() *cli.Command {
	return &cli.Command{
		Usage:     "take labs with a class",
		ArgsUsage: "COMMAND [ARGUMENTS]",
		Description: "The instructor makes a class and a file for the students, who join with the token\n" +
			"that they are sent, hand in with `tiffin lab submit`, and are graded with\n`tiffin lab grade --class DIR`.\n\n" + listCommands(classTable[:]) +
			"\n`tiffin class COMMAND --help` shows the flags of a command.",
		Action: subcommand("class", classCommand, classTable[:]),
	}
}

func classNewCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] DIR",
		Description: "Makes DIR, which stays with the instructor: class.json, with what is taken off for\n" +
			"hints, late days and attempts; roster.csv; tokens.csv, to be sent to the students;\n" +
			"and the secret that the tokens are made from. The roster is a table whose first\n" +
			"line is id,name,email. DIR is also the name of the class.",
		Flags: []cli.Flag{labDirFlag(),
			&cli.StringFlag{Name: "roster", Usage: "the students, CSV in `FILE`"},
			&cli.StringFlag{Name: "labs", Usage: "the `LIST` of labs: 1,2,5; otherwise all"},
			&cli.StringSliceFlag{Name: "deadline", Usage: "`[LAB=]TIME` of this machine's clock: 2026-12-24T18:00; repeatable"},
			&cli.StringSliceFlag{Name: "points", Usage: "`[LAB=]NUMBER` that a lab is worth, otherwise 10; repeatable"}},
		Action: takes(1, 1, "one new directory", func(c *cli.Context) error {
			if c.String("roster") == "" {
				return usagef("the students are missing: --roster FILE")
			}
			labs, from, err := classLabs(c.String("dir"), c.String("labs"))
			if err != nil {
				return err
			}
			dir := filepath.Clean(c.Args().First())
			class, err := tutorial.NewClass(filepath.Base(dir), labs)
			if err != nil {
				return err
			}
			class.From = from
			err = forLabs(class, labs, c.StringSlice("deadline"), func(l *tutorial.ClassLab, text string) error {
				l.Deadline, err = tutorial.ParseDeadline(text)
				return err
			})
			if err != nil {
				return usagef("--deadline: %v", err)
			}
			err = forLabs(class, labs, c.StringSlice("points"), func(l *tutorial.ClassLab, text string) error {
				l.Points, err = strconv.ParseFloat(text, 64)
				return err
			})
			if err != nil {
				return usagef("--points: %v", err)
			}
			n, err := tutorial.MakeClass(dir, class, c.String("roster"))
			if err != nil {
				return err
			}
			fmt.Fprintf(stdout, "%s is the class %s: %s, %s\n\n"+
				"  %s/class.json   deadlines and points, to be changed as you like\n"+
				"  %s/tokens.csv   what each student is to be sent\n"+
				"  tiffin class pack %s   makes the file for them\n",
				dir, class.Name, counted(n, "student"), counted(len(class.Labs), "lab"), dir, dir, dir)
			return nil
		}),
	}
}

// classLabs are the labs of a list, and the directory that they are from if it is not tiffin.
func classLabs(dir, list string) ([]*tutorial.Lab, string, error) {
	if dir == "" {
		dir = os.Getenv("TIFFIN_LAB_DIR")
	}
	all, err := readLabs(dir)
	if err != nil {
		return nil, "", err
	}
	if dir != "" {
		if dir, err = filepath.Abs(dir); err != nil {
			return nil, "", err
		}
	}
	if list == "" {
		return all, dir, nil
	}
	var labs []*tutorial.Lab
	for _, what := range strings.Split(list, ",") {
		l, err := tutorial.Find(all, strings.TrimSpace(what))
		if err != nil {
			return nil, "", err
		}
		labs = append(labs, l)
	}
	return labs, dir, nil
}

// forLabs sets what [LAB=]VALUE says: without LAB for all labs, so that comes first.
func forLabs(class *tutorial.Class, labs []*tutorial.Lab, values []string, set func(*tutorial.ClassLab, string) error) error {
	slices.SortStableFunc(values, func(a, b string) int { return strings.Count(a, "=") - strings.Count(b, "=") })
	for _, v := range values {
		which, value, one := strings.Cut(v, "=")
		if !one {
			value = which
		}
		name := ""
		if one {
			l, err := tutorial.Find(labs, which)
			if err != nil {
				return err
			}
			name = l.Name
		}
		for i := range class.Labs {
			if !one || class.Labs[i].Lab == name {
				if err := set(&class.Labs[i], value); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func counted(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

func classTokensCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage:   "DIR",
		Description: "Writes tokens.csv of the class in DIR for the students who are now in roster.csv.\nWhoever was in it before keeps the same token.",
		Action: takes(1, 1, "the directory of a class", func(c *cli.Context) error {
			n, err := tutorial.WriteTokens(c.Args().First())
			if err != nil {
				return err
			}
			fmt.Fprintf(stdout, "%s/tokens.csv has the tokens of %s\n", filepath.Clean(c.Args().First()), counted(n, "student"))
			return nil
		}),
	}
}

func classPackCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] DIR",
		Description: "Writes one file for the students of the class in DIR: this program with the labs\n" +
			"behind it. They run it where it is, also on a read-only share, or copy it.\n" +
			"Their checks are in it, since they check; solutions and wrong answers are not.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write `FILE`, otherwise tiffin-CLASS"},
			&cli.StringSliceFlag{Name: "image", Usage: "put the image `NAME` of your store in; repeatable"},
			&cli.StringFlag{Name: "name", Usage: "keep it in the store, too, as the artifact `NAME[:TAG]` for serve and push"},
			&cli.BoolFlag{Name: "solutions", Usage: "put solutions and wrong answers in: for after the deadline"}},
		Action: takes(1, 1, "the directory of a class", func(c *cli.Context) error {
			class, err := tutorial.ReadClass(c.Args().First())
			if err != nil {
				return err
			}
			labs, err := readLabs(class.From)
			if err != nil {
				return err
			}
			r, err := labRunner(c)
			if err != nil {
				return err
			}
			path := c.String("output")
			if path == "" {
				path = "tiffin-" + class.Name
			}
			ctx, stop := labContext(c)
			defer stop()
			size, err := r.PackFile(ctx, path, class, labs, tutorial.PackOptions{Images: c.StringSlice("image"), Solutions: c.Bool("solutions")})
			if err != nil {
				return err
			}
			fmt.Fprintf(stdout, "%s has %s for the class %s, %s\n\n  ./%s class join ID TOKEN   is what students type first\n",
				path, counted(len(class.Labs), "lab"), class.Name, units.HumanSize(float64(size)), filepath.Base(path))
			if name := c.String("name"); name != "" {
				return keepRoom(c.Context, path, name)
			}
			return nil
		}),
	}
}

// keepRoom brings a room into the store, and says how it is fetched where there is no tiffin yet.
func keepRoom(ctx context.Context, path, name string) error {
	ref, err := reference.Parse(name)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	s, err := openStore()
	if err != nil {
		return err
	}
	d := digest.FromBytes(b)
	img, err := transfer.NewArtifact(s, tutorial.RoomType, []ocispec.Descriptor{{MediaType: tutorial.RoomType,
		Digest: d, Size: int64(len(b)), Annotations: map[string]string{ocispec.AnnotationTitle: filepath.Base(path)}}}, b)
	if err != nil {
		return err
	}
	if err := transfer.TakeWhole(ctx, s, img, ref, nil); err != nil {
		return err
	}
	repository, _, _ := strings.Cut(ref.Familiar(), ":")
	fmt.Fprintf(stdout, "  curl -o tiffin http://HOST:PORT/v2/%s/blobs/%s && chmod +x tiffin   fetches it from `tiffin serve`\n", repository, d)
	return nil
}

func classReportCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage:   "[FLAGS] FILE",
		Description: "FILE is what `tiffin lab grade --class DIR --format json` has printed: it is graded\nonce, and reported on as often as you like.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "format", Value: "html", Usage: "`FORMAT`: " + strings.Join(gradebook.Formats(true), ", ")},
			&cli.StringFlag{Name: "student", Usage: "the marks of the student `ID` alone"}},
		Action: takes(1, 1, "a file of marks", func(c *cli.Context) error {
			if err := gradebook.Known(c.String("format"), true); err != nil {
				return usagef("%v", err)
			}
			text, err := os.ReadFile(c.Args().First())
			if err != nil {
				return fmt.Errorf("read the marks: %w", err)
			}
			book := &gradebook.Book{Env: os.Getenv}
			if err := json.Unmarshal(text, book); err != nil || book.Marks == nil {
				return fmt.Errorf("%s is not what `tiffin lab grade --format json` has printed", c.Args().First())
			}
			if id := c.String("student"); id != "" {
				book.Marks.Marks = slices.DeleteFunc(book.Marks.Marks, func(m tutorial.Mark) bool { return m.ID != id })
				if len(book.Marks.Marks) == 0 {
					return fmt.Errorf("there is no student %q in %s", id, c.Args().First())
				}
			}
			return gradebook.Write(os.Stdout, c.String("format"), book)
		}),
	}
}

func classJoinCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage:   "ID TOKEN",
		Description: "Makes your directory of labs that of the student ID of the class that this program\nwas packed for. Both words are sent to you by your teacher.",
		Action: takes(2, 2, "your id and your token", func(c *cli.Context) error {
			room, err := tutorial.ThisRoom()
			if err != nil {
				return err
			}
			if room == nil {
				return errs.Hint(errors.New("there is no class in this tiffin"), "use the file that your teacher has made with `tiffin class pack`")
			}
			s, err := student()
			if err != nil {
				return err
			}
			if s.Runner, err = labRunner(c); err != nil {
				return err
			}
			ctx, stop := labContext(c)
			defer stop()
			if err := room.Load(ctx, s.Runner); err != nil {
				return err
			}
			if err := s.Join(room.Class, c.Args().Get(0), c.Args().Get(1)); err != nil {
				return err
			}
			fmt.Fprintf(stdout, "you are %s in the class %s, and your labs are in %s\n\n", c.Args().Get(0), room.Class.Name, fromHome(s.Dir))
			for _, l := range room.Class.Labs {
				fmt.Fprintf(stdout, "  lab %s: %s, %v points%s\n", strings.TrimPrefix(l.Lab[:2], "0"), l.Title, l.Points, until(l.Deadline))
			}
			return printCalled()
		}),
	}
}

// printCalled prints how the file of a class becomes the tiffin of the labs, unless it is that.
func printCalled() error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	if found, err := exec.LookPath("tiffin"); err == nil {
		if found, err = filepath.EvalSymlinks(found); err == nil && found == exe {
			return nil
		}
	}
	fmt.Fprintf(stdout, "\nThe labs call this file tiffin. In each shell that you use for them, type\n\n"+
		"  mkdir -p ~/bin; ln -sf %s ~/bin/tiffin; PATH=~/bin:$PATH\n", fromHome(exe))
	return nil
}

// until says when something is to be handed in, nothing if there is no such time.
func until(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return ", until " + t.Local().Format("2 January 15:04")
}

// printDeadline prints until when a lab is to be handed in, if it is one of a class.
func (k *course) printDeadline(l *tutorial.Lab) error {
	j, err := k.Joined()
	if err != nil || j == nil {
		return err
	}
	for _, cl := range j.Class.Labs {
		if cl.Lab == l.Name {
			fmt.Fprintf(stdout, "it is worth %v points in the class %s%s\n", cl.Points, j.Class.Name, until(cl.Deadline))
		}
	}
	return nil
}

// labsToGrade are those of the class in a directory, or else those that readLabs finds.
func labsToGrade(class, dir string) ([]*tutorial.Lab, error) {
	if class != "" {
		k, err := tutorial.ReadClass(class)
		if err != nil {
			return nil, err
		}
		dir = k.From
	}
	return readLabs(dir)
}

// gradeClass grades a class, and prints its marks. A mark that could not be found out is a failure.
func gradeClass(ctx context.Context, g *tutorial.Grader, dir string, files []string, format string) error {
	marks, err := g.Class(ctx, dir, files, func(o tutorial.Grade) {
		if format != "" {
			printGrade(format, o)
		}
	})
	if ctx.Err() != nil {
		return errors.New("interrupted: nothing is graded")
	}
	if err != nil {
		return err
	}
	if format == "" {
		printMarks(marks)
	} else if err := writeBook(format, marks, g.Labs, files); err != nil {
		return err
	}
	if slices.ContainsFunc(marks.Marks, func(m tutorial.Mark) bool { return m.State == tutorial.Lost }) {
		return exitStatus(exitUsage)
	}
	return nil
}

// printMarks prints a line for each mark, and below it the first reason if it is not passed.
func printMarks(marks *tutorial.Marks) {
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 1, 2, ' ', 0)
	fmt.Fprint(w, "STUDENT\tLAB\tSTATE\tPOINTS\tNOTE\n")
	for _, m := range marks.Marks {
		fmt.Fprintf(w, "%s\t%s\t%s\t%v/%v\t%s\n", m.ID, m.Lab[:2], m.State, m.Points, m.Of, m.Note)
	}
	w.Flush() // a strings.Builder takes all
	for i, line := range strings.Split(strings.TrimSpace(table.String()), "\n") {
		fmt.Fprintln(stdout, strings.TrimRight(line, " "))
		if i > 0 && firstWhy(marks.Marks[i-1].Result) != "" {
			printWrapped(stdout, "    ", firstWhy(marks.Marks[i-1].Result))
		}
	}
	for _, s := range marks.Strays {
		fmt.Fprintf(stdout, "\n%s does not count: %s\n", s.File, s.Why)
	}
}

// firstWhy is why the first of the checks that failed did.
func firstWhy(r *tutorial.Result) string {
	if r == nil {
		return ""
	}
	for _, c := range r.Checks {
		if c.State == tutorial.Failed {
			return cmp.Or(r.Why, c.Why)
		}
	}
	return r.Why
}

// The command tiffin top: the processes of a container, as ps(1) shows them.

package cli

import (
	"fmt"
	"path"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"tiffin/internal/container/client"
	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
	"tiffin/ns"
)

// topColumns are what -o can name, with their titles: ps(1), "STANDARD FORMAT SPECIFIERS".
var topColumns = map[string]struct {
	title string
	show  func(*topRow) string
}{
	"uid":   {"UID", func(r *topRow) string { return r.uid }},
	"pid":   {"PID", func(r *topRow) string { return fmt.Sprint(r.Pid) }},
	"ppid":  {"PPID", func(r *topRow) string { return fmt.Sprint(r.Parent) }},
	"nspid": {"NSPID", func(r *topRow) string { return fmt.Sprint(r.Numbers[len(r.Numbers)-1]) }},
	"c":     {"C", func(r *topRow) string { return fmt.Sprint(int64(100 * r.CPU / max(r.age, time.Second))) }},
	"stime": {"STIME", (*topRow).stime},
	"tty":   {"TTY", (*topRow).tty},
	"time":  {"TIME", func(r *topRow) string { return clock(r.CPU) }},
	"etime": {"ELAPSED", func(r *topRow) string { return clock(r.age) }},
	"stat":  {"STAT", func(r *topRow) string { return string(r.State) }},
	"nlwp":  {"NLWP", func(r *topRow) string { return fmt.Sprint(r.Threads) }},
	"vsz":   {"VSZ", func(r *topRow) string { return fmt.Sprint(r.Size >> 10) }},
	"rss":   {"RSS", func(r *topRow) string { return fmt.Sprint(r.RSS >> 10) }},
	"comm":  {"COMMAND", func(r *topRow) string { return r.Name }},
	"cmd":   {"CMD", (*topRow).command},
}

// topRow is a process of the container.
type topRow struct {
	disk.Process
	uid string // in the container
	age time.Duration
	now time.Time
}

func topCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "CONTAINER",
		Description: "PID and PPID are the numbers that this machine has, UID is the container's. -o takes uid, pid, ppid, nspid\n" +
			"(the number inside), c, stime, tty, time, etime, stat, nlwp, vsz and rss (KiB), comm and cmd.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "o", Value: "uid,pid,ppid,c,stime,tty,time,cmd", Usage: "`COLUMN,…` to show, in ps's words"},
		},
		Action: takes(1, 1, "a container", func(c *cli.Context) error {
			columns := strings.Split(c.String("o"), ",")
			for _, name := range columns {
				if topColumns[name].show == nil {
					return errs.Hint(fmt.Errorf("there is no column %q", name), "`tiffin top --help` lists them")
				}
			}
			ctr, err := findContainer(c.Args().First())
			if err != nil {
				return err
			}
			state, err := ctr.State()
			if err != nil {
				return err
			}
			if state.Status != disk.Running {
				return fmt.Errorf("container %s %w", ctr.Name, client.ErrNotRunning)
			}
			return printTop(columns, topRows(ctr, state))
		}),
	}
}

func topRows(ctr *disk.Container, state disk.State) (rows []*topRow) {
	var up unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &up)
	inside := ns.InsideUID(state.Pid)
	for _, p := range ctr.Processes(state) {
		rows = append(rows, &topRow{p, inside(p.UID), time.Duration(up.Nano()) - p.Started, time.Now()})
	}
	return rows
}

func printTop(columns []string, rows []*topRow) error {
	w := tabwriter.NewWriter(stdout, 0, 1, 3, ' ', 0)
	line := func(cell func(name string) string) {
		var cells []string
		for _, name := range columns {
			cells = append(cells, printable(cell(name)))
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	line(func(name string) string { return topColumns[name].title })
	for _, r := range rows {
		line(func(name string) string { return topColumns[name].show(r) })
	}
	return w.Flush()
}

// command is the arguments, or the program's name where there are none.
func (r *topRow) command() string {
	if len(r.Args) == 0 {
		return "[" + r.Name + "]"
	}
	// A tab would begin a new column.
	return strings.ReplaceAll(strings.Join(r.Args, " "), "\t", " ")
}

// stime is when the process was started: the time of day, or the day.
func (r *topRow) stime() string {
	began := r.now.Add(-r.age)
	if began.YearDay() == r.now.YearDay() && began.Year() == r.now.Year() {
		return began.Format("15:04")
	}
	return began.Format("Jan02")
}

// tty is the terminal's name, as far as a container can have one: pts(4), whose major numbers
// begin at 136.
func (r *topRow) tty() string {
	if major := unix.Major(uint64(r.TTY)); major >= 136 && major <= 143 {
		return path.Join("pts", fmt.Sprint((major-136)<<8+unix.Minor(uint64(r.TTY))))
	}
	return "?"
}

// clock is a time as ps has it: 00:01:30.
func clock(d time.Duration) string {
	s := int64(d / time.Second)
	return fmt.Sprintf("%02d:%02d:%02d", s/3600, s/60%60, s%60)
}

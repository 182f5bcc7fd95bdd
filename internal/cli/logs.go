// The command tiffin logs: what a container has printed, by time and number of lines, and what it
// prints from now on.

package cli

import (
	"bufio"
	"cmp"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/urfave/cli/v2"

	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
)

func logsCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] CONTAINER…",
		Description: "What the command wrote to standard output and standard error comes out as that, byte for byte.\n" +
			"Of several containers, each line has its container's name before it.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "go on until the container ends"},
			&cli.StringFlag{Name: "tail", Aliases: []string{"n"}, Value: "all", Usage: "only the last `N` lines"},
			&cli.BoolFlag{Name: "timestamps", Aliases: []string{"t"}, Usage: "put the time before each line"},
			&cli.BoolFlag{Name: "details", Usage: "put the labels and variables before each line that run --log-opt has named"},
			&cli.StringFlag{Name: "since", Usage: "nothing before `TIME`: 2026-01-31T12:00:00Z, or 10m ago"},
			&cli.StringFlag{Name: "until", Usage: "nothing after `TIME`"},
		},
		Action: takes(1, -1, "a container", runLogs),
	}
}

func runLogs(c *cli.Context) error {
	o := disk.LogRange{Follow: c.Bool("follow")}
	var err error
	if o.Tail, err = parseTail(c.String("tail")); err != nil {
		return err
	}
	for name, dst := range map[string]*time.Time{"since": &o.Since, "until": &o.Until} {
		if *dst, err = parseTime(c.String(name), time.Now()); err != nil {
			return usagef("--%s: %v", name, err)
		}
	}
	var all []member
	for _, name := range c.Args().Slice() {
		ctr, err := findContainer(name)
		if err != nil {
			return err
		}
		all = append(all, member{Container: ctr})
	}
	if len(all) > 1 {
		return showLogs(all, o, newLinePrinter(all, true), func(m member) decoration { return newDecoration(c, m.Container) })
	}
	ctr := all[0]
	before := newDecoration(c, ctr.Container)
	p := logPrinter{flush: o.Follow}
	p.out[0], p.out[1] = bufio.NewWriterSize(os.Stdout, 64<<10), bufio.NewWriterSize(os.Stderr, 64<<10)
	err = ctr.Logs(o, func(e disk.Entry) error { return p.print(before.add(e)) })
	err = cmp.Or(err, p.out[0].Flush(), p.out[1].Flush())
	if err == nil {
		err = tellLoss(ctr.Container, o.Tail < 0)
	}
	return err
}

// decoration is what logs puts before each line.
type decoration struct {
	stamp   bool
	details string
	inLine  map[string]bool // by stream: the last entry did not end its line
}

func newDecoration(c *cli.Context, ctr *disk.Container) decoration {
	d := decoration{stamp: c.Bool("timestamps"), inLine: map[string]bool{}}
	if c.Bool("details") {
		d.details = logDetails(ctr) + " "
	}
	return d
}

// add puts it before an entry that begins a line.
func (d *decoration) add(e disk.Entry) disk.Entry {
	begins := !d.inLine[e.Stream]
	if n := len(e.Text); n > 0 {
		d.inLine[e.Stream] = e.Text[n-1] != '\n'
	}
	if begins && d.details != "" {
		e.Text = append([]byte(d.details), e.Text...)
	}
	if begins && d.stamp {
		e.Text = append(e.Time.AppendFormat(nil, "2006-01-02T15:04:05.000000000Z07:00 "), e.Text...)
	}
	return e
}

// logDetails is what --log-opt wants to see with each line: KEY=VALUE,…
func logDetails(ctr *disk.Container) string {
	var words []string
	for _, key := range ctr.Log.Labels {
		if v, ok := ctr.Labels[key]; ok {
			words = append(words, key+"="+v)
		}
	}
	for _, name := range ctr.Log.Env {
		for _, v := range ctr.Env {
			if strings.HasPrefix(v, name+"=") {
				words = append(words, v)
			}
		}
	}
	return oneLine(strings.Join(words, ","), true)
}

// setLogOption reads one --log-opt: docker's "JSON File logging driver".
func setLogOption(o *disk.LogOptions, s string) error {
	name, value, _ := strings.Cut(s, "=")
	var err error
	switch name {
	case "max-size":
		if value == "-1" {
			o.MaxSize = -1
		} else if o.MaxSize, err = units.RAMInBytes(value); err != nil || o.MaxSize < 1 {
			return errs.Hint(fmt.Errorf("--log-opt max-size=%s: it is no size", value), "such as 10m; -1 is no limit")
		}
	case "max-file":
		if o.MaxFiles, err = strconv.Atoi(value); err != nil || o.MaxFiles < 1 || o.MaxFiles > 1000 {
			return fmt.Errorf("--log-opt max-file=%s: it is no number of files from 1 to 1000", value)
		}
	case "labels":
		o.Labels = strings.Split(value, ",")
	case "env":
		o.Env = strings.Split(value, ",")
	default:
		return errs.Hint(fmt.Errorf("--log-opt %s is not there", name), "max-size, max-file, labels and env are")
	}
	return nil
}

// parseTail reads --tail: a number of lines, -1 for all.
func parseTail(s string) (int, error) {
	if s == "all" {
		return -1, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0, usagef("--tail %q is neither a number nor all", s)
	}
	return n, nil
}

// tellLoss says on standard error what the container's log has lost; with old, also that the oldest
// entries are gone.
func tellLoss(ctr *disk.Container, old bool) error {
	s, err := ctr.State()
	if err != nil {
		return err
	}
	if n := s.Log.Lines; n > 0 {
		fmt.Fprintf(stderr, "tiffin: the log of container %s lacks %s: %s\n", ctr.Name, count(n, "line"), s.Log.Error)
	}
	if old && s.Log.Dropped > 0 {
		fmt.Fprintf(stderr, "tiffin: the log of container %s lacks its oldest %s, which made room for newer lines\n", ctr.Name, size(s.Log.Dropped))
	}
	return nil
}

type logPrinter struct {
	flush bool // after each entry
	out   [2]*bufio.Writer
}

func (p *logPrinter) print(e disk.Entry) error {
	i := 0
	if e.Stream == "stderr" {
		i = 1
	}
	// Two files may be one terminal: keep the order.
	if p.out[1-i].Buffered() > 0 {
		if err := p.out[1-i].Flush(); err != nil {
			return err
		}
	}
	_, err := p.out[i].Write(e.Text)
	if err == nil && p.flush {
		err = p.out[i].Flush()
	}
	return err
}

// parseTime reads a moment: RFC 3339 with or without its end, seconds since
// 1970, or how long ago.
func parseTime(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(-d), nil
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		return time.Unix(0, int64(f*1e9)), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time", s)
}

// The command tiffin logs: what a container has printed, by time and number of lines, and what it
// prints from now on.

package cli

import (
	"bufio"
	"cmp"
	"fmt"
	"os"
	"strconv"
	"time"

	"tiffin/internal/container/disk"

	"github.com/urfave/cli/v2"
)

func logsCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage:   "[FLAGS] CONTAINER",
		Description: "What the command wrote to standard output and standard error comes out as that, byte for byte.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "go on until the container ends"},
			&cli.StringFlag{Name: "tail", Aliases: []string{"n"}, Value: "all", Usage: "only the last `N` lines"},
			&cli.BoolFlag{Name: "timestamps", Aliases: []string{"t"}, Usage: "put the time before each line"},
			&cli.StringFlag{Name: "since", Usage: "nothing before `TIME`: 2026-01-31T12:00:00Z, or 10m ago"},
			&cli.StringFlag{Name: "until", Usage: "nothing after `TIME`"},
		},
		Action: takes(1, 1, "one container", runLogs),
	}
}

func runLogs(c *cli.Context) error {
	ctr, err := findContainer(c.Args().First())
	if err != nil {
		return err
	}
	o := disk.LogOptions{Follow: c.Bool("follow")}
	if o.Tail, err = parseTail(c.String("tail")); err != nil {
		return err
	}
	for name, dst := range map[string]*time.Time{"since": &o.Since, "until": &o.Until} {
		if *dst, err = parseTime(c.String(name), time.Now()); err != nil {
			return usagef("--%s: %v", name, err)
		}
	}
	p := logPrinter{stamp: c.Bool("timestamps"), flush: o.Follow}
	p.out[0], p.out[1] = bufio.NewWriterSize(os.Stdout, 64<<10), bufio.NewWriterSize(os.Stderr, 64<<10)
	err = cmp.Or(ctr.Logs(o, p.print), p.out[0].Flush(), p.out[1].Flush())
	if err == nil {
		err = tellLoss(ctr, o.Tail < 0)
	}
	return err
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
	stamp, flush bool
	out          [2]*bufio.Writer
	inLine       [2]bool // the last entry of the stream did not end its line
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
	if p.stamp && !p.inLine[i] {
		fmt.Fprintf(p.out[i], "%s ", e.Time.Format("2006-01-02T15:04:05.000000000Z07:00"))
	}
	_, err := p.out[i].Write(e.Text)
	if n := len(e.Text); n > 0 {
		p.inLine[i] = e.Text[n-1] != '\n'
	}
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

// The command tiffin compose logs, and how lines of several containers are shown together.

package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/urfave/cli/v2"

	"tiffin/internal/container/disk"
)

func (p *composition) logsCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] [SERVICE…]",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "go on until the containers end"},
			&cli.StringFlag{Name: "tail", Aliases: []string{"n"}, Value: "all", Usage: "only the last `N` lines of each"},
			&cli.BoolFlag{Name: "no-log-prefix", Usage: "no names before the lines"},
		},
		Action: func(c *cli.Context) error {
			all, err := p.members(c.Args().Slice()...)
			if err != nil {
				return err
			}
			o := disk.LogRange{Follow: c.Bool("follow")}
			if o.Tail, err = parseTail(c.String("tail")); err != nil {
				return err
			}
			return showLogs(all, o, newLinePrinter(all, !c.Bool("no-log-prefix")), func(member) decoration { return decoration{inLine: map[string]bool{}} })
		},
	}
}

// showLogs shows the logs of several containers: one after the other, or as they grow.
func showLogs(all []member, o disk.LogRange, printer *linePrinter, before func(member) decoration) error {
	failed := make([]error, len(all))
	var following sync.WaitGroup
	for i, m := range all {
		show := func() {
			d := before(m)
			failed[i] = m.Logs(o, func(e disk.Entry) error { return printer.print(m, d.add(e)) })
			printer.flush(m)
			if failed[i] == nil {
				failed[i] = tellLoss(m.Container, o.Tail < 0)
			}
		}
		if o.Follow {
			following.Go(show)
		} else {
			show()
		}
	}
	following.Wait()
	return errors.Join(failed...)
}

// linePrinter shows lines of several containers, each line whole and behind the container's name.
type linePrinter struct {
	width int // of the names; 0: none are shown

	mu   sync.Mutex
	rest map[string]*[2][]byte // of each container, standard output and error: a line that has not ended
}

// maxLine is how much of a line is kept back until it ends, in bytes.
const maxLine = 64 << 10

func newLinePrinter(all []member, prefix bool) *linePrinter {
	p := &linePrinter{rest: map[string]*[2][]byte{}}
	for _, m := range all {
		p.rest[m.ID] = new([2][]byte)
		if prefix {
			p.width = max(p.width, len(m.Name))
		}
	}
	return p
}

func (p *linePrinter) print(m member, e disk.Entry) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := 0
	if e.Stream == "stderr" {
		i = 1
	}
	rest := &p.rest[m.ID][i]
	*rest = append(*rest, e.Text...)
	if n := len(*rest); n == 0 || (*rest)[n-1] != '\n' && n < maxLine {
		return nil
	}
	text := *rest
	*rest = nil
	return p.write(m, i, text)
}

// flush shows the lines of a container that have not ended.
func (p *linePrinter) flush(m member) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, text := range p.rest[m.ID] {
		if len(text) > 0 {
			_ = p.write(m, i, text)
			p.rest[m.ID][i] = nil
		}
	}
}

func (p *linePrinter) write(m member, i int, text []byte) error {
	to := [2]*os.File{os.Stdout, os.Stderr}[i]
	if p.width == 0 {
		_, err := to.Write(text)
		return err
	}
	var out strings.Builder
	for line := range strings.Lines(string(text)) {
		fmt.Fprintf(&out, "%-*s | %s", p.width, m.Name, line)
	}
	if text[len(text)-1] != '\n' {
		out.WriteByte('\n')
	}
	_, err := to.WriteString(out.String())
	return err
}

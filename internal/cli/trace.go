// The command tiffin trace and run --trace: the requests to a container's file system as they are
// answered.

package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"tiffin/fs"
	"tiffin/internal/container/client"
	"tiffin/internal/container/control"
	"tiffin/internal/errs"
)

func traceCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] CONTAINER",
		Description: "Prints the requests that the kernel makes to the file system of a running container, until that\n" +
			"ends or you press Ctrl-C, and then a summary. The kernel asks only for what it does not remember;\n" +
			"`tiffin run --trace` makes it ask about everything. PID is the thread that asked, as the container\n" +
			"numbers it. Of a file with several names the path may be another one.\n\n" + traceLegend + "\n\n" +
			"With --network it prints instead what the container has to do with the world outside and with other\n" +
			"containers: questions for names with their answers, connections as they open and end, with the bytes\n" +
			"out of the container and in, packets of UDP, echoes. What comes in, through published ports or from\n" +
			"a container of the same network, has a \"from\".",
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "op", Usage: "only `OPERATION`, as LOOKUP or WRITE; may be given more than once"},
			&cli.StringFlag{Name: "path", Usage: "only about `PATH` and what is below it"},
			&cli.BoolFlag{Name: "network", Usage: "what goes through its network, in place of requests"},
			jsonFlag(),
			&cli.BoolFlag{Name: "json", Usage: "print each request as a JSON object on a line, and no summary"},
		},
		Action: takes(1, 1, "one container", func(c *cli.Context) error {
			filter, err := traceFilter(c.StringSlice("op"), c.String("path"))
			if err != nil {
				return err
			}
			if c.Bool("network") && (len(filter.Ops) > 0 || filter.Path != "") {
				return usagef("--op and --path choose requests to files: not with --network")
			}
			ctr, err := findContainer(c.Args().First())
			if err != nil {
				return err
			}
			json, err := wantsJSON(c)
			if err != nil {
				return err
			}
			var p interface {
				finish() error
			}
			var t client.Tracing
			if json = json || c.Bool("json"); c.Bool("network") {
				f := newFlowPrinter(os.Stdout, json)
				p, t = f, f.tracing()
			} else {
				r := newTracePrinter(os.Stdout, json)
				p, t = r, r.tracing(filter)
			}
			ctx, stop := signal.NotifyContext(c.Context, unix.SIGINT, unix.SIGTERM)
			defer stop()
			err = client.Trace(ctx, ctr, t)
			return joinQuietly(execError(ctr, err), p.finish())
		}),
	}
}

// traceFlags are the flags of run about tracing.
func traceFlags() []cli.Flag {
	return []cli.Flag{
		newOptionalFlag("trace", "print each request to the file system on standard error, or with --trace=FILE there; with --trace=network what goes through its network"),
		&cli.StringSliceFlag{Name: "trace-op", Usage: "of these only `OPERATION`, as LOOKUP or WRITE"},
		&cli.StringFlag{Name: "trace-path", Usage: "of these only about `PATH` and what is below it"},
		&cli.BoolFlag{Name: "trace-json", Usage: "print them as JSON objects"},
	}
}

// runTrace is the trace that run's flags ask for, or nil. done ends it.
func runTrace(c *cli.Context) (t *client.Tracing, done func() error, err error) {
	where, ok := optionalValue(c, "trace")
	if !ok {
		for _, f := range []string{"trace-op", "trace-path", "trace-json"} {
			if c.IsSet(f) {
				return nil, nil, usagef("--%s needs --trace", f)
			}
		}
		return nil, func() error { return nil }, nil
	}
	if c.Bool("detach") {
		return nil, nil, errs.Hint(errors.New("--trace shows a command in the foreground"), "leave --detach away, or use `tiffin trace` on the running container")
	}
	filter, err := traceFilter(c.StringSlice("trace-op"), c.String("trace-path"))
	if err != nil {
		return nil, nil, err
	}
	out, network := os.Stderr, where == "network"
	if network && (c.IsSet("trace-op") || c.IsSet("trace-path")) {
		return nil, nil, usagef("--trace-op and --trace-path choose requests to files: not with --trace=network")
	}
	if network {
		where = ""
	}
	if where != "" {
		if out, err = os.Create(where); err != nil {
			return nil, nil, fmt.Errorf("write the trace: %w", err)
		}
	} else if c.Bool("tty") && isTerminal(os.Stderr) {
		return nil, nil, errs.Hint(errors.New("--trace and --tty want the same terminal"), "use --trace=FILE, and `tail -f FILE` on another terminal")
	}
	if network {
		p := newFlowPrinter(out, c.Bool("trace-json"))
		tr := p.tracing()
		return &tr, p.finish, nil
	}
	p := newTracePrinter(out, c.Bool("trace-json"))
	tr := p.tracing(filter)
	return &tr, func() error {
		err := p.finish()
		if where != "" {
			err = errors.Join(err, out.Close())
		}
		return err
	}, nil
}

// traceFilter checks what to trace.
func traceFilter(ops []string, path string) (control.TraceFilter, error) {
	f := control.TraceFilter{Path: path}
	known := fs.Operations()
	for _, op := range ops {
		op = strings.ToUpper(op)
		if !slices.Contains(known, op) {
			return f, errs.Hint(usagef("no such operation: %s", op), "there are "+strings.Join(known, " "))
		}
		f.Ops = append(f.Ops, op)
	}
	if path != "" && !strings.HasPrefix(path, "/") {
		return f, usagef("%q is not an absolute path", path)
	}
	return f, nil
}

// newTracePrinter prints a trace on w, for people or as JSON.
func newTracePrinter(w io.Writer, json bool) *tracePrinter {
	return &tracePrinter{out: bufio.NewWriter(&plainText{to: w}), width: columnsOf(w), json: json, sum: traceSummary{ops: map[string]int64{}}}
}

// columnsOf is how wide a terminal is, 0 if w is none.
func columnsOf(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil {
			return width
		}
	}
	return 0
}

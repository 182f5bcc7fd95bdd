// The forms of output that several commands share: tables, templates and JSON, times, sizes,
// digests. Output for machines is printed only if --format asks for it.

package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"text/template"
	"time"

	"github.com/docker/go-units"
	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"tiffin/internal/errs"
)

// printRows prints one row for each value: by format, a template of Go, after
// the word "table" in columns under the fields of header; or each as a line of
// JSON for "json". An empty format is that of columns.
func printRows[T any](w io.Writer, format, columns string, header *T, rows []*T) error {
	switch format {
	case "json":
		for _, r := range rows {
			if err := json.NewEncoder(w).Encode(r); err != nil {
				return err
			}
		}
		return nil
	case "", "table":
		format = columns
	}
	text, table := strings.CutPrefix(format, "table ")
	tmpl, err := parseFormat(text)
	if err != nil {
		return err
	}
	out := w
	if table {
		// docker's columns: at least 10 wide, 3 spaces between them.
		tw := tabwriter.NewWriter(w, 10, 1, 3, ' ', 0)
		defer tw.Flush()
		out = tw
		if header != nil {
			rows = append([]*T{header}, rows...)
		}
	}
	for _, r := range rows {
		if table {
			r = inOneLine(r)
		}
		if err := tmpl.Execute(out, r); err != nil {
			return formatError(err)
		}
	}
	return nil
}

// inOneLine is a row without what would end its line or a column: a stranger's text would look like
// another row.
func inOneLine[T any](row *T) *T {
	r := *row
	for v, i := reflect.ValueOf(&r).Elem(), 0; i < v.NumField(); i++ {
		if f := v.Field(i); f.Kind() == reflect.String && f.CanSet() {
			f.SetString(oneLine(f.String(), true))
		}
	}
	return &r
}

// printJSON prints a value on a line of its own, or indented on several.
func printJSON(w io.Writer, v any, indent string) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	return enc.Encode(v)
}

// jsonFlag is --format of a command that has no templates.
func jsonFlag() cli.Flag { return &cli.StringFlag{Name: "format", Usage: "`json`, or nothing"} }

// wantsJSON is what jsonFlag says.
func wantsJSON(c *cli.Context) (bool, error) {
	f := c.String("format")
	if f != "" && f != "json" {
		return false, usagef("--format is json, not %q", f)
	}
	return f != "", nil
}

// parseFormat reads a template, with docker's functions in it.
func parseFormat(text string) (*template.Template, error) {
	text = strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(text)
	tmpl, err := template.New("--format").Funcs(formatFuncs()).Parse(text + "\n")
	if err != nil {
		return nil, usagef("--format: %s", strings.TrimPrefix(err.Error(), "template: "))
	}
	return tmpl, nil
}

// formatError is an error of a template without the template's own name and place.
func formatError(err error) error {
	text := err.Error()
	if _, what, ok := strings.Cut(text, " at <"); ok {
		text = "<" + what
	}
	return fmt.Errorf("--format: %s", text)
}

// formatFuncs are the functions that docker's templates have.
func formatFuncs() template.FuncMap {
	return template.FuncMap{
		"json": func(v any) (string, error) {
			var b strings.Builder
			err := printJSON(&b, v, "")
			return strings.TrimSpace(b.String()), err
		},
		"join":  strings.Join,
		"lower": strings.ToLower,
		"upper": strings.ToUpper,
		"split": strings.Split,
		"title": upperFirst,
		"truncate": func(s string, n int) string {
			if r := []rune(s); len(r) > n {
				return string(r[:n])
			}
			return s
		},
		"pad": func(s string, before, after int) string {
			if s == "" {
				return s
			}
			return strings.Repeat(" ", before) + s + strings.Repeat(" ", after)
		},
	}
}

// ago is how long ago t was, for people. The start of 1970 counts as no time:
// files that are built reproducibly have it.
func ago(t time.Time) string {
	if t.Unix() <= 0 {
		return "N/A"
	}
	return units.HumanDuration(time.Since(t)) + " ago"
}

// localTime is t in full.
func localTime(t time.Time) string {
	if t.Unix() <= 0 {
		return "N/A"
	}
	return t.Local().Format("2006-01-02 15:04:05 -0700 MST")
}

// size is a number of bytes with three digits: 834MB.
func size(bytes int64) string { return units.HumanSizeWithPrecision(float64(bytes), 3) }

// id is a digest as tables show it: 12 digits, or all of it.
func id(digest string, whole bool) string {
	hex, ok := strings.CutPrefix(digest, "sha256:")
	if whole || !ok || len(hex) < 12 {
		return digest
	}
	return hex[:12]
}

// interruptible is the context of a command that cleans up when it is
// interrupted. If it cannot, for instance because it waits for input, it ends all
// the same, and the next command removes what it leaves.
func interruptible(c *cli.Context) (ctx context.Context, end func()) {
	return interruptibleWithin(c, time.Second)
}

// patient is set by a command that has heard of the signal itself, and has more to do than what is
// interrupted: that does not end the program then.
var patient atomic.Bool

// interruptibleWithin is interruptible with another time to clean up in, which end ends. It is a
// second for whoever asks again.
func interruptibleWithin(c *cli.Context, limit time.Duration) (ctx context.Context, end func()) {
	ctx, cancel := context.WithCancelCause(c.Context)
	sigs, over := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(sigs, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	go func() {
		var n unix.Signal
		select {
		case sig := <-sigs:
			n, _ = sig.(unix.Signal)
		case <-over:
			return
		}
		cancel(errs.Code(fmt.Errorf("interrupted by %s: nothing was changed", unix.SignalName(n)), 128+int(n)))
		last := time.After(limit)
		select {
		case <-over:
			return
		case <-time.After(min(limit, time.Second)):
		}
		select {
		case <-over:
			return
		case <-sigs:
		case <-last:
		}
		if !patient.Load() {
			os.Exit(128 + int(n))
		}
	}()
	return ctx, sync.OnceFunc(func() {
		signal.Stop(sigs)
		close(over)
		cancel(nil)
	})
}

// Manual pages, made of the table of commands: one of tiffin, and one of each command. Their
// language is that of man(7).

package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"
)

// ManCommand is the first argument of a tiffin that writes its manual pages: scripts/setup --man.
const ManCommand = "__man"

// WriteManuals writes all pages into the directory that args name, and returns an exit status.
func WriteManuals(args []string) int {
	if len(args) != 1 {
		return report(usagef("%s takes a directory", ManCommand), exitFailure)
	}
	if err := writeManuals(args[0]); err != nil {
		return report(fmt.Errorf("write the manual pages: %w", err), exitFailure)
	}
	return 0
}

// writeManuals makes the directory if it is missing.
func writeManuals(dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	write := func(name string, page *bytes.Buffer) error {
		return os.WriteFile(filepath.Join(dir, name+".1"), page.Bytes(), 0o666)
	}
	top := newPage("tiffin", "run containers without root and show how", "COMMAND [ARGUMENTS]")
	for _, g := range table {
		fmt.Fprintf(top, ".SH %s\n", roff(strings.ToUpper(g.title)))
		for _, c := range g.commands {
			fmt.Fprintf(top, ".TP\n.BR tiffin\\-%s (1)\n%s\n", c.name, roff(c.short))
			if err := c.writeManuals(c.name, write); err != nil {
				return err
			}
		}
	}
	return write("tiffin", top)
}

// writeManuals writes the page of a command, and those of the commands below it.
func (c *command) writeManuals(words string, write func(name string, page *bytes.Buffer) error) error {
	cmd := c.make()
	page := newPage("tiffin "+words, c.short, cmd.ArgsUsage)
	if cmd.Description != "" {
		fmt.Fprintf(page, ".SH DESCRIPTION\n.nf\n%s\n.fi\n", roff(strings.TrimSpace(cmd.Description)))
	}
	fmt.Fprint(page, ".SH OPTIONS\n")
	for _, f := range append(cmd.Flags, &cli.BoolFlag{Name: "help", Usage: "show how it is used"}) {
		d, ok := f.(cli.DocGenerationFlag)
		if v, visible := f.(cli.VisibleFlag); ok && (!visible || v.IsVisible()) {
			fmt.Fprintf(page, ".TP\n.B %s\n%s\n", roff(strings.TrimSpace(flagNames(f, d))), roff(plainUsage(d.GetUsage())))
		}
	}
	fmt.Fprint(page, ".SH SEE ALSO\n.BR tiffin (1),\n\\(gatiffin book\\(ga\n")
	for _, below := range belowOf(words) {
		if err := below.writeManuals(words+" "+below.name, write); err != nil {
			return err
		}
	}
	return write("tiffin-"+strings.ReplaceAll(words, " ", "-"), page)
}

// newPage begins a page.
func newPage(words, short, synopsis string) *bytes.Buffer {
	name := strings.ReplaceAll(words, " ", "-")
	page := new(bytes.Buffer)
	fmt.Fprintf(page, ".TH %s 1\n.SH NAME\n%s \\- %s\n.SH SYNOPSIS\n.nf\n.B %s\n.fi\n", strings.ToUpper(name), roff(name), roff(short),
		roff(words+" "+synopsis))
	return page
}

// roff is a text in which nothing is a request, or special.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`).Replace(text)
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		lines[i] = strings.TrimSpace(l)
		if strings.HasPrefix(lines[i], ".") {
			lines[i] = `\&` + lines[i]
		}
	}
	return strings.Join(lines, "\n")
}

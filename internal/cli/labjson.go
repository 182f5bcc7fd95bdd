// The command tiffin lab json: for the scripts of labs, which have no other reader of JSON.

package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"
)

// maxJSON is the size of the longest text that is read, in bytes.
const maxJSON = 4 << 20

func labJSONCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "TEMPLATE",
		Description: "Reads one JSON text from standard input and prints what TEMPLATE makes of it, a\n" +
			"template of Go as with --format: `{{(index .layers 0).digest}}`. A value that is\nnot there, or a text that is no JSON, is an error. Numbers stay as they are written.",
		Action: takes(1, 1, "one template", func(c *cli.Context) error {
			return printValues(stdout, os.Stdin, c.Args().First())
		}),
	}
}

func printValues(w io.Writer, r io.Reader, text string) error {
	tmpl, err := parseFormat(text)
	if err != nil {
		return err
	}
	dec := json.NewDecoder(io.LimitReader(r, maxJSON))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return fmt.Errorf("read the JSON text: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("read the JSON text: something comes after it")
	}
	if err := tmpl.Option("missingkey=error").Execute(w, v); err != nil {
		return formatError(err)
	}
	return nil
}

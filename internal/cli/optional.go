// A flag whose value is optional: --trace or --trace=FILE.

package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// optionalFlag is a flag whose value is optional, and can only be given with
// "=": --trace, --trace=FILE.
type optionalFlag struct{ *cli.GenericFlag }

// optional is the value of such a flag. IsBoolFlag tells package flag not to
// look for it in the next argument; without one, "true" is set.
type optional struct {
	set   bool
	value string
	words []string // that it can be; nil: any
}

func newOptionalFlag(name, usage string, words ...string) cli.Flag {
	return optionalFlag{&cli.GenericFlag{Name: name, Usage: usage, Value: &optional{words: words}}}
}

func (optionalFlag) TakesValue() bool { return false }

func (*optional) IsBoolFlag() bool { return true }
func (o *optional) String() string { return o.value }

func (o *optional) Set(s string) error {
	o.set = true
	if o.value = s; s == "true" {
		o.value = ""
	} else if o.words != nil && !slices.Contains(o.words, s) {
		return fmt.Errorf("it is one of %s", strings.Join(o.words, ", "))
	}
	return nil
}

// optionalValue is the value of an optional flag, and whether it is there.
func optionalValue(c *cli.Context, name string) (string, bool) {
	o, ok := c.Generic(name).(*optional)
	if !ok || !o.set {
		return "", false
	}
	return o.value, true
}

// Arguments as people type them for docker (-it, --flag=value, flags behind operands) become what
// package flag of Go understands. For a flag that does not exist, the error says what to use
// instead.

package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"tiffin/internal/errs"
)

// usageError is a command line that cannot be understood.
type usageError struct{ msg string }

func (e *usageError) Error() string { return e.msg }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

// normalise rewrites the arguments of a command, as people type them for
// docker, into what package flag of Go understands:
//
//	-it           -i -t            letters together, the last with its value: -ite VAR, -eVAR
//	ps x --all    ps --all -- x    flags anywhere, unless the command stops at its
//	                               first argument because the rest belongs to another
//	                               command (run, create, exec)
//	-e A, --net=x --env=A          what takes a value by its first name, in one word
//	              --network=x
//
// Flags that the command does not have are errors here, with docker's words.
func normalise(args []string, flags []cli.Flag, stopAtFirst bool) ([]string, error) {
	var out, rest []string
	for i := 0; i < len(args); i++ {
		a := args[i]
		switch {
		case a == "--":
			rest = append(rest, args[i+1:]...)
			i = len(args)
		case a == "-" || !strings.HasPrefix(a, "-"):
			rest = append(rest, a)
			if stopAtFirst {
				rest = append(rest, args[i+1:]...)
				i = len(args)
			}
		default:
			words, takesNext, err := splitFlag(a, flags)
			if err != nil {
				return nil, err
			}
			out = append(out, words...)
			if takesNext {
				if i++; i == len(args) {
					return nil, usagef("flag needs an argument: %s", a)
				}
				// In one word, so that a value that begins with "-" is not taken for a flag.
				out[len(out)-1] += "=" + args[i]
			}
		}
	}
	return append(append(out, "--"), rest...), nil
}

// splitFlag takes apart one argument that begins with "-". takesNext says that
// the value of its last flag is the next argument.
func splitFlag(a string, flags []cli.Flag) (words []string, takesNext bool, err error) {
	if long, ok := strings.CutPrefix(a, "--"); ok {
		name, _, hasValue := strings.Cut(long, "=")
		f := findFlag(flags, name)
		if f == nil || len(name) == 1 {
			return nil, false, unknownFlag(flags, name, usagef("unknown flag: --%s", name))
		}
		return []string{"--" + f.Names()[0] + long[len(name):]}, !hasValue && takesValue(f), nil
	}
	for letters := a[1:]; letters != ""; {
		name, rest := letters[:1], letters[1:]
		f := findFlag(flags, name)
		if f == nil {
			return nil, false, unknownFlag(flags, name, usagef("unknown shorthand flag: '%s' in %s", name, a))
		}
		if takesValue(f) {
			if rest == "" {
				return append(words, "--"+f.Names()[0]), true, nil
			}
			return append(words, "--"+f.Names()[0]+"="+strings.TrimPrefix(rest, "=")), false, nil
		}
		if v, ok := strings.CutPrefix(rest, "="); ok {
			return append(words, "-"+name+"="+v), false, nil
		}
		words, letters = append(words, "-"+name), rest
	}
	return words, false, nil
}

// withoutAliases has the flags that are lists by their first name alone, which is the one that
// normalise has left: the library hands their values on to further names as JSON, which cannot
// hold all that an environment may have.
func withoutAliases(flags []cli.Flag) []cli.Flag {
	all := slices.Clone(flags)
	for i, f := range all {
		if list, ok := f.(*cli.StringSliceFlag); ok {
			alone := *list
			alone.Aliases = nil
			all[i] = &alone
		}
	}
	return all
}

// unknownFlag says what to use instead, if docker's run and create have the flag.
func unknownFlag(flags []cli.Flag, name string, err error) error {
	advice := flagElsewhere(name)
	if advice == "" || findFlag(flags, "entrypoint") == nil {
		return err
	}
	return errs.Hint(err, advice)
}

func findFlag(flags []cli.Flag, name string) cli.Flag {
	for _, f := range flags {
		for _, n := range f.Names() {
			if n == name {
				return f
			}
		}
	}
	return nil
}

func takesValue(f cli.Flag) bool {
	d, ok := f.(cli.DocGenerationFlag)
	return ok && d.TakesValue()
}

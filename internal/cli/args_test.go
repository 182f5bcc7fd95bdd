package cli

import (
	"errors"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"tiffin/internal/errs"
)

func TestArgumentsAreUnderstoodAsPeopleTypeThem(t *testing.T) {
	flags := []cli.Flag{
		&cli.BoolFlag{Name: "interactive", Aliases: []string{"i"}},
		&cli.BoolFlag{Name: "tty", Aliases: []string{"t"}},
		&cli.StringSliceFlag{Name: "env", Aliases: []string{"e"}},
		&cli.StringFlag{Name: "name"},
	}
	for _, c := range []struct {
		args string
		stop bool
		want string // an error if it begins with "!"
	}{
		{"-it x", true, "-i -t -- x"},
		{"-ite A=1 x", true, "-i -t --env=A=1 -- x"},
		{"-eA=1 -e=B x", true, "--env=A=1 --env=B -- x"},
		{"--name n --env -i x", true, "--name=n --env=-i -- x"},
		{"--name=n x -it --nosuch", true, "--name=n -- x -it --nosuch"},
		{"x --name n -i y", false, "--name=n -i -- x y"},
		{"-i=false x", true, "-i=false -- x"},
		{"-- -i", true, "-- -i"},
		{"x -- -i", false, "-- x -i"},
		{"-", false, "-- -"},
		{"--name", true, "!flag needs an argument: --name"},
		{"-e", true, "!flag needs an argument: -e"},
		{"-ix", true, "!unknown shorthand flag: 'x' in -ix"},
		{"-name", true, "!unknown shorthand flag: 'n' in -name"},
		{"--i", true, "!unknown flag: --i"},
		{"--nosuch=1", true, "!unknown flag: --nosuch"},
	} {
		got, err := normalise(strings.Fields(c.args), flags, c.stop)
		s := strings.Join(got, " ")
		var usage *usageError
		if errors.As(err, &usage) {
			s = "!" + err.Error()
		}
		if s != c.want {
			t.Errorf("%s: %q, want %q", c.args, s, c.want)
		}
	}
}

func TestEveryCommandHasHelpAndDistinctFlags(t *testing.T) {
	seen := map[string]bool{}
	for _, g := range table {
		for _, c := range g.commands {
			if seen[c.name] || c.short == "" {
				t.Errorf("command %q: twice, or without a line of help", c.name)
			}
			seen[c.name] = true
			cmd := c.make()
			names := map[string]bool{}
			for _, f := range cmd.Flags {
				for _, n := range f.Names() {
					if names[n] {
						t.Errorf("%s: flag %s twice", c.name, n)
					}
					names[n] = true
				}
			}
			if cmd.Action == nil {
				t.Errorf("%s does nothing", c.name)
			}
			var b strings.Builder
			cmd.Name = c.name
			printCommandHelp(&b, cmd)
			if !strings.HasPrefix(b.String(), "usage: tiffin "+c.name) {
				t.Errorf("%s: %s", c.name, b.String())
			}
		}
	}
}

func TestNearCommandsAreSuggested(t *testing.T) {
	for typed, want := range map[string]string{"rnu": "tiffin run", "comit": "tiffin commit", "imag": "tiffin images", "pss": "tiffin ps"} {
		var b strings.Builder
		printError(&b, unknownCommand(typed))
		if !strings.Contains(b.String(), "`"+want+"`") {
			t.Errorf("%s: %s", typed, b.String())
		}
	}
}

func TestErrorsDoNotActOnTheTerminal(t *testing.T) {
	var b strings.Builder
	printError(&b, errs.Hint(errors.New("it says \x1b[31mslow\x07\nand é"), "wait\x1b]0;x\x07\na moment"))
	want := "tiffin: it says \\u001b[31mslow\\u0007\ntiffin: and é\nhint: wait\\u001b]0;x\\u0007\n      a moment\n"
	if b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
}

func TestDetachKeysLeaveAndNothingElseIsLost(t *testing.T) {
	const usual = "ctrl-p,ctrl-q"
	for _, c := range []struct {
		keys  string
		typed []string // "…" is a pause
		out   string
		leave bool
	}{
		{usual, []string{"ls\r"}, "ls\r", false},
		{usual, []string{"\x10\x11"}, "", true},
		{usual, []string{"a\x10", "\x11b"}, "a", true},
		{usual, []string{"\x10", "x"}, "\x10x", false},
		{usual, []string{"\x10\x10\x11"}, "\x10", true},
		{usual, []string{"\x11\x10"}, "\x11", false},
		{usual, []string{"\x10", "…"}, "\x10", false},
		{usual, []string{"\x10", "…", "\x10", "…", "x"}, "\x10\x10x", false},
		{usual, []string{"\x10", "…", "\x11"}, "\x10", true},
		{"a,a,b", []string{"a", "…", "aacaaab"}, "aaaca", true},
		{"Ctrl-A,x", []string{"\x01x"}, "", true},
		{"", []string{"\x10\x11"}, "\x10\x11", false},
	} {
		keys, err := parseDetachKeys(c.keys)
		if err != nil {
			t.Fatal(err)
		}
		k := detachKeys{keys: keys}
		out, leave := "", false
		for _, s := range c.typed {
			if s == "…" {
				out += string(k.release())
				continue
			}
			b, l := k.filter([]byte(s))
			out, leave = out+string(b), leave || l
		}
		if out != c.out || leave != c.leave {
			t.Errorf("%s, %q: %q %v", c.keys, c.typed, out, leave)
		}
	}
	for _, keys := range []string{"ctrl-", "ctrl-1", "pq", ",", "ctrl-é"} {
		if list, err := parseDetachKeys(keys); err == nil {
			t.Errorf("%s: %q", keys, list)
		}
	}
}

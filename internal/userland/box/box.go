// Package box holds the small commands of the built-in base image: ls, cp, ps,
// mount and about a hundred others, one function each, in one binary.
//
// # How a command runs
//
// The binary has many names (hard links in the image). [Run] looks at the base
// name of argv[0], finds the command in [Commands] and calls its function with
// a [Call], which holds the parsed options, the operands, a buffered standard
// output and the exit status. Every command is a process of its own, so it may
// use the process's working directory, environment and exit status freely; a
// learner sees it in ps and strace as what it is.
//
// # What they promise
//
// The commands take the options that POSIX and everyday use ask for, not all
// of GNU's. Messages have the classic form "ls: x: no such file or directory";
// an unknown option prints the usage line and exits with 2; --help prints it to
// standard output. Where the output has a format that scripts parse (ls -l,
// stat -c, ps, wc, du, df, sort, od, tar tv) it is the format of coreutils,
// procps and GNU tar, and the tests compare with them where they are installed.
//
// # Why not u-root's commands
//
// Because none of them passes the tests of ours: appendix B of the book says what each lacks, and
// TestURootStillLacksWhatTheImageNeeds notices when that is no longer so.
package box

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// A Command is one entry of the table.
type Command struct {
	Name  string
	Usage string // arguments, as in "[-la] [FILE...]"
	Help  string // one line
	run   func(*Call)
}

// A Call is one run of a command.
type Call struct {
	Command
	args []string          // operands; before opts, all arguments
	flag map[byte][]string // options given, with their values in order
	out  *bufio.Writer     // standard output, flushed on exit
	exit int               // status so far
}

// rawArgs names the commands whose arguments are not options, so that --help
// is theirs to print ("echo --help" prints "--help").
const rawArgs = " echo printf test [ true false "

// Find returns the command of that name.
func Find(name string) (Command, bool) {
	for _, c := range Commands() {
		if c.Name == name {
			return c, true
		}
	}
	return Command{}, false
}

// Run runs the command that args[0] names, with os.Stdin, os.Stdout and
// os.Stderr, and returns its exit status; ok is false if there is no such
// command. Many commands end the process themselves.
func Run(args []string) (status int, ok bool) {
	c, ok := Find(strings.TrimPrefix(filepath.Base(args[0]), "-"))
	if !ok {
		return 0, false
	}
	call := &Call{Command: c, args: args[1:], out: bufio.NewWriterSize(stdout{c.Name}, 32<<10)}
	if len(args) == 2 && args[1] == "--help" && !strings.Contains(rawArgs, " "+c.Name+" ") {
		fmt.Fprintf(call.out, "usage: %s\n%s\n", strings.TrimSpace(c.Name+" "+c.Usage), c.Help)
	} else {
		c.run(call)
	}
	call.flush()
	return call.exit, true
}

// stdout is the standard output of the command called name. That nobody reads it ends a process by
// SIGPIPE, but process 1 of a container is not ended by that (pid_namespaces(7)): it ends itself,
// whatever it is at.
type stdout struct{ name string }

func (o stdout) Write(b []byte) (int, error) {
	n, err := os.Stdout.Write(b)
	if errors.Is(err, syscall.EPIPE) {
		fmt.Fprintf(os.Stderr, "%s: write error: %s\n", o.name, reason(err))
		os.Exit(1)
	}
	return n, err
}

// flush writes what is buffered; a failure is a failed command.
func (c *Call) flush() {
	if err := c.out.Flush(); err != nil && c.exit == 0 {
		c.exit = 1
		fmt.Fprintf(os.Stderr, "%s: write error: %s\n", c.Name, reason(err))
	}
}

// quit ends the process.
func (c *Call) quit(status int) {
	c.exit = status
	c.flush()
	os.Exit(c.exit)
}

// warn prints "NAME: message" and makes the exit status at least 1.
func (c *Call) warn(format string, a ...any) {
	c.out.Flush() // keep the order a terminal would show
	fmt.Fprintf(os.Stderr, c.Name+": "+format+"\n", a...)
	if c.exit == 0 {
		c.exit = 1
	}
}

// fail reports err about a path: "ls: x: no such file or directory".
func (c *Call) fail(path string, err error) {
	c.warn("%s: %s", path, reason(err))
}

// die is warn, then the end.
func (c *Call) die(status int, format string, a ...any) {
	c.warn(format, a...)
	c.quit(status)
}

// usage prints the usage line to standard error and ends with status 2.
func (c *Call) usage() {
	c.out.Flush()
	fmt.Fprintf(os.Stderr, "usage: %s\n", strings.TrimSpace(c.Name+" "+c.Usage))
	c.quit(2)
}

// reason is an error without the path and operation Go puts before it.
func reason(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}

// opts parses options in the manner of getopt(3): spec lists the letters, one
// that takes a value is followed by a colon; long names are given as "name=x",
// where x is the letter it stands for. Options may follow operands; "--" ends
// them. An unknown one prints the usage line and ends the process.
func (c *Call) opts(spec string, long ...string) {
	c.parse(spec, false, long)
}

// optsFirst is opts for commands that run another command: the first operand
// ends the options.
func (c *Call) optsFirst(spec string, long ...string) {
	c.parse(spec, true, long)
}

func (c *Call) parse(spec string, first bool, long []string) {
	args := c.args
	c.args, c.flag = nil, map[byte][]string{}
	for len(args) > 0 {
		a := args[0]
		args = args[1:]
		switch {
		case a == "--":
			c.args = append(c.args, args...)
			return
		case a == "-" || a == "" || a[0] != '-':
			c.args = append(c.args, a)
			if first {
				c.args = append(c.args, args...)
				return
			}
		case strings.HasPrefix(a, "--"):
			args = c.longOpt(a[2:], args, spec, long)
		default:
			args = c.shortOpts(a[1:], args, spec)
		}
	}
}

// shortOpts parses the letters of one argument, "la" or "n5", and returns the
// arguments left.
func (c *Call) shortOpts(a string, args []string, spec string) []string {
	for i := 0; i < len(a); i++ {
		at := strings.IndexByte(spec, a[i])
		if at < 0 || a[i] == ':' {
			c.warn("unknown option -%c", a[i])
			c.usage()
		}
		if at+1 == len(spec) || spec[at+1] != ':' {
			c.flag[a[i]] = append(c.flag[a[i]], "")
			continue
		}
		val := a[i+1:]
		if val == "" {
			if len(args) == 0 {
				c.warn("option -%c needs a value", a[i])
				c.usage()
			}
			val, args = args[0], args[1:]
		}
		c.flag[a[i]] = append(c.flag[a[i]], val)
		break
	}
	return args
}

// longOpt parses "name" or "name=value".
func (c *Call) longOpt(a string, args []string, spec string, long []string) []string {
	name, val, has := strings.Cut(a, "=")
	for _, l := range long {
		if n, x, _ := strings.Cut(l, "="); n == name {
			if at := strings.IndexByte(spec, x[0]); at+1 < len(spec) && spec[at+1] == ':' && !has {
				if len(args) == 0 {
					c.warn("option --%s needs a value", name)
					c.usage()
				}
				val, args = args[0], args[1:]
			}
			c.flag[x[0]] = append(c.flag[x[0]], val)
			return args
		}
	}
	if name == "help" {
		fmt.Fprintf(c.out, "usage: %s\n%s\n", strings.TrimSpace(c.Name+" "+c.Usage), c.Help)
		c.quit(0)
	}
	c.warn("unknown option --%s", name)
	c.usage()
	return nil
}

// has tells whether an option was given.
func (c *Call) has(letter byte) bool { return len(c.flag[letter]) > 0 }

// val is the last value given to an option, "" if none was.
func (c *Call) val(letter byte) string {
	v := c.flag[letter]
	if len(v) == 0 {
		return ""
	}
	return v[len(v)-1]
}

// need ends with the usage line unless the number of operands is in [min, max];
// max < 0 means any number.
func (c *Call) need(min, max int) {
	if len(c.args) < min || max >= 0 && len(c.args) > max {
		if len(c.args) < min {
			c.warn("missing operand")
		} else {
			c.warn("too many operands: %s", strings.Join(c.args[max:], " "))
		}
		c.usage()
	}
}

// inputs calls f for each operand opened for reading, "-" or no operand being
// standard input. What cannot be opened or read is reported, and the rest is
// still done.
func (c *Call) inputs(f func(name string, r io.Reader) error) {
	names := c.args
	if len(names) == 0 {
		names = []string{"-"}
	}
	for _, name := range names {
		if name == "-" {
			if err := f(name, os.Stdin); err != nil {
				c.fail("standard input", err)
			}
			continue
		}
		file, err := os.Open(name)
		if err == nil {
			err = f(name, file)
			file.Close()
		}
		if err != nil {
			c.fail(name, err)
		}
	}
}

// lines calls f for each line of r, without its newline, until f returns false.
// Lines may have any length.
func lines(r io.Reader, f func(line string) bool) error {
	b := bufio.NewReaderSize(r, 32<<10)
	for {
		s, err := b.ReadString('\n')
		if s != "" || err == nil {
			if !f(strings.TrimSuffix(s, "\n")) {
				return nil
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// number parses a decimal count; it ends the process if s is none.
func (c *Call) number(s string) int64 {
	var n int64
	var rest string
	if k, _ := fmt.Sscanf(s+" ", "%d%s", &n, &rest); k != 1 {
		c.die(1, "%s: not a number", s)
	}
	return n
}

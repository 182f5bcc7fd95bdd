// The shell has echo, printf, test, true and false built in; these are the
// programs of the same names, for env, xargs, find -exec and the like.

package box

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

func trueCmd(*Call)    {}
func falseCmd(c *Call) { c.exit = 1 }

func echo(c *Call) { fmt.Fprint(c.out, Echo(c.args)) }

// Echo is what echo prints for its arguments. It is the shell's builtin, too.
func Echo(args []string) string {
	newline, escapes := true, false
	for len(args) > 0 && len(args[0]) > 1 && strings.Trim(args[0][1:], "neE") == "" && args[0][0] == '-' {
		for _, l := range args[0][1:] {
			switch l {
			case 'n':
				newline = false
			case 'e':
				escapes = true
			case 'E':
				escapes = false
			}
		}
		args = args[1:]
	}
	s := strings.Join(args, " ")
	if escapes {
		p := &printer{}
		s = p.escaped(s)
		newline = newline && !p.ended
	}
	if newline {
		s += "\n"
	}
	return s
}

// test: evaluate a condition (POSIX, test). The grammar, loosest first:
//
//	or   = and { "-o" and }
//	and  = not { "-a" not }
//	not  = "!" not | prim
//	prim = "(" or ")" | unary word | word binary word | word
func test(c *Call) {
	c.exit = Test(append([]string{c.Name}, c.args...), "", isTerminal, func(m string) { c.warn("%s", m) })
}

// Test does what test(1) and [(1) do, and returns the exit status. It is the shell's builtin,
// too: paths are relative to dir, "" for the process's, tty tells whether a descriptor is a
// terminal, and complain gets a message without the command's name.
func Test(args []string, dir string, tty func(fd int) bool, complain func(string)) (status int) {
	name, args := args[0], args[1:]
	if name == "[" {
		if len(args) == 0 || args[len(args)-1] != "]" {
			complain("missing ]")
			return 2
		}
		args = args[:len(args)-1]
	}
	// "4 arguments: If $1 is '!', negate the three-argument test of $2, $3, and $4."
	negate := len(args) == 4 && args[0] == "!"
	if negate {
		args = args[1:]
	}
	p := &testParser{args: args, dir: dir, tty: tty}
	ok := len(args) > 0 && p.or() != negate
	if p.err == nil && len(p.args) > 0 {
		p.err = fmt.Errorf("unexpected %s", p.args[0])
	}
	switch {
	case p.err != nil:
		complain(p.err.Error())
		return 2
	case !ok:
		return 1
	}
	return 0
}

type testParser struct {
	args []string
	dir  string
	tty  func(fd int) bool
	err  error
}

// path is where the file called name is.
func (p *testParser) path(name string) string {
	if p.dir == "" || name == "" || name[0] == '/' {
		return name
	}
	return p.dir + "/" + name
}

func (p *testParser) next() string {
	if len(p.args) == 0 {
		if p.err == nil {
			p.err = fmt.Errorf("argument expected")
		}
		return ""
	}
	s := p.args[0]
	p.args = p.args[1:]
	return s
}

func (p *testParser) accept(s string) bool {
	if len(p.args) > 0 && p.args[0] == s {
		p.args = p.args[1:]
		return true
	}
	return false
}

func (p *testParser) or() bool {
	v := p.and()
	for p.accept("-o") {
		v = p.and() || v
	}
	return v
}

func (p *testParser) and() bool {
	v := p.not()
	for p.accept("-a") {
		v = p.not() && v
	}
	return v
}

func (p *testParser) not() bool {
	if len(p.args) > 1 && p.args[0] == "!" && !(len(p.args) == 3 && isBinary(p.args[1])) {
		p.next()
		return !p.not()
	}
	return p.prim()
}

func isBinary(s string) bool {
	return strings.Contains(" = == != < > -eq -ne -lt -le -gt -ge -nt -ot -ef ", " "+s+" ")
}

func (p *testParser) prim() bool {
	if len(p.args) > 2 && isBinary(p.args[1]) {
		a, op, b := p.next(), p.next(), p.next()
		return p.binary(a, op, b)
	}
	if len(p.args) > 2 && p.accept("(") {
		v := p.or()
		if !p.accept(")") && p.err == nil {
			p.err = fmt.Errorf(") expected")
		}
		return v
	}
	s := p.next()
	if len(s) == 2 && s[0] == '-' && len(p.args) > 0 {
		if v, ok := p.unary(s[1], p.args[0]); ok {
			p.next()
			return v
		}
	}
	return s != ""
}

func (p *testParser) int(s string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err != nil && p.err == nil {
		p.err = fmt.Errorf("%s: not a number", s)
	}
	return n
}

func (p *testParser) binary(a, op, b string) bool {
	switch op {
	case "=", "==":
		return a == b
	case "!=":
		return a != b
	case "<":
		return a < b
	case ">":
		return a > b
	case "-nt", "-ot", "-ef":
		x, errx := os.Stat(p.path(a))
		y, erry := os.Stat(p.path(b))
		switch {
		case op == "-ef":
			return errx == nil && erry == nil && os.SameFile(x, y)
		case op == "-nt":
			return errx == nil && (erry != nil || x.ModTime().After(y.ModTime()))
		}
		return erry == nil && (errx != nil || x.ModTime().Before(y.ModTime()))
	}
	x, y := p.int(a), p.int(b)
	switch op {
	case "-eq":
		return x == y
	case "-ne":
		return x != y
	case "-lt":
		return x < y
	case "-le":
		return x <= y
	case "-gt":
		return x > y
	}
	return x >= y
}

// unary evaluates -OP ARG; ok is false if OP is no operator.
func (p *testParser) unary(op byte, arg string) (v, ok bool) {
	switch op {
	case 'n':
		return arg != "", true
	case 'z':
		return arg == "", true
	case 't':
		return p.tty(int(p.int(arg))), true
	case 'r':
		return unix.Access(p.path(arg), unix.R_OK) == nil, true
	case 'w':
		return unix.Access(p.path(arg), unix.W_OK) == nil, true
	case 'x':
		return unix.Access(p.path(arg), unix.X_OK) == nil, true
	}
	if strings.IndexByte("bcdefghkLpsSuOG", op) < 0 {
		return false, false
	}
	f, err := stat(p.path(arg), arg, op != 'L' && op != 'h')
	if err != nil {
		return false, true
	}
	kind := f.st.Mode & syscall.S_IFMT
	switch op {
	case 'e':
		return kind != syscall.S_IFLNK, true // a dangling link does not exist
	case 'f':
		return kind == syscall.S_IFREG, true
	case 'd':
		return kind == syscall.S_IFDIR, true
	case 'L', 'h':
		return kind == syscall.S_IFLNK, true
	case 'p':
		return kind == syscall.S_IFIFO, true
	case 'S':
		return kind == syscall.S_IFSOCK, true
	case 'b':
		return kind == syscall.S_IFBLK, true
	case 'c':
		return kind == syscall.S_IFCHR, true
	case 's':
		return f.st.Size > 0, true
	case 'u':
		return f.st.Mode&syscall.S_ISUID != 0, true
	case 'g':
		return f.st.Mode&syscall.S_ISGID != 0, true
	case 'k':
		return f.st.Mode&syscall.S_ISVTX != 0, true
	case 'O':
		return int(f.st.Uid) == os.Geteuid(), true
	}
	return int(f.st.Gid) == os.Getegid(), true
}

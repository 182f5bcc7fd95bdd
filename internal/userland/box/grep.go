// The command grep, and the regular expressions of POSIX translated into those that Go has:
// regex(7).

package box

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// pattern compiles an extended regular expression (regex(7)), which is what Go
// has, less back references; matching takes the leftmost longest text.
func (c *Call) pattern(expr string) *regexp.Regexp {
	re, err := regexp.Compile(expr)
	if err != nil {
		c.die(2, "%s: not a regular expression: %s", expr, strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	return re
}

// basicToExtended rewrites a basic regular expression: there the signs + ? | ( )
// { } are plain characters, and special after a backslash. "*" at the start of
// an expression is plain.
func basicToExtended(s string) string {
	var b strings.Builder
	start := true
	for i := 0; i < len(s); i++ {
		ch := s[i]
		switch {
		case ch == '\\' && i+1 < len(s):
			i++
			switch next := s[i]; {
			case strings.IndexByte("+?|(){}", next) >= 0:
				b.WriteByte(next)
				start = next == '(' || next == '|'
				continue
			case next == '<' || next == '>':
				b.WriteString(`\b`)
			default:
				b.WriteByte('\\')
				b.WriteByte(next)
			}
		case ch == '[':
			end := bracketEnd(s, i)
			b.WriteString(strings.ReplaceAll(s[i:end], `\`, `\\`))
			i = end - 1
		case strings.IndexByte("+?|(){}", ch) >= 0:
			b.WriteByte('\\')
			b.WriteByte(ch)
		case ch == '*' && start:
			b.WriteString(`\*`)
		default:
			b.WriteByte(ch)
			start = ch == '^' && start
			continue
		}
		start = false
	}
	return b.String()
}

// bracketEnd is the offset after the bracket expression that starts at s[i].
func bracketEnd(s string, i int) int {
	j := i + 1
	if j < len(s) && s[j] == '^' {
		j++
	}
	if j < len(s) && s[j] == ']' {
		j++
	}
	for ; j < len(s); j++ {
		if strings.HasPrefix(s[j:], "[:") {
			if k := strings.Index(s[j:], ":]"); k > 0 {
				j += k + 1
				continue
			}
		}
		if s[j] == ']' {
			return j + 1
		}
	}
	return len(s)
}

// grep: print lines that match.
func grep(c *Call) {
	c.opts("ivnrRqEFGclLhHwxose:f:m:A:B:C:a", "ignore-case=i", "invert-match=v", "line-number=n", "recursive=r", "quiet=q",
		"extended-regexp=E", "fixed-strings=F", "count=c", "files-with-matches=l", "files-without-match=L", "no-filename=h",
		"with-filename=H", "word-regexp=w", "line-regexp=x", "only-matching=o", "regexp=e", "file=f", "max-count=m", "text=a",
		"after-context=A", "before-context=B", "context=C")
	g := &grepper{c: c, re: c.pattern(c.grepExpr())}
	g.before, g.after, g.limit = c.context('B'), c.context('A'), 1<<62
	if c.has('m') {
		g.limit = c.number(c.val('m'))
	}
	recursive := c.has('r') || c.has('R')
	if recursive && len(c.args) == 0 {
		c.args = []string{"."}
	}
	g.names = (len(c.args) > 1 || recursive || c.has('H')) && !c.has('h')
	before := c.exit
	if recursive {
		g.tree()
	} else {
		c.inputs(g.file)
	}
	failed := c.exit != before
	switch {
	case failed && !(c.has('q') && g.found):
		c.exit = 2
	case g.found:
		c.exit = 0
	default:
		c.exit = 1
	}
}

// context is the number of lines to show around a match.
func (c *Call) context(letter byte) int64 {
	if c.has(letter) {
		return c.number(c.val(letter))
	}
	if c.has('C') {
		return c.number(c.val('C'))
	}
	return 0
}

// grepExpr makes one regular expression from -e, -f or the first operand.
func (c *Call) grepExpr() string {
	list := c.flag['e']
	for _, name := range c.flag['f'] {
		text, err := os.ReadFile(name)
		if err != nil {
			c.die(2, "%s: %s", name, reason(err))
		}
		list = append(list, strings.TrimSuffix(string(text), "\n"))
	}
	if !c.has('e') && !c.has('f') {
		c.need(1, -1)
		list, c.args = c.args[:1], c.args[1:]
	}
	var alts []string
	for _, l := range list {
		for p := range strings.SplitSeq(l, "\n") {
			switch {
			case c.has('F') || c.Name == "fgrep":
				p = regexp.QuoteMeta(p)
			case !c.has('E') && c.Name != "egrep":
				p = basicToExtended(p)
			}
			alts = append(alts, p)
		}
	}
	expr := "(?:" + strings.Join(alts, "|") + ")"
	if c.has('w') {
		expr = `\b` + expr + `\b`
	}
	if c.has('x') {
		expr = "^" + expr + "$"
	}
	if c.has('i') {
		expr = "(?i)" + expr
	}
	return expr
}

type grepper struct {
	c             *Call
	re            *regexp.Regexp
	names, found  bool
	before, after int64
	limit         int64
}

func (g *grepper) tree() {
	for _, root := range g.c.args {
		filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				g.c.fail(path, err)
				return nil
			}
			if !d.Type().IsRegular() && path != root || d.IsDir() {
				return nil
			}
			f, err := os.Open(path)
			if err == nil {
				err = g.file(path, f)
				f.Close()
			}
			if err != nil {
				g.c.fail(path, err)
			}
			return nil
		})
	}
}

// file searches one input.
func (g *grepper) file(name string, r io.Reader) error {
	if name == "-" {
		name = "(standard input)"
	}
	c, n, count := g.c, int64(0), int64(0)
	var held []string // lines before a match
	trail, last, binary := int64(0), int64(0), false
	err := lines(r, func(s string) bool {
		n++
		binary = binary || strings.IndexByte(s, 0) >= 0
		if g.re.MatchString(s) == c.has('v') {
			if trail > 0 {
				trail--
				g.print(name, n, "-", s)
				last = n
			} else if g.before > 0 {
				if held = append(held, s); int64(len(held)) > g.before {
					held = held[1:]
				}
			}
			return true
		}
		count++
		g.found = true
		switch {
		case c.has('q'):
			c.quit(0)
		case c.has('l') || c.has('L') || c.has('c'):
		case binary && !c.has('a'):
			fmt.Fprintf(os.Stderr, "grep: %s: binary file matches\n", name)
			return false
		default:
			first := n - int64(len(held))
			if (g.before > 0 || g.after > 0) && last > 0 && first > last+1 {
				fmt.Fprintln(c.out, "--")
			}
			for i, h := range held {
				g.print(name, first+int64(i), "-", h)
			}
			held, trail, last = nil, g.after, n
			g.match(name, n, s)
		}
		return !(c.has('l') || c.has('L')) && count < g.limit
	})
	switch {
	case c.has('l') && count > 0, c.has('L') && count == 0:
		fmt.Fprintln(c.out, name)
	case c.has('c') && !c.has('l') && !c.has('L'):
		if g.names {
			fmt.Fprintf(c.out, "%s:", name)
		}
		fmt.Fprintln(c.out, count)
	}
	return err
}

func (g *grepper) match(name string, n int64, s string) {
	if !g.c.has('o') || g.c.has('v') {
		g.print(name, n, ":", s)
		return
	}
	for _, m := range g.re.FindAllString(s, -1) {
		if m != "" {
			g.print(name, n, ":", m)
		}
	}
}

func (g *grepper) print(name string, n int64, sep, s string) {
	if g.names {
		fmt.Fprint(g.c.out, name, sep)
	}
	if g.c.has('n') {
		fmt.Fprint(g.c.out, n, sep)
	}
	fmt.Fprintln(g.c.out, s)
}

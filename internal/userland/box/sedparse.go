// The script of sed: its addresses, its commands, and errors with the position in it.

package box

import (
	"regexp"
	"strconv"
	"strings"
)

// An address selects lines: a number, the last line, or a match.
type sedAddr struct {
	line int64
	last bool
	plus bool // line counts from the first address
	re   *regexp.Regexp
}

type sedCmd struct {
	from, to *sedAddr
	not      bool
	inRange  bool
	until    int64
	verb     byte
	text     string // a, c, i: text; b, t: label; y: pairs
	block    []*sedCmd
	re       *regexp.Regexp
	repl     string
	all, pr  bool
	nth      int
	pairs    map[rune]rune
}

type sedParser struct {
	c        *Call
	s        string
	extended bool
	last     *regexp.Regexp
}

func (p *sedParser) fail(format string, a ...any) {
	p.c.die(1, "script: "+format, a...)
}

func (p *sedParser) peek() byte {
	if p.s == "" {
		return 0
	}
	return p.s[0]
}

func (p *sedParser) skip(chars string) { p.s = strings.TrimLeft(p.s, chars) }

func (p *sedParser) block(inner bool) (prog []*sedCmd) {
	for {
		p.skip(" \t\n;")
		if p.s == "" || p.s[0] == '}' {
			if inner != (p.s != "") {
				p.fail("braces do not match")
			}
			if inner {
				p.s = p.s[1:]
			}
			return prog
		}
		if p.s[0] == '#' {
			_, p.s, _ = strings.Cut(p.s, "\n")
			continue
		}
		prog = append(prog, p.command())
	}
}

func (p *sedParser) addr() *sedAddr {
	switch ch := p.peek(); {
	case ch == '$':
		p.s = p.s[1:]
		return &sedAddr{last: true}
	case ch >= '0' && ch <= '9' || ch == '+':
		end := 1
		for end < len(p.s) && p.s[end] >= '0' && p.s[end] <= '9' {
			end++
		}
		n, _ := strconv.ParseInt(strings.TrimPrefix(p.s[:end], "+"), 10, 64)
		p.s = p.s[end:]
		return &sedAddr{line: n, plus: ch == '+'}
	case ch == '/' || ch == '\\' && len(p.s) > 1:
		if ch == '\\' {
			p.s = p.s[1:]
		}
		return &sedAddr{re: p.regexp(p.delimited(true), "")}
	}
	return nil
}

// delimited reads /…/ and leaves the closing delimiter to be read as the next
// opening one unless end is set.
func (p *sedParser) delimited(end bool) string {
	d := p.s[0]
	var b strings.Builder
	for i := 1; i < len(p.s); i++ {
		switch {
		case p.s[i] == '\\' && i+1 < len(p.s):
			i++
			if p.s[i] != d {
				b.WriteByte('\\')
			}
			b.WriteByte(p.s[i])
		case p.s[i] == d:
			if end {
				i++
			}
			p.s = p.s[i:]
			return b.String()
		default:
			b.WriteByte(p.s[i])
		}
	}
	p.fail("missing %c", d)
	return ""
}

func (p *sedParser) regexp(expr, flags string) *regexp.Regexp {
	if expr == "" && p.last != nil {
		return p.last
	}
	expr = strings.ReplaceAll(expr, `\n`, "\n")
	if !p.extended {
		expr = basicToExtended(expr)
	}
	p.last = p.c.pattern(flags + expr)
	return p.last
}

func (p *sedParser) command() *sedCmd {
	cmd := &sedCmd{nth: 1}
	cmd.from = p.addr()
	if p.skip(" \t"); cmd.from != nil && p.peek() == ',' {
		p.s = strings.TrimLeft(p.s[1:], " \t")
		if cmd.to = p.addr(); cmd.to == nil {
			p.fail("address expected")
		}
	}
	for p.skip(" \t"); p.peek() == '!'; p.skip(" \t!") {
		cmd.not = true
	}
	cmd.verb = p.peek()
	if cmd.verb == 0 {
		p.fail("command expected")
	}
	p.s = p.s[1:]
	switch cmd.verb {
	case '{':
		cmd.block = p.block(true)
	case 's':
		p.substitute(cmd)
	case 'y':
		from := []rune(p.delimited(false))
		to := []rune(p.delimited(true))
		if len(from) != len(to) {
			p.fail("y: lengths differ")
		}
		cmd.pairs = map[rune]rune{}
		for i, r := range from {
			cmd.pairs[r] = to[i]
		}
	case 'a', 'i', 'c':
		p.skip(" \t")
		p.s = strings.TrimPrefix(p.s, "\\")
		p.skip("\n")
		cmd.text, p.s, _ = strings.Cut(p.s, "\n")
		for strings.HasSuffix(cmd.text, "\\") {
			var more string
			more, p.s, _ = strings.Cut(p.s, "\n")
			cmd.text = cmd.text[:len(cmd.text)-1] + "\n" + more
		}
	case ':', 'b', 't':
		end := strings.IndexAny(p.s+"\n", ";\n}")
		cmd.text = strings.TrimSpace(p.s[:end])
		p.s = p.s[end:]
	case '=', 'd', 'D', 'g', 'G', 'h', 'H', 'n', 'N', 'p', 'P', 'q', 'x', 'l':
	default:
		p.fail("unknown command %c", cmd.verb)
	}
	return cmd
}

func (p *sedParser) substitute(cmd *sedCmd) {
	if p.s == "" {
		p.fail("s: delimiter expected")
	}
	expr := p.delimited(false)
	cmd.repl = p.delimited(true)
	flags := ""
	for ; p.s != "" && strings.IndexByte("gpiI0123456789", p.s[0]) >= 0; p.s = p.s[1:] {
		switch ch := p.s[0]; ch {
		case 'g':
			cmd.all = true
		case 'p':
			cmd.pr = true
		case 'i', 'I':
			flags = "(?i)"
		default:
			cmd.nth = int(ch - '0')
		}
	}
	cmd.re = p.regexp(expr, flags)
}

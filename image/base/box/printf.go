package box

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

func printf(c *Call) {
	c.exit = Printf(c.out, func(m string) { c.warn("%s", m) }, c.args)
}

// Printf does what printf(1) does with its operands, a format and what it needs, and returns the exit status. It is
// the shell's builtin, too. complain gets messages without the command's name. POSIX, printf.
func Printf(out io.Writer, complain func(string), args []string) (status int) {
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		complain("a format is needed")
		return 2
	}
	p := &printer{args: args[1:], complain: func(m string) { status = 1; complain(m) }}
	for {
		before := len(p.args)
		p.format(args[0])
		// "The format operand shall be reused as often as necessary".
		if p.ended || len(p.args) == 0 || len(p.args) == before {
			break
		}
	}
	_, _ = io.WriteString(out, p.out.String())
	return status
}

// printer is one call of printf.
type printer struct {
	out      strings.Builder
	args     []string // that have not been used
	complain func(string)
	ended    bool // by \c or an error: nothing more is printed
}

func (p *printer) format(f string) {
	for f != "" && !p.ended {
		n := 1
		switch f[0] {
		case '\\':
			n = p.escape(f, false)
		case '%':
			n = p.directive(f)
		default:
			p.out.WriteByte(f[0])
		}
		f = f[n:]
	}
}

// escape prints what the backslash at the beginning of s stands for, and returns the length of that in s. The argument of
// %b has \0ooo where a format has \ooo, and \c.
func (p *printer) escape(s string, inB bool) int {
	if len(s) < 2 {
		p.out.WriteByte('\\')
		return 1
	}
	const letters, bytes = `\abfnrtv`, "\\\a\b\f\n\r\t\v"
	if i := strings.IndexByte(letters, s[1]); i >= 0 {
		p.out.WriteByte(bytes[i])
		return 2
	}
	from, base, least, most := 1, 8, 1, 3
	switch {
	case s[1] == 'c' && inB:
		p.ended = true
		return len(s)
	case s[1] == 'x':
		from, base, most = 2, 16, 2
	case s[1] == '0' && inB:
		from, least = 2, 0
	}
	for n := min(from+most, len(s)); n >= from+least; n-- {
		if v, err := strconv.ParseUint("0"+s[from:n], base, 16); err == nil {
			p.out.WriteByte(byte(v))
			return n
		}
	}
	p.out.WriteString(s[:2])
	return 2
}

// next is the next argument, "" and false after the last.
func (p *printer) next() (string, bool) {
	if len(p.args) == 0 {
		return "", false
	}
	a := p.args[0]
	p.args = p.args[1:]
	return a, true
}

// directive prints one argument by the conversion at the beginning of f, and returns the length of that.
// Flags, width and precision mean in Go what they mean in C.
func (p *printer) directive(f string) (n int) {
	n = 1
	for n < len(f) && strings.IndexByte("-+ 0#", f[n]) >= 0 {
		n++
	}
	flags := f[1:n]
	number := func() string {
		if n < len(f) && f[n] == '*' {
			n++
			return strconv.FormatInt(p.integer(), 10)
		}
		from := n
		for n < len(f) && f[n] >= '0' && f[n] <= '9' {
			n++
		}
		return f[from:n]
	}
	width, precision := number(), ""
	if n < len(f) && f[n] == '.' {
		n++
		if precision = number(); precision == "" {
			precision = "0"
		}
		precision = "." + strings.TrimPrefix(precision, "-")
	}
	if strings.HasPrefix(width, "-") { // "a negative field width … a '-' flag"
		flags, width = flags+"-", width[1:]
	}
	if n == len(f) {
		p.fail(f + ": it has no conversion")
		return n
	}
	verb := f[n]
	n++
	text := "%" + strings.ReplaceAll(flags, "0", "") + width + precision + "s"
	numeric := "%" + flags + width + precision
	switch verb {
	case '%':
		p.out.WriteByte('%')
	case 's', 'c', 'b':
		a, _ := p.next()
		switch {
		case verb == 'b':
			a = p.escaped(a)
		case verb == 'c':
			a = (a + "\x00")[:1]
		}
		fmt.Fprintf(&p.out, text, a)
	case 'd', 'i':
		fmt.Fprintf(&p.out, numeric+"d", p.integer())
	case 'u':
		fmt.Fprintf(&p.out, numeric+"d", uint64(p.integer()))
	case 'o', 'x', 'X':
		fmt.Fprintf(&p.out, numeric+string(verb), uint64(p.integer()))
	case 'e', 'E', 'f', 'F', 'g', 'G':
		if precision == "" {
			numeric += ".6"
		}
		fmt.Fprintf(&p.out, numeric+string(verb), p.float())
	default:
		p.fail(f[:n] + ": no such conversion")
	}
	return n
}

func (p *printer) fail(m string) {
	p.complain(m)
	p.ended = true
}

// escaped is the argument of %b.
func (p *printer) escaped(a string) string {
	q := &printer{}
	for a != "" && !q.ended {
		n := 1
		if a[0] == '\\' {
			n = q.escape(a, true)
		} else {
			q.out.WriteByte(a[0])
		}
		a = a[n:]
	}
	p.ended = p.ended || q.ended
	return q.out.String()
}

// integer is the next argument as one: decimal, 0octal, 0xhexadecimal, or 'c for a character.
func (p *printer) integer() int64 {
	return number(p, func(s string) (int64, error) {
		v, err := strconv.ParseInt(s, 0, 64)
		if u, err := strconv.ParseUint(s, 0, 64); err == nil {
			return int64(u), nil
		}
		return v, err
	})
}

func (p *printer) float() float64 {
	return number(p, func(s string) (float64, error) { return strconv.ParseFloat(s, 64) })
}

// number is the next argument by parse, or as much of its beginning as is one.
func number[N int64 | float64](p *printer, parse func(string) (N, error)) N {
	a, ok := p.next()
	a = strings.TrimLeft(a, " \t\n")
	if !ok || a == "" {
		return 0
	}
	if a[0] == '\'' || a[0] == '"' {
		r, _ := utf8.DecodeRuneInString(a[1:])
		if len(a) == 1 {
			r = 0
		}
		return N(r)
	}
	for n := len(a); n > 0; n-- {
		v, err := parse(a[:n])
		if err == nil && !strings.Contains(a[:n], "_") {
			if n < len(a) {
				p.complain(a + ": it is no number from its character " + strconv.Itoa(n+1) + " on")
			}
			return v
		}
	}
	p.complain(a + ": not a number")
	return 0
}

// The command printf, which the shell has as a builtin too.

package box

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

func printf(c *Call) {
	c.exit = Printf(c.out, func(m string) { c.warn("%s", m) }, c.args)
}

// Printf does what printf(1) does with its operands, a format and what it needs, and returns the
// exit status. It is the shell's builtin, too. complain gets messages without the command's name.
// POSIX, printf.
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
	if _, err := io.WriteString(out, p.out.String()); err != nil {
		p.complain(reason(err))
	}
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

// escape prints what the backslash at the beginning of s stands for, and returns the length of
// that in s. The argument of %b has \0ooo where a format has \ooo, and \c.
func (p *printer) escape(s string, inB bool) int {
	if len(s) < 2 {
		p.out.WriteByte('\\')
		return 1
	}
	const letters, bytes = `\"abefnrtv`, "\\\"\a\b\x1b\f\n\r\t\v"
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
	case s[1] == 'u':
		from, base, most = 2, 16, 4
	case s[1] == '0' && inB:
		from, least = 2, 0
	}
	for n := min(from+most, len(s)); n >= from+least; n-- {
		v, err := strconv.ParseUint("0"+s[from:n], base, 16)
		switch {
		case err != nil:
			continue
		case s[1] == 'u':
			p.out.WriteRune(rune(v))
		default:
			p.out.WriteByte(byte(v))
		}
		return n
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

// spec is a conversion: %[flags][width][.precision]verb.
type spec struct {
	flags            string
	width, precision int // -1: none
	verb             byte
}

// directive prints one argument by the conversion at the beginning of f, and returns the length
// of that.
func (p *printer) directive(f string) (n int) {
	c := spec{width: -1, precision: -1}
	n = 1
	for n < len(f) && strings.IndexByte("-+ 0#", f[n]) >= 0 {
		n++
	}
	c.flags = f[1:n]
	number := func() int {
		if n < len(f) && f[n] == '*' {
			n++
			return int(max(min(p.integer(true), maxPad), -maxPad))
		}
		from := n
		for n < len(f) && f[n] >= '0' && f[n] <= '9' {
			n++
		}
		v, _ := strconv.Atoi(f[from:n])
		return min(v, maxPad)
	}
	if c.width = number(); c.width < 0 { // "a negative field width … a '-' flag"
		c.flags, c.width = c.flags+"-", -c.width
	}
	if n < len(f) && f[n] == '.' {
		n++
		c.precision = number() // a negative one counts as none
	}
	if n == len(f) {
		p.fail(f + ": it has no conversion")
		return n
	}
	c.verb = f[n]
	n++
	switch c.verb {
	case '%':
		p.out.WriteByte('%')
	case 's', 'b':
		a, _ := p.next()
		if c.verb == 'b' {
			a = p.escaped(a)
		}
		if c.precision >= 0 {
			a = a[:min(c.precision, len(a))]
		}
		p.pad(c, "", a, false)
	case 'c':
		a, _ := p.next()
		p.pad(c, "", (a + "\x00")[:1], false)
	case 'd', 'i':
		v := p.integer(true)
		p.digits(c, v < 0, strings.TrimPrefix(strconv.FormatInt(v, 10), "-"))
	case 'u':
		p.digits(c, false, strconv.FormatUint(uint64(p.integer(false)), 10))
	case 'o':
		p.digits(c, false, strconv.FormatUint(uint64(p.integer(false)), 8))
	case 'x':
		p.digits(c, false, strconv.FormatUint(uint64(p.integer(false)), 16))
	case 'X':
		p.digits(c, false, strings.ToUpper(strconv.FormatUint(uint64(p.integer(false)), 16)))
	case 'e', 'E', 'f', 'F', 'g', 'G':
		p.real(c, p.float())
	default:
		p.fail(f[:n] + ": no such conversion")
	}
	return n
}

// maxPad is the widest field, in bytes.
const maxPad = 1 << 20

func (c spec) has(flag string) bool { return strings.Contains(c.flags, flag) }

// pad prints text in a field: sign and the like first, then zeros if asked for, or blanks around
// both.
func (p *printer) pad(c spec, sign, text string, zeros bool) {
	fill := max(c.width-len(sign)-len(text), 0)
	switch {
	case c.has("-"):
		p.out.WriteString(sign + text + strings.Repeat(" ", fill))
	case zeros && c.has("0"):
		p.out.WriteString(sign + strings.Repeat("0", fill) + text)
	default:
		p.out.WriteString(strings.Repeat(" ", fill) + sign + text)
	}
}

// sign is what a signed number begins with.
func (c spec) sign(negative bool) string {
	switch {
	case negative:
		return "-"
	case c.has("+"):
		return "+"
	case c.has(" "):
		return " "
	}
	return ""
}

// digits prints an integer. C17, 7.21.6.1: precision is the least number of digits, and with one
// there is no padding with zeros.
func (p *printer) digits(c spec, negative bool, digits string) {
	sign, zero := "", digits == "0"
	if c.verb == 'd' || c.verb == 'i' {
		sign = c.sign(negative)
	}
	if zero && c.precision == 0 {
		digits = ""
	}
	digits = strings.Repeat("0", max(c.precision-len(digits), 0)) + digits
	switch {
	case !c.has("#"):
	case c.verb == 'o' && !strings.HasPrefix(digits, "0"):
		digits = "0" + digits
	case (c.verb == 'x' || c.verb == 'X') && !zero:
		sign = "0" + string(c.verb)
	}
	p.pad(c, sign, digits, c.precision < 0)
}

// real prints a floating-point number; Go's verbs are C's.
func (p *printer) real(c spec, v float64) {
	if c.precision < 0 {
		c.precision = 6
	}
	sign, finite := c.sign(math.Signbit(v)), !math.IsInf(v, 0) && !math.IsNaN(v)
	text := "nan"
	switch {
	case finite && c.has("#"):
		text = fmt.Sprintf("%#.*"+string(c.verb), c.precision, math.Abs(v))
	case finite:
		text = fmt.Sprintf("%.*"+string(c.verb), c.precision, math.Abs(v))
	case math.IsInf(v, 0):
		text = "inf"
	}
	if c.verb < 'a' {
		text = strings.ToUpper(text)
	}
	p.pad(c, sign, text, finite)
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

// integer is the next argument as one: decimal, 0octal, 0xhexadecimal, or 'c for a character. If
// it is not signed, it is the bits of an unsigned one.
func (p *printer) integer(signed bool) int64 {
	return number(p, func(s string) (int64, error) {
		digits := strings.ToLower(strings.TrimLeft(s, "+-"))
		if strings.HasPrefix(digits, "0b") || strings.HasPrefix(digits, "0o") || strings.Contains(digits, "_") {
			return 0, strconv.ErrSyntax // Go has these forms, and C has not
		}
		v, err := strconv.ParseInt(s, 0, 64)
		if !signed && err != nil && !strings.HasPrefix(s, "-") {
			var u uint64
			u, err = strconv.ParseUint(s, 0, 64)
			v = int64(u)
		}
		return v, err
	})
}

func (p *printer) float() float64 {
	return number(p, func(s string) (float64, error) {
		if strings.Contains(s, "_") {
			return 0, strconv.ErrSyntax
		}
		if l := strings.ToLower(s); strings.Contains(l, "0x") && !strings.Contains(l, "p") {
			s += "p0"
		}
		return strconv.ParseFloat(s, 64)
	})
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
		switch {
		case errors.Is(err, strconv.ErrRange): // v is the nearest there is
			p.complain(a + ": out of range")
			return v
		case err == nil && n < len(a):
			p.complain(a + ": it is no number from its character " + strconv.Itoa(n+1) + " on")
			return v
		case err == nil:
			return v
		}
	}
	p.complain(a + ": not a number")
	return 0
}

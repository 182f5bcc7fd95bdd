// Commands that work line by line: uniq, cut, tr, seq, tac.

package box

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// uniq: drop repeated lines.
func uniq(c *Call) {
	c.opts("cduif:", "count=c", "repeated=d", "unique=u", "ignore-case=i", "skip-fields=f")
	skip := 0
	if c.has('f') {
		skip = int(c.number(c.val('f')))
	}
	key := func(s string) string {
		for range skip {
			s = strings.TrimLeft(s, " \t")
			s = s[max(0, min(len(s), strings.IndexAny(s+" ", " \t"))):]
		}
		if c.has('i') {
			s = strings.ToLower(s)
		}
		return s
	}
	last, n := "", 0
	flush := func() {
		if n == 0 || c.has('d') && n < 2 || c.has('u') && n > 1 {
			return
		}
		if c.has('c') {
			fmt.Fprintf(c.out, "%7d ", n)
		}
		fmt.Fprintln(c.out, last)
	}
	if len(c.args) > 1 {
		c.need(0, 1)
	}
	c.inputs(func(_ string, r io.Reader) error {
		return lines(r, func(s string) bool {
			if n > 0 && key(s) == key(last) {
				n++
				return true
			}
			flush()
			last, n = s, 1
			return true
		})
	})
	flush()
}

// A span is a range of positions from 1; hi is huge for "N-".
type span struct{ lo, hi int }

func (c *Call) spans(list string) (out []span) {
	for part := range strings.SplitSeq(list, ",") {
		a, b, isRange := strings.Cut(part, "-")
		s := span{1, 1 << 30}
		if a != "" {
			s.lo = int(c.number(a))
		}
		if b != "" {
			s.hi = int(c.number(b))
		} else if !isRange {
			s.hi = s.lo
		}
		if s.lo < 1 || s.hi < s.lo || part == "-" {
			c.die(1, "%s: not a list", list)
		}
		out = append(out, s)
	}
	return out
}

// cut: pick fields or characters of lines.
func cut(c *Call) {
	c.opts("d:f:c:b:sn", "delimiter=d", "fields=f", "characters=c", "bytes=b", "only-delimited=s")
	letter := byte('f')
	for _, l := range []byte("cb") {
		if c.has(l) {
			letter = l
		}
	}
	if !c.has(letter) {
		c.usage()
	}
	list := c.spans(c.val(letter))
	wanted := func(i int) bool {
		return slices.ContainsFunc(list, func(s span) bool { return i >= s.lo && i <= s.hi })
	}
	delim := "\t"
	if c.has('d') {
		delim = c.val('d')
	}
	pick := func(parts []string, sep string) string {
		var out []string
		for i, p := range parts {
			if wanted(i + 1) {
				out = append(out, p)
			}
		}
		return strings.Join(out, sep)
	}
	c.inputs(func(_ string, r io.Reader) error {
		return lines(r, func(s string) bool {
			switch {
			case letter == 'b':
				for i := range len(s) {
					if wanted(i + 1) {
						c.out.WriteByte(s[i])
					}
				}
				fmt.Fprintln(c.out)
			case letter == 'c':
				fmt.Fprintln(c.out, pick(strings.Split(s, ""), ""))
			case strings.Contains(s, delim):
				fmt.Fprintln(c.out, pick(strings.Split(s, delim), delim))
			case !c.has('s'):
				fmt.Fprintln(c.out, s)
			}
			return true
		})
	})
}

// trSet expands a set of tr: ranges, classes, escapes.
func trSet(s string) []rune {
	classes := map[string]string{"lower": "a-z", "upper": "A-Z", "digit": "0-9", "alpha": "A-Za-z", "alnum": "0-9A-Za-z",
		"space": " \t-\r", "blank": " \t", "punct": "!-/:-@[-`{-~", "xdigit": "0-9A-Fa-f", "cntrl": "\x00-\x1f\x7f", "print": " -~", "graph": "!-~"}
	for name, set := range classes {
		s = strings.ReplaceAll(s, "[:"+name+":]", set)
	}
	s = strings.NewReplacer(`\n`, "\n", `\t`, "\t", `\r`, "\r", `\\`, "\\\x00", `\0`, "\x00", `\a`, "\a", `\b`, "\b", `\f`, "\f", `\v`, "\v", `\-`, "\x01-\x01").Replace(s)
	s = strings.ReplaceAll(s, "\\\x00", "\\")
	r := []rune(s)
	var out []rune
	for i := 0; i < len(r); i++ {
		if i+2 < len(r) && r[i+1] == '-' && r[i] <= r[i+2] {
			for x := r[i]; x <= r[i+2]; x++ {
				out = append(out, x)
			}
			i += 2
			continue
		}
		out = append(out, r[i])
	}
	return out
}

// tr: change, squeeze or delete characters.
func tr(c *Call) {
	c.opts("cCds", "complement=c", "delete=d", "squeeze-repeats=s")
	c.need(1, 2)
	from := trSet(c.args[0])
	var to []rune
	if len(c.args) > 1 {
		to = trSet(c.args[1])
	}
	if len(c.args) == 1 && !c.has('d') && !c.has('s') {
		c.usage()
	}
	index := map[rune]int{}
	for i, r := range from {
		if _, ok := index[r]; !ok {
			index[r] = i
		}
	}
	squeeze := to
	if len(to) == 0 {
		squeeze = from
	}
	in := bufio.NewReader(os.Stdin)
	last := rune(-1)
	for {
		r, size, err := in.ReadRune()
		if err != nil {
			return
		}
		i, member := index[r]
		if c.has('c') || c.has('C') {
			member, i = !member, len(to)-1
		}
		if member && c.has('d') {
			continue
		}
		out := r
		if member && len(to) > 0 && !c.has('d') {
			out = to[max(0, min(i, len(to)-1))]
		}
		inSqueeze := slices.Contains(squeeze, out)
		if len(to) == 0 && (c.has('c') || c.has('C')) {
			inSqueeze = member
		}
		if c.has('s') && out == last && inSqueeze {
			continue
		}
		last = out
		if out == r && size == 1 && r == 0xfffd { // a byte that is no UTF-8
			in.UnreadRune()
			b, _ := in.ReadByte()
			c.out.WriteByte(b)
			continue
		}
		c.out.WriteRune(out)
	}
}

// seq: print numbers.
func seq(c *Call) {
	sep, width := "\n", false
	args := c.args
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' && strings.IndexByte("sw", args[0][1]) >= 0 {
		if args[0] == "-w" {
			width, args = true, args[1:]
			continue
		}
		if sep = args[0][2:]; sep == "" && len(args) > 1 {
			sep, args = args[1], args[1:]
		}
		args = args[1:]
	}
	c.args = args
	c.need(1, 3)
	nums, prec := []float64{1, 1, 1}, 0
	for i, a := range args {
		v, err := strconv.ParseFloat(a, 64)
		if err != nil {
			c.die(1, "%s: not a number", a)
		}
		_, frac, _ := strings.Cut(a, ".")
		if i < 2 || len(args) < 3 {
			prec = max(prec, len(frac))
		}
		switch {
		case len(args) == 1 || i == len(args)-1:
			nums[2] = v
		case i == 0:
			nums[0] = v
		default:
			nums[1] = v
		}
	}
	if nums[1] == 0 {
		c.die(1, "the step is 0")
	}
	pad := 0
	if width {
		pad = max(len(strconv.FormatFloat(nums[0], 'f', prec, 64)), len(strconv.FormatFloat(nums[2], 'f', prec, 64)))
	}
	for i := 0; ; i++ {
		v := nums[0] + float64(i)*nums[1]
		if nums[1] > 0 && v > nums[2]+1e-9 || nums[1] < 0 && v < nums[2]-1e-9 {
			break
		}
		if i > 0 {
			fmt.Fprint(c.out, sep)
		}
		fmt.Fprintf(c.out, "%0*.*f", pad, prec, v)
		if i == 0 {
			defer fmt.Fprintln(c.out)
		}
	}
}

// tac: print lines last first. rev: turn each line round. nl: number lines.
func tac(c *Call) {
	c.opts("b:w:")
	n := 0
	c.inputs(func(_ string, r io.Reader) error {
		var all []string
		err := lines(r, func(s string) bool {
			switch c.Name {
			case "tac":
				all = append(all, s)
			case "rev":
				r := []rune(s)
				slices.Reverse(r)
				fmt.Fprintln(c.out, string(r))
			case "nl":
				if s == "" && c.val('b') != "a" {
					fmt.Fprintf(c.out, "%7s\n", "")
					break
				}
				n++
				fmt.Fprintf(c.out, "%6d\t%s\n", n, s)
			}
			return true
		})
		for _, s := range slices.Backward(all) {
			fmt.Fprintln(c.out, s)
		}
		return err
	})
}

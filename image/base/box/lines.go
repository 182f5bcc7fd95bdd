package box

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// A sortKey is one -k FIELD[.CHAR][opts][,FIELD[.CHAR][opts]], counted from 1.
type sortKey struct {
	field, char, endField, endChar int
	flags                          string
}

// sortCmd: sort lines.
func sortCmd(c *Call) {
	c.opts("nruk:t:fo:bcshVm", "numeric-sort=n", "reverse=r", "unique=u", "key=k", "field-separator=t", "ignore-case=f",
		"output=o", "check=c", "stable=s", "human-numeric-sort=h", "version-sort=V")
	var all []string
	c.inputs(func(_ string, r io.Reader) error {
		return lines(r, func(s string) bool { all = append(all, s); return true })
	})
	global := ""
	for _, f := range "nrfbhV" {
		if c.has(byte(f)) {
			global += string(f)
		}
	}
	var keys []sortKey
	for _, spec := range c.flag['k'] {
		keys = append(keys, c.parseKey(spec, global))
	}
	if len(keys) == 0 {
		keys = []sortKey{{field: 1, flags: global}}
	}
	compare := func(a, b string) int {
		for _, k := range keys {
			if d := k.compare(k.cut(a, c.val('t')), k.cut(b, c.val('t'))); d != 0 {
				return d
			}
		}
		return 0
	}
	full := func(a, b string) int {
		d := compare(a, b)
		if d == 0 && !c.has('s') && !c.has('u') { // last resort: the whole line
			if d = strings.Compare(a, b); c.has('r') {
				d = -d
			}
		}
		return d
	}
	if c.has('c') {
		for i := 1; i < len(all); i++ {
			if full(all[i-1], all[i]) > 0 {
				c.die(1, "line %d is out of order: %s", i+1, all[i])
			}
		}
		return
	}
	slices.SortStableFunc(all, full)
	if c.has('u') {
		all = slices.CompactFunc(all, func(a, b string) bool { return compare(a, b) == 0 })
	}
	out := c.out
	if c.has('o') {
		f, err := os.Create(c.val('o'))
		if err != nil {
			c.die(2, "%s: %s", c.val('o'), reason(err))
		}
		out = bufio.NewWriter(f)
		defer out.Flush()
	}
	for _, s := range all {
		fmt.Fprintln(out, s)
	}
}

func (c *Call) parseKey(spec, global string) (k sortKey) {
	pos := func(s string) (field, char int, flags string) {
		end := strings.IndexFunc(s, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
		if end >= 0 {
			s, flags = s[:end], s[end:]
		}
		f, ch, _ := strings.Cut(s, ".")
		field, _ = strconv.Atoi(f)
		char, _ = strconv.Atoi(ch)
		return field, char, flags
	}
	from, to, _ := strings.Cut(spec, ",")
	var f1, f2 string
	k.field, k.char, f1 = pos(from)
	k.endField, k.endChar, f2 = pos(to)
	if k.flags = f1 + f2; k.flags == "" {
		k.flags = global
	}
	if k.field < 1 {
		c.die(2, "%s: not a key", spec)
	}
	return k
}

// cut takes the key out of a line. Without a separator, a field begins with the
// blanks before it.
func (k sortKey) cut(s, sep string) string {
	if k.field == 1 && k.char == 0 && k.endField == 0 {
		return s
	}
	starts := []int{0}
	for i := 1; i < len(s); i++ {
		if sep != "" && s[i-1:i] == sep[:1] || sep == "" && isBlank(s[i]) && !isBlank(s[i-1]) {
			starts = append(starts, i)
		}
	}
	if sep != "" && strings.HasSuffix(s, sep[:1]) {
		starts = append(starts, len(s))
	}
	at := func(field, char int) int {
		if field > len(starts) {
			return len(s)
		}
		i := starts[field-1]
		if char > 0 && strings.Contains(k.flags, "b") {
			for i < len(s) && isBlank(s[i]) {
				i++
			}
		}
		return min(len(s), i+max(0, char-1))
	}
	from, to := at(k.field, k.char), len(s)
	if k.endField > 0 && k.endChar > 0 {
		to = min(len(s), at(k.endField, k.endChar)+1)
	} else if k.endField > 0 && k.endField < len(starts) {
		to = starts[k.endField]
		if sep != "" {
			to--
		}
	}
	return s[from:max(from, to)]
}

func isBlank(b byte) bool { return b == ' ' || b == '\t' }

func (k sortKey) compare(a, b string) (d int) {
	switch {
	case strings.Contains(k.flags, "n"):
		d = cmp.Compare(leadingNumber(a), leadingNumber(b))
	case strings.Contains(k.flags, "h"):
		d = cmp.Compare(humanNumber(a), humanNumber(b))
	case strings.Contains(k.flags, "V"):
		d = compareVersions(a, b)
	default:
		if strings.Contains(k.flags, "b") {
			a, b = strings.TrimLeft(a, " \t"), strings.TrimLeft(b, " \t")
		}
		if strings.Contains(k.flags, "f") {
			a, b = strings.ToUpper(a), strings.ToUpper(b)
		}
		d = strings.Compare(a, b)
	}
	if strings.Contains(k.flags, "r") {
		d = -d
	}
	return d
}

func leadingNumber(s string) float64 {
	s = strings.TrimLeft(s, " \t")
	end := 0
	for end < len(s) && (s[end] >= '0' && s[end] <= '9' || s[end] == '.' || s[end] == '-' && end == 0) {
		end++
	}
	v, _ := strconv.ParseFloat(s[:end], 64)
	return v
}

func humanNumber(s string) float64 {
	v := leadingNumber(s)
	if i := strings.IndexAny(s, "KkMGTPE"); i >= 0 {
		for range strings.IndexByte("KMGTPE", strings.ToUpper(s)[i]) + 1 {
			v *= 1024
		}
	}
	return v
}

// compareVersions compares runs of digits as numbers and the rest as text.
func compareVersions(a, b string) int {
	digits := func(s string) int {
		i := 0
		for i < len(s) && s[i] >= '0' && s[i] <= '9' {
			i++
		}
		return i
	}
	for a != "" && b != "" {
		if i, j := digits(a), digits(b); i > 0 && j > 0 {
			if d := cmp.Compare(leadingNumber(a[:i]), leadingNumber(b[:j])); d != 0 {
				return d
			}
			a, b = a[i:], b[j:]
			continue
		}
		if a[0] != b[0] {
			return cmp.Compare(a[0], b[0])
		}
		a, b = a[1:], b[1:]
	}
	return cmp.Compare(len(a), len(b))
}

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

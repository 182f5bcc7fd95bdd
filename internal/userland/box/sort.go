// The command sort, with its keys.

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

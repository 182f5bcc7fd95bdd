// The command date, and the dates that date -d and touch -d understand.

package box

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// parseDate understands what date -d and touch -d are given in practice: "@N"
// (seconds since 1970), ISO forms with or without a time zone, a time of day,
// "now", "today", "yesterday", "tomorrow", and "N units [ago]" after any of them.
func parseDate(s string) (time.Time, error) {
	text := strings.TrimSpace(s)
	bad := fmt.Errorf("invalid date %q", s)
	if sec, ok := strings.CutPrefix(text, "@"); ok {
		whole, frac, _ := strings.Cut(sec, ".")
		n, err := strconv.ParseInt(whole, 10, 64)
		if err != nil {
			return time.Time{}, bad
		}
		ns, _ := strconv.ParseInt((frac + "000000000")[:9], 10, 64)
		return time.Unix(n, ns), nil
	}
	words := strings.Fields(text)
	for n := len(words); n > 0; n-- {
		if t, ok := parseDay(strings.Join(words[:n], " ")); ok {
			return relativeDate(words[n:], t, bad)
		}
	}
	return relativeDate(words, time.Now(), bad)
}

// parseDay parses a date, or a time of today.
func parseDay(text string) (time.Time, bool) {
	for _, layout := range []string{
		time.RFC3339Nano, "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05 -0700", "2006-01-02 15:04:05 MST",
		"2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02",
		time.RFC1123Z, time.RFC1123, time.ANSIC, time.UnixDate, "20060102", "2 Jan 2006", "Jan 2 2006", "2 Jan 2006 15:04:05", "2 Jan 2006 15:04",
	} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, true
		}
	}
	now := time.Now()
	for _, layout := range []string{"15:04:05", "15:04"} {
		if t, err := time.Parse(layout, text); err == nil {
			return time.Date(now.Year(), now.Month(), now.Day(), t.Hour(), t.Minute(), t.Second(), 0, time.Local), true
		}
	}
	return time.Time{}, false
}

// relativeDate adds up words such as "2 days ago" and "next week".
func relativeDate(words []string, t time.Time, bad error) (time.Time, error) {
	for i := 0; i < len(words); i++ {
		n := 1
		switch w := words[i]; w {
		case "now", "today":
			continue
		case "yesterday":
			t = t.AddDate(0, 0, -1)
			continue
		case "tomorrow":
			t = t.AddDate(0, 0, 1)
			continue
		case "next":
		case "last":
			n = -1
		default:
			var err error
			if n, err = strconv.Atoi(strings.TrimPrefix(w, "+")); err != nil {
				return t, bad
			}
		}
		if i++; i == len(words) {
			return t, bad
		}
		unit := strings.TrimSuffix(words[i], "s")
		if i+1 < len(words) && words[i+1] == "ago" {
			n, i = -n, i+1
		}
		switch unit {
		case "sec", "second":
			t = t.Add(time.Duration(n) * time.Second)
		case "min", "minute":
			t = t.Add(time.Duration(n) * time.Minute)
		case "hour":
			t = t.Add(time.Duration(n) * time.Hour)
		case "day":
			t = t.AddDate(0, 0, n)
		case "week":
			t = t.AddDate(0, 0, 7*n)
		case "month":
			t = t.AddDate(0, n, 0)
		case "year":
			t = t.AddDate(n, 0, 0)
		default:
			return t, bad
		}
	}
	return t, nil
}

// parseStamp parses touch -t's [[CC]YY]MMDDhhmm[.ss].
func parseStamp(s string) (time.Time, error) {
	digits, _, _ := strings.Cut(s, ".")
	layout := map[int]string{8: "01021504", 10: "0601021504", 12: "200601021504"}[len(digits)]
	if len(s) > len(digits) {
		layout += ".05"
	}
	t, err := time.ParseInLocation(layout, s, time.Local)
	if err != nil || layout == "" {
		return t, fmt.Errorf("invalid date %q", s)
	}
	if len(digits) == 8 {
		t = t.AddDate(time.Now().Year(), 0, 0)
	}
	return t, nil
}

// date: print or set the time.
func date(c *Call) {
	for i, a := range c.args {
		if kind, ok := strings.CutPrefix(a, "-I"); ok && kind != "" { // the one option whose value is optional
			c.args[i] = "--iso-8601=" + kind
		}
	}
	c.opts("d:ur:RIs:", "date=d", "utc=u", "reference=r", "rfc-email=R", "iso-8601=I", "set=s")
	c.need(0, 1)
	t := time.Now()
	var err error
	switch {
	case c.has('d'):
		t, err = parseDate(c.val('d'))
	case c.has('s'):
		if t, err = parseDate(c.val('s')); err == nil {
			tv := unix.NsecToTimeval(t.UnixNano())
			if err = unix.Settimeofday(&tv); err != nil {
				err = fmt.Errorf("cannot set the time: %s", reason(err))
			}
		}
	case c.has('r'):
		fi, serr := os.Stat(c.val('r'))
		if serr != nil {
			c.die(1, "%s: %s", c.val('r'), reason(serr))
		}
		t = fi.ModTime()
	}
	if err != nil {
		c.die(1, "%s", err)
	}
	if c.has('u') {
		t = t.UTC()
	}
	format := "%a %b %e %H:%M:%S %Z %Y"
	switch {
	case len(c.args) == 1:
		var ok bool
		if format, ok = strings.CutPrefix(c.args[0], "+"); !ok {
			c.die(1, "%s: a format starts with +", c.args[0])
		}
	case c.has('R'):
		format = "%a, %d %b %Y %H:%M:%S %z"
	case c.has('I'):
		switch c.val('I') {
		case "s", "seconds":
			format = "%Y-%m-%dT%H:%M:%S%:z"
		default:
			format = "%Y-%m-%d"
		}
	}
	fmt.Fprintln(c.out, strftime(t, format))
}

// strftime formats a time with the directives of strftime(3).
func strftime(t time.Time, format string) string {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		if format[i] == ':' && i+1 < len(format) && format[i+1] == 'z' {
			i++
			b.WriteString(t.Format("-07:00"))
			continue
		}
		noPad := format[i] == '-' && i+1 < len(format)
		if noPad {
			i++
		}
		s := timeField(t, format[i])
		if noPad {
			s = strings.TrimLeft(s, "0 ")
			if s == "" {
				s = "0"
			}
		}
		b.WriteString(s)
	}
	return b.String()
}

func timeField(t time.Time, verb byte) string {
	layouts := map[byte]string{
		'a': "Mon", 'A': "Monday", 'b': "Jan", 'h': "Jan", 'B': "January", 'd': "02", 'e': "_2", 'H': "15", 'I': "03",
		'm': "01", 'M': "04", 'p': "PM", 'S': "05", 'y': "06", 'Y': "2006", 'z': "-0700", 'Z': "MST", 'j': "002",
		'D': "01/02/06", 'F': "2006-01-02", 'T': "15:04:05", 'R': "15:04", 'r': "03:04:05 PM",
		'c': "Mon Jan _2 15:04:05 2006", 'x': "01/02/06", 'X': "15:04:05",
	}
	if l, ok := layouts[verb]; ok {
		return t.Format(l)
	}
	switch verb {
	case 's':
		return strconv.FormatInt(t.Unix(), 10)
	case 'N':
		return fmt.Sprintf("%09d", t.Nanosecond())
	case 'k':
		return fmt.Sprintf("%2d", t.Hour())
	case 'C':
		return fmt.Sprintf("%02d", t.Year()/100)
	case 'u':
		return strconv.Itoa((int(t.Weekday())+6)%7 + 1)
	case 'w':
		return strconv.Itoa(int(t.Weekday()))
	case 'V':
		_, w := t.ISOWeek()
		return fmt.Sprintf("%02d", w)
	case 'G':
		y, _ := t.ISOWeek()
		return strconv.Itoa(y)
	case 'n':
		return "\n"
	case 't':
		return "\t"
	case '%':
		return "%"
	}
	return "%" + string(verb)
}

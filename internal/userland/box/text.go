// Commands that pass text on: cat, head, tail, tee, wc.

package box

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// cat: copy the inputs to standard output.
func cat(c *Call) {
	c.opts("nu")
	n := 0
	c.inputs(func(_ string, r io.Reader) error {
		if c.has('n') {
			return lines(r, func(s string) bool {
				n++
				fmt.Fprintf(c.out, "%6d\t%s\n", n, s)
				return true
			})
		}
		if f, ok := r.(*os.File); ok {
			// No buffering: what a terminal, pipe or fifo has is shown at once.
			_, err := io.Copy(os.Stdout, f)
			return err
		}
		_, err := io.Copy(c.out, r)
		return err
	})
}

// headTailArgs turns the old spelling -5, which can only come first, into -n 5.
func headTailArgs(args []string) []string {
	if len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' && args[0][1] >= '0' && args[0][1] <= '9' {
		return append([]string{"-n" + args[0][1:]}, args[1:]...)
	}
	return args
}

// count parses the value of head's and tail's -n and -c. sign is '+' or '-' if
// the number had one.
func (c *Call) count(s string) (n int64, sign byte) {
	if s != "" && (s[0] == '+' || s[0] == '-') {
		sign, s = s[0], s[1:]
	}
	return c.bytes(s), sign
}

// bytes parses a number with an optional unit: k, M, G (powers of 1024), b (512).
func (c *Call) bytes(s string) int64 {
	mult := int64(1)
	if s != "" {
		switch s[len(s)-1] {
		case 'b':
			mult = 512
		case 'k', 'K':
			mult = 1 << 10
		case 'M':
			mult = 1 << 20
		case 'G':
			mult = 1 << 30
		}
		if mult > 1 {
			s = s[:len(s)-1]
		}
	}
	return c.number(s) * mult
}

// banner prints the "==> name <==" line that head and tail put before each of
// several files.
func (c *Call) banner(i int, name string) {
	if len(c.args) > 1 && !c.has('q') {
		if i > 0 {
			fmt.Fprintln(c.out)
		}
		if name == "-" {
			name = "standard input"
		}
		fmt.Fprintf(c.out, "==> %s <==\n", name)
	}
}

// head: the first lines or bytes.
func head(c *Call) {
	c.args = headTailArgs(c.args)
	c.opts("n:c:q", "lines=n", "bytes=c")
	i := 0
	c.inputs(func(name string, r io.Reader) error {
		c.banner(i, name)
		i++
		if c.has('c') {
			n, sign := c.count(c.val('c'))
			if sign == '-' {
				data, err := io.ReadAll(r)
				c.out.Write(data[:max(0, int64(len(data))-n)])
				return err
			}
			_, err := io.CopyN(c.out, r, n)
			if err == io.EOF {
				err = nil
			}
			return err
		}
		n, sign := int64(10), byte(0)
		if c.has('n') {
			n, sign = c.count(c.val('n'))
		}
		if sign == '-' {
			return c.allButLast(r, n)
		}
		if n == 0 {
			return nil
		}
		b := bufio.NewReader(r)
		for ; n > 0; n-- {
			s, err := b.ReadString('\n')
			c.out.WriteString(s)
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// allButLast prints all lines but the last n.
func (c *Call) allButLast(r io.Reader, n int64) error {
	var keep []string
	return lines(r, func(s string) bool {
		keep = append(keep, s)
		if int64(len(keep)) > n {
			fmt.Fprintln(c.out, keep[0])
			keep = keep[1:]
		}
		return true
	})
}

// tail: the last lines or bytes; -f waits for more.
func tail(c *Call) {
	c.args = headTailArgs(c.args)
	c.opts("n:c:qfF", "lines=n", "bytes=c", "follow=f")
	i := 0
	var last *os.File
	names := c.args
	if len(names) == 0 {
		names = []string{"-"}
	}
	for _, name := range names {
		f := os.Stdin
		if name != "-" {
			var err error
			if f, err = os.Open(name); err != nil {
				c.fail(name, err)
				continue
			}
		}
		c.banner(i, name)
		i++
		if err := c.tailOne(f); err != nil {
			c.fail(name, err)
		}
		last = f
	}
	if (c.has('f') || c.has('F')) && last != nil {
		c.follow(last)
	}
}

func (c *Call) tailOne(r io.Reader) error {
	n, sign, unit := int64(10), byte(0), byte('n')
	if c.has('c') {
		unit = 'c'
	}
	if c.has(unit) {
		n, sign = c.count(c.val(unit))
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	switch {
	case unit == 'c' && sign == '+':
		data = data[min(int64(len(data)), max(0, n-1)):]
	case unit == 'c':
		data = data[max(0, int64(len(data))-n):]
	case sign == '+':
		for ; n > 1 && len(data) > 0; n-- {
			data = data[lineEnd(data):]
		}
	default:
		data = lastLines(data, n)
	}
	_, err = c.out.Write(data)
	return err
}

// lineEnd is the offset after the first line.
func lineEnd(b []byte) int {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return i + 1
	}
	return len(b)
}

func lastLines(data []byte, n int64) []byte {
	at := len(data)
	if at > 0 && data[at-1] == '\n' {
		at--
	}
	for ; n > 0 && at >= 0; n-- {
		at = bytes.LastIndexByte(data[:at], '\n')
	}
	if n > 0 || at < 0 {
		return data
	}
	if at+1 > len(data) {
		return nil
	}
	return data[at+1:]
}

// follow prints what is appended to f, for ever. It looks four times a second:
// inotify is not to be had on every file system a container may have.
func (c *Call) follow(f *os.File) {
	for {
		c.out.Flush()
		if n, err := io.Copy(c.out, f); n == 0 || err != nil {
			if fi, err := f.Stat(); err == nil && fi.Mode().IsRegular() {
				if at, err := f.Seek(0, io.SeekCurrent); err == nil && fi.Size() < at {
					f.Seek(0, io.SeekStart) // truncated: begin again
				}
			}
			time.Sleep(250 * time.Millisecond)
		}
	}
}

// tee: copy standard input to standard output and to files.
func tee(c *Call) {
	c.opts("ai", "append=a")
	mode := os.O_CREATE | os.O_WRONLY | os.O_TRUNC
	if c.has('a') {
		mode = os.O_CREATE | os.O_WRONLY | os.O_APPEND
	}
	outs := []io.Writer{os.Stdout}
	for _, name := range c.args {
		f, err := os.OpenFile(name, mode, 0o666)
		if err != nil {
			c.fail(name, err)
			continue
		}
		outs = append(outs, f)
	}
	if _, err := io.Copy(io.MultiWriter(outs...), os.Stdin); err != nil {
		c.warn("%s", reason(err))
	}
}

// counts are wc's five numbers.
type counts struct{ lines, words, chars, bytes, longest int64 }

func countText(r io.Reader) (n counts, err error) {
	b := bufio.NewReaderSize(r, 64<<10)
	inWord, col := false, int64(0)
	for {
		ch, size, err := b.ReadRune()
		if err == io.EOF {
			n.longest = max(n.longest, col)
			return n, nil
		}
		if err != nil {
			return n, err
		}
		n.bytes += int64(size)
		if ch != utf8.RuneError || size > 1 {
			n.chars++
		}
		col++
		if ch == '\n' {
			n.lines++
			n.longest, col = max(n.longest, col-1), 0
		}
		if unicode.IsSpace(ch) {
			inWord = false
		} else if !inWord {
			inWord = true
			n.words++
		}
	}
}

// wc: count lines, words and bytes.
func wc(c *Call) {
	c.opts("lwcmL", "lines=l", "words=w", "bytes=c", "chars=m")
	all := !c.has('l') && !c.has('w') && !c.has('c') && !c.has('m') && !c.has('L')
	type row struct {
		n    counts
		name string
	}
	var rows []row
	var sum counts
	c.inputs(func(name string, r io.Reader) error {
		n, err := countText(r)
		if err != nil {
			return err
		}
		if len(c.args) == 0 {
			name = ""
		}
		rows = append(rows, row{n, name})
		sum.lines += n.lines
		sum.words += n.words
		sum.chars += n.chars
		sum.bytes += n.bytes
		sum.longest = max(sum.longest, n.longest)
		return nil
	})
	if len(c.args) > 1 {
		rows = append(rows, row{sum, "total"})
	}
	width := len(fmt.Sprint(sum.bytes))
	if len(c.args) == 0 || c.args[0] == "-" {
		width = 7
	}
	for _, r := range rows {
		var cols []string
		add := func(letter byte, byDefault bool, n int64) {
			if c.has(letter) || all && byDefault {
				cols = append(cols, fmt.Sprint(n))
			}
		}
		add('l', true, r.n.lines)
		add('w', true, r.n.words)
		add('m', false, r.n.chars)
		add('c', true, r.n.bytes)
		add('L', false, r.n.longest)
		if len(cols) > 1 || len(c.args) > 1 {
			for i := range cols {
				cols[i] = fmt.Sprintf("%*s", width, cols[i])
			}
		}
		fmt.Fprintln(c.out, strings.TrimRight(strings.Join(cols, " ")+" "+r.name, " "))
	}
}

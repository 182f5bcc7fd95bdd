// Commands that show, compare or digest bytes: sums, base64, cmp, od, hexdump, dd.

package box

import (
	"bufio"
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
	"strings"
)

// sum: print or check digests; the command's name says which.
func sum(c *Call) {
	c.opts("cbt", "check=c", "binary=b", "text=t")
	fresh := map[string]func() hash.Hash{"md5sum": md5.New, "sha1sum": sha1.New, "sha256sum": sha256.New, "sha512sum": sha512.New}[c.Name]
	digest := func(r io.Reader) (string, error) {
		h := fresh()
		_, err := io.Copy(h, r)
		return hex.EncodeToString(h.Sum(nil)), err
	}
	if !c.has('c') {
		c.inputs(func(name string, r io.Reader) error {
			d, err := digest(r)
			if err == nil {
				fmt.Fprintf(c.out, "%s  %s\n", d, name)
			}
			return err
		})
		return
	}
	bad := 0
	c.inputs(func(_ string, r io.Reader) error {
		return lines(r, func(s string) bool {
			want, name, ok := strings.Cut(s, " ")
			if !ok {
				return true
			}
			name = strings.TrimLeft(name, " *")
			got := ""
			f, err := os.Open(name)
			if err == nil {
				got, err = digest(f)
				f.Close()
			}
			if err != nil {
				c.fail(name, err)
			}
			verdict := "OK"
			if got != strings.ToLower(want) {
				verdict = "FAILED"
				bad++
			}
			fmt.Fprintf(c.out, "%s: %s\n", name, verdict)
			return true
		})
	})
	if bad > 0 {
		c.warn("%d digests do not match", bad)
	}
}

// base64Cmd: encode or decode.
func base64Cmd(c *Call) {
	c.opts("dDw:i", "decode=d", "wrap=w")
	c.need(0, 1)
	c.inputs(func(_ string, r io.Reader) error {
		if c.has('d') || c.has('D') {
			_, err := io.Copy(c.out, base64.NewDecoder(base64.StdEncoding, r))
			if err != nil {
				c.die(1, "invalid input")
			}
			return nil
		}
		data, err := io.ReadAll(r)
		text := base64.StdEncoding.EncodeToString(data)
		width := 76
		if c.has('w') {
			width = int(c.number(c.val('w')))
		}
		if width == 0 {
			fmt.Fprint(c.out, text)
			return err
		}
		for len(text) > 0 {
			n := min(width, len(text))
			fmt.Fprintln(c.out, text[:n])
			text = text[n:]
		}
		return err
	})
}

// cmpCmd: compare two files byte by byte.
func cmpCmd(c *Call) {
	c.opts("sl", "silent=s", "quiet=s", "verbose=l")
	c.need(1, 2)
	names := append(c.args, "-")[:2]
	var in [2]*bufio.Reader
	for i, name := range names {
		f := os.Stdin
		if name != "-" {
			var err error
			if f, err = os.Open(name); err != nil {
				c.die(2, "%s: %s", name, reason(err))
			}
		}
		in[i] = bufio.NewReaderSize(f, 64<<10)
	}
	line := 1
	for at := 1; ; at++ {
		a, err1 := in[0].ReadByte()
		b, err2 := in[1].ReadByte()
		switch {
		case err1 != nil && err2 != nil:
			return
		case err1 != nil || err2 != nil:
			short := names[0]
			if err2 != nil {
				short = names[1]
			}
			if !c.has('s') {
				c.warn("EOF on %s after byte %d", short, at-1)
			}
			c.exit = 1
			return
		case a != b:
			c.exit = 1
			if c.has('l') {
				fmt.Fprintf(c.out, "%d %3o %3o\n", at, a, b)
				continue
			}
			if !c.has('s') {
				fmt.Fprintf(c.out, "%s %s differ: char %d, line %d\n", names[0], names[1], at, line)
			}
			return
		}
		if a == '\n' {
			line++
		}
	}
}

// od and hexdump: show bytes. Supported forms: octal words (the default), -c,
// -C (with text at the side), and -A x|d|o|n with -t x1, o1, u1, d1, c, a, x2, o2.
func od(c *Call) {
	c.opts("bcCxvA:t:N:j:n:s:", "address-radix=A", "format=t", "read-bytes=N", "skip-bytes=j")
	kind, radix := "o2", "o"
	if c.Name == "hexdump" {
		kind, radix = "x2", "x"
		if c.has('n') {
			c.flag['N'] = c.flag['n']
		}
	}
	if c.has('A') {
		radix = c.val('A')
	}
	switch {
	case c.has('C'):
		kind = "C"
	case c.has('t'):
		kind = c.val('t')
	case c.has('c'):
		kind = "c"
	case c.has('b'):
		kind = "o1"
	case c.has('x'):
		kind = "x2"
	}
	side := strings.HasSuffix(kind, "z")
	kind = strings.TrimSuffix(kind, "z")
	var all bytes.Buffer
	c.inputs(func(_ string, r io.Reader) error { _, err := io.Copy(&all, r); return err })
	data, at := all.Bytes(), 0
	if c.has('j') || c.has('s') {
		at = min(len(data), int(c.bytes(c.val('j')+c.val('s'))))
		data = data[at:]
	}
	if c.has('N') {
		data = data[:min(len(data), int(c.bytes(c.val('N'))))]
	}
	address := func(n int) string {
		switch {
		case radix == "n":
			return ""
		case radix == "x" && (kind == "C"):
			return fmt.Sprintf("%08x", n)
		case radix == "x" && c.Name == "hexdump":
			return fmt.Sprintf("%07x", n)
		case radix == "x":
			return fmt.Sprintf("%06x", n)
		case radix == "d":
			return fmt.Sprintf("%07d", n)
		}
		return fmt.Sprintf("%07o", n)
	}
	var last []byte
	starred := false
	for len(data) > 0 {
		row := data[:min(16, len(data))]
		data = data[len(row):]
		if len(row) == 16 && bytes.Equal(row, last) && !c.has('v') {
			if !starred {
				fmt.Fprintln(c.out, "*")
			}
			starred = true
			at += 16
			continue
		}
		starred, last = false, row
		text, ok := dumpRow(kind, row)
		if !ok {
			c.die(1, "%s: unknown format", kind)
		}
		fmt.Fprint(c.out, address(at), text)
		if c.Name == "hexdump" && kind == "x2" {
			fmt.Fprintf(c.out, "%*s", (16-len(row))/2*5, "")
		}
		if side {
			fmt.Fprintf(c.out, "%*s  >%s<", (16-len(row))*3, "", printable(row))
		}
		fmt.Fprintln(c.out)
		at += len(row)
	}
	if radix != "n" {
		fmt.Fprintln(c.out, address(at))
	}
}

// printable shows bytes as text, with dots for what is not ASCII.
func printable(b []byte) string {
	out := bytes.Clone(b)
	for i, x := range out {
		if x < ' ' || x > '~' {
			out[i] = '.'
		}
	}
	return string(out)
}

func dumpRow(kind string, row []byte) (string, bool) {
	var b strings.Builder
	if kind == "C" {
		b.WriteByte(' ')
		for i := range 16 {
			if i == 8 {
				b.WriteByte(' ')
			}
			if i < len(row) {
				fmt.Fprintf(&b, " %02x", row[i])
			} else {
				b.WriteString("   ")
			}
		}
		fmt.Fprintf(&b, "  |%s|", printable(row))
		return b.String(), true
	}
	if kind == "x2" || kind == "o2" {
		for i := 0; i < len(row); i += 2 {
			w := uint16(row[i])
			if i+1 < len(row) {
				w |= uint16(row[i+1]) << 8
			}
			fmt.Fprintf(&b, map[string]string{"x2": " %04x", "o2": " %06o"}[kind], w)
		}
		return b.String(), true
	}
	format := map[string]string{"x1": " %02x", "o1": " %03o", "u1": " %3d", "d1": " %4d"}[kind]
	if kind == "c" || kind == "a" {
		names := map[byte]string{0: `\0`, 7: `\a`, 8: `\b`, 9: `\t`, 10: `\n`, 11: `\v`, 12: `\f`, 13: `\r`}
		for _, x := range row {
			s, ok := names[x]
			if !ok && (x < ' ' || x > '~') {
				s = fmt.Sprintf("%03o", x)
			} else if !ok {
				s = string(rune(x))
			}
			fmt.Fprintf(&b, " %3s", s)
		}
		return b.String(), true
	}
	for _, x := range row {
		if kind == "d1" {
			fmt.Fprintf(&b, format, int8(x))
		} else {
			fmt.Fprintf(&b, format, x)
		}
	}
	return b.String(), format != ""
}

// dd: copy blocks.
func dd(c *Call) {
	opt := map[string]string{"bs": "512", "count": "-1", "skip": "0", "seek": "0"}
	for _, a := range c.args {
		key, val, ok := strings.Cut(a, "=")
		if !ok || !strings.Contains(" if of bs ibs obs count skip seek conv status iflag oflag ", " "+key+" ") {
			c.warn("%s: unknown operand", a)
			c.usage()
		}
		if key == "ibs" || key == "obs" {
			key = "bs"
		}
		opt[key] = val
	}
	bs, count := c.bytes(opt["bs"]), c.bytes(opt["count"])
	skip, seek := c.bytes(opt["skip"]), c.bytes(opt["seek"])
	conv := "," + opt["conv"] + ","
	if bs <= 0 {
		c.die(1, "the block size is 0")
	}
	in, out := os.Stdin, os.Stdout
	var err error
	if name := opt["if"]; name != "" {
		if in, err = os.Open(name); err != nil {
			c.die(1, "%s: %s", name, reason(err))
		}
	}
	if name := opt["of"]; name != "" {
		if out, err = os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o666); err != nil {
			c.die(1, "%s: %s", name, reason(err))
		}
		if fi, serr := out.Stat(); serr == nil && fi.Mode().IsRegular() && !strings.Contains(conv, ",notrunc,") {
			if err = out.Truncate(seek * bs); err != nil {
				c.die(1, "%s: %s", name, reason(err))
			}
		}
	}
	if skip > 0 {
		if _, err := in.Seek(skip*bs, io.SeekStart); err != nil {
			io.CopyN(io.Discard, in, skip*bs)
		}
	}
	if seek > 0 {
		if _, err := out.Seek(seek*bs, io.SeekCurrent); err != nil {
			c.die(1, "cannot seek: %s", reason(err))
		}
	}
	c.ddCopy(in, out, bs, count, conv, opt["status"])
}

func (c *Call) ddCopy(in, out *os.File, bs, count int64, conv, status string) {
	buf := make([]byte, bs)
	var full, part, wfull, wpart, total int64
	for n := int64(0); count < 0 || n < count; n++ {
		k, err := in.Read(buf)
		if k == 0 {
			if err != nil && err != io.EOF {
				c.warn("read: %s", reason(err))
			}
			break
		}
		if int64(k) == bs {
			full++
		} else {
			part++
		}
		block := buf[:k]
		if strings.Contains(conv, ",sync,") {
			clear(buf[k:])
			block = buf
		}
		if strings.Contains(conv, ",ucase,") {
			block = bytes.ToUpper(block)
		}
		w, err := out.Write(block)
		total += int64(w)
		if err != nil {
			c.warn("write: %s", reason(err))
			break
		}
		if int64(w) == bs {
			wfull++
		} else {
			wpart++
		}
	}
	if strings.Contains(conv, ",fsync,") || strings.Contains(conv, ",fdatasync,") {
		if err := out.Sync(); err != nil {
			c.warn("fsync: %s", reason(err))
		}
	}
	if out != os.Stdout {
		if err := out.Close(); err != nil {
			c.warn("close: %s", reason(err))
		}
	}
	if status != "none" {
		fmt.Fprintf(os.Stderr, "%d+%d records in\n%d+%d records out\n", full, part, wfull, wpart)
		if status != "noxfer" {
			fmt.Fprintf(os.Stderr, "%d bytes copied\n", total)
		}
	}
}

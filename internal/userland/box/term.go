// Commands about the terminal: tty, clear, stty, less, watch.

package box

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tty: the name of the terminal.
func tty(c *Call) {
	c.opts("s", "silent=s", "quiet=s")
	name, err := os.Readlink("/proc/self/fd/0")
	if !isTerminal(0) || err != nil {
		name, c.exit = "not a tty", 1
	}
	if !c.has('s') {
		fmt.Fprintln(c.out, name)
	}
}

// clear: empty the screen. reset: also put terminal and modes in order.
func clearCmd(c *Call) {
	c.opts("x")
	if c.Name == "reset" {
		fmt.Fprint(c.out, "\x1bc") // RIS: console_codes(4)
		if t, err := unix.IoctlGetTermios(0, unix.TCGETS); err == nil {
			sane(t)
			unix.IoctlSetTermios(0, unix.TCSETS, t)
		}
		return
	}
	fmt.Fprint(c.out, "\x1b[H\x1b[2J\x1b[3J")
}

// A ttyMode is one switch of termios(3), by stty's name.
type ttyMode struct {
	name string
	word byte // i, o, c or l: which flag word
	bit  uint32
}

func ttyModes() []ttyMode {
	return []ttyMode{
		{"brkint", 'i', unix.BRKINT}, {"icrnl", 'i', unix.ICRNL}, {"igncr", 'i', unix.IGNCR}, {"inlcr", 'i', unix.INLCR},
		{"istrip", 'i', unix.ISTRIP}, {"ixon", 'i', unix.IXON}, {"ixoff", 'i', unix.IXOFF}, {"ixany", 'i', unix.IXANY},
		{"imaxbel", 'i', unix.IMAXBEL}, {"iutf8", 'i', unix.IUTF8}, {"opost", 'o', unix.OPOST}, {"onlcr", 'o', unix.ONLCR},
		{"ocrnl", 'o', unix.OCRNL}, {"cread", 'c', unix.CREAD}, {"clocal", 'c', unix.CLOCAL}, {"hupcl", 'c', unix.HUPCL},
		{"isig", 'l', unix.ISIG}, {"icanon", 'l', unix.ICANON}, {"iexten", 'l', unix.IEXTEN}, {"echo", 'l', unix.ECHO},
		{"echoe", 'l', unix.ECHOE}, {"echok", 'l', unix.ECHOK}, {"echonl", 'l', unix.ECHONL}, {"noflsh", 'l', unix.NOFLSH},
		{"tostop", 'l', unix.TOSTOP}, {"echoctl", 'l', unix.ECHOCTL}, {"echoke", 'l', unix.ECHOKE},
	}
}

func (m ttyMode) in(t *unix.Termios) *uint32 {
	switch m.word {
	case 'i':
		return &t.Iflag
	case 'o':
		return &t.Oflag
	case 'c':
		return &t.Cflag
	}
	return &t.Lflag
}

func ttyChars() map[string]int {
	return map[string]int{"intr": unix.VINTR, "quit": unix.VQUIT, "erase": unix.VERASE, "kill": unix.VKILL, "eof": unix.VEOF,
		"start": unix.VSTART, "stop": unix.VSTOP, "susp": unix.VSUSP, "werase": unix.VWERASE, "lnext": unix.VLNEXT, "min": unix.VMIN, "time": unix.VTIME}
}

// sane sets the modes a terminal starts with.
func sane(t *unix.Termios) {
	t.Iflag = unix.BRKINT | unix.ICRNL | unix.IXON | unix.IMAXBEL | t.Iflag&unix.IUTF8
	t.Oflag = unix.OPOST | unix.ONLCR
	t.Cflag |= unix.CREAD
	t.Lflag = unix.ISIG | unix.ICANON | unix.IEXTEN | unix.ECHO | unix.ECHOE | unix.ECHOK | unix.ECHOCTL | unix.ECHOKE
	for name, c := range map[string]byte{"intr": 3, "quit": 28, "erase": 127, "kill": 21, "eof": 4, "start": 17, "stop": 19, "susp": 26, "werase": 23, "lnext": 22, "min": 1, "time": 0} {
		t.Cc[ttyChars()[name]] = c
	}
}

// stty: show or change the terminal's modes.
func stty(c *Call) {
	args := c.args
	fd := 0
	if len(args) > 1 && args[0] == "-F" {
		f, err := os.OpenFile(args[1], os.O_RDWR|unix.O_NOCTTY, 0)
		if err != nil {
			c.die(1, "%s: %s", args[1], reason(err))
		}
		fd, args = int(f.Fd()), args[2:]
	}
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		c.die(1, "standard input: %s", reason(err))
	}
	ws, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ)
	if err != nil {
		ws = &unix.Winsize{}
	}
	if len(args) == 0 || args[0] == "-a" {
		c.sttyShow(t, ws, len(args) > 0)
		return
	}
	for len(args) > 0 {
		word := args[0]
		args = args[1:]
		switch n, isChar := ttyChars()[word]; {
		case word == "size":
			fmt.Fprintf(c.out, "%d %d\n", ws.Row, ws.Col)
		case word == "-g":
			fmt.Fprintf(c.out, "%x:%x:%x:%x", t.Iflag, t.Oflag, t.Cflag, t.Lflag)
			for _, x := range t.Cc {
				fmt.Fprintf(c.out, ":%x", x)
			}
			fmt.Fprintln(c.out)
		case strings.Count(word, ":") > 10:
			restoreModes(t, word)
		case word == "sane":
			sane(t)
		case word == "raw" || word == "-cooked":
			t.Iflag, t.Oflag = t.Iflag&unix.IUTF8, t.Oflag&^unix.OPOST
			t.Lflag &^= unix.ISIG | unix.ICANON
			t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
		case word == "cooked" || word == "-raw":
			t.Iflag |= unix.BRKINT | unix.ICRNL | unix.IXON
			t.Oflag |= unix.OPOST
			t.Lflag |= unix.ISIG | unix.ICANON
		case (word == "rows" || word == "cols" || word == "columns" || isChar) && len(args) == 0:
			c.usage()
		case word == "rows" || word == "cols" || word == "columns":
			if v := uint16(c.number(args[0])); word == "rows" {
				ws.Row = v
			} else {
				ws.Col = v
			}
			args = args[1:]
			unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, ws)
		case isChar:
			t.Cc[n] = ttyChar(args[0])
			args = args[1:]
		case !c.sttySwitch(t, word):
			c.warn("unknown mode %s", word)
			c.usage()
		}
	}
	if err := unix.IoctlSetTermios(fd, unix.TCSETSW, t); err != nil {
		c.die(1, "%s", reason(err))
	}
}

// ttyChar is a control character as stty writes it: ^C, undef, or a number.
func ttyChar(s string) byte {
	switch {
	case s == "undef" || s == "^-":
		return 0
	case s == "^?":
		return 0x7f
	case len(s) == 2 && s[0] == '^':
		return s[1] & 0x1f
	}
	if n, err := strconv.Atoi(s); err == nil {
		return byte(n)
	}
	return (s + "\x00")[0]
}

// restoreModes sets what "stty -g" printed.
func restoreModes(t *unix.Termios, s string) {
	var v []uint64
	for f := range strings.SplitSeq(s, ":") {
		n, _ := strconv.ParseUint(f, 16, 32)
		v = append(v, n)
	}
	t.Iflag, t.Oflag, t.Cflag, t.Lflag = uint32(v[0]), uint32(v[1]), uint32(v[2]), uint32(v[3])
	for i := range t.Cc {
		if i+4 < len(v) {
			t.Cc[i] = byte(v[i+4])
		}
	}
}

func (c *Call) sttySwitch(t *unix.Termios, word string) bool {
	name, off := strings.CutPrefix(word, "-")
	for _, m := range ttyModes() {
		if m.name == name {
			if off {
				*m.in(t) &^= m.bit
			} else {
				*m.in(t) |= m.bit
			}
			return true
		}
	}
	return false
}

// sttyShow prints the modes; without -a only those that are not the usual ones.
func (c *Call) sttyShow(t *unix.Termios, ws *unix.Winsize, all bool) {
	if all {
		fmt.Fprintf(c.out, "rows %d; columns %d;\n", ws.Row, ws.Col)
		for _, name := range []string{"intr", "quit", "erase", "kill", "eof", "start", "stop", "susp", "werase", "lnext"} {
			ch := t.Cc[ttyChars()[name]]
			text := "^" + string(rune(ch^0x40))
			if ch == 0 {
				text = "<undef>"
			}
			fmt.Fprintf(c.out, "%s = %s; ", name, text)
		}
		fmt.Fprintf(c.out, "min = %d; time = %d;\n", t.Cc[unix.VMIN], t.Cc[unix.VTIME])
	}
	usual := *t
	sane(&usual)
	var words []string
	for _, m := range ttyModes() {
		on := *m.in(t)&m.bit != 0
		if !all && on == (*m.in(&usual)&m.bit != 0) {
			continue
		}
		if on {
			words = append(words, m.name)
		} else {
			words = append(words, "-"+m.name)
		}
	}
	if len(words) > 0 {
		fmt.Fprintln(c.out, strings.Join(words, " "))
	}
}

// less: show text page by page; plain cat where there is no terminal.
func less(c *Call) {
	c.opts("NRSFXeir")
	if !isTerminal(1) {
		c.inputs(func(_ string, r io.Reader) error { _, err := io.Copy(c.out, r); return err })
		return
	}
	var text []string
	c.inputs(func(_ string, r io.Reader) error {
		return lines(r, func(s string) bool { text = append(text, s); return true })
	})
	keys, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		c.die(1, "/dev/tty: %s", reason(err))
	}
	p := &pager{c: c, text: text, keys: bufio.NewReader(keys), fd: int(keys.Fd())}
	old, err := unix.IoctlGetTermios(p.fd, unix.TCGETS)
	if err != nil {
		c.die(1, "/dev/tty: %s", reason(err))
	}
	raw := *old
	raw.Lflag &^= unix.ICANON | unix.ECHO
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	unix.IoctlSetTermios(p.fd, unix.TCSETS, &raw)
	p.run()
	unix.IoctlSetTermios(p.fd, unix.TCSETS, old)
	fmt.Fprint(c.out, "\r\x1b[K")
}

type pager struct {
	c    *Call
	text []string
	keys *bufio.Reader
	fd   int
	top  int
	find string
}

func (p *pager) size() (rows, cols int) {
	ws, err := unix.IoctlGetWinsize(p.fd, unix.TIOCGWINSZ)
	if err != nil || ws.Row < 2 {
		return 24, 80
	}
	return int(ws.Row), int(ws.Col)
}

func (p *pager) run() {
	for {
		rows, cols := p.size()
		page := rows - 1
		if len(p.text) <= page && p.top == 0 {
			for _, s := range p.text { // it fits: no need to ask
				fmt.Fprintln(p.c.out, s)
			}
			return
		}
		last := max(0, len(p.text)-page)
		p.top = max(0, min(p.top, last))
		fmt.Fprint(p.c.out, "\x1b[H\x1b[2J")
		for _, s := range p.text[p.top:min(len(p.text), p.top+page)] {
			r := []rune(strings.ReplaceAll(s, "\t", "        "))
			fmt.Fprintf(p.c.out, "%s\r\n", string(r[:min(len(r), cols)]))
		}
		prompt := ":"
		if p.top == last {
			prompt = "(END)"
		}
		fmt.Fprintf(p.c.out, "\x1b[7m%s\x1b[0m ", prompt)
		p.c.out.Flush()
		key, err := p.keys.ReadByte()
		if err != nil || key == 'q' || key == 'Q' {
			return
		}
		p.key(key, page)
	}
}

func (p *pager) key(key byte, page int) {
	switch key {
	case ' ', 'f', 6:
		p.top += page
	case 'b', 2:
		p.top -= page
	case 'j', '\n', '\r', 'e':
		p.top++
	case 'k', 'y':
		p.top--
	case 'd':
		p.top += page / 2
	case 'u':
		p.top -= page / 2
	case 'g':
		p.top = 0
	case 'G':
		p.top = len(p.text)
	case '/':
		p.find = p.ask("/")
		p.search(p.top)
	case 'n':
		p.search(p.top + 1)
	case 0x1b:
		if seq, err := p.keys.Peek(2); err == nil && seq[0] == '[' {
			p.keys.Discard(2)
			switch seq[1] {
			case 'A':
				p.top--
			case 'B':
				p.top++
			case '5', '6':
				p.keys.Discard(1)
				p.top += page * (int(seq[1]-'5')*2 - 1)
			}
		}
	}
}

// ask reads a line on the bottom row.
func (p *pager) ask(prompt string) string {
	fmt.Fprintf(p.c.out, "\r\x1b[K%s", prompt)
	text := ""
	for {
		p.c.out.Flush()
		b, err := p.keys.ReadByte()
		if err != nil || b == '\n' || b == '\r' {
			return text
		}
		if b == 0x7f || b == 8 {
			text = text[:max(0, len(text)-1)]
		} else if b >= ' ' {
			text += string(rune(b))
		}
		fmt.Fprintf(p.c.out, "\r\x1b[K%s%s", prompt, text)
	}
}

func (p *pager) search(from int) {
	for i := from; i < len(p.text); i++ {
		if p.find != "" && strings.Contains(p.text[i], p.find) {
			p.top = i
			return
		}
	}
}

// watch: run a command again and again.
func watch(c *Call) {
	c.optsFirst("n:t", "interval=n", "no-title=t")
	c.need(1, -1)
	every := 2 * time.Second
	if c.has('n') {
		every = c.seconds(c.val('n'))
	}
	line := strings.Join(c.args, " ")
	for {
		fmt.Fprint(c.out, "\x1b[H\x1b[2J")
		if !c.has('t') {
			fmt.Fprintf(c.out, "Every %s: %s   %s\n\n", every, line, time.Now().Format(time.TimeOnly))
		}
		c.child([]string{"/bin/sh", "-c", line}, os.Stdin)
		time.Sleep(every)
	}
}

// Line editing with the keys of readline(3)'s emacs mode, and the history.

package sh

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// editor reads lines from a terminal with the keys of readline(3)'s emacs mode.
// It reads byte by byte: what is typed ahead belongs to the command that runs
// next, not to the editor.
type editor struct {
	s       *shell
	history []string

	prompt string // its last line
	buf    []rune
	pos    int    // cursor, an index of buf
	row    int    // screen row of the cursor, counted from the prompt's
	killed []rune // what Ctrl-Y brings back
	at     int    // place in history
	draft  []rune // the new line, while looking through history
	tabs   int    // consecutive Tabs

	active atomic.Bool // a line is being read
	wake   [2]int      // a pipe: a byte in it is a Ctrl-C
}

// newEditor returns nil if lines cannot be edited here.
func newEditor(s *shell) *editor {
	e := &editor{s: s}
	if os.Getenv("TERM") == "dumb" || unix.Pipe2(e.wake[:], unix.O_CLOEXEC|unix.O_NONBLOCK) != nil {
		return nil
	}
	return e
}

// interrupt tells the editor of a Ctrl-C; false if no line is being read.
func (e *editor) interrupt() bool {
	if e == nil || !e.active.Load() {
		return false
	}
	unix.Write(e.wake[1], []byte{0})
	return true
}

// Keys that are more than one byte, as private runes.
const (
	keyUp = 0xe000 + iota
	keyDown
	keyLeft
	keyRight
	keyHome
	keyEnd
	keyDelete
	keyWordLeft
	keyWordRight
	keyWordDelete
	keyWordKill
	keyLastArg
	keyUnknown
)

func ctrl(c rune) rune { return c & 0x1f }

// read reads one line, with its newline.
func (e *editor) read(prompt string) (string, error) {
	restore, err := rawMode(0)
	if err != nil {
		return "", err
	}
	e.active.Store(true)
	defer func() {
		e.active.Store(false)
		restore()
	}()
	unix.Read(e.wake[0], make([]byte, 64)) // forget old ones
	if i := strings.LastIndexByte(prompt, '\n'); i >= 0 {
		fmt.Fprint(os.Stderr, strings.ReplaceAll(prompt[:i+1], "\n", "\r\n"))
		prompt = prompt[i+1:]
	}
	e.prompt, e.buf, e.pos, e.row = prompt, nil, 0, 0
	e.at, e.draft = len(e.history), nil
	e.draw()
	for {
		key, err := e.readKey()
		if err == errInterrupted {
			e.pos = len(e.buf)
			e.draw()
			fmt.Fprint(os.Stderr, "^C\r\n")
		}
		if err != nil {
			return "", err
		}
		if key == ctrl('r') {
			if key = e.search(); key == 0 {
				continue
			}
		}
		if key != '\t' {
			e.tabs = 0
		}
		switch {
		case key == '\r' || key == '\n':
			e.pos = len(e.buf)
			e.draw()
			fmt.Fprint(os.Stderr, "\r\n")
			e.remember(string(e.buf))
			return string(e.buf) + "\n", nil
		case key == ctrl('d') && len(e.buf) == 0:
			return "", io.EOF
		case key == '\t':
			e.complete()
		case key == ctrl('l'):
			fmt.Fprint(os.Stderr, "\x1b[H\x1b[2J")
			e.row = 0
		default:
			e.key(key)
		}
		e.draw()
	}
}

// rawMode turns off echo and line buffering: termios(3). Ctrl-C stays a signal,
// so that one typed just after Enter is not taken for text; output processing
// stays, too, and so does what has been typed.
func rawMode(fd int) (restore func(), err error) {
	old, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, err
	}
	raw := *old
	raw.Iflag &^= unix.BRKINT | unix.ICRNL | unix.INLCR | unix.IGNCR | unix.INPCK | unix.ISTRIP | unix.IXON
	raw.Lflag &^= unix.ECHO | unix.ICANON | unix.IEXTEN
	raw.Cc[unix.VSUSP], raw.Cc[unix.VQUIT] = 0, 0 // _POSIX_VDISABLE
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(fd, unix.TCSETSW, &raw); err != nil {
		return nil, err
	}
	return func() { unix.IoctlSetTermios(fd, unix.TCSETSW, old) }, nil
}

func (e *editor) readByte() (byte, error) {
	var b [1]byte
	for {
		fds := []unix.PollFd{{Fd: 0, Events: unix.POLLIN}, {Fd: int32(e.wake[0]), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, -1); err == unix.EINTR {
			continue
		}
		if fds[1].Revents != 0 {
			unix.Read(e.wake[0], make([]byte, 64))
			return 0, errInterrupted
		}
		n, err := unix.Read(0, b[:])
		if err == unix.EINTR {
			continue
		}
		if n == 0 && err == nil {
			err = io.EOF
		}
		return b[0], err
	}
}

// readKey reads one key: a character, or an escape sequence (console_codes(4)).
func (e *editor) readKey() (rune, error) {
	b, err := e.readByte()
	if err != nil {
		return 0, err
	}
	if b == 0x1b {
		return e.readEscape()
	}
	if b < utf8.RuneSelf {
		return rune(b), nil
	}
	seq := []byte{b}
	for !utf8.FullRune(seq) && len(seq) < utf8.UTFMax {
		if b, err = e.readByte(); err != nil {
			return 0, err
		}
		seq = append(seq, b)
	}
	r, _ := utf8.DecodeRune(seq)
	return r, nil
}

func (e *editor) readEscape() (rune, error) {
	b, err := e.readByte()
	if err != nil {
		return 0, err
	}
	switch b {
	case 'b':
		return keyWordLeft, nil
	case 'f':
		return keyWordRight, nil
	case 'd':
		return keyWordKill, nil
	case 0x7f, 8:
		return keyWordDelete, nil
	case '.', '_':
		return keyLastArg, nil
	case '[', 'O':
	default:
		return keyUnknown, nil
	}
	seq := ""
	for {
		if b, err = e.readByte(); err != nil {
			return 0, err
		}
		seq += string(b)
		if b >= 0x40 && b < 0x7f {
			break
		}
	}
	keys := map[string]rune{"A": keyUp, "B": keyDown, "C": keyRight, "D": keyLeft, "H": keyHome, "F": keyEnd,
		"1~": keyHome, "7~": keyHome, "4~": keyEnd, "8~": keyEnd, "3~": keyDelete,
		"1;5C": keyWordRight, "1;5D": keyWordLeft, "1;3C": keyWordRight, "1;3D": keyWordLeft}
	if k, ok := keys[seq]; ok {
		return k, nil
	}
	return keyUnknown, nil
}

// key does what a key says.
func (e *editor) key(key rune) {
	switch key {
	case ctrl('a'), keyHome:
		e.pos = 0
	case ctrl('e'), keyEnd:
		e.pos = len(e.buf)
	case ctrl('b'), keyLeft:
		e.pos = max(0, e.pos-1)
	case ctrl('f'), keyRight:
		e.pos = min(len(e.buf), e.pos+1)
	case keyWordLeft:
		e.pos = e.wordStart()
	case keyWordRight:
		e.pos = e.wordEnd()
	case ctrl('p'), keyUp:
		e.recall(e.at - 1)
	case ctrl('n'), keyDown:
		e.recall(e.at + 1)
	case 0x7f, ctrl('h'):
		e.cut(max(0, e.pos-1), e.pos, false)
	case ctrl('d'), keyDelete:
		e.cut(e.pos, min(len(e.buf), e.pos+1), false)
	case ctrl('k'):
		e.cut(e.pos, len(e.buf), true)
	case ctrl('u'):
		e.cut(0, e.pos, true)
	case ctrl('w'):
		start := e.pos
		for start > 0 && unicode.IsSpace(e.buf[start-1]) {
			start--
		}
		for start > 0 && !unicode.IsSpace(e.buf[start-1]) {
			start--
		}
		e.cut(start, e.pos, true)
	case keyWordDelete:
		e.cut(e.wordStart(), e.pos, true)
	case keyWordKill:
		e.cut(e.pos, e.wordEnd(), true)
	case ctrl('y'):
		e.insert(e.killed)
	case ctrl('t'):
		if n := min(e.pos, len(e.buf)-1); n > 0 {
			e.buf[n-1], e.buf[n] = e.buf[n], e.buf[n-1]
			e.pos = n + 1
		}
	case keyLastArg:
		if n := len(e.history); n > 0 {
			if words := strings.Fields(e.history[n-1]); len(words) > 0 {
				e.insert([]rune(words[len(words)-1]))
			}
		}
	default:
		if key >= ' ' && (key < 0xe000 || key > keyUnknown) {
			e.insert([]rune{key})
		}
	}
}

func isWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

func (e *editor) wordStart() int {
	i := e.pos
	for i > 0 && !isWord(e.buf[i-1]) {
		i--
	}
	for i > 0 && isWord(e.buf[i-1]) {
		i--
	}
	return i
}

func (e *editor) wordEnd() int {
	i := e.pos
	for i < len(e.buf) && !isWord(e.buf[i]) {
		i++
	}
	for i < len(e.buf) && isWord(e.buf[i]) {
		i++
	}
	return i
}

func (e *editor) insert(text []rune) {
	e.buf = append(e.buf[:e.pos:e.pos], append(text[:len(text):len(text)], e.buf[e.pos:]...)...)
	e.pos += len(text)
}

// cut removes buf[from:to]; keep is for the keys that Ctrl-Y undoes.
func (e *editor) cut(from, to int, keep bool) {
	if keep && from < to {
		e.killed = append([]rune(nil), e.buf[from:to]...)
	}
	e.buf = append(e.buf[:from:from], e.buf[to:]...)
	e.pos = from
}

// recall shows line i of the history; one past the end is the new line.
func (e *editor) recall(i int) {
	if i < 0 || i > len(e.history) {
		return
	}
	if e.at == len(e.history) {
		e.draft = e.buf
	}
	e.at = i
	if i == len(e.history) {
		e.buf = e.draft
	} else {
		e.buf = []rune(e.history[i])
	}
	e.pos = len(e.buf)
}

// remember puts a line in the history, unless it is empty, starts with a blank,
// or is the last one again. The newest thousand are kept.
func (e *editor) remember(line string) {
	n := len(e.history)
	if strings.TrimSpace(line) == "" || line[0] == ' ' || n > 0 && e.history[n-1] == line {
		return
	}
	e.history = append(e.history, line)
	if n >= 1000 {
		e.history = e.history[1:]
	}
}

// search is Ctrl-R: it finds earlier lines with what is typed, and returns the
// key that ended it, 0 if that is used up.
func (e *editor) search() rune {
	prompt, old, want, at := e.prompt, e.buf, "", len(e.history)
	end := func(key rune) rune {
		e.prompt = prompt
		e.draw()
		return key
	}
	find := func(from int) {
		for i := from; i >= 0 && i < len(e.history); i-- {
			if j := strings.Index(e.history[i], want); j >= 0 {
				at = i
				e.buf = []rune(e.history[i])
				e.pos = utf8.RuneCountInString(e.history[i][:j])
				return
			}
		}
		fmt.Fprint(os.Stderr, "\a")
	}
	for {
		e.prompt = "(reverse-i-search)`" + want + "': "
		e.draw()
		key, err := e.readKey()
		switch {
		case err != nil || key == ctrl('g'):
			e.buf, e.pos = old, len(old)
			return end(0)
		case key == ctrl('r'):
			find(at - 1)
		case key == 0x7f || key == ctrl('h'):
			if want != "" {
				_, n := utf8.DecodeLastRuneInString(want)
				want = want[:len(want)-n]
				find(len(e.history) - 1)
			}
		case key >= ' ' && key < keyUp:
			want += string(key)
			find(min(at, len(e.history)-1))
		default:
			e.at = min(at, len(e.history))
			return end(key)
		}
	}
}

// draw shows prompt and line again, from the prompt's first column on, and puts
// the cursor in its place. A line longer than the screen is wide goes on below.
func (e *editor) draw() {
	width := 80
	if ws, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ); err == nil && ws.Col > 0 {
		width = int(ws.Col)
	}
	var b strings.Builder
	if e.row > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", e.row)
	}
	b.WriteByte('\r')
	col := 0
	hidden := false
	for _, r := range e.prompt {
		switch {
		case string(r) == promptHide:
			hidden = true
		case string(r) == promptShow:
			hidden = false
		default:
			b.WriteRune(r)
			if !hidden {
				col += runeWidth(r)
			}
		}
	}
	cursor := col
	for i, r := range e.buf {
		if i == e.pos {
			cursor = col
		}
		if r < ' ' {
			r = ' '
		}
		w := runeWidth(r)
		if w == 2 && col%width == width-1 { // does not fit at the end of a row
			col++
			if i == e.pos {
				cursor = col
			}
		}
		b.WriteRune(r)
		col += w
	}
	if e.pos == len(e.buf) {
		cursor = col
	}
	if col > 0 && col%width == 0 {
		b.WriteString("\r\n") // the terminal waits at the last column
	}
	b.WriteString("\x1b[J\r")
	if up := col/width - cursor/width; up > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", up)
	}
	if right := cursor % width; right > 0 {
		fmt.Fprintf(&b, "\x1b[%dC", right)
	}
	e.row = cursor / width
	io.WriteString(os.Stderr, b.String())
}

// runeWidth is how many columns a character takes: none for combining marks,
// two for the wide ones of East Asia and for emoji (Unicode, UAX #11).
func runeWidth(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	case r >= 0x1100 && r <= 0x115f, r >= 0x2e80 && r <= 0xa4cf, r >= 0xac00 && r <= 0xd7a3,
		r >= 0xf900 && r <= 0xfaff, r >= 0xfe30 && r <= 0xfe6f, r >= 0xff00 && r <= 0xff60,
		r >= 0xffe0 && r <= 0xffe6, r >= 0x1f300 && r <= 0x1faff, r >= 0x20000 && r <= 0x3fffd:
		return 2
	}
	return 1
}

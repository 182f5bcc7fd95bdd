// The command sed runs a script that sedparse.go has read.

package box

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// sed: edit lines by a script. The commands are { } = a c d D g G h H i n N p P
// q s x y and the labels of b and t, with addresses N, $, /RE/, FIRST,LAST,
// FIRST,+N and !; s takes g p i N and & \1 … \9 in its replacement (POSIX, sed).
func sed(c *Call) {
	c.opts("ne:f:Eri", "quiet=n", "silent=n", "expression=e", "file=f", "regexp-extended=E", "in-place=i")
	script := strings.Join(c.flag['e'], "\n")
	for _, name := range c.flag['f'] {
		text, err := os.ReadFile(name)
		if err != nil {
			c.die(1, "%s: %s", name, reason(err))
		}
		script += "\n" + string(text)
	}
	if !c.has('e') && !c.has('f') {
		c.need(1, -1)
		script, c.args = c.args[0], c.args[1:]
	}
	p := &sedParser{c: c, s: script, extended: c.has('E') || c.has('r')}
	prog := p.block(false)
	if c.has('i') {
		for _, name := range c.args {
			if err := sedInPlace(c, prog, name); err != nil {
				c.fail(name, err)
			}
		}
		return
	}
	var readers []io.Reader
	c.inputsOpen(func(r io.Reader) { readers = append(readers, r) })
	newSed(c, prog, io.MultiReader(readers...), c.out).run()
}

// inputsOpen opens all operands without reading them yet.
func (c *Call) inputsOpen(f func(io.Reader)) {
	if len(c.args) == 0 {
		f(os.Stdin)
	}
	for _, name := range c.args {
		if name == "-" {
			f(os.Stdin)
			continue
		}
		file, err := os.Open(name)
		if err != nil {
			c.fail(name, err)
			continue
		}
		f(file)
	}
}

func sedInPlace(c *Call, prog []*sedCmd, name string) error {
	in, err := os.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	fi, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.CreateTemp(filepath.Dir(name), ".sed")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	w := bufio.NewWriter(out)
	newSed(c, prog, in, w).run()
	if err := w.Flush(); err != nil {
		return err
	}
	out.Chmod(fi.Mode())
	if err := out.Close(); err != nil {
		return err
	}
	return os.Rename(out.Name(), name)
}

type sedRun struct {
	c           *Call
	prog        []*sedCmd
	in          *bufio.Reader
	out         *bufio.Writer
	space, hold string
	line        int64
	next        string
	more, quit  bool
	changed     bool
	after       []string // text of "a", printed at the end of the cycle
}

func newSed(c *Call, prog []*sedCmd, r io.Reader, w *bufio.Writer) *sedRun {
	s := &sedRun{c: c, prog: prog, in: bufio.NewReader(r), out: w}
	s.advance()
	return s
}

// advance reads one line ahead, so that "$" is known.
func (s *sedRun) advance() {
	text, err := s.in.ReadString('\n')
	s.next, s.more = strings.TrimSuffix(text, "\n"), text != "" || err == nil
}

func (s *sedRun) readLine() bool {
	if !s.more {
		return false
	}
	s.space = s.next
	s.line++
	s.advance()
	return true
}

func (s *sedRun) run() {
	for again := false; again || s.readLine(); {
		s.changed = false
		act := s.exec(s.prog)
		again = act == sedAgain
		if act != sedDelete && act != sedAgain && !s.c.has('n') {
			fmt.Fprintln(s.out, s.space)
		}
		s.flush()
		if s.quit {
			return
		}
	}
}

func (s *sedRun) flush() {
	for _, t := range s.after {
		fmt.Fprintln(s.out, t)
	}
	s.after = nil
}

func (s *sedRun) match(a *sedAddr) bool {
	switch {
	case a.last:
		return !s.more
	case a.re != nil:
		return a.re.MatchString(s.space)
	}
	return s.line == a.line
}

func (s *sedRun) selected(cmd *sedCmd) bool {
	if cmd.from == nil {
		return true
	}
	if cmd.to == nil {
		return s.match(cmd.from)
	}
	if cmd.inRange {
		end := cmd.to.re != nil && s.match(cmd.to) || cmd.to.re == nil && (cmd.to.last && !s.more || !cmd.to.last && s.line >= cmd.until)
		cmd.inRange = !end
		return cmd.to.re != nil || cmd.to.last || s.line <= cmd.until
	}
	if !s.match(cmd.from) {
		return false
	}
	cmd.until = cmd.to.line
	if cmd.to.plus {
		cmd.until += s.line
	}
	cmd.inRange = cmd.to.re != nil || cmd.to.last && s.more || !cmd.to.last && cmd.until > s.line
	return true
}

// What a script's run asks of the cycle.
type sedAction int

const (
	sedNext   sedAction = iota
	sedDelete           // start the next cycle without printing
	sedAgain            // the same, without reading a line
	sedEnd              // end the cycle
)

func (s *sedRun) exec(prog []*sedCmd) sedAction {
	for i := 0; i < len(prog); i++ {
		cmd := prog[i]
		if s.selected(cmd) == cmd.not {
			continue
		}
		switch cmd.verb {
		case '{':
			if act := s.exec(cmd.block); act != sedNext {
				return act
			}
		case 'b', 't':
			if cmd.verb == 't' && !s.changed {
				continue
			}
			s.changed = false
			if cmd.text == "" {
				return sedEnd
			}
			at := -1
			for k, l := range prog {
				if l.verb == ':' && l.text == cmd.text {
					at = k
				}
			}
			if at < 0 {
				s.c.die(1, "script: no label %s", cmd.text)
			}
			i = at
		default:
			if act := s.one(cmd); act != sedNext {
				return act
			}
		}
	}
	return sedNext
}

func (s *sedRun) one(cmd *sedCmd) sedAction {
	switch cmd.verb {
	case '=':
		fmt.Fprintln(s.out, s.line)
	case 'a':
		s.after = append(s.after, cmd.text)
	case 'i':
		fmt.Fprintln(s.out, cmd.text)
	case 'c':
		if cmd.to == nil || !cmd.inRange || cmd.not {
			fmt.Fprintln(s.out, cmd.text)
		}
		return sedDelete
	case 'd':
		return sedDelete
	case 'D':
		if _, rest, ok := strings.Cut(s.space, "\n"); ok {
			s.space = rest
			return sedAgain
		}
		return sedDelete
	case 'g':
		s.space = s.hold
	case 'G':
		s.space += "\n" + s.hold
	case 'h':
		s.hold = s.space
	case 'H':
		s.hold += "\n" + s.space
	case 'x':
		s.space, s.hold = s.hold, s.space
	case 'l':
		fmt.Fprintf(s.out, "%s$\n", strings.Trim(strconv.QuoteToASCII(s.space), `"`))
	case 'n':
		if !s.c.has('n') {
			fmt.Fprintln(s.out, s.space)
		}
		s.flush()
		if !s.readLine() {
			s.quit = true
			return sedDelete
		}
	case 'N':
		old := s.space
		if !s.readLine() {
			return sedEnd
		}
		s.space = old + "\n" + s.space
	case 'p':
		fmt.Fprintln(s.out, s.space)
	case 'P':
		first, _, _ := strings.Cut(s.space, "\n")
		fmt.Fprintln(s.out, first)
	case 'q':
		s.quit = true
		return sedEnd
	case 's':
		s.substitute(cmd)
	case 'y':
		s.space = strings.Map(func(r rune) rune {
			if to, ok := cmd.pairs[r]; ok {
				return to
			}
			return r
		}, s.space)
	}
	return sedNext
}

func (s *sedRun) substitute(cmd *sedCmd) {
	var b strings.Builder
	at, n := 0, 0
	for _, m := range cmd.re.FindAllStringSubmatchIndex(s.space, -1) {
		n++
		if n < cmd.nth || n > cmd.nth && !cmd.all {
			continue
		}
		b.WriteString(s.space[at:m[0]])
		expandRepl(&b, cmd.repl, s.space, m)
		at = m[1]
	}
	if n < cmd.nth {
		return
	}
	b.WriteString(s.space[at:])
	s.space, s.changed = b.String(), true
	if cmd.pr {
		fmt.Fprintln(s.out, s.space)
	}
}

// expandRepl writes a replacement: & and \0 are the match, \1 … its groups.
func expandRepl(b *strings.Builder, repl, text string, m []int) {
	group := func(i int) {
		if 2*i+1 < len(m) && m[2*i] >= 0 {
			b.WriteString(text[m[2*i]:m[2*i+1]])
		}
	}
	for i := 0; i < len(repl); i++ {
		switch ch := repl[i]; {
		case ch == '&':
			group(0)
		case ch == '\\' && i+1 < len(repl):
			i++
			switch next := repl[i]; {
			case next >= '0' && next <= '9':
				group(int(next - '0'))
			case next == 'n':
				b.WriteByte('\n')
			case next == 't':
				b.WriteByte('\t')
			default:
				b.WriteByte(next)
			}
		default:
			b.WriteByte(ch)
		}
	}
}

// A script is run statement by statement, as it is parsed.

package sh

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// script runs a whole text, statement by statement as it is parsed, so that
// what stands before a syntax error runs. tail allows the last command to
// replace the process.
func (s *shell) script(text, name string, tail bool) {
	var st *syntax.Stmt
	for next, err := range syntax.NewParser().StmtsSeq(strings.NewReader(text)) {
		if st != nil && !s.run(st) {
			return
		}
		if st = next; err != nil {
			fmt.Fprintf(os.Stderr, "%s: %s\n", s.label(), strings.TrimSpace(err.Error()))
			s.setStatus(2)
			return
		}
	}
	if st != nil {
		s.lastCmd = tail && s.replaceable(st)
		s.run(st)
	}
}

// replaceable tells whether st is one external command that nothing follows, so
// that it needs no process of its own.
func (s *shell) replaceable(st *syntax.Stmt) bool {
	call, ok := st.Cmd.(*syntax.CallExpr)
	if !ok || len(call.Args) == 0 || st.Negated || st.Background || s.traps.any() || s.jobs.busy() {
		return false
	}
	for _, rd := range st.Redirs {
		if rd.Hdoc != nil || rd.Op == syntax.WordHdoc {
			return false // somebody has to feed it
		}
	}
	return !s.runsHere(call.Args[0].Lit()) // what "$@" stands for is seen when it is expanded: see call
}

// runsHere tells whether the command of that name is a function or a builtin.
func (s *shell) runsHere(name string) bool {
	return s.r.Funcs[name] != nil || interp.IsBuiltin(name) || isOurs(name)
}

// lines runs a script from a reader that gives one line at a time, so that the
// commands can read what follows them.
func (s *shell) lines(in lineSource) {
	for {
		stmts, err := s.readStatements(in)
		for _, st := range stmts {
			if !s.run(st) {
				return
			}
		}
		var bad *syntaxError
		if err != nil && !errors.As(err, &bad) {
			return // the end of the input, or a terminal that has hung up
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %s\n", s.label(), strings.TrimSpace(err.Error()))
			s.setStatus(2)
			if !s.interactive {
				return
			}
		}
	}
}

// A syntaxError is text that is no shell program. An interactive shell goes on
// after one, and after nothing else: input that cannot be read once will not be
// readable the next time either, and a PID 1 whose terminal has hung up survives
// the SIGHUP (pid_namespaces(7)) only to be told EIO for ever.
type syntaxError struct{ error }

// A lineSource gives lines with their newline; more is true inside a statement.
// Any error but errInterrupted is the end of the input.
type lineSource interface {
	line(more bool) (string, error)
}

// readStatements reads lines until they make up whole statements.
func (s *shell) readStatements(in lineSource) ([]*syntax.Stmt, error) {
	text := ""
	for {
		line, err := in.line(text != "")
		if err == errInterrupted {
			text = ""
			s.setStatus(128 + int(syscall.SIGINT))
			continue
		}
		text += line
		if err != nil && text == "" {
			return nil, err
		}
		if strings.HasSuffix(text, "\\\n") && err == nil {
			continue
		}
		var stmts []*syntax.Stmt
		var perr error
		for st, e := range syntax.NewParser().StmtsSeq(strings.NewReader(text)) {
			if e != nil {
				perr = e
				break
			}
			stmts = append(stmts, st)
		}
		if perr != nil && incomplete(perr) && err == nil {
			continue
		}
		if perr != nil {
			return nil, &syntaxError{perr}
		}
		return stmts, err
	}
}

// incomplete tells whether more lines may mend a syntax error. The parser does
// not say so of a here-document whose delimiter is quoted.
func incomplete(err error) bool {
	return syntax.IsIncomplete(err) || strings.Contains(err.Error(), "unclosed here-document")
}

// lineReader reads byte by byte: a shell must not read ahead of the commands
// that share its standard input (POSIX, sh, "STDIN").
type lineReader struct{ f *os.File }

func (l *lineReader) line(bool) (string, error) {
	var b []byte
	for {
		var c [1]byte
		n, err := l.f.Read(c[:])
		if n == 1 {
			b = append(b, c[0])
			if c[0] == '\n' {
				return string(b), nil
			}
		}
		if err != nil {
			return string(b), io.EOF
		}
	}
}

// readScript reads a script file; one in no directory is also looked for in
// PATH (POSIX, sh, "OPERANDS").
func readScript(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil && !strings.Contains(name, "/") {
		for dir := range strings.SplitSeq(os.Getenv("PATH"), ":") {
			if g, gerr := os.Open(dir + "/" + name); gerr == nil {
				f, err = g, nil
				break
			}
		}
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, errnoOf(err))
	}
	defer f.Close()
	text, err := io.ReadAll(bufio.NewReader(f))
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, errnoOf(err))
	}
	return string(text), nil
}

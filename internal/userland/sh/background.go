// Commands in the background: each is a process of its own with the shell's state.

package sh

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// stateVar names, in the environment of a background shell, the descriptor from
// which it reads its parent's state: a script that makes the same variables,
// functions and options.
const stateVar = "TIFFIN_SH_STATE"

// startBackground runs text as "text &" would: in a process of its own, "sh -c
// TEXT", which becomes the command if it is a simple one.
// args are the text and what rewrite.go adds to it: $-, $? and $@.
func (s *shell) startBackground(hc interp.HandlerContext, args []string) error {
	text := args[0]
	self := selfPath()
	if self == "" {
		fmt.Fprintf(hc.Stderr, "%s: cannot start a background process without /proc\n", s.label())
		return interp.ExitStatus(1)
	}
	state, err := memFile(s.state(hc, args[1], args[2], args[3:]))
	if err != nil {
		fmt.Fprintf(hc.Stderr, "%s: background: %s\n", s.label(), err)
		return interp.ExitStatus(1)
	}
	defer state.Close()
	j := &job{text: text, background: true}
	if s.jobs.tty < 0 {
		// POSIX 2.9.3, "Asynchronous Lists": without job control the input is empty.
		if null, err := os.Open(os.DevNull); err == nil && hc.Stdin == os.Stdin {
			defer null.Close()
			hc.Stdin = null
		}
	}
	env := append(execEnv(hc.Env), stateVar+"=3")
	p, _, err := s.start(hc, self, []string{"sh", "-c", text, s.name}, env, j, state)
	if err != nil {
		fmt.Fprintf(hc.Stderr, "%s: background: %s\n", s.label(), errnoOf(err))
		return interp.ExitStatus(1)
	}
	s.jobs.mu.Lock()
	s.jobs.bang = p.pid
	s.jobs.add(j)
	s.jobs.mu.Unlock()
	if s.interactive {
		fmt.Fprintf(os.Stderr, "[%d] %d\n", j.id, p.pid)
	}
	return nil
}

// memFile is a file in memory with text in it: memfd_create(2).
func memFile(text string) (*os.File, error) {
	fd, err := unix.MemfdCreate("sh", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "state")
	if _, err := f.WriteString(text); err != nil {
		f.Close()
		return nil, err
	}
	_, err = f.Seek(0, 0)
	return f, err
}

// state is the script for a background shell. Its first line has what is not a
// variable: $$, $! and whether to ignore interrupts.
func (s *shell) state(hc interp.HandlerContext, opts, status string, params []string) string {
	var b strings.Builder
	mode := "jobs"
	if s.jobs.tty < 0 {
		mode = "async"
	}
	fmt.Fprintf(&b, "%sstate %d %d %s %s\n", marker, s.pid, s.jobs.lastBackground(), mode, status)
	vars := map[string]expand.Variable{}
	for name, v := range hc.Env.Each {
		vars[name] = v
	}
	for name, v := range vars {
		if strings.HasPrefix(name, varPrefix) || name == "UID" || name == "EUID" || name == "GID" || !v.IsSet() || !syntax.ValidName(name) {
			continue
		}
		writeVar(&b, name, v)
	}
	for name, body := range s.r.Funcs {
		fmt.Fprintf(&b, "%s() %s\n", name, source(body))
	}
	b.WriteString("set")
	if opts != "" {
		b.WriteString(" -" + opts)
	}
	b.WriteString(" --")
	for _, a := range params {
		b.WriteString(" " + quote(a))
	}
	b.WriteByte('\n')
	return b.String()
}

func writeVar(b *strings.Builder, name string, v expand.Variable) {
	flags := ""
	if v.Exported {
		flags += "x"
	}
	if v.ReadOnly {
		flags += "r"
	}
	val := ""
	switch v.Kind {
	case expand.String:
		val = quote(v.Str)
	case expand.Indexed:
		words := make([]string, len(v.List))
		for i, w := range v.List {
			words[i] = quote(w)
		}
		flags += "a"
		val = "(" + strings.Join(words, " ") + ")"
	case expand.Associative:
		var words []string
		for k, w := range v.Map {
			words = append(words, "["+quote(k)+"]="+quote(w))
		}
		flags += "A"
		val = "(" + strings.Join(words, " ") + ")"
	default:
		return
	}
	if flags != "" {
		flags = " -" + flags
	}
	fmt.Fprintf(b, "declare%s %s=%s\n", flags, name, val)
}

// inherit reads the state of the shell that started this one in the background.
func (s *shell) inherit() error {
	spec, ok := os.LookupEnv(stateVar)
	if !ok {
		return nil
	}
	os.Unsetenv(stateVar)
	fd, err := strconv.Atoi(spec)
	if err != nil {
		return nil
	}
	f := os.NewFile(uintptr(fd), "state")
	buf := make([]byte, 0, 4096)
	for {
		chunk := make([]byte, 16<<10)
		n, err := f.Read(chunk)
		buf = append(buf, chunk[:n]...)
		if n == 0 || err != nil {
			break
		}
	}
	f.Close()
	s.r.Env = environ{expand.ListEnviron(os.Environ()...), s}
	s.script(string(buf), s.name, false)
	if s.adopted != 0 {
		s.setStatus(s.adopted)
	}
	return nil
}

// adopt is the builtin in the first line of the state.
func (s *shell) adopt(args []string) {
	if len(args) != 4 {
		return
	}
	s.adopted, _ = strconv.Atoi(args[3])
	s.pid, _ = strconv.Atoi(args[0])
	s.jobs.bang, _ = strconv.Atoi(args[1])
	if args[2] == "async" {
		// POSIX 2.11: without job control an asynchronous list ignores these.
		signal.Ignore(syscall.SIGINT, syscall.SIGQUIT)
	}
}

// waitFor waits for a job's end; a trapped signal or an interrupt ends the
// waiting with 128+N.
func (s *shell) waitFor(ctx context.Context, j *job) int {
	t := &s.jobs
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		st, p := j.state()
		if st == done {
			return p.status
		}
		if sig := s.traps.first(); sig != 0 {
			return 128 + int(sig)
		}
		if ctx.Err() != nil {
			return 128 + int(syscall.SIGINT)
		}
		t.cond.Wait()
	}
}

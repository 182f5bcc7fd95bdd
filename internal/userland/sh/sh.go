// Package sh is the shell of the built-in base image. Parsing, expansion and
// the control structures are mvdan.cc/sh's (package interp, a POSIX shell with
// most of bash's extensions); what an operating system's shell does beyond a
// script interpreter is here: processes, jobs, signals, the terminal.
//
// # How it hooks into the interpreter
//
// interp runs builtins itself and hands every other command to an exec handler.
// It also offers a call handler, which sees each simple command before it runs
// and may change its words. So a builtin of ours is reached by renaming: the
// call handler turns "kill" into "builtin:kill", which interp takes for an
// external command, and the exec handler knows it (builtins.go).
//
// Three things the interpreter does in ways a shell user would notice are
// rewritten in the syntax tree before it runs (rewrite.go): "cmd &", which it
// would run as a goroutine, becomes a real child process; $!, $$ and $0 are read
// from us; and "time" measures processor time.
//
// # Processes
//
// Every external command is a child made with fork and exec (proc.go), never a
// function called in this process, so that ps, kill and /proc show what a
// learner expects. One loop collects all children with wait4(-1), so that a
// shell that is PID 1 also reaps the orphans it inherits. "exec CMD" replaces
// this process, as does the last simple command of "sh -c" (as in dash and
// bash): the PID stays.
//
// Subshells "( … )", command substitutions and the stages of a pipeline are
// copies of the interpreter in this process rather than forks, which a Go
// program cannot do; what they run are processes of their own. A background
// list is a new shell process that is handed variables, functions and options
// (background.go).
//
// # Job control
//
// An interactive shell on a terminal gives every statement its own process
// group and the terminal (jobs.go; termios(3), "Job control"): Ctrl-C reaches
// the running command only, Ctrl-Z stops it, and jobs, fg, bg, wait and kill %N
// work. SIGTTOU has to stay ignored in the children, because Go cannot change
// it between fork and exec; the image's own commands put it back.
//
// # Limits
//
// Redirections of descriptors above 2 and "<>" are not in the interpreter.
// Signal traps run between commands, never inside a subshell. $! and jobs of a
// subshell are the whole shell's.
package sh

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// A shell is the process's one shell.
type shell struct {
	r      *interp.Runner
	name   string // $0
	pid    int    // $$, which a background subshell inherits
	cwd    string // where the process really is
	status int    // $?

	interactive bool
	jobs        jobTable
	traps       trapTable
	edit        *editor // nil unless interactive on a terminal

	cancelMu sync.Mutex
	cancel   context.CancelFunc // stops the statement that runs, nil if none; guarded by cancelMu

	early bool // an interrupt came before the statement; guarded by cancelMu

	adopted   int                             // $? of the parent shell, in a background one
	lastCmd   bool                            // the statement is the last one: its command may replace the process
	functions atomic.Pointer[map[string]bool] // see isFunction

	sourcing bool    // the next file opened is a script to be rewritten
	timers   []timer // running "time" clauses
}

// options are what the command line asked for.
type options struct {
	command     string // -c
	hasCommand  bool
	stdin       bool // -s
	interactive bool
	login       bool
	set         []string // options for "set"
	name        string   // $0
	args        []string // $1…
}

const usage = "usage: sh [-aefilnsux] [-o option] [-c command [name [arg...]] | file [arg...]]"

// Main runs the shell with the arguments of a process and returns its exit
// status.
func Main(args []string) int {
	o, err := parseArgs(args)
	if err != nil {
		fmt.Fprintf(os.Stderr, "sh: %s\n%s\n", err, usage)
		return 2
	}
	if len(args) == 2 && args[1] == "--help" {
		fmt.Println(usage)
		return 0
	}
	s, err := newShell(o)
	if err != nil {
		fmt.Fprintf(os.Stderr, "sh: %s\n", err)
		return 2
	}
	if o.login {
		s.profile("/etc/profile")
		s.profile(os.Getenv("HOME") + "/.profile")
	}
	switch {
	case o.hasCommand:
		s.script(o.command, o.name, true)
	case o.interactive:
		s.repl()
	case o.stdin:
		s.lines(&lineReader{f: os.Stdin})
	default:
		text, err := readScript(o.name)
		if err != nil {
			fmt.Fprintf(os.Stderr, "sh: %s\n", err)
			return exitFor(err)
		}
		s.script(text, o.name, false)
	}
	s.finish()
	return s.status
}

// parseArgs parses the command line: POSIX, sh, "SYNOPSIS".
func parseArgs(args []string) (o options, err error) {
	o.name = args[0]
	o.login = strings.HasPrefix(args[0], "-")
	rest := args[1:]
	for len(rest) > 0 && len(rest[0]) > 1 && (rest[0][0] == '-' || rest[0][0] == '+') {
		a := rest[0]
		rest = rest[1:]
		if a == "--" {
			break
		}
		if a == "--login" {
			o.login = true
			continue
		}
		if a == "--help" {
			return o, nil
		}
		for _, l := range a[1:] {
			switch l {
			case 'c':
				o.hasCommand = true
			case 'i':
				o.interactive = true
			case 'l':
				o.login = true
			case 's':
				o.stdin = true
			case 'm', 'h', 'b', 'v', 'C': // accepted, without effect
			case 'a', 'e', 'f', 'n', 'u', 'x':
				o.set = append(o.set, a[:1]+string(l))
			case 'o':
				if len(rest) == 0 {
					return o, errors.New("option -o needs a value")
				}
				o.set = append(o.set, a[:1]+"o", rest[0])
				rest = rest[1:]
			default:
				return o, fmt.Errorf("unknown option %c%c", a[0], l)
			}
		}
	}
	switch {
	case o.hasCommand:
		if len(rest) == 0 {
			return o, errors.New("option -c needs a command")
		}
		o.command, rest = rest[0], rest[1:]
		if len(rest) > 0 {
			o.name, rest = rest[0], rest[1:]
		}
	case !o.stdin && len(rest) > 0:
		o.name, rest = rest[0], rest[1:]
	default:
		o.stdin = true
		o.interactive = o.interactive || isTerminal(0) && isTerminal(2)
	}
	o.args = rest
	return o, nil
}

func newShell(o options) (*shell, error) {
	s := &shell{name: o.name, pid: os.Getpid(), interactive: o.interactive}
	s.jobs.init()
	s.traps.init(s)
	params := append(append([]string{}, o.set...), "--")
	r, err := interp.New(
		interp.Env(environ{expand.ListEnviron(os.Environ()...), s}),
		interp.StdIO(os.Stdin, os.Stdout, os.Stderr),
		interp.Interactive(o.interactive),
		interp.CallHandler(s.call),
		interp.ExecHandlers(func(interp.ExecHandlerFunc) interp.ExecHandlerFunc { return s.exec }),
		interp.OpenHandler(s.open),
		interp.Params(append(params, o.args...)...),
	)
	if err != nil {
		return nil, err
	}
	s.r, s.cwd = r, r.Dir
	if err := s.inherit(); err != nil {
		return nil, err
	}
	if s.interactive {
		s.startInteractive()
	}
	if s.pid == 1 {
		s.jobs.collect() // orphans may come before the first command
	}
	return s, nil
}

// environ is the environment the interpreter starts from, with the special
// parameters that rewrite.go gives names.
type environ struct {
	expand.Environ
	s *shell
}

func (e environ) special(name string) string {
	switch name {
	case varPid:
		return fmt.Sprint(e.s.pid)
	case varName:
		return e.s.name
	case varBang:
		if pid := e.s.jobs.lastBackground(); pid != 0 {
			return fmt.Sprint(pid)
		}
	}
	return ""
}

func (e environ) Get(name string) expand.Variable {
	if strings.HasPrefix(name, varPrefix) {
		v := e.special(name)
		return expand.Variable{Set: v != "", Kind: expand.String, Str: v}
	}
	return e.Environ.Get(name)
}

// Each includes the special parameters, since copies for concurrent subshells
// are made from it.
func (e environ) Each(f func(name string, v expand.Variable) bool) {
	for _, name := range []string{varPid, varName, varBang} {
		if v := e.Get(name); v.Set && !f(name, v) {
			return
		}
	}
	e.Environ.Each(f)
}

// run runs one statement; false means that the shell is to end.
func (s *shell) run(st *syntax.Stmt) bool {
	if s.jobs.tty >= 0 {
		s.jobs.newForeground(strings.TrimSpace(source(st)))
	}
	rewrite(st)
	s.noteFunctions()
	ctx, cancel := context.WithCancel(context.Background())
	s.setCancel(cancel)
	err := s.r.Run(ctx, st)
	s.setCancel(nil)
	interrupted := ctx.Err() != nil
	cancel()
	s.followDir()
	var es interp.ExitStatus
	switch {
	case err == nil:
		s.status = 0
	case errors.As(err, &es):
		s.status = int(es)
	case interrupted:
		s.setStatus(128 + int(syscall.SIGINT))
		return true
	default:
		fmt.Fprintf(os.Stderr, "%s: %s\n", s.label(), err)
		s.status = 1
	}
	return !s.r.Exited()
}

// setStatus makes $? n.
func (s *shell) setStatus(n int) {
	s.status = n
	f, err := syntax.NewParser().Parse(strings.NewReader(fmt.Sprintf("(exit %d)", n)), "")
	if err == nil {
		s.r.Run(context.Background(), f.Stmts[0])
	}
}

// followDir takes the process to where "cd" went. The interpreter keeps a
// directory of its own; /proc/PID/cwd should tell the same.
func (s *shell) followDir() {
	if s.r.Dir != s.cwd && os.Chdir(s.r.Dir) == nil {
		s.cwd = s.r.Dir
	}
}

// label is what messages start with.
func (s *shell) label() string {
	return strings.TrimPrefix(s.name[strings.LastIndexByte(s.name, '/')+1:], "-")
}

// profile runs a start-up file if there is one.
func (s *shell) profile(path string) {
	if _, err := os.Stat(path); err == nil {
		s.script(". "+quote(path), path, false)
	}
}

// finish runs the EXIT trap, unless "exit" did.
func (s *shell) finish() {
	if !s.r.Exited() && s.traps.atExit != "" {
		if f, err := syntax.NewParser().Parse(strings.NewReader("exit"), ""); err == nil {
			s.run(f.Stmts[0])
		}
	}
	s.jobs.giveBackTerminal()
}

// errnoOf is the system's error without Go's "open NAME:" before it.
func errnoOf(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

// exitFor is the exit status for a command that cannot be run: 127 if it is
// not there, else 126 (POSIX, 2.8.2, "Exit Status for Commands").
func exitFor(err error) int {
	if errors.Is(err, syscall.ENOENT) {
		return 127
	}
	return 126
}

// The builtins that the interpreter lacks, or that behave otherwise in a shell: POSIX, "Special
// Built-In Utilities".

package sh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"

	"tiffin/userland/box"
	sigs "tiffin/userland/sig"
)

// marker is the beginning of the names under which the interpreter passes our
// builtins on to the exec handler.
const marker = "builtin:"

// ours are the builtins that replace interp's, or that it does not have.
const ours = " [ bg disown echo exec fg help history jobs kill logout printf suspend test times trap ulimit umask wait "

func isOurs(name string) bool { return strings.Contains(ours, " "+name+" ") }

// call is the interpreter's call handler. It sees every simple command with its
// words expanded and returns the words to run.
func (s *shell) call(ctx context.Context, args []string) ([]string, error) {
	hc := interp.HandlerCtx(ctx)
	name := args[0]
	if s.traps.first() != 0 && name != marker+"traps" && s.isMain(hc) {
		// The actions can only run in an exec handler, so go by way of one.
		words := make([]string, len(args))
		for i, a := range args {
			words[i] = quote(a)
		}
		return []string{"eval", marker + "traps; " + strings.Join(words, " ")}, nil
	}
	if s.lastCmd && s.isMain(hc) && s.runsHere(name) {
		s.lastCmd = false // it may run several programs
	}
	if s.isFunction(hc, name) {
		return args, nil
	}
	switch name {
	case "command", "builtin":
		return s.plain(args), nil
	case "test", "[":
		if len(args) > 2 && (args[1] == "-v" || args[1] == "-o" || args[1] == "-R") {
			return args, nil // about the shell itself, which the interpreter knows
		}
	case "exec":
		if len(args) == 1 {
			return args, nil // redirections only: the interpreter's
		}
	case "eval":
		return []string{"eval", rewriteText(strings.Join(args[1:], " "))}, nil
	case ".", "source":
		s.sourcing = len(args) > 1
		return args, nil
	case "cd":
		return s.cdArgs(hc, args)
	case "read":
		if s.jobs.tty >= 0 && hc.Stdin == os.Stdin && s.isMain(hc) && !slices.Contains(args, "-s") {
			return append([]string{marker + "read"}, args[1:]...), nil
		}
	case "set":
		return s.setArgs(args), nil
	}
	if isOurs(name) {
		return append([]string{marker + name}, args[1:]...), nil
	}
	return args, nil
}

// isFunction tells whether name is a function's. A subshell may run beside this one, in a
// goroutine: it sees those that there were when the statement began, and not its own.
func (s *shell) isFunction(hc interp.HandlerContext, name string) bool {
	if s.isMain(hc) {
		return s.r.Funcs[name] != nil
	}
	names := s.functions.Load()
	return names != nil && (*names)[name]
}

// noteFunctions records which there are.
func (s *shell) noteFunctions() {
	names := map[string]bool{}
	for name := range s.r.Funcs {
		names[name] = true
	}
	s.functions.Store(&names)
}

// plain takes "command" or "builtin" off a call, where that leads past functions
// to a builtin of ours.
func (s *shell) plain(args []string) []string {
	if len(args) > 1 && args[1] == "-V" {
		return append([]string{"type"}, args[2:]...)
	}
	rest := args[1:]
	if len(rest) > 0 && rest[0] == "-p" && args[0] == "command" {
		rest = rest[1:]
	}
	if len(rest) > 0 && rest[0] == "--" {
		rest = rest[1:]
	}
	if len(rest) > 0 && isOurs(rest[0]) && !(rest[0] == "exec" && len(rest) == 1) {
		return append([]string{marker + rest[0]}, rest[1:]...)
	}
	return append([]string{args[0]}, rest...)
}

// cdArgs gives "cd" its options and the usual messages.
func (s *shell) cdArgs(hc interp.HandlerContext, args []string) ([]string, error) {
	physical := false
	rest := args[1:]
	for len(rest) > 0 && (rest[0] == "-P" || rest[0] == "-L" || rest[0] == "--") {
		physical = rest[0] == "-P"
		rest = rest[1:]
	}
	dir := hc.Env.Get("HOME").String()
	if len(rest) > 0 {
		dir = rest[0]
	}
	if len(rest) > 1 || dir == "-" || dir == "" {
		if dir == "-" && !hc.Env.Get("OLDPWD").IsSet() {
			return []string{marker + "fail", "cd: OLDPWD not set"}, nil
		}
		return append([]string{"cd"}, rest...), nil
	}
	path := dir
	if path[0] != '/' {
		path = hc.Dir + "/" + path
	}
	fi, err := os.Stat(path)
	if err == nil && !fi.IsDir() {
		err = syscall.ENOTDIR
	} else if err == nil {
		err = unix.Access(path, unix.X_OK)
	}
	if err != nil {
		return []string{marker + "fail", "cd: " + dir + ": " + errnoOf(err).Error()}, nil
	}
	if physical {
		if fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0); err == nil {
			if real, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd)); err == nil {
				dir = real
			}
			unix.Close(fd)
		}
	}
	return []string{"cd", dir}, nil
}

// setArgs takes out the options that are accepted without effect, and has "set"
// alone list the variables.
func (s *shell) setArgs(args []string) []string {
	if len(args) == 1 {
		return []string{marker + "vars"}
	}
	out := []string{"set"}
	for i := 1; i < len(args); i++ {
		a := args[i]
		if a == "--" || a == "-" || a == "" || a[0] != '-' && a[0] != '+' {
			return append(out, args[i:]...)
		}
		if (a == "-o" || a == "+o") && i+1 < len(args) {
			i++
			if !slices.Contains([]string{"monitor", "vi", "emacs", "notify", "hashall", "ignoreeof", "verbose", "noclobber"}, args[i]) {
				out = append(out, a, args[i])
			}
			continue
		}
		if kept := strings.Map(func(r rune) rune {
			if strings.ContainsRune("mhbvC", r) {
				return -1
			}
			return r
		}, a); len(kept) > 1 {
			out = append(out, kept)
		}
	}
	if len(out) == 1 {
		return []string{":"}
	}
	return out
}

// print writes what a builtin prints. That nobody reads it ends the shell as SIGPIPE would, or
// the subshell if it is in one.
func (s *shell) print(ctx context.Context, hc interp.HandlerContext, name, text string) error {
	_, err := io.WriteString(hc.Stdout, text)
	if err == nil {
		return nil
	}
	if errors.Is(err, syscall.EPIPE) && s.traps.endsBy(syscall.SIGPIPE) {
		if s.isMain(hc) {
			sigs.Default(syscall.SIGPIPE)
			syscall.Kill(os.Getpid(), syscall.SIGPIPE) // process 1 outlives it
		}
		return hc.Builtin(ctx, []string{"exit", strconv.Itoa(128 + int(syscall.SIGPIPE))})
	}
	fmt.Fprintf(hc.Stderr, "%s: %s: %s\n", s.label(), name, errnoOf(err))
	return interp.ExitStatus(1)
}

// builtin runs one of our builtins.
func (s *shell) builtin(ctx context.Context, hc interp.HandlerContext, name string, args []string) error {
	status := 0
	switch name {
	case "background":
		return s.startBackground(hc, args)
	case "state":
		s.adopt(args)
	case "traps":
	case "fail":
		fmt.Fprintf(hc.Stderr, "%s: %s\n", s.label(), args[0])
		status = 1
	case "time", "timed", "timed-p":
		status = s.time(hc, name)
	case "vars":
		s.listVars(hc)
	case "exec":
		return s.builtinExec(ctx, hc, args)
	case "trap":
		return s.builtinTrap(ctx, hc, args)
	case "read":
		return s.builtinRead(ctx, hc, args)
	case "wait":
		status = s.builtinWait(ctx, hc, args)
	case "jobs":
		status = s.builtinJobs(hc, args)
	case "fg", "bg":
		status = s.resume(hc, name, args)
	case "disown":
		s.jobs.mu.Lock()
		s.jobs.list = nil
		s.jobs.mu.Unlock()
	case "kill":
		status = s.builtinKill(hc, args)
	case "echo":
		return s.print(ctx, hc, name, box.Echo(args))
	case "printf":
		var out strings.Builder
		status = box.Printf(&out, func(m string) { fmt.Fprintf(hc.Stderr, "%s: printf: %s\n", s.label(), m) }, args)
		if err := s.print(ctx, hc, name, out.String()); err != nil {
			return err
		}
	case "umask":
		status = s.builtinUmask(hc, args)
	case "ulimit":
		status = s.builtinUlimit(hc, args)
	case "test", "[":
		status = box.Test(append([]string{name}, args...), hc.Dir, terminals(hc), func(m string) { fmt.Fprintf(hc.Stderr, "%s: %s: %s\n", s.label(), name, m) })
	case "times":
		s.builtinTimes(hc)
	case "history":
		if s.edit != nil {
			for i, line := range s.edit.history {
				fmt.Fprintf(hc.Stdout, "%5d  %s\n", i+1, line)
			}
		}
	case "help":
		status = s.builtinHelp(hc, args)
	case "logout":
		return hc.Builtin(ctx, append([]string{"exit"}, args...))
	case "suspend":
		syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	default:
		fmt.Fprintf(hc.Stderr, "%s: %s: not found\n", s.label(), marker+name)
		status = 127
	}
	if status != 0 {
		return interp.ExitStatus(status)
	}
	return nil
}

// terminals tells which of the command's three descriptors are a terminal.
func terminals(hc interp.HandlerContext) func(fd int) bool {
	return func(fd int) bool {
		std := map[int]any{0: hc.Stdin, 1: hc.Stdout, 2: hc.Stderr}
		f, ok := std[fd].(*os.File)
		return ok && f != nil && isTerminal(int(f.Fd()))
	}
}

// builtinExec is "exec CMD". In a subshell, which is no process of its own, the
// command runs as a child, and the subshell ends with it.
func (s *shell) builtinExec(ctx context.Context, hc interp.HandlerContext, args []string) error {
	if args[0] == "--" {
		args = args[1:]
	}
	path, err := s.find(hc, args[0])
	status := 0
	switch {
	case err != nil:
		fmt.Fprintf(hc.Stderr, "%s: exec: %s: %s\n", s.label(), args[0], err)
		status = exitFor(err)
	case s.isMain(hc):
		err := s.replace(hc, path, args)
		if es, ok := err.(interp.ExitStatus); ok {
			status = int(es)
		}
	default:
		err := s.external(ctx, hc, args)
		if es, ok := err.(interp.ExitStatus); ok {
			status = int(es)
		} else if err != nil {
			return err
		}
		return hc.Builtin(ctx, []string{"exit", strconv.Itoa(status)})
	}
	if s.interactive {
		return interp.ExitStatus(status)
	}
	return hc.Builtin(ctx, []string{"exit", strconv.Itoa(status)})
}

// listVars is "set" without arguments.
func (s *shell) listVars(hc interp.HandlerContext) {
	vars := map[string]string{}
	for name, v := range hc.Env.Each {
		if v.IsSet() && !strings.HasPrefix(name, varPrefix) && syntax.ValidName(name) {
			vars[name] = v.String()
		}
	}
	names := make([]string, 0, len(vars))
	for name := range vars {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(hc.Stdout, "%s=%s\n", name, quote(vars[name]))
	}
}

func (s *shell) builtinHelp(hc interp.HandlerContext, args []string) int {
	if len(args) > 0 {
		c, ok := box.Find(args[0])
		if !ok {
			return 1
		}
		fmt.Fprintf(hc.Stdout, "usage: %s\n%s\n", strings.TrimSpace(c.Name+" "+c.Usage), c.Help)
		return 0
	}
	fmt.Fprint(hc.Stdout, `The shell has these built in:
  . : [ alias bg break cd command continue echo eval exec exit export false fg
  getopts hash help history jobs kill local printf pwd read readonly return set
  shift test time times trap true type ulimit umask unalias unset wait

and these commands are programs in /bin ("NAME --help" prints their options):
`)
	for _, c := range box.Commands() {
		fmt.Fprintf(hc.Stdout, "  %-12s %s\n", c.Name, c.Help)
	}
	return 0
}

package sh

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"

	"tiffin/image/base/box"
)

// marker is the beginning of the names under which the interpreter passes our
// builtins on to the exec handler.
const marker = "builtin:"

// ours are the builtins that replace interp's, or that it does not have.
const ours = " bg disown exec fg help history jobs kill logout suspend times trap ulimit umask wait "

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
	if s.r.Funcs[name] != nil && s.isMain(hc) {
		return args, nil
	}
	switch name {
	case "command", "builtin":
		return s.plain(args), nil
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
	case "echo":
		return echoArgs(args), nil
	}
	if isOurs(name) {
		return append([]string{marker + name}, args[1:]...), nil
	}
	return args, nil
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

// echoArgs splits combined options, which the interpreter does not know.
func echoArgs(args []string) []string {
	out := []string{"echo"}
	for i, a := range args[1:] {
		if len(a) < 2 || a[0] != '-' || strings.Trim(a[1:], "neE") != "" {
			return append(out, args[i+1:]...)
		}
		for _, l := range a[1:] {
			out = append(out, "-"+string(l))
		}
	}
	return out
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
	case "umask":
		status = s.builtinUmask(hc, args)
	case "ulimit":
		status = s.builtinUlimit(hc, args)
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

func (s *shell) builtinWait(ctx context.Context, hc interp.HandlerContext, args []string) int {
	if len(args) > 0 && args[0] == "-n" {
		return s.waitAny(ctx)
	}
	if len(args) == 0 {
		s.jobs.mu.Lock()
		all := slices.Clone(s.jobs.list)
		s.jobs.mu.Unlock()
		for _, j := range all {
			if st, _ := j.state(); st == stopped {
				continue
			}
			status := s.waitFor(ctx, j)
			if s.traps.first() != 0 || ctx.Err() != nil {
				return status
			}
			s.forget(j)
		}
		return 0
	}
	status := 0
	for _, a := range args {
		j, err := s.jobs.find(a)
		if err != nil {
			fmt.Fprintf(hc.Stderr, "wait: %s: not a child of this shell\n", a)
			status = 127
			continue
		}
		status = s.waitFor(ctx, j)
		if s.traps.first() == 0 && ctx.Err() == nil {
			s.forget(j)
		}
	}
	return status
}

// waitAny is wait -n: the next job to end.
func (s *shell) waitAny(ctx context.Context) int {
	t := &s.jobs
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.list) > 0 {
		for i, j := range t.list {
			if st, p := j.state(); st == done {
				t.list = slices.Delete(t.list, i, i+1)
				return p.status
			}
		}
		if sig := s.traps.first(); sig != 0 {
			return 128 + int(sig)
		}
		if ctx.Err() != nil {
			return 128 + int(syscall.SIGINT)
		}
		t.cond.Wait()
	}
	return 127
}

// forget takes a job that was waited for out of the table.
func (s *shell) forget(j *job) {
	s.jobs.mu.Lock()
	defer s.jobs.mu.Unlock()
	s.jobs.list = slices.DeleteFunc(s.jobs.list, func(k *job) bool { return k == j })
}

func (s *shell) builtinJobs(hc interp.HandlerContext, args []string) int {
	s.jobs.mu.Lock()
	defer s.jobs.mu.Unlock()
	long, pids := slices.Contains(args, "-l"), slices.Contains(args, "-p")
	for _, j := range s.jobs.list {
		if pids {
			fmt.Fprintln(hc.Stdout, j.procs[0].pid)
			continue
		}
		fmt.Fprintln(hc.Stdout, s.jobs.line(j, long))
		st, _ := j.state()
		j.notified = st == done
	}
	s.jobs.list = slices.DeleteFunc(s.jobs.list, func(j *job) bool { return j.notified })
	return 0
}

// resume is fg and bg.
func (s *shell) resume(hc interp.HandlerContext, name string, args []string) int {
	if s.jobs.tty < 0 {
		fmt.Fprintf(hc.Stderr, "%s: no job control\n", name)
		return 1
	}
	j, err := s.jobs.find(strings.Join(args, " "))
	if err != nil {
		fmt.Fprintf(hc.Stderr, "%s: %s\n", name, err)
		return 1
	}
	t := &s.jobs
	t.mu.Lock()
	for _, p := range j.procs {
		if p.state == stopped {
			p.state = running
		}
	}
	j.background = name == "bg"
	if j.background {
		fmt.Fprintf(hc.Stdout, "[%d]+ %s &\n", j.id, j.text)
	} else {
		fmt.Fprintln(hc.Stdout, j.text)
		t.list = slices.DeleteFunc(t.list, func(k *job) bool { return k == j })
		j.id = 0
		unix.IoctlSetPointerInt(t.tty, unix.TIOCSPGRP, j.pgid)
	}
	t.mu.Unlock()
	syscall.Kill(-j.pgid, syscall.SIGCONT)
	if name == "bg" {
		return 0
	}
	status := 0
	for _, p := range j.procs {
		status = s.waitForeground(p)
		if p.stopped() {
			break
		}
	}
	return status
}

func (s *shell) builtinKill(hc interp.HandlerContext, args []string) int {
	sig, targets, list, err := box.KillArgs(args)
	if err == nil && list {
		var text string
		if text, err = box.KillNames(targets); err == nil {
			fmt.Fprint(hc.Stdout, text)
			return 0
		}
	}
	if err != nil {
		fmt.Fprintf(hc.Stderr, "kill: %s\n", err)
		return 1
	}
	if len(targets) == 0 {
		fmt.Fprintln(hc.Stderr, "usage: kill [-SIGNAL | -s SIGNAL] PID|%JOB... | -l")
		return 2
	}
	status := 0
	for _, a := range targets {
		if err := s.killOne(sig, a); err != nil {
			fmt.Fprintf(hc.Stderr, "kill: %s\n", err)
			status = 1
		}
	}
	return status
}

// killOne signals a process, or all of a job.
func (s *shell) killOne(sig syscall.Signal, target string) error {
	if !strings.HasPrefix(target, "%") {
		pid, err := strconv.Atoi(target)
		if err != nil {
			return fmt.Errorf("%s: not a process number or %%job", target)
		}
		if err := syscall.Kill(pid, sig); err != nil {
			return fmt.Errorf("%s: %w", target, err)
		}
		if pid == os.Getpid() || pid <= 0 {
			s.traps.await(sig)
		}
		return nil
	}
	j, err := s.jobs.find(target)
	if err != nil {
		return err
	}
	pid := j.procs[0].pid
	if j.pgid != 0 {
		pid = -j.pgid
	}
	if err := syscall.Kill(pid, sig); err != nil {
		return fmt.Errorf("%s: %w", target, err)
	}
	if st, _ := j.state(); st == stopped && sig != syscall.SIGSTOP && sig != syscall.SIGTSTP {
		syscall.Kill(pid, syscall.SIGCONT) // or it would never see the signal
	}
	return nil
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

// Commands that run another command, or wait: env, nohup, setsid, sleep, timeout, xargs, flock.

package box

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// become replaces this process by another command, found in PATH: execve(2).
// It returns only by ending the process: 127 if there is no such command, 126
// if it cannot be run (POSIX, env, "EXIT STATUS").
func (c *Call) become(argv, environ []string) {
	c.out.Flush()
	if os.Getenv("PATH") == "" {
		os.Setenv("PATH", "/bin:/usr/bin") // execvp(3): the default path
	}
	path, err := exec.LookPath(argv[0])
	if err == nil || errors.Is(err, exec.ErrDot) {
		err = syscall.Exec(path, argv, environ)
	}
	status := 126
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		status, err = 127, syscall.ENOENT
	}
	c.warn("%s: %s", argv[0], reason(err))
	c.quit(status)
}

// child runs a command and returns its exit status the way a shell counts it.
func (c *Call) child(argv []string, stdin io.Reader) int {
	c.out.Flush()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, os.Stdout, os.Stderr
	return c.childStatus(argv[0], cmd.Run())
}

func (c *Call) childStatus(name string, err error) int {
	var ee *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &ee):
		ws := ee.Sys().(syscall.WaitStatus)
		if ws.Signaled() {
			return 128 + int(ws.Signal())
		}
		return ws.ExitStatus()
	case errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist):
		c.fail(name, syscall.ENOENT)
		return 127
	}
	c.fail(name, err)
	return 126
}

// env: run a command in a changed environment, or print the environment.
func env(c *Call) {
	c.optsFirst("iu:C:0S:", "ignore-environment=i", "unset=u", "chdir=C", "null=0", "split-string=S")
	environ := os.Environ()
	if c.has('i') || len(c.args) > 0 && c.args[0] == "-" {
		environ = nil
	}
	c.args = append(strings.Fields(c.val('S')), c.args...)
	for len(c.args) > 0 && (strings.Contains(c.args[0], "=") || c.args[0] == "-") {
		if name, _, ok := strings.Cut(c.args[0], "="); ok {
			environ = append(without(environ, name), c.args[0])
		}
		c.args = c.args[1:]
	}
	for _, name := range c.flag['u'] {
		environ = without(environ, name)
	}
	if c.has('C') {
		if err := os.Chdir(c.val('C')); err != nil {
			c.die(125, "%s: %s", c.val('C'), reason(err))
		}
	}
	if len(c.args) == 0 {
		end := "\n"
		if c.has('0') {
			end = "\x00"
		}
		for _, kv := range environ {
			fmt.Fprint(c.out, kv, end)
		}
		return
	}
	os.Clearenv() // so that the command is looked for in the new PATH
	for _, kv := range environ {
		name, val, _ := strings.Cut(kv, "=")
		os.Setenv(name, val)
	}
	c.become(c.args, environ)
}

func without(environ []string, name string) []string {
	return slices.DeleteFunc(environ, func(kv string) bool { return strings.HasPrefix(kv, name+"=") })
}

// printenv: print variables of the environment.
func printenv(c *Call) {
	c.opts("0", "null=0")
	if len(c.args) == 0 {
		for _, kv := range os.Environ() {
			fmt.Fprintln(c.out, kv)
		}
	}
	for _, name := range c.args {
		if v, ok := os.LookupEnv(name); ok {
			fmt.Fprintln(c.out, v)
		} else {
			c.exit = 1
		}
	}
}

// nohup: run a command that survives the end of its terminal.
func nohup(c *Call) {
	c.optsFirst("")
	c.need(1, -1)
	if isTerminal(1) {
		f, err := os.OpenFile("nohup.out", os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			c.die(125, "nohup.out: %s", reason(err))
		}
		c.warn("output goes to nohup.out")
		unix.Dup3(int(f.Fd()), 1, 0)
	}
	if isTerminal(2) {
		unix.Dup3(1, 2, 0)
	}
	signal.Ignore(syscall.SIGHUP)
	c.become(c.args, os.Environ())
}

// setsid: run a command in a new session: setsid(2).
func setsid(c *Call) {
	c.optsFirst("cfw", "ctty=c", "fork=f", "wait=w")
	c.need(1, -1)
	if c.has('f') || unix.Getpgrp() == os.Getpid() { // a group leader cannot
		cmd := exec.Command(c.args[0], c.args[1:]...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: c.has('c')}
		err := cmd.Start()
		if err == nil && c.has('w') {
			err = cmd.Wait()
		}
		c.exit = c.childStatus(c.args[0], err)
		return
	}
	if _, err := syscall.Setsid(); err != nil {
		c.die(1, "%s", reason(err))
	}
	if c.has('c') {
		if err := unix.IoctlSetInt(0, unix.TIOCSCTTY, 1); err != nil {
			c.die(1, "controlling terminal: %s", reason(err))
		}
	}
	c.become(c.args, os.Environ())
}

// seconds parses a time: a decimal number with an optional unit s, m, h or d.
func (c *Call) seconds(s string) time.Duration {
	unit, num := time.Second, s
	if s != "" {
		if u, ok := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}[s[len(s)-1]]; ok {
			unit, num = u, s[:len(s)-1]
		}
	}
	if num == "inf" || num == "infinity" {
		return 1<<63 - 1
	}
	v, err := strconv.ParseFloat(num, 64)
	if err != nil || v < 0 {
		c.die(1, "%s: not a time", s)
	}
	if v*float64(unit) > 1<<62 {
		return 1<<63 - 1
	}
	return time.Duration(v * float64(unit))
}

// sleep: wait.
func sleep(c *Call) {
	c.opts("")
	c.need(1, -1)
	var sum time.Duration
	for _, a := range c.args {
		sum += c.seconds(a)
	}
	time.Sleep(sum)
}

// timeout: run a command, and signal it if it takes too long.
func timeout(c *Call) {
	c.optsFirst("s:k:pfv", "signal=s", "kill-after=k", "preserve-status=p", "foreground=f", "verbose=v")
	c.need(2, -1)
	limit, sig := c.seconds(c.args[0]), syscall.SIGTERM
	if c.has('s') {
		var ok bool
		if sig, ok = Signal(c.val('s')); !ok {
			c.die(125, "unknown signal %s", c.val('s'))
		}
	}
	cmd := exec.Command(c.args[1], c.args[2:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		c.exit = c.childStatus(c.args[1], err)
		return
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	late := time.After(limit)
	if limit == 0 {
		late = nil
	}
	var kill <-chan time.Time
	timedOut := false
	for {
		select {
		case err := <-done:
			c.exit = c.childStatus(c.args[1], err)
			if timedOut && !c.has('p') && c.exit != 128+int(syscall.SIGKILL) {
				c.exit = 124
			}
			return
		case <-late:
			timedOut = true
			cmd.Process.Signal(sig)
			if c.has('k') {
				kill = time.After(c.seconds(c.val('k')))
			}
		case <-kill:
			cmd.Process.Kill()
		}
	}
}

// xargs: run a command with arguments read from standard input.
func xargs(c *Call) {
	c.optsFirst("0n:I:rtL:d:P:x", "null=0", "max-args=n", "no-run-if-empty=r", "verbose=t", "replace=I", "max-lines=L", "delimiter=d")
	argv := c.args
	if len(argv) == 0 {
		argv = []string{"echo"}
	}
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		c.die(1, "%s", reason(err))
	}
	words, err := c.xargsWords(string(text))
	if err != nil {
		c.die(1, "%s", err)
	}
	run := func(argv []string) {
		if c.has('t') {
			fmt.Fprintln(os.Stderr, strings.Join(argv, " "))
		}
		switch st := c.child(argv, nil); {
		case st == 0:
		case st == 126 || st == 127:
			c.quit(st)
		case st == 255:
			c.die(124, "%s: exited with status 255", argv[0])
		case st > 128:
			c.die(125, "%s: killed by signal %d", argv[0], st-128)
		default:
			c.exit = 123
		}
	}
	if c.has('I') {
		for _, w := range words {
			one := make([]string, len(argv))
			for i, a := range argv {
				one[i] = strings.ReplaceAll(a, c.val('I'), w)
			}
			run(one)
		}
		return
	}
	per := 5000
	if c.has('n') {
		per = int(c.number(c.val('n')))
	} else if c.has('L') {
		per = int(c.number(c.val('L')))
	}
	if per < 1 {
		c.usage()
	}
	if len(words) == 0 && !c.has('r') {
		run(argv)
	}
	for chunk := range slices.Chunk(words, per) {
		run(append(slices.Clone(argv), chunk...))
	}
}

// xargsWords splits the input: at NULs (-0), at a delimiter (-d), at newlines
// (-I, -L), else at white space outside quotes and backslashes (POSIX, xargs).
func (c *Call) xargsWords(text string) ([]string, error) {
	sep := ""
	switch {
	case c.has('0'):
		sep = "\x00"
	case c.has('d'):
		sep = strings.NewReplacer(`\n`, "\n", `\t`, "\t", `\0`, "\x00").Replace(c.val('d'))
	case c.has('I') || c.has('L'):
		sep = "\n"
	}
	if sep != "" {
		words := strings.Split(strings.TrimSuffix(text, sep), sep)
		if text == "" {
			return nil, nil
		}
		if c.has('I') {
			words = slices.DeleteFunc(words, func(s string) bool { return strings.TrimSpace(s) == "" })
		}
		return words, nil
	}
	var words []string
	var cur strings.Builder
	in, quote := false, rune(0)
	escaped := false
	for _, r := range text {
		switch {
		case escaped:
			cur.WriteRune(r)
			escaped = false
		case quote != 0:
			if r == quote {
				quote = 0
			} else {
				cur.WriteRune(r)
			}
		case r == '\'' || r == '"':
			quote, in = r, true
		case r == '\\':
			escaped, in = true, true
		case r == ' ' || r == '\t' || r == '\n':
			if in {
				words = append(words, cur.String())
				cur.Reset()
				in = false
			}
		default:
			cur.WriteRune(r)
			in = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("unmatched %c", quote)
	}
	if in {
		words = append(words, cur.String())
	}
	return words, nil
}

// flock: run a command while holding a lock: flock(2).
func flock(c *Call) {
	c.optsFirst("sxnuw:c:", "shared=s", "exclusive=x", "nonblock=n", "unlock=u", "timeout=w", "command=c")
	c.need(1, -1)
	how := unix.LOCK_EX
	if c.has('s') {
		how = unix.LOCK_SH
	}
	if c.has('u') {
		how = unix.LOCK_UN
	}
	fd, err := strconv.Atoi(c.args[0])
	if err != nil || len(c.args) > 1 || c.has('c') {
		f, err := os.OpenFile(c.args[0], os.O_RDONLY|os.O_CREATE, 0o666)
		if err != nil {
			c.die(66, "%s: %s", c.args[0], reason(err))
		}
		fd = int(f.Fd())
	}
	deadline := time.Now().Add(1<<63 - 1)
	if c.has('w') {
		deadline = time.Now().Add(c.seconds(c.val('w')))
	}
	for {
		try := how
		if c.has('n') || c.has('w') {
			try |= unix.LOCK_NB
		}
		err = unix.Flock(fd, try)
		if err != unix.EINTR && (err != unix.EWOULDBLOCK || c.has('n') || time.Now().After(deadline)) {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil {
		c.quit(1)
	}
	argv := c.args[1:]
	if c.has('c') {
		argv = []string{"/bin/sh", "-c", c.val('c')}
	} else if len(argv) > 1 && argv[0] == "-c" {
		argv = append([]string{"/bin/sh"}, argv...)
	}
	if len(argv) > 0 {
		c.exit = c.child(argv, os.Stdin)
	}
}

// which: where in PATH a command is.
func which(c *Call) {
	c.opts("a", "all=a")
	c.need(1, -1)
	for _, name := range c.args {
		found := false
		dirs := filepath.SplitList(os.Getenv("PATH"))
		if strings.Contains(name, "/") {
			dirs = []string{""}
		}
		for _, dir := range dirs {
			path := filepath.Join(dir, name)
			if fi, err := os.Stat(path); err == nil && fi.Mode().IsRegular() && unix.Access(path, unix.X_OK) == nil {
				fmt.Fprintln(c.out, path)
				found = true
				if !c.has('a') {
					break
				}
			}
		}
		if !found {
			c.exit = 1
		}
	}
}

// yes: say it again and again.
func yes(c *Call) {
	s := "y"
	if len(c.args) > 0 {
		s = strings.Join(c.args, " ")
	}
	w := bufio.NewWriter(os.Stdout)
	for {
		if _, err := w.WriteString(s + "\n"); err != nil {
			c.exit = 1
			return
		}
	}
}

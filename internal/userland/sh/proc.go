// How the shell starts a program: pipes, process groups, exec, subshells.

package sh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"

	"tiffin/userland/box"
)

// exec is the interpreter's exec handler: it runs whatever is neither a
// function nor one of interp's builtins.
func (s *shell) exec(ctx context.Context, args []string) error {
	hc := interp.HandlerCtx(ctx)
	var err error
	if name, ok := strings.CutPrefix(args[0], marker); ok {
		err = s.builtin(ctx, hc, name, args[1:])
	} else {
		err = s.external(ctx, hc, args)
	}
	if s.isMain(hc) {
		if terr := s.traps.run(ctx, hc); terr != nil {
			return terr
		}
	}
	return err
}

// isMain tells whether a handler was called by the shell itself and not by a
// copy of it that runs a subshell. The interpreter does not say, but the
// context holds the pointer.
func (s *shell) isMain(hc interp.HandlerContext) bool {
	return reflect.ValueOf(hc).FieldByName("runner").Pointer() == reflect.ValueOf(s.r).Pointer()
}

// external runs a program and waits for it.
func (s *shell) external(ctx context.Context, hc interp.HandlerContext, args []string) error {
	path, err := s.find(hc, args[0])
	if err != nil {
		fmt.Fprintf(hc.Stderr, "%s: %s: %s\n", s.label(), args[0], err)
		return interp.ExitStatus(exitFor(err))
	}
	if s.lastCmd && s.isMain(hc) && ctx.Err() == nil {
		return s.replace(hc, path, args)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	p, finish, err := s.start(hc, path, args, execEnv(hc.Env), s.jobs.foreground())
	if err != nil {
		fmt.Fprintf(hc.Stderr, "%s: %s: %s\n", s.label(), args[0], errnoOf(err))
		return interp.ExitStatus(exitFor(errnoOf(err)))
	}
	if ctx.Err() != nil {
		s.jobs.signalForeground(syscall.SIGINT) // it came before the process was there
	}
	status := s.waitForeground(p)
	if !p.stopped() {
		finish()
	}
	if status != 0 {
		return interp.ExitStatus(status)
	}
	return nil
}

// notFound is ENOENT in the words that shells use for a missing command.
type notFound struct{}

func (notFound) Error() string        { return "not found" }
func (notFound) Is(target error) bool { return target == syscall.ENOENT }

// find finds the program for a command name. If PATH has none but it is one of
// the image's commands, this very binary is it: useful in a bare directory that
// somebody has just chrooted into.
func (s *shell) find(hc interp.HandlerContext, name string) (string, error) {
	if strings.Contains(name, "/") {
		path := name
		if name[0] != '/' {
			path = hc.Dir + "/" + name
		}
		fi, err := os.Stat(path)
		if err != nil {
			return "", errnoOf(err)
		}
		if fi.IsDir() {
			return "", syscall.EISDIR
		}
		return path, nil
	}
	denied := error(notFound{})
	for dir := range strings.SplitSeq(hc.Env.Get("PATH").String(), ":") {
		if dir == "" {
			dir = "."
		}
		path := dir + "/" + name
		if path[0] != '/' {
			path = hc.Dir + "/" + path
		}
		fi, err := os.Stat(path)
		if err != nil || fi.IsDir() {
			continue
		}
		if fi.Mode()&0o111 == 0 {
			denied = syscall.EACCES
			continue
		}
		return path, nil
	}
	if _, ok := box.Find(name); ok || name == "sh" {
		if self := selfPath(); self != "" {
			return self, nil
		}
	}
	return "", denied
}

// selfPath is a path to this binary, "" if there is none (no /proc).
func selfPath() string {
	if _, err := os.Stat("/proc/self/exe"); err == nil {
		return "/proc/self/exe"
	}
	for _, path := range []string{"/bin/sh", os.Args[0]} {
		if fi, err := os.Stat(path); err == nil && !fi.IsDir() && strings.Contains(path, "/") {
			return path
		}
	}
	return ""
}

// execEnv is the environment for a child: the exported variables.
func execEnv(env expand.Environ) []string {
	vars := map[string]string{}
	for name, v := range env.Each {
		if v.IsSet() && v.Exported && v.Kind == expand.String {
			vars[name] = v.Str
		} else {
			delete(vars, name)
		}
	}
	list := make([]string, 0, len(vars))
	for name, val := range vars {
		list = append(list, name+"="+val)
	}
	return list
}

// A proc is a child process.
type proc struct {
	pid int
	job *job

	// guarded by jobTable.mu
	state  procState
	status int // exit status as $? shows it, once it is done or stopped
	signal syscall.Signal
	core   bool
}

type procState uint8

const (
	running procState = iota
	stopped
	done
)

// start starts a program in a job. finish waits until its output has been
// copied, if that needs copying.
func (s *shell) start(hc interp.HandlerContext, path string, args, env []string, j *job, extra ...*os.File) (p *proc, finish func(), err error) {
	w := &wiring{}
	defer w.closeChildEnds()
	attr := &syscall.ProcAttr{Dir: hc.Dir, Env: env}
	if hc.Dir == s.cwd {
		attr.Dir = "" // it may have been renamed, or be out of reach by name
	}
	files := []uintptr{w.input(hc.Stdin), w.output(hc.Stdout), w.output(hc.Stderr)}
	for _, f := range extra {
		files = append(files, f.Fd())
	}
	if w.err != nil {
		return nil, nil, w.err
	}
	attr.Files = files
	p, err = s.jobs.fork(path, args, attr, j)
	if err == syscall.ENOEXEC { // no "#!": a shell script (POSIX, 2.9.1.6)
		if self := selfPath(); self != "" {
			p, err = s.jobs.fork(self, append([]string{"sh", path}, args[1:]...), attr, j)
		}
	}
	if err != nil {
		w.closeChildEnds()
		w.wg.Wait()
		return nil, nil, err
	}
	return p, w.wg.Wait, nil
}

// wiring connects a child's standard streams. Most are files; a command
// substitution's output is a buffer, which needs a pipe and a copier.
type wiring struct {
	ends []*os.File // the child's ends of pipes, and other temporary files
	wg   sync.WaitGroup
	err  error
}

func (w *wiring) closeChildEnds() {
	for _, f := range w.ends {
		f.Close()
	}
	w.ends = nil
}

func (w *wiring) null(flag int) uintptr {
	f, err := os.OpenFile(os.DevNull, flag, 0)
	if err != nil {
		w.err = err
		return 0
	}
	w.ends = append(w.ends, f)
	return f.Fd()
}

func (w *wiring) input(r io.Reader) uintptr {
	if f, ok := r.(*os.File); ok && f != nil {
		return f.Fd()
	}
	return w.null(os.O_RDONLY)
}

// copyLock keeps two children of one command substitution from writing into
// its buffer at once.
var copyLock sync.Mutex

type lockedWriter struct{ w io.Writer }

func (l lockedWriter) Write(b []byte) (int, error) {
	copyLock.Lock()
	defer copyLock.Unlock()
	return l.w.Write(b)
}

func (w *wiring) output(out io.Writer) uintptr {
	if f, ok := out.(*os.File); ok && f != nil {
		return f.Fd()
	}
	if out == io.Discard || out == nil {
		return w.null(os.O_WRONLY)
	}
	pr, pw, err := os.Pipe()
	if err != nil {
		w.err = err
		return 0
	}
	w.ends = append(w.ends, pw)
	w.wg.Go(func() {
		io.Copy(lockedWriter{out}, pr)
		pr.Close()
	})
	return pw.Fd()
}

// replace makes this process the program: execve(2).
func (s *shell) replace(hc interp.HandlerContext, path string, args []string) error {
	if f, ok := hc.Stdin.(*os.File); ok && f != nil && f.Name() == "|0" {
		// The pipe of a here-document is fed by this process, which is about to vanish.
		text, _ := io.ReadAll(f)
		if mem, err := memFile(string(text)); err == nil {
			hc.Stdin = mem
		}
	}
	w := &wiring{}
	fds := []uintptr{w.input(hc.Stdin), w.output(hc.Stdout), w.output(hc.Stderr)}
	err := w.err
	if err == nil {
		err = moveFDs(fds)
	}
	if err == nil && hc.Dir != s.cwd {
		err = os.Chdir(hc.Dir)
	}
	if err == nil {
		s.traps.beforeExec()
		s.jobs.giveBackTerminal()
		env := execEnv(hc.Env)
		err = syscall.Exec(path, args, env)
		if self := selfPath(); err == syscall.ENOEXEC && self != "" {
			err = syscall.Exec(self, append([]string{"sh", path}, args[1:]...), env)
		}
	}
	fmt.Fprintf(os.Stderr, "%s: %s: %s\n", s.label(), args[0], errnoOf(err))
	return interp.ExitStatus(exitFor(errnoOf(err)))
}

// moveFDs makes fds the descriptors 0, 1 and 2. They are first copied out of
// the way, since one may be in another's place.
func moveFDs(fds []uintptr) error {
	high := make([]int, len(fds))
	for i, fd := range fds {
		var err error
		if high[i], err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 10); err != nil {
			return err
		}
	}
	for i, fd := range high {
		if err := unix.Dup3(fd, i, 0); err != nil {
			return err
		}
	}
	return nil
}

// open is the interpreter's open handler: redirections and sourced files.
func (s *shell) open(ctx context.Context, path string, flag int, perm os.FileMode) (io.ReadWriteCloser, error) {
	hc := interp.HandlerCtx(ctx)
	full := path
	if path != "" && path[0] != '/' {
		full = hc.Dir + "/" + path
	}
	if s.sourcing {
		s.sourcing = false
		text, err := os.ReadFile(full)
		if err != nil {
			return nil, &os.PathError{Op: s.label() + ":", Path: path, Err: errnoOf(err)}
		}
		return scriptFile{strings.NewReader(rewriteText(string(text)))}, nil
	}
	if perm != 0 {
		perm = 0o666 // the umask is to decide, not the interpreter's 0644
	}
	f, err := os.OpenFile(full, flag, perm)
	if err != nil {
		return nil, &os.PathError{Op: s.label() + ":", Path: path, Err: errnoOf(err)}
	}
	return f, nil
}

// scriptFile is a sourced file after rewriting.
type scriptFile struct{ *strings.Reader }

func (scriptFile) Write([]byte) (int, error) { return 0, errors.New("read-only") }
func (scriptFile) Close() error              { return nil }

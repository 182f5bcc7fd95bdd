// The sandbox, and a run of the program in it: how it is started, found in /proc, and ended.

package mini

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/tutorial/sandbox"
)

// Bench is a place to try a program in. Close removes it.
type Bench struct {
	Tiffin string // the program that makes the sandbox
	Dir    string // an empty directory in which programs can be executed; both sides see it
	Root   string // a root file system, of which the program gets a copy
	Strict bool   // never run the program without a sandbox

	ctx   context.Context
	files *os.Root // Dir: a link that the program has put there leads nowhere else
	name  string   // of the sandbox; "" if there is none
	ends  string   // a process in the namespaces in which the program begins: its number
	trial int      // files of runs are numbered
}

// Where things are in Dir.
const (
	program = "mini"
	root    = "root"
)

// marker is a variable by which the processes of one run are found.
const marker = "MINI_RUN"

// patience is how long a program may take for what takes some milliseconds.
const patience = 10 * time.Second

// Open makes the sandbox. If this machine has none, the program is run as it is, as the caller, but
// for Strict. Close is needed in any case.
func (b *Bench) Open(ctx context.Context) error {
	b.ctx, b.ends = ctx, strconv.Itoa(os.Getpid())
	if err := os.CopyFS(filepath.Join(b.Dir, root), os.DirFS(b.Root)); err != nil {
		return err
	}
	var err error
	if b.files, err = os.OpenRoot(b.Dir); err != nil {
		return err
	}
	binary, err := filepath.EvalSymlinks(b.Tiffin)
	if err != nil {
		return err
	}
	name := "mini-" + strings.ToLower(rand.Text()[:12])
	args := append(sandbox.Args(name, binary), "--security-opt", "no-new-privileges=false",
		"-v", b.Dir+":"+b.Dir, "tiffin/base", "sleep", "100000")
	if out, err := exec.CommandContext(ctx, binary, args...).CombinedOutput(); err != nil {
		if b.Strict {
			return fmt.Errorf("make a sandbox: %w: %s", err, bytes.TrimSpace(out))
		}
		return ctx.Err()
	}
	b.name = name
	out, err := exec.CommandContext(ctx, binary, "inspect", "--type", "container", "-f", "{{.State.Pid}}", name).Output()
	if err != nil {
		return fmt.Errorf("look for the sandbox: %w", err)
	}
	b.ends = strings.TrimSpace(string(out))
	return nil
}

// Close removes the sandbox, with all that runs in it.
func (b *Bench) Close() error {
	if b.files != nil {
		_ = b.files.Close() // nothing is written by it
	}
	if b.name == "" {
		return nil
	}
	name := b.name
	b.name = ""
	return exec.Command(b.Tiffin, "rm", "-f", name).Run()
}

// Put makes a file the program to be tried, with its permissions.
func (b *Bench) Put(file string) error {
	if err := b.files.RemoveAll(program); err != nil {
		return err
	}
	st, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil // the first stage says so
	case err != nil:
		return err
	case !st.Mode().IsRegular():
		return nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return b.files.WriteFile(program, text, st.Mode().Perm())
}

// executable tells whether there is a program.
func (b *Bench) executable() bool {
	st, err := b.files.Stat(program)
	return err == nil && st.Mode()&0o100 != 0
}

// run is one run of the program.
type run struct {
	b     *Bench
	token string
	cmd   *exec.Cmd
	said  *os.File
	done  chan struct{} // closed when the program has ended
	known []int         // processes to end, besides those that carry the token
}

// start runs a command line in the sandbox.
func (b *Bench) start(args ...string) (*run, error) {
	b.trial++
	said, err := b.files.Create(fmt.Sprintf("said-%d", b.trial))
	if err != nil {
		return nil, err
	}
	r := &run{b: b, token: rand.Text(), said: said, done: make(chan struct{})}
	if b.name != "" {
		r.cmd = exec.CommandContext(b.ctx, b.Tiffin, append([]string{"exec", "-e", sandbox.Path, "-e", marker + "=" + r.token, b.name}, args...)...)
	} else {
		r.cmd = exec.CommandContext(b.ctx, args[0], args[1:]...)
		r.cmd.Env = append(os.Environ(), marker+"="+r.token)
	}
	r.cmd.Stdout, r.cmd.Stderr = said, said // a file: nobody waits for what keeps it open
	if err := r.cmd.Start(); err != nil {
		close(r.done)
		said.Close()
		return nil, err
	}
	go func() {
		_ = r.cmd.Wait() // its outcome is in ProcessState
		close(r.done)
	}()
	return r, nil
}

// mini are the words that start the program.
func (b *Bench) mini(args ...string) []string {
	return append([]string{filepath.Join(b.Dir, program)}, args...)
}

// run starts `mini run DIR command…`.
func (b *Bench) run(command ...string) (*run, error) {
	return b.start(b.mini(append([]string{"run", filepath.Join(b.Dir, root)}, command...)...)...)
}

// await waits until there is a process with exactly this command line, and returns its number. It
// is 0 if the program ends before, or takes too long.
func (r *run) await(command ...string) int {
	want := strings.Join(command, "\x00") + "\x00"
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		ended := r.ended()
		for pid := range processes() {
			if b, err := os.ReadFile(procFile(pid, "cmdline")); err == nil && string(b) == want {
				r.known = append(r.known, pid)
				return pid
			}
		}
		if ended {
			break
		}
	}
	return 0
}

func (r *run) ended() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// wait waits for the end of the program and returns its status as a shell does: sh(1), "Exit
// Status". ok tells that it has ended.
func (r *run) wait() (status int, ok bool) {
	select {
	case <-r.done:
	case <-time.After(patience):
		return 0, false
	}
	if ws := r.cmd.ProcessState.Sys().(unixStatus); ws.Signaled() {
		return 128 + int(ws.Signal()), true
	}
	return r.cmd.ProcessState.ExitCode(), true
}

// first is the process that the program began as: its parent does not carry the token.
func (r *run) first() int {
	all := r.marked()
	for pid := range all {
		if !all[view(pid).parent()] {
			return pid
		}
	}
	return 0
}

// marked are the processes that carry the token in their environment.
func (r *run) marked() map[int]bool {
	all := map[int]bool{}
	for pid := range processes() {
		if env, err := os.ReadFile(procFile(pid, "environ")); err == nil && bytes.Contains(env, []byte(marker+"="+r.token)) {
			all[pid] = true
		}
	}
	return all
}

// output is what was printed, the end of it.
func (r *run) output() string {
	st, err := r.said.Stat()
	if err != nil {
		return ""
	}
	b, _ := io.ReadAll(io.NewSectionReader(r.said, max(0, st.Size()-300), 300))
	return strings.TrimSpace(string(b))
}

// end ends what the run has started, as far as it can be found.
func (r *run) end() {
	for pid := range r.marked() {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	for _, pid := range r.known {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	if r.b.name == "" {
		_ = r.cmd.Process.Kill()
	}
	<-r.done
	r.said.Close()
}

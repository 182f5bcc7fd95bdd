// The builtins of job control: wait, jobs, fg, bg, kill.

package sh

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
	"mvdan.cc/sh/v3/interp"

	"tiffin/userland/box"
	sigs "tiffin/userland/sig"
)

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

// sendSignal is kill(2). "If the value of pid causes sig to be generated for
// the sending process, […] either sig or at least one pending unblocked signal
// shall be delivered to the sending thread before kill() returns" (POSIX, kill,
// "DESCRIPTION"); of a process with several threads the kernel may choose
// another, and this one would go on with the script meanwhile. So a signal to
// the process itself is sent to this very thread: tgkill(2).
func sendSignal(pid int, sig syscall.Signal) error {
	if pid != os.Getpid() {
		return syscall.Kill(pid, sig)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return unix.Tgkill(pid, unix.Gettid(), sig)
}

// killOne signals a process, or all of a job.
func (s *shell) killOne(sig syscall.Signal, target string) error {
	if !strings.HasPrefix(target, "%") {
		pid, err := strconv.Atoi(target)
		if err != nil {
			return fmt.Errorf("%s: not a process number or %%job", target)
		}
		if pid == os.Getpid() && sig == syscall.SIGPIPE && s.traps.endsBy(sig) {
			sigs.Default(sig) // caught for the sake of print alone
		}
		if err := sendSignal(pid, sig); err != nil {
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

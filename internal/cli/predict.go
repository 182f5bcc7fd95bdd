// The flag --predict of run: before a step is told, a question about it. The answer is not looked
// up but seen, by the command itself, in the container as far as it has been built.

package cli

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"tiffin/internal/container/client"
	"tiffin/ns"
)

// question is about a step: what a command prints after it, and why that is so.
type question struct{ step, command, why string }

// ofStatus is a command that prints a field of proc(5), /proc/pid/status.
func ofStatus(field string) string {
	return "sed -n 's/^" + field + ":[^0-9a-f]*//p' /proc/self/status"
}

var questions = []question{
	{"user-namespace", "id -u", "Your id outside is mapped to one inside, 0 unless --userns says otherwise. Without a map it would be 65534, nobody."},
	{"namespaces", "hostname", "A new uts namespace begins with a copy of the name. A step further down gives it another."},
	{"hostname", "hostname", "The name is set in the new uts namespace alone: --hostname, or the container's id."},
	{"pivot", "test -e $ROOT && echo yes || echo no", "$ROOT was the path of the new root in the machine's tree. That tree is not mounted any more, so no path leads there."},
	{"seccomp", ofStatus("Seccomp"), "0 is no filter, 1 the strict mode of four calls, 2 a filter. It stays for this process and all that it starts."},
	{"user", "id -u", "The user that the image or --user asks for, by the image's own /etc/passwd: root unless they say otherwise."},
	{"capabilities", ofStatus("CapEff"), "A bit for each capability. Root keeps fourteen of them; another user has none."},
	{"no-new-privs", ofStatus("NoNewPrivs"), "Once it is 1 it stays so: no setuid program gives this process more than it has."},
}

// told tells of a step, and before that asks what --predict has to ask about it.
func (s *stepper) told(spec *ns.Spec, r ns.Report, p *client.Pause) error {
	i := slices.IndexFunc(questions, func(q question) bool { return q.step == r.Step })
	if s.only != "" {
		s.next = r.N - 1 // those before are not told
	}
	if !s.predict || s.running || i < 0 || r.Skipped != "" {
		s.step(spec, r)
		return nil
	}
	q := questions[i]
	printWrapped(stderr, "", fmt.Sprintf("%d %s: %s.", r.N, r.Step, s.steps[r.N-1].Why))
	fmt.Fprintf(stderr, "\nWhat will `%s` print after this? > ", q.command)
	guess := s.ask()
	if guess == "end" {
		return s.givenUp(r)
	}
	fmt.Fprintln(stderr)
	s.step(spec, r)
	var truth string
	err := s.inShell(spec, r, p, func(master, over *os.File) (err error) {
		truth, err = printed(master, over)
		return err
	}, "-c", q.command)
	if err != nil { // a user of the image's may not be allowed to start our shell
		printError(stderr, fmt.Errorf("see what `%s` prints: %w", q.command, err))
		return nil
	}
	verdict := fmt.Sprintf("It prints %s, not %s.", truth, guess)
	switch guess {
	case truth:
		verdict = "Right, it prints " + truth + "."
	case "":
		verdict = "It prints " + truth + "."
	}
	printWrapped(stderr, "", verdict+" "+q.why)
	fmt.Fprintln(stderr)
	return nil
}

// printed is what comes from a terminal until over comes to its end.
func printed(master, over *os.File) (string, error) {
	fds := []unix.PollFd{{Fd: int32(master.Fd()), Events: unix.POLLIN}, {Fd: int32(over.Fd()), Events: unix.POLLIN}}
	var text strings.Builder
	for b := make([]byte, 4096); ; {
		switch _, err := unix.Poll(fds, -1); {
		case err == unix.EINTR:
		case err != nil:
			return "", err
		case fds[0].Revents&unix.POLLIN != 0: // all of it, before the end is looked at
			n, err := master.Read(b)
			if err != nil && err != io.EOF {
				return "", err
			}
			text.Write(b[:n])
		case fds[1].Revents != 0:
			return strings.TrimSpace(text.String()), nil
		}
	}
}

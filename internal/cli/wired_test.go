package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tiffin/internal/test/must"
)

// What the tests of networks share: a person with a store of their own, and this program again, for
// containers: as visitor, and as member.

// wired is such a person.
type wired struct {
	*testing.T
	person
	store    string
	programs string // directory of the programs
}

// needTun skips a test on a machine without a device for networks.
func needTun(t *testing.T) {
	t.Helper()
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		must.Skip(t, "tun", "there is no network of one's own: %v", err)
	}
	f.Close()
}

// onNetworks tests for each person who can have networks.
func onNetworks(t *testing.T, test func(w *wired)) {
	needTun(t)
	for _, p := range people(t) {
		t.Run(p.name, func(t *testing.T) {
			need(t, p)
			store := p.home(t)
			w := &wired{t, p, store, filepath.Join(filepath.Dir(store), "programs")}
			if err := os.Mkdir(w.programs, 0o755); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"visitor", "member"} {
				copyFile(t, "/proc/self/exe", filepath.Join(w.programs, name))
			}
			test(w)
		})
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// tiffin runs it, and returns what it prints.
func (w *wired) tiffin(args ...string) string { return w.as(w.T, w.store, "", binary, args...) }

// sh runs a script, in which $TIFFIN is the program, and returns what it prints, errors too.
func (w *wired) sh(script string) string {
	return w.as(w.T, w.store, "", "sh", "-c", `exec 2>&1; TIFFIN="$0"; `+script, binary)
}

// run runs a command in a container of a network that has the programs in /programs.
func (w *wired) run(network string, args ...string) string {
	return w.tiffin(append([]string{"run", "-v", w.programs + ":/programs:ro", "--network", network}, args...)...)
}

// box starts a container with a name that is removed with the test.
func (w *wired) box(network, name string, args ...string) {
	w.run(network, append([]string{"-d", "--name", name}, args...)...)
	w.Cleanup(func() { w.tiffin("rm", "-f", name) })
}

// server is a box that greets whoever connects.
func (w *wired) server(network, name string, flags ...string) {
	w.box(network, name, append(flags, "tiffin/base", "/programs/member", "serve")...)
}

// ask greets from a running container, and returns what is answered, for each name or address.
func (w *wired) ask(from string, whom ...string) string {
	return w.tiffin(append([]string{"exec", from, "/programs/member"}, whom...)...)
}

// until waits for something to be so.
func (w *wired) until(what string, is func() bool) {
	w.Helper()
	for end := time.Now().Add(2 * time.Minute); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			w.Fatalf("not in time: %s", what)
		}
	}
}

// gone waits for the end of a process.
func (w *wired) gone(pid int) {
	w.Helper()
	w.until("the end of a process", func() bool { return syscall.Kill(pid, 0) != nil })
}

// supervisor is the number of the process above a container.
func (w *wired) supervisor(name string) string {
	return strings.TrimSpace(w.tiffin("inspect", "-f", "{{.State.SupervisorPid}}", name))
}

// short is the short id of a container.
func (w *wired) short(name string) string {
	return w.tiffin("inspect", "-f", "{{.Id}}", name)[:12]
}

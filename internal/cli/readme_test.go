package cli_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// changing matches what differs from one run of the session to the next:
// digests, ages, sizes and numbers of processes, and the spaces that align them.
var changing = regexp.MustCompile(`\b[0-9a-f]{12,64}\b|(?:seen +|process )\d+\n|Less than a second ago|\d+ seconds? ago|[0-9.]+[kM]?B\b| +`)

// TestPagesPrintWhatTheySay runs the console blocks of the README and of the book, each in a home
// of its own, line by line, each in a shell of its own as the page is read, and compares all that
// is printed.
func TestPagesPrintWhatTheySay(t *testing.T) {
	pages, err := filepath.Glob("../../tutorial/book/*.md")
	if err != nil || len(pages) < 8 {
		t.Fatalf("pages of the book: %v, %v", pages, err)
	}
	for _, page := range append(pages, "../../README.md") {
		for _, session := range sessions(t, page) {
			for _, p := range people(t) {
				t.Run(filepath.Base(page)+"/"+p.name, func(t *testing.T) {
					need(t, p)
					p.replay(t, session)
				})
			}
		}
	}
}

// replay runs a session as the person, in a new home.
func (p person) replay(t *testing.T, session []exchange) {
	home, err := os.MkdirTemp("", "tiffin-readme-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(home)
	if err := os.Chown(home, p.uid, p.gid); err != nil {
		t.Fatal(err)
	}
	store := filepath.Join(home, "store")
	defer checkLeaks(t, store)
	dir := home
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String()) // in the place of one that somebody else may have
	l.Close()
	for _, s := range session {
		if there, ok := strings.CutPrefix(s.command, "cd ~/"); ok {
			dir = filepath.Join(home, there)
			continue
		}
		cmd := exec.Command("sh", "-c", strings.ReplaceAll(s.command, "8080", port))
		cmd.Dir, cmd.SysProcAttr = dir, p.attr()
		cmd.Env = append(os.Environ(), "HOME="+home, "TIFFIN_ROOT="+store, "TIFFIN_LABS=",
			"PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		if got, want := same(string(out)), same(s.output); got != want || err != nil {
			t.Fatalf("$ %s\nprints (%v)\n%s\nthe page says\n%s", s.command, err, out, s.output)
		}
	}
}

// same replaces what may change.
func same(s string) string { return changing.ReplaceAllString(s, " * ") }

type exchange struct{ command, output string }

// sessions reads the console blocks of a page: each "$ COMMAND" and what follows it.
func sessions(t *testing.T, page string) (all [][]exchange) {
	t.Helper()
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range strings.Split(string(b), "```console\n")[1:] {
		block, _, _ := strings.Cut(part, "```\n")
		var session []exchange
		for line := range strings.Lines(block) {
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				session = append(session, exchange{command: strings.TrimSpace(command)})
			} else if len(session) > 0 {
				session[len(session)-1].output += line
			}
		}
		if len(session) < 4 {
			t.Fatalf("a session of %s has %d commands", page, len(session))
		}
		all = append(all, session)
	}
	return all
}

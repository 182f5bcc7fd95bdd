package cli_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// changing matches what differs from one run of the session to the next:
// digests, ages and sizes, and the spaces that align them.
var changing = regexp.MustCompile(`\b[0-9a-f]{12,64}\b|Less than a second ago|\d+ seconds? ago|[0-9.]+[kM]?B\b| +`)

// TestReadmeSessionPrintsWhatTheReadmeSays runs the README's console block line
// by line, each in a shell of its own as the page is read, and compares all
// that is printed.
func TestReadmeSessionPrintsWhatTheReadmeSays(t *testing.T) {
	for _, p := range people(t) {
		t.Run(p.name, func(t *testing.T) {
			need(t, p)
			dir, err := os.MkdirTemp("", "tiffin-readme-")
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(dir)
			if err := os.Chown(dir, p.uid, p.gid); err != nil {
				t.Fatal(err)
			}
			for _, s := range readmeSession(t) {
				cmd := exec.Command("sh", "-c", s.command)
				cmd.Dir, cmd.SysProcAttr = dir, p.attr()
				cmd.Env = append(os.Environ(), "HOME="+dir, "TIFFIN_ROOT="+filepath.Join(dir, "store"),
					"PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"))
				out, err := cmd.CombinedOutput()
				if got, want := same(string(out)), same(s.output); got != want || err != nil {
					t.Fatalf("$ %s\nprints (%v)\n%s\nthe README says\n%s", s.command, err, out, s.output)
				}
			}
		})
	}
}

// same replaces what may change.
func same(s string) string { return changing.ReplaceAllString(s, " * ") }

type exchange struct{ command, output string }

// readmeSession reads the console block: each "$ COMMAND" and what follows it.
func readmeSession(t *testing.T) []exchange {
	t.Helper()
	b, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, ok := strings.Cut(string(b), "```console\n")
	block, _, ok2 := strings.Cut(block, "```")
	if !ok || !ok2 {
		t.Fatal("README.md has no console block")
	}
	var all []exchange
	for line := range strings.Lines(block) {
		if command, ok := strings.CutPrefix(line, "$ "); ok {
			all = append(all, exchange{command: strings.TrimSpace(command)})
		} else if len(all) > 0 {
			all[len(all)-1].output += line
		}
	}
	if len(all) < 8 {
		t.Fatalf("the README's session has %d commands", len(all))
	}
	return all
}

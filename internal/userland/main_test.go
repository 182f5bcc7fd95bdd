package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// The test binary plays the image's binary: under a command's name it is that
// command.
func TestMain(m *testing.M) {
	if exit, ok := run(os.Args); ok {
		os.Exit(exit)
	}
	os.Exit(m.Run())
}

// binDir makes a directory with a link for every command.
func binDir(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range Names() {
		if err := os.Symlink(self, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// A result is what a command left.
type result struct {
	out, err string
	exit     int
}

// shell runs a script with our sh and our commands in a fresh directory.
func shell(t *testing.T, bin, dir, script string, args ...string) result {
	t.Helper()
	return command(t, bin, dir, "", filepath.Join(bin, "sh"), append([]string{"-c", script, "sh"}, args...)...)
}

func command(t *testing.T, bin, dir, stdin, path string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.WaitDelay = time.Minute // its children may have the pipes
	cmd.Args[0] = filepath.Base(path)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + bin, "HOME=" + dir, "TZ=UTC", "LC_ALL=C"}
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var ee *exec.ExitError
	if err != nil && !errors.As(err, &ee) {
		t.Fatal(err)
	}
	return result{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// lacks skips a test for the reason given. If TIFFIN_MUST names the capability, the machine must
// have it, and the test fails: what .ci/run relies on is not to be skipped in silence.
func lacks(t *testing.T, capability, format string, args ...any) {
	t.Helper()
	if slices.Contains(strings.Split(os.Getenv("TIFFIN_MUST"), ","), capability) {
		t.Fatalf("TIFFIN_MUST has "+capability+", but "+format, args...)
	}
	t.Skipf(format, args...)
}

// tool skips a test that compares with a program which is not installed, or fails it if TIFFIN_MUST
// is set.
func tool(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err == nil {
		return
	}
	if os.Getenv("TIFFIN_MUST") != "" {
		t.Fatalf("%s is not installed; .ci/run installs it", name)
	}
	t.Skipf("%s is not installed", name)
}

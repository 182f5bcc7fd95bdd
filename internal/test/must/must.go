// Package must decides what a test does on a machine that lacks what it needs.
//
// A test that skips counts as passed. So whoever runs the tests to rely on them, as .ci/run does,
// says in the environment what the machine must have, and what is missing is a failure:
//
//	TIFFIN_MUST=userns,fuse,tun,mqueue,registry,subids,browser go test ./...
//
// Without it, the tests skip what this machine cannot show.
package must

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const variable = "TIFFIN_MUST"

// Have tells whether the machine must have what TIFFIN_MUST calls capability: "userns", "fuse",
// "tun", "mqueue", "registry", "subids", "cgroup", "browser". "" stands for whatever can be
// installed, and must be there if TIFFIN_MUST is set.
func Have(capability string) bool {
	list := os.Getenv(variable)
	if capability == "" {
		return list != ""
	}
	return slices.Contains(strings.Split(list, ","), capability)
}

// Skip skips the test for the reason given, or fails it if the machine must have the capability.
func Skip(t testing.TB, capability, format string, args ...any) {
	t.Helper()
	if Have(capability) {
		t.Fatalf(variable+"="+os.Getenv(variable)+", but "+format, args...)
	}
	t.Skipf(format, args...)
}

// Tool returns the path of a program. Without it the test is skipped, or fails if TIFFIN_MUST is
// set. Where the tests are to be quick (go test -short) they compare with no program.
func Tool(t testing.TB, name string) string {
	t.Helper()
	if testing.Short() {
		t.Skipf("this compares with %s, and the tests are to be quick", name)
	}
	path, err := exec.LookPath(name)
	if err != nil {
		Skip(t, "", "%s is not installed; .ci/run installs it: %v", name, err)
	}
	return path
}

// Package reexec lets a test run parts of itself in other processes: ones that are killed, that
// belong to other users, or that live in namespaces of their own.
package reexec

import (
	"fmt"
	"os"
	"os/exec"
)

// Parts are what a test binary can be besides its tests, by its first argument. Each gets the
// arguments that follow, and returns the exit status.
type Parts map[string]func(args []string) int

// Main is the body of TestMain: it becomes the part that was asked for, or returns what m does.
func Main(m interface{ Run() int }, parts Parts) int {
	if len(os.Args) > 1 {
		if part, ok := parts[os.Args[1]]; ok {
			return part(os.Args[2:])
		}
	}
	return m.Run()
}

// Command prepares to run a part of this test binary.
func Command(part string, args ...string) *exec.Cmd {
	return exec.Command("/proc/self/exe", append([]string{part}, args...)...)
}

// Never makes a part of a function that does not return.
func Never(f func()) func([]string) int {
	return func([]string) int {
		f()
		return 0
	}
}

// Fails makes a part of a function that may fail; its error is printed.
func Fails(f func(args []string) error) func([]string) int {
	return func(args []string) int {
		if err := f(args); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	}
}

package ns

import (
	"os"
	"testing"
)

// BenchmarkRun starts a whole container over a bind-mounted root and waits for its command, which
// ends at once: client, supervisor, init, and the command.
func BenchmarkRun(b *testing.B) {
	s := newSandbox(b, person{name: "me", uid: uint32(os.Getuid()), gid: uint32(os.Getgid())})
	for b.Loop() {
		s.ok(s.job("true"))
	}
}

// BenchmarkBinary is what starting this binary costs: BenchmarkRun has four of it.
func BenchmarkBinary(b *testing.B) {
	s := newSandbox(b, person{name: "me"})
	for b.Loop() {
		if err := s.plain("true"); err != nil {
			b.Fatal(err)
		}
	}
}

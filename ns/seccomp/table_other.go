//go:build !amd64 && !arm64

// Architectures without a table: no filter can be made.

package seccomp

var (
	archs []arch
	rules []rule
)

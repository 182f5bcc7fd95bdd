//go:build !amd64 && !arm64

package seccomp

var (
	archs []arch
	rules []rule
)

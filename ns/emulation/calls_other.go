//go:build !amd64 && !arm64

// Architectures for which the calls are not written down.

package emulation

var archs []arch

package oci

import (
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// A plain open(2) of a fifo waits until somebody writes to it.
func TestAFifoThatNobodyWritesToIsNotWaitedFor(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := ReadFile(fifo, MaxJSON); len(b) > 0 || err != nil {
		t.Errorf("%q, %v", b, err)
	}
}

package fs

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestADirectoryIsReadThroughANewDescriptor: sshfs shows nothing in one that was read before.
// O_PATH stands for it: a descriptor that cannot be read at all.
func TestADirectoryIsReadThroughANewDescriptor(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "name"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for range 2 {
		n := 0
		if err := readNames(fd, func(string, byte, uint64) error { n++; return nil }); err != nil || n != 1 {
			t.Errorf("%d names, %v", n, err)
		}
	}
}

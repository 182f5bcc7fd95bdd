package treecopy

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestRemoveIsAsDeepAsATree removes one with more levels than there are descriptors, and with paths
// longer than PATH_MAX; what links lead to stays.
func TestRemoveIsAsDeepAsATree(t *testing.T) {
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 100, Max: was.Max}); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &was)
	top := filepath.Join(t.TempDir(), "top")
	kept := filepath.Join(filepath.Dir(top), "kept")
	if err := os.MkdirAll(kept, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(top, 0o755); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(top, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	for level := 0; err == nil && level < 5_000; level++ {
		err = unix.Mkdirat(fd, "d", 0o755)
		if level%1000 == 0 && err == nil {
			err = unix.Symlinkat(kept, fd, "link")
			unix.Mkdirat(fd, ".remove-1", 0o755)
			unix.Mknodat(fd, ".remove-1/file", unix.S_IFREG|0o644, 0)
		}
		next, err2 := unix.Openat(fd, "d", unix.O_RDONLY|unix.O_DIRECTORY, 0)
		unix.Close(fd)
		if fd = next; err == nil {
			err = err2
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	if err := Remove(top); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(top); !os.IsNotExist(err) {
		t.Errorf("it is still there: %v", err)
	}
	if _, err := os.Stat(kept); err != nil {
		t.Errorf("what a link led to: %v", err)
	}
	if err := Remove(top); err != nil {
		t.Errorf("of nothing: %v", err)
	}
}

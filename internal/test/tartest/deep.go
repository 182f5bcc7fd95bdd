// A tree that is deeper than paths and descriptors go.

package tartest

import (
	"testing"

	"golang.org/x/sys/unix"
)

// Deep makes that many directories "d" in dir, one in the other, and in the last a file "f" with
// the text "x". The caller removes them: os.RemoveAll holds a descriptor for each.
func Deep(t testing.TB, dir string, levels int) {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	for range levels {
		if err == nil {
			err = unix.Mkdirat(fd, "d", 0o755)
		}
		next, err2 := unix.Openat(fd, "d", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		unix.Close(fd)
		if fd = next; err == nil {
			err = err2
		}
	}
	if err != nil {
		t.Fatalf("make %d directories: %v", levels, err)
	}
	defer unix.Close(fd)
	f, err := unix.Openat(fd, "f", unix.O_WRONLY|unix.O_CREAT|unix.O_CLOEXEC, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(f)
	if _, err := unix.Write(f, []byte("x")); err != nil {
		t.Fatal(err)
	}
}

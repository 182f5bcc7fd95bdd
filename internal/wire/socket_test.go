// Sockets with a name, on a disk that has some and on one that has none.

package wire

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// noSockets makes t's disk one that has no sockets, as sshfs: mknod(2), EPERM. Listen's directory
// elsewhere is in the one that is returned.
func noSockets(t *testing.T) (tmp string) {
	saved := bind
	t.Cleanup(func() { bind = saved })
	bind = func(path string) (*net.UnixListener, error) {
		if strings.HasPrefix(path, "/proc/self/fd/") {
			return nil, unix.EPERM
		}
		return saved(path)
	}
	tmp, err := os.MkdirTemp("/var/tmp", "tiffin-wire-") // others may come here, as they may not to T.TempDir
	if err == nil {
		err = os.Chmod(tmp, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(tmp) })
	t.Setenv("TMPDIR", tmp)
	return tmp
}

func openDir(t *testing.T) *os.File {
	d, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func TestASocketOnADiskThatHasNone(t *testing.T) {
	dir := openDir(t)
	tmp := noSockets(t)
	for range 2 { // the second in place of the first
		l, err := Listen(dir, "control")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
	}
	c, err := Dial(dir, "control")
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	made, _ := filepath.Glob(tmp + "/*")
	if len(made) != 1 {
		t.Fatalf("%q", made)
	}
	if fi, err := os.Stat(made[0]); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("others may come to the socket: %v, %v", fi.Mode(), err)
	}
	if err := Remove(filepath.Join(dir.Name(), "control")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(made[0]); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was made elsewhere is still there: %v", err)
	}
	if _, err := Dial(dir, "control"); !errors.Is(err, unix.ENOENT) {
		t.Error(err)
	}
}

// TestRemoveTouchesNothingButSockets, whatever path is in the file.
func TestRemoveTouchesNothingButSockets(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	file := filepath.Join(other, "file")
	for path, text := range map[string]string{file: "mine", filepath.Join(dir, "control"): file} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := Remove(filepath.Join(dir, "control")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}

// TestAnotherUserTakesTheName of a socket in a directory for everybody that was cleared.
func TestAnotherUserTakesTheName(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can be somebody else")
	}
	dir := openDir(t)
	tmp := noSockets(t)
	l, err := Listen(dir, "control")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	made, _ := filepath.Glob(tmp + "/*/control")
	if len(made) != 1 {
		t.Fatalf("%q", made)
	}
	if err := errors.Join(os.Remove(made[0]), os.Chmod(filepath.Dir(made[0]), 0o777)); err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	become(t, 54321)
	theirs, err := net.Listen("unix", made[0])
	become(t, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	if c, err := Dial(dir, "control"); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("connected to another user: %v, %v", c, err)
	}
}

// become makes this thread another user, setresuid(2).
func become(t *testing.T, uid uintptr) {
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), uid, ^uintptr(0)); e != 0 {
		t.Fatal(e)
	}
}

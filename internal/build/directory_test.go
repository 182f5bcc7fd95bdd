// What is remembered of a context.

package build

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"tiffin/internal/dockerfile"
	"tiffin/internal/test/imagetest"
)

// TestAnUnchangedContextIsNotReadAgain: how much is read is counted by the kernel.
func TestAnUnchangedContextIsNotReadAgain(t *testing.T) {
	defer func(was int64) { young = was }(young)
	young = 0
	s, dir := imagetest.NewStore(t), t.TempDir()
	const size = 8 << 20
	big := filepath.Join(dir, "big")
	if err := os.WriteFile(big, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	look := func() (sum string, read int64) {
		t.Helper()
		before := bytesRead(t)
		c, err := OpenContext(s, dir)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		f, err := c.stat("big")
		if err == nil {
			sum, err = c.sum("big", f)
		}
		if err != nil {
			t.Fatal(err)
		}
		c.remember()
		return sum, bytesRead(t) - before
	}
	first, read := look()
	if read < size {
		t.Fatalf("a file of %d bytes was digested, and %d bytes read", size, read)
	}
	if again, read := look(); again != first || read > size/8 {
		t.Errorf("the second time %d bytes are read, and the digest is %s, not %s", read, again, first)
	}
	// As long as before, and as old, but with another ctime, which nobody can set.
	info, err := os.Stat(big)
	if err == nil {
		err = os.WriteFile(big, bytes.Repeat([]byte("x"), size), 0o600)
	}
	if err == nil {
		err = os.Chtimes(big, info.ModTime(), info.ModTime())
	}
	if err != nil {
		t.Fatal(err)
	}
	if now, _ := look(); now == first {
		t.Error("a change was not seen")
	}
}

// TestWhatIsNoFileIsRefusedByName, without opening it: a fifo would never end.
func TestWhatIsNoFileIsRefusedByName(t *testing.T) {
	s, dir := imagetest.NewStore(t), t.TempDir()
	if err := unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, c := range []struct{ dir, name, kind string }{{dir, "fifo", "fifo"}, {dir, "socket", "socket"}, {"/dev", "null", "device"}} {
		from, err := OpenContext(s, c.dir)
		if err != nil {
			t.Fatal(err)
		}
		d := newDelta(treeOf(), t.TempDir())
		err = d.copy(from, &dockerfile.Instruction{Name: "copy", Copy: &dockerfile.Copy{Sources: []string{c.name}, Dest: "/x"}})
		if want := c.name + " is a " + c.kind + ", which cannot be copied"; err == nil || err.Error() != want {
			t.Errorf("%v, not %q", err, want)
		}
		from.Close()
	}
}

// bytesRead is what read(2) has given this process: rchar of proc(5), /proc/PID/io.
func bytesRead(t *testing.T) (n int64) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/io")
	if err == nil {
		_, err = fmt.Sscanf(string(text), "rchar: %d", &n)
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

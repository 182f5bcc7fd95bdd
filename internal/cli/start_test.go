// What a start costs in requests to the file system, and that what is remembered of the last one
// is nothing but a hint.

package cli_test

import (
	bin "encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/internal/test/tartest"
)

// reader is a static ELF program of 1 MiB that reads a byte at each of the given places and then
// waits for ever. Only amd64.
func reader(places ...uint32) string {
	const base, head, size = 0x10000, 64 + 56, 1 << 20
	le := bin.LittleEndian
	b := append([]byte("\x7fELF\x02\x01\x01"), make([]byte, 9)...)
	b = le.AppendUint16(le.AppendUint16(b, 2), 62) // ET_EXEC, EM_X86_64
	b = le.AppendUint32(b, 1)
	b = le.AppendUint64(le.AppendUint64(le.AppendUint64(b, base+head), 64), 0) // entry, program headers, no sections
	b = le.AppendUint32(b, 0)
	for _, n := range []uint16{64, 56, 1, 0, 0, 0} {
		b = le.AppendUint16(b, n)
	}
	b = le.AppendUint32(le.AppendUint32(b, 1), 5) // PT_LOAD, R+X
	for _, n := range []uint64{0, base, base, size, size, 0x1000} {
		b = le.AppendUint64(b, n)
	}
	for _, p := range places {
		b = le.AppendUint32(append(b, 0x8a, 0x04, 0x25), base+p) // mov al, [base+p]
	}
	b = append(b, "\xb8\x22\x00\x00\x00\x0f\x05\xeb\xf7"...) // again: mov eax, SYS_pause; syscall; jmp again
	return string(append(b, make([]byte, size-len(b))...))
}

// dialAs connects to a socket as a user: the supervisor answers nobody else, SO_PEERCRED of
// unix(7). A thread has an effective user id of its own: setresuid(2), "C library/kernel
// differences".
func dialAs(uid int, socket string) (net.Conn, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const same = ^uintptr(0)
	if was := os.Geteuid(); was != uid {
		unix.RawSyscall(unix.SYS_SETRESUID, same, uintptr(uid), same)
		defer unix.RawSyscall(unix.SYS_SETRESUID, same, uintptr(was), same)
	}
	return net.Dial("unix", socket)
}

// counts asks a container's supervisor how many requests it has answered, as soon as that number
// is the same for a while.
func counts(t *testing.T, uid int, store, id string) map[string]uint64 {
	t.Helper()
	var last map[string]uint64
	for same := 0; same < 5; same++ {
		time.Sleep(100 * time.Millisecond)
		// The name of a socket is short: unix(7), sun_path.
		dir, err := os.Open(filepath.Join(store, "containers", id))
		if err != nil {
			t.Fatal(err)
		}
		c, err := dialAs(uid, fmt.Sprintf("/proc/self/fd/%d/control", dir.Fd()))
		dir.Close()
		if err != nil {
			t.Fatal(err)
		}
		var answer struct{ Counts map[string]uint64 }
		if _, err = fmt.Fprintln(c, `{"op":"counts"}`); err == nil {
			err = json.NewDecoder(c).Decode(&answer)
		}
		c.Close()
		if err != nil {
			t.Fatal(err)
		}
		if !maps.Equal(answer.Counts, last) {
			last, same = answer.Counts, 0
		}
	}
	return last
}

func TestStart(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the program is made of instructions of amd64")
	}
	for _, p := range people(t) {
		t.Run(p.name, func(t *testing.T) {
			need(t, p)
			dir := t.TempDir()
			for d := dir; len(d) > len(os.TempDir()); d = filepath.Dir(d) {
				os.Chmod(d, 0o755)
			}
			if err := os.Chown(dir, p.uid, p.gid); err != nil {
				t.Fatal(err)
			}
			archive := filepath.Join(dir, "root.tar")
			layer := tartest.Of(t, tartest.Dir("bin"), tartest.Dir("dev"), tartest.Dir("proc"), tartest.Dir("sys"), tartest.Dir("etc"),
				tartest.File("etc/hosts", ""), tartest.File("etc/hostname", ""), tartest.File("etc/resolv.conf", ""),
				tartest.File("bin/p", reader(300<<10, 600<<10, 900<<10), tartest.Mode(0o755)),
				tartest.Fifo("fifo"), tartest.Symlink("link", "/proc/1/root"))
			if err := os.WriteFile(archive, layer, 0o644); err != nil {
				t.Fatal(err)
			}
			k := &killer{t: t, p: p, store: filepath.Join(dir, "store")}
			k.tiffin("import", archive, "small")
			start := func() map[string]uint64 {
				t.Helper()
				id := strings.TrimSpace(k.tiffin("run", "-d", "small", "/bin/p"))
				pid := strings.TrimSpace(k.tiffin("inspect", "-f", "{{.State.Pid}}", id))
				waitFor(t, func() bool { // it has read all, and waits: proc(5), /proc/PID/syscall
					text, _ := os.ReadFile("/proc/" + pid + "/syscall")
					return strings.HasPrefix(string(text), fmt.Sprint(unix.SYS_PAUSE, " "))
				})
				c := counts(t, p.uid, k.store, id)
				k.tiffin("rm", "-f", id)
				// Who reads ahead may meet a directory in which init has just made something.
				c["GETATTR"] = min(c["GETATTR"], 1)
				return c
			}
			remembered := func() string {
				t.Helper()
				names, _ := filepath.Glob(filepath.Join(k.store, "unions", "*.start"))
				if len(names) != 1 {
					t.Fatalf("files that remember a start: %v", names)
				}
				return names[0]
			}
			// Names: proc, dev, sys, etc with three files, etc/passwd, bin and p. READs: what
			// execve(2) looks at, and a window of 128 KiB around each byte.
			want := map[string]uint64{"LOOKUP": 10, "GETATTR": 1, "OPEN": 1, "READ": 4}
			if got := start(); !maps.Equal(got, want) {
				t.Errorf("a first start costs %v, not %v", got, want)
			}
			file := remembered()
			known, err := os.ReadFile(file)
			// How much of it depends on when the supervisor has looked.
			if err != nil || !strings.Contains(string(known), `"Path":"/bin/p","Off":0`) {
				t.Errorf("after one start this is known: %s, %v", known, err)
			}
			// The same, but earlier: init has opened and closed the program.
			want["FLUSH"] = 1
			if got := start(); !maps.Equal(got, want) {
				t.Errorf("a second start costs %v, not %v", got, want)
			}
			if again, err := os.ReadFile(file); err != nil || !strings.Contains(string(again), `"Path":"/bin/p","Off":0`) {
				t.Errorf("after another start this is known: %s, %v; before it was %s", again, err, known)
			}
			for _, wrong := range []string{
				"", "null", "{", `{"/bin/p":null}`,
				`{"/bin/p":[{"Path":"/nothing","Off":0,"Len":4096},{"Path":"/fifo","Off":0,"Len":4096},{"Path":"/dev","Off":0,"Len":1}]}`,
				`{"/bin/p":[{"Path":"/link/etc/passwd","Off":0,"Len":4096},{"Path":"../../../etc/passwd","Off":0,"Len":4096}]}`,
				`{"/bin/p":[{"Path":"/bin/p","Off":-1,"Len":4096},{"Path":"/bin/p","Off":9223372036854775807,"Len":9223372036854775807}]}`,
				`{"/bin/p":[{"Path":"/bin/p","Off":9223372036854775807,"Len":16777216}]}`,
			} {
				if err := os.WriteFile(file, []byte(wrong), 0o644); err != nil {
					t.Fatal(err)
				}
				start()
			}
		})
	}
}

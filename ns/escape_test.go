// This file looks for ways out of a container that has more capabilities than it needs: whatever
// --cap-add gives, it counts for the container's own namespaces and processes.
package ns

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestEveryCapabilityStaysInside tries each alone, and all of them together.
func TestEveryCapabilityStaysInside(t *testing.T) {
	each(t, func(t *testing.T, s *sandbox) {
		for _, caps := range append([][]string{AllCaps()}, singly(AllCaps())...) {
			j := s.job("reach-out")
			j.Spec.Process.Caps = append(DefaultCaps(), caps...)
			if out := s.run(j); out.Error != nil || out.Status != 0 || out.Stdout != "" {
				t.Errorf("with %v: status %d, %v\n%s", caps, out.Status, out.Error, out.Stdout)
			}
		}
	})
}

func singly(names []string) (sets [][]string) {
	for _, n := range names {
		sets = append(sets, []string{n})
	}
	return sets
}

// TestNothingLeadsOutWhileCommandsComeIn watches commands of `tiffin exec` come up, with everything
// a debugger is allowed.
func TestNothingLeadsOutWhileCommandsComeIn(t *testing.T) {
	each(t, func(t *testing.T, s *sandbox) {
		for _, caps := range [][]string{{"SYS_PTRACE"}, AllCaps()} {
			j := s.job("lurk")
			j.Spec.Process.Caps = append(DefaultCaps(), caps...)
			j.Patient = true
			for range 60 {
				p := applet1("true")
				p.Caps = j.Spec.Process.Caps
				j.Execs = append(j.Execs, p)
			}
			last := applet1("write", "/tmp/enough", "x")
			last.Caps = j.Spec.Process.Caps
			j.Execs = append(j.Execs, last)
			seen := "0 "
			for try := 0; try < 20 && strings.HasPrefix(seen, "0 "); try++ {
				out, found := s.run(j), ""
				seen, found, _ = strings.Cut(out.Stdout, "\n")
				t.Logf("%v: %s", caps[0], seen)
				if out.Status != 0 || found != "" {
					t.Fatalf("with %v: status %d\n%s", caps, out.Status, found)
				}
			}
			if strings.HasPrefix(seen, "0 ") {
				t.Errorf("with %v: no command was caught on its way, so nothing was tried", caps)
			}
		}
	})
}

// lurk looks for processes that are not yet what they are going to be, and for what they have that
// the container has not.
func lurk() int {
	_ = os.Remove("/tmp/enough")
	const mine = "/bin/applet"
	caught, findings := 0, map[string]bool{}
	last := os.Getpid()
	for !exists("/tmp/enough") {
		for pid := last + 1; pid < last+4; pid++ {
			dir := "/proc/" + strconv.Itoa(pid)
			exe, err := os.Readlink(dir + "/exe")
			if err != nil {
				continue
			}
			if exe == mine {
				last = max(last, pid)
				continue
			}
			caught++
			for _, f := range strange(dir) {
				findings[f] = true
			}
		}
		// Numbers that were missed.
		for pid := last + 4; pid < last+64; pid++ {
			if exists("/proc/" + strconv.Itoa(pid)) {
				last = pid
			}
		}
	}
	fmt.Println(caught, "caught")
	for f := range findings {
		fmt.Println(f)
	}
	return 0
}

func exists(path string) bool { return unix.Access(path, unix.F_OK) == nil }

// strange says what the process with this directory in /proc has that the container has not. What
// it says of a process that becomes another meanwhile is nothing.
func strange(dir string) (found []string) {
	mem, err := unix.Open(dir+"/mem", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err == nil {
		defer unix.Close(mem)
	}
	fds, _ := os.ReadDir(dir + "/fd")
	for _, fd := range fds {
		if n, _ := strconv.Atoi(fd.Name()); n > 2 {
			found = append(found, "descriptor "+fd.Name()+" "+readlink(dir+"/fd/"+fd.Name()))
		}
	}
	for _, n := range []string{"user", "mnt", "pid", "net", "uts", "ipc", "cgroup"} {
		theirs, err := os.Readlink(dir + "/ns/" + n)
		if err == nil && theirs != readlink("/proc/self/ns/"+n) {
			found = append(found, n+" namespace")
		}
	}
	status := func(dir string) (lines []string) {
		for line := range strings.Lines(readAll(dir + "/status")) {
			if strings.HasPrefix(line, "Cap") || strings.HasPrefix(line, "Seccomp:") || strings.HasPrefix(line, "NoNewPrivs") {
				lines = append(lines, strings.TrimSpace(line))
			}
		}
		return lines
	}
	if theirs := status(dir); len(theirs) > 0 && !slices.Equal(theirs, status("/proc/self")) {
		found = append(found, fmt.Sprint("rights ", theirs))
	}
	if exe, err := os.Readlink(dir + "/exe"); err != nil || exe == "/bin/applet" {
		found = nil // it was on its way: what was seen may be of what it had already become
	}
	if mem < 0 {
		return found
	}
	// proc(5), /proc/pid/mem: what was opened stays the memory of then. If it outlives the
	// process, it is another's too.
	for exists(dir) {
		time.Sleep(time.Millisecond)
	}
	var b [8]byte
	if n, _ := unix.Pread(mem, b[:], int64(uintptr(unsafe.Pointer(&textAddress[0])))); n > 0 {
		found = append(found, "memory that is somebody else's, too")
	}
	return found
}

// textAddress is at the same place in each process that runs this program.
var textAddress = []byte("here")

// reachOut tries what leads out of a container, if capabilities counted there. It prints what
// worked.
func reachOut() int {
	own, err := unix.Open("/proc/self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	// Linux 6.18 opens namespaces by file handle: the 64-bit number of the namespace, its type and
	// inode number. Those that were made shortly before are easy to guess.
	const nsfsRoot = -10003 // FD_NSFS_ROOT, linux/fcntl.h
	handle, _, err := unix.NameToHandleAt(own, "", unix.AT_EMPTY_PATH)
	if err == nil && handle.Size() == 16 {
		bytes := handle.Bytes()
		id, inode := binary.NativeEndian.Uint64(bytes), binary.NativeEndian.Uint32(bytes[12:])
		for back := range uint64(64) {
			for ino := inode - 100; ino < inode+100; ino++ {
				binary.NativeEndian.PutUint64(bytes, id-back)
				binary.NativeEndian.PutUint32(bytes[12:], ino)
				fd, err := unix.OpenByHandleAt(nsfsRoot, unix.NewFileHandle(handle.Type(), bytes), unix.O_RDONLY)
				if err != nil {
					continue
				}
				if link := readlink(procFD(fd)); link != readlink("/proc/self/ns/mnt") {
					fmt.Println("opened", link)
				}
				unix.Close(fd)
			}
		}
	}
	// ioctl_ns(2): from one's own namespace to the one that owns it, and to the one above.
	const nsGetUserNS, nsGetParent = 0xb701, 0xb702
	if fd, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(own), nsGetUserNS, 0); errno == 0 {
		if up, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, nsGetParent, 0); errno == 0 {
			fmt.Println("opened the user namespace above:", readlink(procFD(int(up))))
		}
	}
	// Other processes than those of the container.
	numbers, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range numbers {
		if p != "/proc/1" {
			fmt.Println("there is", p)
		}
	}
	return 0
}

// TestMaskedPathsAreDockers holds the list against moby's, daemon/pkg/oci/defaults.go, which is no
// package to import.
func TestMaskedPathsAreDockers(t *testing.T) {
	masked := []string{"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys",
		"/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
		"/sys/devices/system/cpu/cpu*/thermal_throttle", "/sys/devices/virtual/powercap", "/sys/firmware"}
	readonly := []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
	spec := new(Spec)
	want(t, "masked", slices.Sorted(slices.Values(spec.Masked())), masked)
	want(t, "read-only", slices.Sorted(slices.Values(spec.Readonly())), readonly)
}

package fs

import (
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// TestTheNextRequestWakes: who waits for one is woken by it, once, and by nothing else.
func TestTheNextRequestWakes(t *testing.T) {
	f := new(FS)
	f.begin(opGetattr, new(fuse.InHeader), "")
	next := f.NextRequest()
	select {
	case <-next:
		t.Error("woken by a request that was before")
	default:
	}
	for range 2 {
		f.begin(opGetattr, new(fuse.InHeader), "")
		<-next
	}
}

// TestFreezeWaitsForASlowDisk: a WRITE that takes longer than a second is one that was under way.
func TestFreezeWaitsForASlowDisk(t *testing.T) {
	f := new(FS)
	f.dev.Store(-1)
	f.writing.Store(1)
	var written atomic.Bool
	time.AfterFunc(1500*time.Millisecond, func() {
		written.Store(true)
		f.writing.Store(0)
	})
	if f.waitForWrites(); !written.Load() {
		t.Error("it has not waited")
	}
}

// TestAnUnmountEndsServingWhateverIsRead: read(2) of what the kernel has begun to hand over when
// the mount goes is ECONNABORTED, and not ENODEV (fuse_dev_do_read in fs/fuse/dev.c). A filter
// answers so in its place, seccomp(2), for this thread, which ends with the test.
func TestAnUnmountEndsServingWhateverIsRead(t *testing.T) {
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, errno := range []unix.Errno{unix.ENODEV, unix.ECONNABORTED} {
		got := make(chan error)
		go func() {
			runtime.LockOSThread()
			if err := answersReads(file.Fd(), errno); err != nil {
				got <- err
				return
			}
			w := &worker{loop: &loop{fd: int(file.Fd())}, in: make([]byte, 100)}
			_, err := w.next()
			got <- err
		}()
		if err := <-got; err != ended {
			t.Errorf("%v ends serving with %v", errno, err)
		}
	}
}

// answersReads loads a filter that answers each read(2) of this thread from fd with errno.
func answersReads(fd uintptr, errno unix.Errno) error {
	const number, first = 0, 16 // in struct seccomp_data: the call, and the low half of its first argument
	load, equal := uint16(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS), uint16(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K)
	program := []unix.SockFilter{
		{Code: load, K: number}, {Code: equal, K: unix.SYS_READ, Jf: 3},
		{Code: load, K: first}, {Code: equal, K: uint32(fd), Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errno)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	_, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})))
	if e != 0 {
		return e
	}
	return nil
}

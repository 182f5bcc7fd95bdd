package fs_test

import (
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"tiffin/fs"
	"tiffin/image/layer"
	"tiffin/internal/test/fstest"
	"tiffin/internal/test/tartest"
)

// TestAPanicEndsServingWhateverElseHangs plays the kernel: one request never comes to an end, and
// another one panics. /dev/fuse must be closed all the same, for that is what frees whoever waits.
func TestAPanicEndsServingWhateverElseHangs(t *testing.T) {
	im := fstest.Union(t, tartest.Of(t, tartest.File("bad", "", tartest.Owner(1, 0)), tartest.File("slow", "x")))
	x, err := layer.OpenIndex(im.Index)
	if err != nil {
		t.Fatal(err)
	}
	flats, err := layer.OpenFlats(im.Flats, []string{im.Flats[0] + ".blocks"})
	if err != nil {
		t.Fatal(err)
	}
	device, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(device[1])
	var told string
	f, err := fs.New(fs.Config{Index: x, Flats: flats, Broken: func(err error, _ []byte) { told = err.Error() },
		MapUID: func(id uint32) uint32 {
			if id == 1 {
				panic("no such owner")
			}
			return id
		}})
	if err != nil {
		t.Fatal(err)
	}
	hangs := make(chan bool, 1)
	f.Subscribe(func(e fs.Event) {
		if e.Op == "FSYNC" {
			hangs <- true
			select {}
		}
	})
	ended := make(chan error, 1)
	go func() { ended <- f.Serve(device[0]) }()
	ask := func(opcode uint32, node uint64, rest int) {
		b := make([]byte, int(unsafe.Sizeof(fuse.InHeader{}))+rest)
		*(*fuse.InHeader)(unsafe.Pointer(&b[0])) = fuse.InHeader{Length: uint32(len(b)), Opcode: opcode, Unique: 2, NodeId: node}
		if _, err := unix.Write(device[1], b); err != nil {
			t.Fatal(err)
		}
	}
	const getattr, fsync = 3, 20 // enum fuse_opcode in linux/fuse.h; an FSYNC is not for the one who reads
	ask(fsync, 3, 16)
	<-hangs
	time.Sleep(10 * time.Millisecond) // for the next one to sleep until there is something to read
	ask(getattr, 2, 16)
	select {
	case err = <-ended:
	case <-time.After(time.Minute):
		t.Fatal("it serves on")
	}
	if want := "GETATTR of /bad: no such owner"; err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(told, want) {
		t.Errorf("Serve says %v, Broken was told %q", err, told)
	}
	if n, err := unix.Read(device[1], make([]byte, 100)); n != 0 || err != nil {
		t.Errorf("the device is open: %d bytes, %v", n, err)
	}
}

// An index that is mapped, and cannot change under those who read it.

package layer

import (
	"fmt"
	"os"
	"os/signal"
	"unsafe"

	"golang.org/x/sys/unix"
)

// MapIndex is OpenIndex for a process that keeps one index for its life. The file is mapped, so
// that its pages are those of the page cache, the same for all containers of an image. A read
// lease, fcntl(2), "Leases", keeps them as they were checked: whoever opens the file to write or
// truncates it waits until the index has become a copy in memory. Where there is no lease, because
// the file is another user's, is being written or is on a file server, the file is read.
func MapIndex(path string) (*Index, error) {
	f, h, err := openHeader(path)
	if err != nil {
		return nil, err
	}
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, unix.SIGIO) // before there is a lease: unhandled, it would end this process
	b, err := mapLeased(f, int(h.size()))
	if err != nil {
		signal.Stop(broken)
		f.Close()
		return OpenIndex(path)
	}
	x, err := Decode(b)
	if err != nil {
		signal.Stop(broken)
		f.Close()
		_ = unix.Munmap(b)
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	go func() {
		<-broken
		signal.Stop(broken)
		detach(b)
		f.Close() // gives the lease back
	}()
	return x, nil
}

// mapLeased takes a read lease on f for this process and maps the first size bytes.
func mapLeased(f *os.File, size int) ([]byte, error) {
	// The process, not the calling thread, which may end earlier.
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETOWN, os.Getpid()); err != nil {
		return nil, err
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK); err != nil {
		return nil, err
	}
	if st, err := f.Stat(); err != nil || st.Size() < int64(size) {
		return nil, ErrCorrupt // OpenIndex says more
	}
	return unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
}

// detach puts a copy of mapped pages in their place, in one step: mremap(2), MREMAP_FIXED. Without
// memory for the copy the process ends, because it must not go on with a file that may change.
func detach(b []byte) {
	c, err := unix.Mmap(-1, 0, len(b), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		panic("no memory for a copy of the index: " + err.Error())
	}
	copy(c, b)
	size := uintptr(len(b))
	_, err = unix.MremapPtr(unsafe.Pointer(&c[0]), size, unsafe.Pointer(&b[0]), size, unix.MREMAP_MAYMOVE|unix.MREMAP_FIXED)
	if err != nil {
		panic("put a copy in the place of the index: " + err.Error())
	}
}

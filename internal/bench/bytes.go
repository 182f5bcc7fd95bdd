// Workloads that move bytes. A time "with close" ends
// after close(2), which makes a FUSE file system with the writeback cache hand
// over what the kernel holds back; the other file systems keep it until later.

package main

import (
	"os"
	"syscall"
)

const (
	block   = 4 << 10
	mega    = 1 << 20
	newMiB  = 256 // size of the files that are written
	samples = 20_000
)

func bigSize() int64 {
	st, err := os.Stat("big")
	check(err)
	return st.Size()
}

func readThrough(name string, size int) {
	buf := make([]byte, size)
	fd := openC(toC(name), os.O_RDONLY|syscall.O_CLOEXEC, 0)
	for readC(fd, buf) > 0 {
	}
	closeC(fd)
}

func workRead(r *report) {
	n := int(bigSize() >> 20)
	r.phase("read a big file, cold", n, func() { readThrough("big", mega) })
	r.phase("read a big file, warm", n, func() { readThrough("big", mega) })
}

func workReadRandom(r *report) {
	blocks := uint64(bigSize() / block)
	rnd := random(7)
	buf := make([]byte, block)
	fd := openC(toC("big"), os.O_RDONLY|syscall.O_CLOEXEC, 0)
	r.phase("random 4 KiB reads, cold", samples, func() {
		for range samples {
			preadC(fd, buf, int64(rnd.next()>>8%blocks)*block)
		}
	})
	rnd = 7
	r.phase("random 4 KiB reads, warm", samples, func() {
		for range samples {
			preadC(fd, buf, int64(rnd.next()>>8%blocks)*block)
		}
	})
	closeC(fd)
}

func newFile(name string) int {
	return openC(toC(name), os.O_RDWR|os.O_CREATE|os.O_EXCL|syscall.O_CLOEXEC, 0o644)
}

func workWrite(r *report) {
	buf := make([]byte, mega)
	rnd := random(3)
	rnd.fill(buf)
	n := int(bigSize() >> 20)
	r.phase("sequential write, with close", n, func() {
		fd := newFile("new/file")
		for range n {
			writeC(fd, buf)
		}
		closeC(fd)
	})
}

func workWrite4K(r *report) {
	buf := make([]byte, block)
	rnd := random(3)
	rnd.fill(buf)
	const n = newMiB * mega / block
	fd := newFile("new/file")
	r.phase("4 KiB sequential writes", n, func() {
		for range n {
			writeC(fd, buf)
		}
	})
	r.phase("close after 4 KiB sequential writes", 1, func() { closeC(fd) })
}

// workWriteRandom writes to a file whose bytes are there already.
func workWriteRandom(r *report) {
	buf := make([]byte, mega)
	rnd := random(3)
	rnd.fill(buf)
	fd := newFile("new/file")
	for range newMiB {
		writeC(fd, buf)
	}
	check(syscall.Fsync(fd))
	rnd = 9
	r.phase("4 KiB random writes", samples, func() {
		for range samples {
			pwriteC(fd, buf[:block], int64(rnd.next()>>8%(newMiB*mega/block))*block)
		}
	})
	r.phase("close after 4 KiB random writes", 1, func() { closeC(fd) })
}

// lowerBig does one thing to the big lower file.
func lowerBig(phase string, do func(path string) error) func(*report) {
	return func(r *report) {
		_, err := os.Stat("big") // its name is known: what follows is the change alone
		check(err)
		r.phase(phase, 1, func() { check(do("big")) })
	}
}

func appendTo(path string) error {
	fd := openC(toC(path), os.O_WRONLY|os.O_APPEND|syscall.O_CLOEXEC, 0)
	writeC(fd, []byte("x"))
	closeC(fd)
	return nil
}

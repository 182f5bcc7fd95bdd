// A program for TestAPanicInTheFileSystemEndsTheContainer, which runs it in a container. Without
// arguments it lists the requests to the file system that it can cause; with one it makes files the
// first time, and then has the server panic at that request.

package main

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// breaks are requests to the file system, one of each kind that takes a lock, by the system calls
// that cause them inside a container. The server panics at the next use of a descriptor after
// before.
var breaks = []struct {
	request string
	cold    bool // nothing in the directory d has been looked at
	before  func() error
	do      func() error
}{
	{request: "LOOKUP", cold: true, do: func() error { return unix.Lstat("/d/a", new(unix.Stat_t)) }},
	{request: "FORGET", do: func() error { return unix.Close(held) }, before: func() error { return all(hold("/d/a", unix.O_RDONLY), os.Remove("/d/a")) }},
	{request: "GETATTR", do: func() error { return unix.Lstat("/d", new(unix.Stat_t)) }, before: func() error { return os.Mkdir("/d/x", 0o755) }},
	{request: "SETATTR", do: func() error { return os.Chmod("/d/a", 0o600) }},
	{request: "READLINK", do: func() error { _, err := os.Readlink("/d/l"); return err }},
	{request: "SYMLINK", do: func() error { return os.Symlink("x", "/d/new") }},
	{request: "MKNOD", do: func() error { return unix.Mknod("/d/new", unix.S_IFREG|0o644, 0) }},
	{request: "MKDIR", do: func() error { return os.Mkdir("/d/new", 0o755) }},
	{request: "UNLINK", do: func() error { return unix.Unlink("/d/a") }},
	{request: "RMDIR", do: func() error { return unix.Rmdir("/d/sub") }},
	{request: "RENAME", do: func() error { return os.Rename("/d/a", "/d/sub/a") }},
	{request: "LINK", do: func() error { return os.Link("/d/a", "/d/sub/a") }},
	{request: "READ", do: func() error { _, err := os.ReadFile("/d/a"); return err }},
	{request: "WRITE", do: func() error { return unix.Fsync(held) },
		before: func() error { return all(hold("/d/a", unix.O_RDWR), fill(held)) }},
	{request: "FSYNC", do: func() error { return unix.Fsync(held) }, before: func() error { return hold("/d/a", unix.O_RDONLY) }},
	{request: "FSYNCDIR", do: func() error { return unix.Fsync(held) }, before: func() error { return hold("/d", unix.O_RDONLY) }},
	{request: "FALLOCATE", do: func() error { return unix.Fallocate(held, unix.FALLOC_FL_KEEP_SIZE, 0, 1<<20) }, before: written},
	{request: "COPY_FILE_RANGE", do: func() error { _, err := unix.CopyFileRange(held, new(int64), held, &[]int64{100}[0], 1, 0); return err }, before: written},
	{request: "SETXATTR", do: func() error { return unix.Setxattr("/d/a", "user.new", []byte("v"), 0) }},
	{request: "GETXATTR", do: func() error { _, err := unix.Getxattr("/d/a", "user.k", make([]byte, 9)); return err }},
	{request: "LISTXATTR", do: func() error { _, err := unix.Listxattr("/d/a", make([]byte, 99)); return err }},
	{request: "REMOVEXATTR", do: func() error { return unix.Removexattr("/d/a", "user.k") }},
	{request: "READDIR", cold: true, do: func() error { _, err := os.ReadDir("/d"); return err }},
	{request: "TMPFILE", cold: true, do: func() error { return hold("/d", unix.O_TMPFILE|unix.O_RDWR) }},
}

// held is a file that is open.
var held int

func hold(path string, flags int) (err error) {
	held, err = unix.Open(path, flags, 0o600)
	return err
}

// fill changes the page of a file in the kernel's memory, which is then to be written back.
func fill(fd int) error {
	_, err := unix.Pread(fd, make([]byte, 1), 0)
	if err == nil {
		_, err = unix.Pwrite(fd, []byte("y"), 0)
	}
	return err
}

// written holds a file that has been written to: the kernel has asked for its capabilities.
func written() error { return all(hold("/d/a", unix.O_RDWR), fill(held), unix.Fsync(held)) }

func all(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func main() {
	if len(os.Args) < 2 {
		for _, b := range breaks {
			fmt.Println(b.request)
		}
		return
	}
	err := unix.Lstat("/d", new(unix.Stat_t))
	if err != nil {
		err = all(os.MkdirAll("/d/sub", 0o755), os.WriteFile("/d/a", []byte("x"), 0o644), os.Symlink("x", "/d/l"),
			unix.Setxattr("/d/a", "user.k", []byte("v"), 0))
	} else {
		for _, b := range breaks {
			if b.request != os.Args[1] {
				continue
			}
			if !b.cold {
				_, err = os.ReadDir("/d")
				err = all(err, unix.Lstat("/d/a", new(unix.Stat_t)), unix.Lstat("/d/l", new(unix.Stat_t)), unix.Lstat("/d/sub", new(unix.Stat_t)))
				unix.Lstat("/d/new", new(unix.Stat_t))
				unix.Lstat("/d/sub/a", new(unix.Stat_t))
			}
			if b.before != nil {
				err = all(err, b.before())
			}
			if err = all(err, os.WriteFile("/host/armed", nil, 0o644)); err == nil {
				err = b.do()
			}
		}
		if err == nil {
			time.Sleep(time.Minute) // FORGET has no answer
		}
	}
	if err != nil {
		fmt.Println("inside:", err)
		os.Exit(1)
	}
}

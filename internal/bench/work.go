// The workloads: what is timed, each as one function on a directory.

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// errSkip says that the image has no program for a workload.
var errSkip = errors.New("the image lacks a program for this")

// workload is something to be done on a fresh mount, in directory /bench. It
// reports one or more phases, which are the lines of the table.
type workload struct {
	name string
	run  func(*report)
}

// The order is that of the table. Each workload has a mount of its own since
// it wants it cold, or because it changes the tree.
var workloads = []workload{
	{"request", workRequest},
	{"find", workFind},
	{"open", workOpen},
	{"exec", workExec},
	{"read", workRead},
	{"readrandom", workReadRandom},
	{"write", workWrite},
	{"write4k", workWrite4K},
	{"writerandom", workWriteRandom},
	{"names", workNames},
	{"create", workCreate},
	{"mkdir", workMkdir},
	{"rmlower", workRemoveLower},
	{"chmod", lowerBig("chmod 1 lower big file", func(p string) error { return os.Chmod(p, 0o600) })},
	{"chown", lowerBig("chown 1 lower big file", func(p string) error { return os.Chown(p, os.Getuid(), os.Getgid()) })},
	{"utimes", lowerBig("utimes 1 lower big file", func(p string) error { return os.Chtimes(p, time.Unix(1, 0), time.Unix(1, 0)) })},
	{"append", lowerBig("append to 1 lower big file", appendTo)},
	{"mvdir", workMoveDir},
	{"cp", workCopy},
	{"untar", workUntar},
	{"git", workGit},
	{"python", workPython},
	{"make", workMake},
	{"mount", func(*report) {}}, // scripts/bench-fs times the whole command
	{"memory", workMemory},
}

// report prints what was measured.
type report struct{ out *bufio.Writer }

// phase times do, which does count things.
func (r *report) phase(name string, count int, do func()) {
	t0 := time.Now() // clock_gettime(CLOCK_MONOTONIC) through the vDSO
	do()
	fmt.Fprintf(r.out, "%s\t%d\t%d\n", name, time.Since(t0).Nanoseconds(), count)
}

func runWorkload(name string) (err error) {
	for _, w := range workloads {
		if w.name != name {
			continue
		}
		if err := os.Chdir("/bench"); err != nil {
			return err
		}
		defer func() {
			if f, ok := recover().(failure); ok {
				err = fmt.Errorf("%s %s: %w", f.what, f.name, f.err)
			}
		}()
		r := &report{bufio.NewWriter(os.Stdout)}
		quiet()
		w.run(r)
		return r.out.Flush()
	}
	return fmt.Errorf("no workload %q; see fsbench list", name)
}

// check ends the workload on an error.
func check(err error) {
	if err != nil {
		panic(failure{"do", "", err})
	}
}

// walk lists the tree below top, as find(1) does, and returns the names of its
// files and directories.
func walk(top string) (files, dirs []cname) {
	todo := []cname{toC(top)}
	for len(todo) > 0 {
		d := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		dirs = append(dirs, d)
		eachEntry(d, func(name []byte, typ byte) {
			p := make(cname, 0, len(d)+len(name)+1)
			p = append(append(append(append(p, d[:len(d)-1]...), '/'), name...), 0)
			if typ == syscall.DT_DIR {
				todo = append(todo, p)
			} else {
				files = append(files, p)
			}
		})
	}
	return files, dirs
}

// workRequest is what one request costs: a file server is asked about each name
// that nobody has asked about before, and has nothing to do but to say no.
func workRequest(r *report) {
	names := newNames("missing")
	r.phase("stat of a missing name, cold", len(names), func() {
		for _, p := range names {
			if missing(p) != syscall.ENOENT {
				panic(failure{"stat", string(p), fs.ErrExist})
			}
		}
	})
}

func statAll(files []cname) {
	for _, p := range files {
		statC(p)
	}
}

// workFind is `find -size …` on a tree nobody has looked at yet, and again.
func workFind(r *report) {
	var files, dirs []cname
	r.phase("find with stat, cold", 1, func() { files, dirs = walk("many"); statAll(files) })
	r.phase("find with stat, warm", 1, func() { f, _ := walk("many"); statAll(f) })
	r.phase("stat, warm", len(files), func() { statAll(files) })
	r.phase("readdir, warm", len(dirs), func() {
		for _, d := range dirs {
			eachEntry(d, func([]byte, byte) {})
		}
	})
}

func readAll(files []cname, buf []byte) {
	for _, p := range files {
		fd := openC(p, os.O_RDONLY|syscall.O_CLOEXEC, 0)
		for readC(fd, buf) == len(buf) {
		}
		closeC(fd)
	}
}

// workOpen is `grep -r` on a tree nobody has looked at yet, and again.
func workOpen(r *report) {
	buf := make([]byte, 64<<10)
	var files []cname
	r.phase("find + read all files, cold", 1, func() { files, _ = walk("many"); readAll(files, buf) })
	r.phase("open+read+close, warm", len(files), func() { readAll(files, buf) })
	r.phase("open+close, warm", len(files), func() {
		for _, p := range files {
			closeC(openC(p, os.O_RDONLY|syscall.O_CLOEXEC, 0))
		}
	})
}

// workMemory leaves behind what the server keeps after everything has been
// looked at and read, and waits to be killed.
func workMemory(r *report) {
	files, _ := walk("many")
	statAll(files)
	readAll(files, make([]byte, 64<<10))
	fmt.Fprintf(r.out, "walked\t0\t%d\n", len(files))
	r.out.Flush()
	time.Sleep(time.Minute)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

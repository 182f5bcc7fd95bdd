// Workloads that change names, not bytes.

package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const manyNames = 10_000

func newNames(prefix string) []cname {
	names := make([]cname, manyNames)
	for i := range names {
		names[i] = toC(fmt.Sprintf("new/%s%05d", prefix, i))
	}
	return names
}

func workNames(r *report) {
	a, b := newNames("a"), newNames("b")
	r.phase("create", manyNames, func() {
		for _, p := range a {
			closeC(openC(p, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_CLOEXEC, 0o644))
		}
	})
	r.phase("stat of created", manyNames, func() { statAll(a) })
	r.phase("rename", manyNames, func() {
		for i, p := range a {
			renameC(p, b[i])
		}
	})
	r.phase("unlink", manyNames, func() {
		for _, p := range b {
			unlinkC(p, 0)
		}
	})
}

func workCreate(r *report) {
	buf := make([]byte, 1024)
	names := newNames("c")
	r.phase("create + write 1 KiB + close", manyNames, func() {
		for _, p := range names {
			fd := openC(p, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_CLOEXEC, 0o644)
			writeC(fd, buf)
			closeC(fd)
		}
	})
}

// workMkdir makes and removes a tree of 10 + 100 + 1,000 directories.
func workMkdir(r *report) {
	var dirs []cname
	level := []string{"new"}
	for range 3 {
		var next []string
		for _, d := range level {
			for i := range 10 {
				next = append(next, fmt.Sprintf("%s/%d", d, i))
			}
		}
		for _, d := range next {
			dirs = append(dirs, toC(d))
		}
		level = next
	}
	r.phase("mkdir", len(dirs), func() {
		for _, d := range dirs {
			mkdirC(d)
		}
	})
	r.phase("rmdir", len(dirs), func() {
		for i := range dirs {
			unlinkC(dirs[len(dirs)-1-i], unix.AT_REMOVEDIR)
		}
	})
}

func workRemoveLower(r *report) {
	r.phase("rm -rf of a lower directory", treeFiles, func() {
		files, dirs := walk("tree")
		for _, p := range files {
			unlinkC(p, 0)
		}
		for i := range dirs {
			unlinkC(dirs[len(dirs)-1-i], unix.AT_REMOVEDIR)
		}
	})
}

// workMoveDir does what mv(1) does: rename, or copy and remove.
func workMoveDir(r *report) {
	r.phase("mv of a lower directory", 1, func() {
		err := os.Rename("tree", "new/tree")
		if errors.Is(err, syscall.EXDEV) {
			command(r, "/bin/mv", "tree", "new/tree")
			return
		}
		check(err)
	})
}

// Workloads that other people's programs do, from the
// base image. Without it they are left out.

package main

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// need ends the workload if the image lacks a program.
func need(paths ...string) {
	for _, p := range paths {
		if !exists(p) {
			panic(failure{"find", p, errSkip})
		}
	}
}

// command runs a program of the image to its end.
func command(_ *report, path string, args ...string) {
	need(path)
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), "HOME=/tmp", "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		panic(failure{"run " + path, fmt.Sprintf("%.200s", out), err})
	}
}

func workExec(r *report) {
	need("/bin/true")
	const n = 300
	run := func() {
		pid, err := syscall.ForkExec("/bin/true", []string{"true"}, &syscall.ProcAttr{})
		check(err)
		_, err = syscall.Wait4(pid, nil, 0, nil)
		check(err)
	}
	r.phase("exec, cold", 1, run)
	r.phase("exec, warm", n, func() {
		for range n {
			run()
		}
	})
}

func workCopy(r *report) {
	need("/bin/cp")
	r.phase("cp -a of 5,000 files, cold", treeFiles, func() { command(r, "/bin/cp", "-a", "tree", "new/copy") })
}

func workUntar(r *report) {
	need("/bin/tar")
	r.phase("untar of 20,000 files", untarFiles, func() { command(r, "/bin/tar", "-xf", "untar.tar", "-C", "new") })
}

// workGit makes a repository of a lower tree, untimed, and asks what changed.
func workGit(r *report) {
	const git = "/usr/bin/git"
	need(git)
	at := []string{"-C", "tree", "-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "gc.auto=0"}
	in := func(args ...string) { command(r, git, append(at[:len(at):len(at)], args...)...) }
	in("init", "-q")
	in("add", ".")
	in("commit", "-q", "-m", "all")
	r.phase("git status, first", 1, func() { in("status", "--short") })
	r.phase("git status, again", 10, func() {
		for range 10 {
			in("status", "--short")
		}
	})
}

func workPython(r *report) {
	const python = "/usr/bin/python3"
	need(python)
	run := func() {
		command(r, python, "-c", "import json, asyncio, http.server, xml.dom.minidom, unittest, sqlite3, numpy")
	}
	r.phase("python imports, cold", 1, run)
	r.phase("python imports, warm", 5, func() {
		for range 5 {
			run()
		}
	})
}

func workMake(r *report) {
	need("/usr/bin/make", "/usr/bin/gcc")
	r.phase("make of 100 C files", cFiles, func() { command(r, "/usr/bin/make", "-s", "-j2", "-C", "c", "CC=gcc") })
}

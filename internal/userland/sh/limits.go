// The builtins umask and ulimit: what files are made without, and how much a process may use.

package sh

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
	"mvdan.cc/sh/v3/interp"

	"tiffin/userland/box"
)

// builtinUmask is "umask [-S] [MODE]": POSIX, umask.
func (s *shell) builtinUmask(hc interp.HandlerContext, args []string) int {
	symbolic := len(args) > 0 && args[0] == "-S"
	if symbolic {
		args = args[1:]
	}
	mask := syscall.Umask(0)
	syscall.Umask(mask)
	if len(args) == 0 {
		if !symbolic {
			fmt.Fprintf(hc.Stdout, "%04o\n", mask)
			return 0
		}
		var parts []string
		for i, who := range "ugo" {
			bits := ^mask >> (6 - 3*i) & 7
			perm := ""
			for j, p := range "rwx" {
				if bits>>(2-j)&1 == 1 {
					perm += string(p)
				}
			}
			parts = append(parts, string(who)+"="+perm)
		}
		fmt.Fprintln(hc.Stdout, strings.Join(parts, ","))
		return 0
	}
	if n, err := strconv.ParseUint(args[0], 8, 32); err == nil && n <= 0o777 {
		syscall.Umask(int(n))
		return 0
	}
	allowed, err := box.ParseMode(args[0], ^uint32(mask)&0o777)
	if err != nil || strings.ContainsAny(args[0][:1], "0123456789") {
		fmt.Fprintf(hc.Stderr, "umask: %s: not a mode\n", args[0])
		return 1
	}
	syscall.Umask(int(^allowed & 0o777))
	return 0
}

// limits are the resources of "ulimit" (bash's letters): getrlimit(2). unit is
// what the number counts, in bytes or pieces.
var limits = [...]struct {
	letter   byte
	resource int
	unit     uint64
	text     string
}{
	{'c', unix.RLIMIT_CORE, 512, "core file size (512-byte blocks)"},
	{'d', unix.RLIMIT_DATA, 1024, "data segment size (KiB)"},
	{'e', unix.RLIMIT_NICE, 1, "scheduling priority"},
	{'f', unix.RLIMIT_FSIZE, 512, "file size (512-byte blocks)"},
	{'i', unix.RLIMIT_SIGPENDING, 1, "pending signals"},
	{'l', unix.RLIMIT_MEMLOCK, 1024, "locked memory (KiB)"},
	{'m', unix.RLIMIT_RSS, 1024, "resident memory (KiB)"},
	{'n', unix.RLIMIT_NOFILE, 1, "open files"},
	{'s', unix.RLIMIT_STACK, 1024, "stack size (KiB)"},
	{'t', unix.RLIMIT_CPU, 1, "processor time (seconds)"},
	{'u', unix.RLIMIT_NPROC, 1, "processes of the user"},
	{'v', unix.RLIMIT_AS, 1024, "address space (KiB)"},
}

// lowerOpenFiles undoes what Go's runtime did at the start: it raises the soft limit of open
// files to the hard one, and puts the old one back on each fork and exec. An execve(2) of nothing
// fails, but not before that.
var lowerOpenFiles = sync.OnceFunc(func() { _ = syscall.Exec("", nil, nil) })

// builtinUlimit is "ulimit [-HSa] [-LETTER] [LIMIT]". The limits are this
// process's own and are inherited by its children.
func (s *shell) builtinUlimit(hc interp.HandlerContext, args []string) int {
	hard, soft, all, which := false, false, false, byte('f')
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' {
		for _, l := range []byte(args[0][1:]) {
			switch l {
			case 'H':
				hard = true
			case 'S':
				soft = true
			case 'a':
				all = true
			default:
				which = l
			}
		}
		args = args[1:]
	}
	lowerOpenFiles()
	for _, l := range limits {
		if !all && l.letter != which {
			continue
		}
		// prlimit(2) in place of getrlimit, which Go's runtime adjusts for RLIMIT_NOFILE.
		var lim unix.Rlimit
		if err := unix.Prlimit(0, l.resource, nil, &lim); err != nil {
			fmt.Fprintf(hc.Stderr, "ulimit: %s\n", err)
			return 1
		}
		if !all && len(args) > 0 {
			return s.setLimit(hc, l.resource, l.unit, lim, args[0], hard, soft)
		}
		cur := lim.Cur
		if hard {
			cur = lim.Max
		}
		text := "unlimited"
		if cur != unix.RLIM_INFINITY {
			text = strconv.FormatUint(cur/l.unit, 10)
		}
		if all {
			fmt.Fprintf(hc.Stdout, "-%c: %-34s %s\n", l.letter, l.text, text)
		} else {
			fmt.Fprintln(hc.Stdout, text)
			return 0
		}
	}
	if !all {
		fmt.Fprintf(hc.Stderr, "ulimit: unknown option -%c\n", which)
		return 2
	}
	return 0
}

func (s *shell) setLimit(hc interp.HandlerContext, resource int, unit uint64, lim unix.Rlimit, text string, hard, soft bool) int {
	n := uint64(unix.RLIM_INFINITY)
	switch text {
	case "unlimited":
	case "hard":
		n = lim.Max
	case "soft":
		n = lim.Cur
	default:
		v, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			fmt.Fprintf(hc.Stderr, "ulimit: %s: not a number\n", text)
			return 1
		}
		n = v * unit
	}
	if soft || !hard {
		lim.Cur = n
	}
	if hard || !soft {
		lim.Max = n
	}
	// Through syscall for open files, so that Go does not restore the limit it
	// found at start in the children.
	var err error
	if resource == unix.RLIMIT_NOFILE {
		err = syscall.Setrlimit(resource, &syscall.Rlimit{Cur: lim.Cur, Max: lim.Max})
	} else {
		err = unix.Prlimit(0, resource, &lim, nil)
	}
	if err != nil {
		fmt.Fprintf(hc.Stderr, "ulimit: %s\n", err)
		return 1
	}
	return 0
}

// The filter: which calls stop in the kernel, as a program for its classic BPF machine.

package emulation

import (
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// kind says how the filter decides about a call.
type kind int

const (
	always kind = iota // hand over
	ask                // a question: hand over, or leave it to the kernel if nobody is there to be asked
	owner              // hand over if an id is not mapped: arguments at and at+1 are user and group
	device             // hand over if a device is to be made: argument at is the mode, the next its number
	keep               // hand over PR_SET_KEEPCAPS
	limit              // refuse to change RLIMIT_LOCKS: argument at is the resource, at+1 the pointer
	look               // hand over if owners are to be seen
)

// call is a system call.
type call struct {
	number uint32
	name   string
	kind   kind
	at     int
}

// arch is the calls of the programs of one architecture.
type arch struct {
	audit uint32 // AUDIT_ARCH_*, audit.h
	calls []call
}

// nameOf is the name of a call by its architecture and number, "" if it is not handed over.
func nameOf(audit, number uint32) string {
	for _, a := range archs {
		for _, c := range a.calls {
			if a.audit == audit && c.number == number {
				return c.name
			}
		}
	}
	return ""
}

// Supported tells whether the calls of this architecture are known.
func Supported() bool { return len(archs) > 0 }

// Range is ids that are mapped: those from First on, Count of them.
type Range struct{ First, Count uint32 }

// maxRanges is how many ranges of ids the filter knows; to ids in others the helper gives a file.
const maxRanges = 8

// noID is -1, which leaves an id as it is: chown(2).
const noID = ^uint32(0)

// Offsets in struct seccomp_data, seccomp(2): little-endian, as all supported architectures are.
const (
	offNumber = 0
	offArch   = 4
	offArgs   = 16
)

// Filter makes the program. With a listener the calls go there, and those of stat(2) too if owners
// are to be seen; without one, those that change something do nothing and succeed.
func Filter(uids, gids []Range, listener, owners bool) []unix.SockFilter {
	verdict := uint32(unix.SECCOMP_RET_ERRNO) // and errno 0: skip the call, and return 0
	if listener {
		verdict = unix.SECCOMP_RET_USER_NOTIF
	}
	prog := []unix.SockFilter{load(offArch)}
	for _, a := range archs {
		part := []unix.SockFilter{load(offNumber)}
		for _, c := range a.calls {
			if !listener && (c.kind == ask || c.kind == keep || c.kind == limit) || c.kind == look && !(listener && owners) {
				continue
			}
			body := c.body(verdict, uids, gids)
			part = append(part, jump(unix.BPF_JEQ, c.number, 0, uint8(len(body))))
			part = append(part, body...)
		}
		part = append(part, ret(unix.SECCOMP_RET_ALLOW))
		// Another architecture: past this part, by a jump that is not limited to 255 instructions.
		past := unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JA, K: uint32(len(part))}
		prog = append(append(prog, jump(unix.BPF_JEQ, a.audit, 1, 0), past), part...)
	}
	return append(prog, ret(unix.SECCOMP_RET_ALLOW))
}

// body decides about a call, and every way through it returns.
func (c *call) body(verdict uint32, uids, gids []Range) []unix.SockFilter {
	switch c.kind {
	case owner:
		user, group := mapped(c.at, uids), mapped(c.at+1, gids)
		// A check that fails goes to the verdict, which comes first; the second leads to "allow".
		out := slices.Concat(user, []unix.SockFilter{ret(verdict)}, group, []unix.SockFilter{ret(verdict)})
		return append(out, ret(unix.SECCOMP_RET_ALLOW))
	case device:
		return []unix.SockFilter{
			load(argument(c.at)), {Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: unix.S_IFMT},
			jump(unix.BPF_JEQ, unix.S_IFBLK, 3, 0),
			jump(unix.BPF_JEQ, unix.S_IFCHR, 0, 3),
			// A character device with number 0 is for everybody, a whiteout of overlayfs.
			load(argument(c.at + 1)), jump(unix.BPF_JEQ, 0, 1, 0),
			ret(verdict), ret(unix.SECCOMP_RET_ALLOW),
		}
	case keep:
		return []unix.SockFilter{load(argument(c.at)), jump(unix.BPF_JEQ, unix.PR_SET_KEEPCAPS, 0, 1),
			ret(verdict), ret(unix.SECCOMP_RET_ALLOW)}
	case limit:
		return []unix.SockFilter{
			load(argument(c.at)), jump(unix.BPF_JEQ, unix.RLIMIT_LOCKS, 0, 4),
			load(argument(c.at + 1)), jump(unix.BPF_JEQ, 0, 0, 3),
			load(argument(c.at+1) + 4), jump(unix.BPF_JEQ, 0, 0, 1),
			ret(unix.SECCOMP_RET_ALLOW), ret(unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)),
		}
	}
	return []unix.SockFilter{ret(verdict)}
}

// mapped skips the instruction behind it if an argument is -1 or a mapped id. The kernel takes the
// low 32 bits, uid_t.
func mapped(arg int, ranges []Range) []unix.SockFilter {
	ranges = ranges[:min(len(ranges), maxRanges)]
	out := []unix.SockFilter{load(argument(arg)), jump(unix.BPF_JEQ, noID, uint8(2*len(ranges))+1, 0)}
	for i, r := range ranges {
		left := uint8(2 * (len(ranges) - 1 - i))
		out = append(out, jump(unix.BPF_JGE, r.First, 0, 1), jump(unix.BPF_JGT, r.First+r.Count-1, 0, left+1))
	}
	return out
}

func argument(n int) uint32 { return offArgs + 8*uint32(n) }

func load(off uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: off}
}

func jump(op uint16, k uint32, yes, no uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | op | unix.BPF_K, K: k, Jt: yes, Jf: no}
}

func ret(k uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k} }

// Load makes the filter count for this thread and returns the listener's descriptor, which is
// close-on-exec: seccomp(2), SECCOMP_FILTER_FLAG_NEW_LISTENER. The error is EBUSY if a filter of
// this thread has one already, and EINVAL from kernels before 5.0.
func Load(prog []unix.SockFilter, listener bool) (fd int, flags uintptr, err error) {
	filter := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	try := []uintptr{0}
	if listener {
		// Linux 5.19: a signal that does not kill leaves the call alone once the supervisor has it.
		const killable = unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
		try = []uintptr{unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | killable, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER}
	}
	for _, flags = range try {
		n, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&filter)))
		if errno == 0 {
			return int(n), flags, nil
		}
		err = errno
		if errno != unix.EINVAL {
			break
		}
	}
	return -1, flags, err
}

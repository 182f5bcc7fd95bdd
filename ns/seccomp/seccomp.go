// Package seccomp makes the filter that decides which system calls a container's
// command may use: moby's default list, as a program for the kernel's classic BPF
// machine.
//
// The list (github.com/moby/profiles/seccomp) names calls; which number a name has depends on the
// architecture. Both are put together beforehand, in table_*.go: `go test
// ./ns/seccomp -update` writes them, and the test without -update fails if they no longer
// match the list. A table has one byte for each system call number: an index into rules.
// What is left for the start of a container is to decide each rule by the
// capabilities the command has, to join neighbours with the same answer into ranges,
// and to write a binary search over them: about 20 µs, no allocation but the
// program's, and nothing at all in processes that load no filter.
//
//	ld  arch
//	jeq x86_64 ──no──► jeq i386 ──no──► kill
//	ld  number
//	jge 200 ──► …         each comparison halves the ranges that are left
//	jge 100 ──► …
//	ret ALLOW             the leaf: allow, EPERM, ENOSYS, or look at an argument
//
// Answers: what the list allows is allowed; other calls are EPERM. Numbers above the newest call
// that the list mentions are ENOSYS, so that a C library newer than the list takes its older way
// instead of giving up; so are the gaps. Two things differ from moby. x32 calls (bit 30 of the
// number) are ENOSYS; no distribution uses them. So is socketcall(2), by which i386 made sockets
// before it had socket(2) (Linux 4.3): its arguments are behind a pointer, where a filter cannot
// look, and with it a 32-bit program would get AF_ALG and AF_VSOCK. musl then takes the calls of
// their own; 32-bit programs of Debian's C library and of Go have no sockets here, unless the
// filter is left out.
//
// The kernel runs a filter for every call, but remembers which numbers are allowed whatever the
// arguments (Linux 5.11, kernel/seccomp.c, "seccomp_cache"), so the search is paid for few of them.
package seccomp

import (
	"slices"

	"golang.org/x/sys/unix"
)

// verdict is what a rule comes to for given capabilities: one of the returns below, or
// the index of an argument check.
type verdict uint32

const (
	allow  verdict = unix.SECCOMP_RET_ALLOW
	eperm  verdict = unix.SECCOMP_RET_ERRNO | verdict(unix.EPERM)
	enosys verdict = unix.SECCOMP_RET_ERRNO | verdict(unix.ENOSYS)
	kill   verdict = unix.SECCOMP_RET_KILL_PROCESS
)

// A rule is what the list says about a system call: alternatives, of which the first that applies
// decides. Without one it is EPERM.
type rule []alternative

// alternative applies if all capabilities of need are there and none of not.
type alternative struct {
	need, not uint64 // bits as in capabilities(7)
	errno     uint16 // 0 = allow
	args      []check
}

// check is a condition on the low 32 bits of an argument; a call is allowed if any of its checks
// holds. The arguments concerned (family, persona, clone flags) are no wider in the kernel, and the
// upper half must not make a difference: socket(1<<32|AF_VSOCK, …) is AF_VSOCK to the kernel.
type check struct {
	arg  uint8
	op   uint8
	mask uint32 // masked
	val  uint32
}

const (
	equal  = iota // argument == val
	masked        // argument & mask == val
)

// arch is an architecture's calls.
type arch struct {
	audit uint32   // AUDIT_ARCH_*, audit.h
	calls string   // calls[number] is an index into rules
	names string   // of the calls by number, with blanks between them; - where there is none
	far   []uint32 // single numbers far above the others that are allowed, ascending
}

// unknown is the index of numbers that have no call; known of those that the list never allows.
const (
	unknown = 0
	known   = 1
)

// Supported tells whether there is a table for this architecture.
func Supported() bool { return len(archs) > 0 }

// Offsets in struct seccomp_data, seccomp(2): little-endian, as all supported architectures are.
const (
	offNumber = 0
	offArch   = 4
	offArgs   = 16
)

// decided is a rule for given capabilities.
type decided struct {
	ret  verdict
	args []check           // if not empty: any of them → allow, else ret
	code []unix.SockFilter // if not empty: what answers, instead of the two
}

// Compile makes the filter for a command with the given capabilities, as bits. It allows also calls
// of this architecture by their numbers.
func Compile(caps uint64, also ...uint32) []unix.SockFilter {
	verdicts := make([]decided, len(rules))
	for i, r := range rules {
		verdicts[i] = r.decide(caps)
	}
	verdicts[unknown] = decided{ret: enosys}
	return build(archs, decided{ret: enosys}, func(i int, number uint32) decided {
		if i == 0 && slices.Contains(also, number) { // the numbers of other architectures are others
			return decided{ret: allow}
		}
		return verdicts[archs[i].calls[number]]
	})
}

// build makes a filter of an answer to each call of some architectures, and one to numbers beyond
// the tables. Calls of all other architectures kill the process.
func build(archs []arch, beyond decided, answer func(arch int, number uint32) decided) []unix.SockFilter {
	prog := make([]unix.SockFilter, 0, 1024)
	prog = append(prog, load(offArch))
	for i := range archs {
		// Not this architecture: past the body, by an unconditional jump, which is not limited to
		// 255 instructions.
		prog = append(prog, jump(unix.BPF_JEQ, archs[i].audit, 1, 0), always(0))
		start := len(prog)
		prog = archs[i].compile(prog, beyond, func(number uint32) decided { return answer(i, number) })
		prog[start-1].K = uint32(len(prog) - start)
	}
	return append(prog, ret(kill))
}

func (r rule) decide(caps uint64) decided {
	d := decided{ret: eperm}
	for _, a := range r {
		if caps&a.need != a.need || caps&a.not != 0 {
			continue
		}
		switch {
		case len(a.args) > 0:
			d.args = append(d.args, a.args...)
		case a.errno != 0:
			d.ret = verdict(unix.SECCOMP_RET_ERRNO) | verdict(a.errno)
		default:
			return decided{ret: allow}
		}
	}
	return d
}

// span is a range of numbers, up to the next one's first, with one answer.
type span struct {
	first uint32
	decided
}

// compile appends the search through all numbers of an architecture.
func (a *arch) compile(prog []unix.SockFilter, beyond decided, answer func(number uint32) decided) []unix.SockFilter {
	spans := make([]span, 0, 256)
	for n := range uint32(len(a.calls)) {
		if d := answer(n); n == 0 || !same(d, spans[len(spans)-1].decided) {
			spans = append(spans, span{n, d})
		}
	}
	spans = append(spans, span{uint32(len(a.calls)), beyond})
	for _, n := range a.far {
		spans = append(spans, span{n, decided{ret: allow}}, span{n + 1, beyond})
	}
	return search(append(prog, load(offNumber)), append(spans, span{x32, decided{ret: enosys}}))
}

// x32 is the first number of the calls of x32, syscall(2), "Architecture calling conventions".
const x32 = 1 << 30

// same tells whether two answers are one, whatever the arguments.
func same(a, b decided) bool {
	return a.ret == b.ret && len(a.args)+len(b.args)+len(a.code)+len(b.code) == 0
}

// search appends code that finds the span of the number in the accumulator, and answers.
func search(prog []unix.SockFilter, spans []span) []unix.SockFilter {
	if len(spans) == 1 {
		return spans[0].leaf(prog)
	}
	middle := len(spans) / 2
	at := len(prog)
	prog = append(prog, jump(unix.BPF_JGE, spans[middle].first, 0, 0))
	prog = search(prog, spans[:middle])
	if low := len(prog) - at - 1; low <= 255 {
		prog[at].Jt = uint8(low)
	} else { // too far for a conditional jump
		prog = slices.Insert(prog, at+1, always(low))
		prog[at].Jf = 1
	}
	return search(prog, spans[middle:])
}

// leaf appends an answer. Jumps are relative, so code may stand anywhere. Each check that holds
// jumps to the one ALLOW behind the refusal.
func (d *decided) leaf(prog []unix.SockFilter) []unix.SockFilter {
	if len(d.code) > 0 {
		return append(prog, d.code...)
	}
	var tests []int
	for i, c := range d.args {
		if i == 0 || c.arg != d.args[i-1].arg || d.args[i-1].op == masked {
			prog = append(prog, load(offArgs+8*uint32(c.arg)))
		}
		if c.op == masked {
			prog = append(prog, unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: c.mask})
		}
		tests = append(tests, len(prog))
		prog = append(prog, jump(unix.BPF_JEQ, c.val, 0, 0))
	}
	prog = append(prog, ret(d.ret))
	for _, at := range tests {
		prog[at].Jt = uint8(len(prog) - at - 1)
	}
	if len(tests) > 0 {
		prog = append(prog, ret(allow))
	}
	return prog
}

func load(offset uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
}

func jump(op uint16, k uint32, yes, no uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | op | unix.BPF_K, Jt: yes, Jf: no, K: k}
}

func always(n int) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JA, K: uint32(n)}
}

func ret(v verdict) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: uint32(v)}
}

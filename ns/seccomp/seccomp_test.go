package seccomp

import (
	"encoding/binary"
	"runtime"
	"slices"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

const rootCaps = 0xa80425fb // what ns gives root

// machine runs a filter as the kernel would.
func machine(t *testing.T, caps uint64) func(audit, number uint32, arg0 uint64) verdict {
	t.Helper()
	return run(t, Compile(caps))
}

// run is machine for a filter.
func run(t *testing.T, prog []unix.SockFilter) func(audit, number uint32, arg0 uint64) verdict {
	t.Helper()
	if len(prog) > 4096 { // BPF_MAXINSNS
		t.Fatalf("%d instructions", len(prog))
	}
	raw := make([]bpf.RawInstruction, len(prog))
	for i, f := range prog {
		raw[i] = bpf.RawInstruction{Op: f.Code, Jt: f.Jt, Jf: f.Jf, K: f.K}
	}
	ins, ok := bpf.Disassemble(raw)
	if !ok {
		t.Fatal("not all instructions are known")
	}
	vm, err := bpf.NewVM(ins)
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 64)
	return func(audit, number uint32, arg0 uint64) verdict {
		// The virtual machine reads packets, big-endian; the kernel reads struct seccomp_data in
		// its own order.
		binary.BigEndian.PutUint32(data[offNumber:], number)
		binary.BigEndian.PutUint32(data[offArch:], audit)
		binary.BigEndian.PutUint32(data[offArgs:], uint32(arg0))
		binary.BigEndian.PutUint32(data[offArgs+4:], uint32(arg0>>32))
		v, err := vm.Run(data)
		if err != nil {
			t.Fatal(err)
		}
		return verdict(v)
	}
}

// expect reads the list without any of the code under test.
func expect(entries []entry, name string, caps uint64, arg0 uint64) verdict {
	v := eperm
	for _, e := range entries {
		if !slices.Contains(e.names, name) || caps&e.need != e.need || caps&e.not != 0 {
			continue
		}
		if e.errno != 0 {
			v = verdict(unix.SECCOMP_RET_ERRNO) | verdict(e.errno)
			continue
		}
		if len(e.args) == 0 {
			return allow
		}
		a, c := uint32(arg0), e.args[0]
		if c.op == equal && a == c.val || c.op == masked && a&c.mask == c.val {
			return allow
		}
	}
	return v
}

func TestFilterAnswersAsTheListSays(t *testing.T) {
	if !Supported() {
		t.Skip("no table for " + runtime.GOARCH)
	}
	const all = 1<<41 - 1
	args := []uint64{0, 3, 8, 17, 37, 38, 39, 40, 41, 45, 46, 0x20000, 0x20008, 0x20001, 0xffffffff,
		unix.CLONE_NEWUSER, unix.CLONE_NEWNET | uint64(unix.SIGCHLD), unix.CLONE_VM | unix.CLONE_VFORK | uint64(unix.SIGCHLD), 1<<32 | 38, 1<<32 | 40}
	for m, mach := range machines {
		if mach.goarch != runtime.GOARCH {
			continue
		}
		entries := list(t, mach.goarch)
		for i, zsys := range machines[m].zsys {
			byNumber, last := names(t, zsys, entries)
			for _, caps := range []uint64{rootCaps, 0, all, 1 << unix.CAP_SYS_ADMIN, 1 << unix.CAP_SYS_PTRACE} {
				run := machine(t, caps)
				for n := range 600 {
					for _, arg := range args {
						want := enosys
						if name := byNumber[n]; name != "" && n <= last {
							want = expect(entries, name, caps, arg)
						}
						if got := run(archs[i].audit, uint32(n), arg); got != want {
							t.Fatalf("%s %s (%d), caps %#x, argument %#x: %#x, want %#x", zsys, byNumber[n], n, caps, arg, got, want)
						}
					}
				}
			}
		}
	}
}

func TestOddCallsAreRefused(t *testing.T) {
	if !Supported() {
		t.Skip("no table for " + runtime.GOARCH)
	}
	run := machine(t, rootCaps)
	for _, n := range []uint32{1000, 0x40000000, 0x40000000 + 1, 0xffffffff} {
		if got := run(archs[0].audit, n, 0); got != enosys {
			t.Errorf("number %#x: %#x, want ENOSYS", n, got)
		}
	}
	if got := run(unix.AUDIT_ARCH_S390X, 1, 0); got != kill {
		t.Errorf("another architecture: %#x", got)
	}
}

func BenchmarkCompile(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Compile(rootCaps)
	}
}

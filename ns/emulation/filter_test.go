package emulation

import (
	"encoding/binary"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// run runs a filter as the kernel would.
func run(t *testing.T, prog []unix.SockFilter, audit, number uint32, args ...uint64) uint32 {
	t.Helper()
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
	// The virtual machine reads packets, big-endian; the kernel reads struct seccomp_data in its
	// own order.
	data := make([]byte, 64)
	binary.BigEndian.PutUint32(data[offNumber:], number)
	binary.BigEndian.PutUint32(data[offArch:], audit)
	for i, a := range args {
		binary.BigEndian.PutUint32(data[offArgs+8*i:], uint32(a))
		binary.BigEndian.PutUint32(data[offArgs+8*i+4:], uint32(a>>32))
	}
	v, err := vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(v)
}

const (
	minusOne = 1<<64 - 1
	notify   = unix.SECCOMP_RET_USER_NOTIF
	allow    = unix.SECCOMP_RET_ALLOW
	nothing  = unix.SECCOMP_RET_ERRNO // with errno 0: success
	refused  = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
)

func TestFilter(t *testing.T) {
	if !Supported() {
		t.Skip("no calls are known for this architecture")
	}
	one := []Range{{0, 1}}
	for _, c := range []struct {
		what       string
		number     uint32
		args       []uint64
		with, fake uint32
	}{
		{"a file to root", unix.SYS_FCHOWN, []uint64{3, 0, 0}, allow, allow},
		{"a file to nobody else", unix.SYS_FCHOWN, []uint64{3, minusOne, minusOne}, allow, allow},
		{"only the upper half differs", unix.SYS_FCHOWN, []uint64{3, 1 << 32, 0}, allow, allow},
		{"a file to another user", unix.SYS_FCHOWN, []uint64{3, 1, minusOne}, notify, nothing},
		{"a file to another group", unix.SYS_FCHOWN, []uint64{3, 0, 7}, notify, nothing},
		{"by name", unix.SYS_FCHOWNAT, []uint64{minusOne, 1, 5, 5, 0}, notify, nothing},
		{"a fifo", unix.SYS_MKNODAT, []uint64{0, 1, unix.S_IFIFO | 0o644, 0}, allow, allow},
		{"a file", unix.SYS_MKNODAT, []uint64{0, 1, unix.S_IFREG | 0o644, 0}, allow, allow},
		{"a whiteout", unix.SYS_MKNODAT, []uint64{0, 1, unix.S_IFCHR, 0}, allow, allow},
		{"a character device", unix.SYS_MKNODAT, []uint64{0, 1, unix.S_IFCHR, 0x103}, notify, nothing},
		{"a block device", unix.SYS_MKNODAT, []uint64{0, 1, unix.S_IFBLK, 0}, notify, nothing},
		{"another user", unix.SYS_SETUID, []uint64{33}, notify, nothing},
		{"other groups", unix.SYS_SETGROUPS, []uint64{0, 0}, notify, nothing},
		{"who am I", unix.SYS_GETEUID, nil, notify, allow},
		{"the mark", unix.SYS_PRLIMIT64, []uint64{0, unix.RLIMIT_LOCKS, 1 << 40, 0}, refused, allow},
		{"the mark, only read", unix.SYS_PRLIMIT64, []uint64{0, unix.RLIMIT_LOCKS, 0, 1}, allow, allow},
		{"another limit", unix.SYS_PRLIMIT64, []uint64{0, unix.RLIMIT_NOFILE, 1, 0}, allow, allow},
		{"kept capabilities", unix.SYS_PRCTL, []uint64{unix.PR_SET_KEEPCAPS, 1}, notify, allow},
		{"a name of the thread", unix.SYS_PRCTL, []uint64{unix.PR_SET_NAME, 1}, allow, allow},
	} {
		if got := run(t, Filter(one, one, true, false), native, c.number, c.args...); got != c.with {
			t.Errorf("%s: %#x, want %#x", c.what, got, c.with)
		}
		if got := run(t, Filter(one, one, false, false), native, c.number, c.args...); got != c.fake {
			t.Errorf("%s, without a listener: %#x, want %#x", c.what, got, c.fake)
		}
	}
	if Supported() {
		for owners, want := range map[bool]uint32{false: allow, true: notify} {
			if got := run(t, Filter(one, one, true, owners), native, unix.SYS_STATX, minusOne, 0, 0, 0, 0); got != want {
				t.Errorf("statx, with owners %v: %#x", owners, got)
			}
		}
	}
	many := []Range{{0, 1}, {1, 1000}, {5000, 1}}
	for id, want := range map[uint64]uint32{0: allow, 1: allow, 1000: allow, 1001: notify, 4999: notify, 5000: allow, 5001: notify, minusOne: allow} {
		if got := run(t, Filter(many, one, true, false), native, unix.SYS_FCHOWN, 3, id, minusOne); got != want {
			t.Errorf("a file to %d: %#x, want %#x", id, got, want)
		}
	}
}

// TestOtherCallsDoNotStop: whoever calls nothing of the list makes not one stop more.
func TestOtherCallsDoNotStop(t *testing.T) {
	prog := Filter([]Range{{0, 1}}, []Range{{0, 1}}, true, false)
	for _, a := range archs {
		stopped := 0
		for n := range uint32(600) {
			if got := run(t, prog, a.audit, n, minusOne, minusOne, minusOne, minusOne, minusOne); got != allow {
				if stopped++; nameOf(a.audit, n) == "" {
					t.Errorf("call %d of architecture %#x stops", n, a.audit)
				}
			}
		}
		if stopped < 15 {
			t.Errorf("only %d calls of architecture %#x stop", stopped, a.audit)
		}
	}
}

// TestCallsOf32Bits: programs of the other architecture have the same calls, by other numbers.
func TestCallsOf32Bits(t *testing.T) {
	if !Supported() {
		t.Skip("no calls are known for this architecture")
	}
	prog := Filter([]Range{{0, 1}}, []Range{{0, 1}}, true, false)
	in := map[string]bool{}
	for _, c := range archs[1].calls {
		in[c.name] = true
	}
	for _, c := range archs[0].calls {
		if !in[c.name] && c.kind != look {
			t.Errorf("%s is not among them", c.name)
		}
	}
	const chown32 = 212
	for id, want := range map[uint64]uint32{0: allow, uint64(noID): allow, 33: notify} {
		if got := run(t, prog, archs[1].audit, chown32, 0, id, minusOne); got != want {
			t.Errorf("chown32 to %d: %#x, want %#x", id, got, want)
		}
	}
	if got := run(t, prog, 99, chown32, 0, 33, 33); got != allow {
		t.Errorf("a call of no architecture at hand: %#x", got)
	}
}

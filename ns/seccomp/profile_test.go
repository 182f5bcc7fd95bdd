package seccomp

import (
	"encoding/json"
	"runtime"
	"slices"
	"strings"
	"testing"

	moby "github.com/moby/profiles/seccomp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// read is a profile of docker's.
func read(t *testing.T, text string, caps ...string) *Profile {
	t.Helper()
	spec, err := moby.LoadProfile(text, &specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: caps}}})
	if err != nil {
		t.Fatal(err)
	}
	p := new(Profile)
	if text, err := json.Marshal(spec); err != nil || json.Unmarshal(text, p) != nil {
		t.Fatal(err)
	}
	return p
}

// TestProfileOfMobyIsTheBuiltInFilter: the list that the tables are made of, read as a profile,
// gives the answers that the tables give, but for socketcall(2).
func TestProfileOfMobyIsTheBuiltInFilter(t *testing.T) {
	if !Supported() {
		t.Skip("no table for " + runtime.GOARCH)
	}
	text, err := json.Marshal(moby.DefaultProfile())
	if err != nil {
		t.Fatal(err)
	}
	for _, caps := range [][]string{nil, {"CAP_SYS_ADMIN"}, {"CAP_SYS_PTRACE", "CAP_SYS_CHROOT"}} {
		prog, _, err := CompileProfile(read(t, string(text), caps...))
		if err != nil {
			t.Fatal(err)
		}
		own, built := run(t, prog), machine(t, capBits(t, caps))
		for i, a := range archs {
			for n, name := range strings.Fields(a.names) {
				for _, arg := range []uint64{0, 8, 17, 39, 40, 41, 0x20008, unix.CLONE_NEWUSER, unix.CLONE_VM} {
					if got, want := own(a.audit, uint32(n), arg), built(a.audit, uint32(n), arg); got != want && name != "socketcall" {
						t.Errorf("%v, architecture %d, %s(%#x): %#x, want %#x", caps, i, name, arg, got, want)
					}
				}
			}
		}
	}
}

func TestConditionsOfAProfile(t *testing.T) {
	if !Supported() {
		t.Skip("no table for " + runtime.GOARCH)
	}
	write := uint32(slices.Index(strings.Fields(archs[0].names), "write"))
	const big = 1<<32 + 5
	values := []uint64{0, 4, 5, 6, 1 << 32, big - 1, big, big + 1, 2 << 32, 2<<32 + 5, ^uint64(0)}
	for _, value := range []uint64{5, big} {
		for op, holds := range map[string]func(v uint64) bool{
			"SCMP_CMP_EQ":        func(v uint64) bool { return v == value },
			"SCMP_CMP_NE":        func(v uint64) bool { return v != value },
			"SCMP_CMP_LT":        func(v uint64) bool { return v < value },
			"SCMP_CMP_LE":        func(v uint64) bool { return v <= value },
			"SCMP_CMP_GT":        func(v uint64) bool { return v > value },
			"SCMP_CMP_GE":        func(v uint64) bool { return v >= value },
			"SCMP_CMP_MASKED_EQ": func(v uint64) bool { return v&value == 4 },
		} {
			first := []Condition{{Index: 0, Value: value, ValueTwo: 4, Op: op}}
			both := append(slices.Clone(first), Condition{Index: 0, Value: 6, Op: "SCMP_CMP_NE"})
			for _, args := range [][]Condition{first, both} {
				prog, _, err := CompileProfile(&Profile{DefaultAction: "SCMP_ACT_ALLOW", Syscalls: []Entry{
					{Names: []string{"write"}, Action: "SCMP_ACT_ERRNO", Args: args},
					{Names: []string{"write"}, Action: "SCMP_ACT_LOG", Args: []Condition{{Index: 0, Value: 0, Op: "SCMP_CMP_EQ"}}}}})
				if err != nil {
					t.Fatal(err)
				}
				answer := run(t, prog)
				for _, v := range values {
					want := allow
					if holds(v) && (len(args) == 1 || v != 6) {
						want = eperm
					} else if v == 0 {
						want = unix.SECCOMP_RET_LOG
					}
					if got := answer(archs[0].audit, write, v); got != want {
						t.Errorf("write(%#x), %s %#x: %#x, want %#x", v, op, value, got, want)
					}
				}
			}
		}
	}
}

// TestOtherArchitecturesUnderAProfile: what is forbidden cannot be called by another number.
func TestOtherArchitecturesUnderAProfile(t *testing.T) {
	if !Supported() {
		t.Skip("no table for " + runtime.GOARCH)
	}
	text := `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 30}]}`
	p := read(t, text)
	for _, native := range []bool{true, false} {
		if !native {
			p.Architectures = []string{"SCMP_ARCH_X86", "SCMP_ARCH_ARM"}
		}
		prog, _, err := CompileProfile(p)
		if err != nil {
			t.Fatal(err)
		}
		answer := run(t, prog)
		for i, a := range archs {
			want := verdict(unix.SECCOMP_RET_ERRNO | uint32(unix.EROFS))
			if i > 0 && native {
				want = kill
			}
			n := uint32(slices.Index(strings.Fields(a.names), "mkdirat"))
			if got := answer(a.audit, n, 0); got != want {
				t.Errorf("native alone %v, architecture %d: %#x, want %#x", native, i, got, want)
			}
			if got := answer(a.audit, n|x32, 0); got != enosys && want != kill {
				t.Errorf("x32: %#x", got)
			}
		}
		if got := answer(archs[0].audit, 1000, 0); got != allow {
			t.Errorf("a number beyond the table: %#x", got)
		}
	}
}

func TestProfilesThatAreRefused(t *testing.T) {
	if !Supported() {
		t.Skip("no table for " + runtime.GOARCH)
	}
	for syscalls, want := range map[string]string{
		`{"names": ["mkdr"], "action": "SCMP_ACT_ERRNO"}`:                                                               `no system call ["mkdr"]`,
		`{"names": [], "action": "SCMP_ACT_ERRNO"}`:                                                                     "no system call []",
		`{"names": ["read"], "action": "ERRNO"}`:                                                                        "the action ERRNO needs",
		`{"names": ["read"]}`:                                                                                           "no action",
		`{"names": ["read"], "action": "SCMP_ACT_NOTIFY"}`:                                                              "needs another program",
		`{"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 4096}`:                                             "more than 4095",
		`{"names": ["read"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 6, "op": "SCMP_CMP_EQ"}]}`:                  "argument 6",
		`{"names": ["read"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "op": "=="}]}`:                           "the condition ==",
		`{"names": ["read"], "action": "SCMP_ACT_ALLOW"}, {"names": ["write", "read"], "action": "SCMP_ACT_KILL"}`:      "read was decided already",
		`{"names": ["read"], "action": "SCMP_ACT_ERRNO"}, {"names": ["read"], "action": "SCMP_ACT_ERRNO","errnoRet":5}`: "read was decided already",
	} {
		if _, _, err := CompileProfile(read(t, `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [`+syscalls+`]}`)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", syscalls, err, want)
		}
	}
	p := read(t, `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read", "s390_pci_mmio_read"], "action": "SCMP_ACT_LOG"}]}`)
	if _, unknown, err := CompileProfile(p); err != nil || !slices.Equal(unknown, []string{"s390_pci_mmio_read"}) {
		t.Errorf("%q, %v", unknown, err)
	}
}

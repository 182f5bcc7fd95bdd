// Profiles of the user's own: as the OCI runtime specification has them, config-linux.md,
// "Seccomp". docker's become such when their conditions on capabilities and machines are decided.

package seccomp

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Profile says what to answer to which calls. Its JSON is the specification's.
type Profile struct {
	DefaultAction   string   `json:"defaultAction"`
	DefaultErrnoRet *uint    `json:"defaultErrnoRet,omitempty"`
	Architectures   []string `json:"architectures,omitempty"`
	Syscalls        []Entry  `json:"syscalls,omitempty"`
}

// Entry is an answer to some calls.
type Entry struct {
	Names    []string    `json:"names"`
	Action   string      `json:"action"`
	ErrnoRet *uint       `json:"errnoRet,omitempty"`
	Args     []Condition `json:"args,omitempty"`
}

// Condition compares an argument, the first is 0. With SCMP_CMP_MASKED_EQ Value is the mask.
type Condition struct {
	Index    uint   `json:"index"`
	Value    uint64 `json:"value"`
	ValueTwo uint64 `json:"valueTwo"`
	Op       string `json:"op"`
}

// CompileProfile makes the filter of a profile. For a call the first entry decides that names it
// and whose conditions, all of them, hold. An entry behind one without conditions that answers
// something else is an error: it could never count.
//
// The second architecture of the machine, i386 or 32-bit ARM, has the same entries if the profile
// names it; else its calls kill the process, as those of all others do. Numbers that the tables do
// not have get the default action if that is to allow or to log, and ENOSYS otherwise; those of x32
// always ENOSYS.
//
// unknown are names that no call of the machine has. An entry without any other is an error.
func CompileProfile(p *Profile) (prog []unix.SockFilter, unknown []string, err error) {
	ret, err := action(p.DefaultAction, p.DefaultErrnoRet)
	if err != nil {
		return nil, nil, fmt.Errorf("defaultAction: %w", err)
	}
	list := archs
	if !slices.Contains(p.Architectures, "SCMP_ARCH_X86") && !slices.Contains(p.Architectures, "SCMP_ARCH_ARM") {
		list = archs[:1]
	}
	var tables [][]string
	for _, a := range archs {
		tables = append(tables, strings.Fields(a.names))
	}
	for i, entry := range p.Syscalls {
		missing := slices.DeleteFunc(slices.Clone(entry.Names), func(name string) bool {
			return slices.ContainsFunc(tables, func(t []string) bool { return slices.Contains(t, name) })
		})
		if len(missing) == len(entry.Names) {
			return nil, nil, fmt.Errorf("syscalls[%d]: this machine has no system call %q", i, missing)
		}
		unknown = append(unknown, missing...)
	}
	answers, err := answersOf(p, ret)
	if err != nil {
		return nil, nil, err
	}
	beyond := decided{ret: enosys}
	if ret == allow || ret == unix.SECCOMP_RET_LOG {
		beyond.ret = ret
	}
	prog = build(list, beyond, func(i int, number uint32) decided {
		name := tables[i][number]
		if name == "-" {
			return beyond
		}
		if d, ok := answers[name]; ok {
			return d
		}
		return decided{ret: ret}
	})
	if len(prog) > unix.BPF_MAXINSNS {
		return nil, nil, fmt.Errorf("the filter would have %d instructions, and the kernel takes %d", len(prog), unix.BPF_MAXINSNS)
	}
	return prog, unknown, nil
}

// clause is an entry, as far as it concerns one call.
type clause struct {
	args []Condition
	ret  verdict
}

// answersOf has an answer to each call that a profile names; otherwise is that to all others.
func answersOf(p *Profile, otherwise verdict) (map[string]decided, error) {
	clauses := map[string][]clause{}
	for i, entry := range p.Syscalls {
		ret, err := action(entry.Action, entry.ErrnoRet)
		if err != nil {
			return nil, fmt.Errorf("syscalls[%d]: %w", i, err)
		}
		for _, a := range entry.Args {
			if high, _ := steps(a.Op); high == nil || a.Index > 5 {
				return nil, fmt.Errorf("syscalls[%d]: the condition %s on argument %d is none of libseccomp's", i, a.Op, a.Index)
			}
		}
		for _, name := range entry.Names {
			have := clauses[name]
			if n := len(have); n == 0 || len(have[n-1].args) > 0 {
				clauses[name] = append(have, clause{entry.Args, ret})
			} else if have[n-1].ret != ret {
				return nil, fmt.Errorf("syscalls[%d]: %s was decided already, by an entry without conditions", i, name)
			}
		}
	}
	answers := map[string]decided{}
	for name, list := range clauses {
		if len(list[0].args) == 0 {
			answers[name] = decided{ret: list[0].ret}
			continue
		}
		var code []unix.SockFilter
		for _, c := range list {
			code = append(code, c.compile()...)
		}
		answers[name] = decided{code: append(code, ret(otherwise))}
	}
	return answers, nil
}

// Where a condition may jump to, before its end is known.
const (
	holds = 0xfe // behind the condition
	fails = 0xff // behind the clause
)

// steps are libseccomp's operators, seccomp_rule_add(3), on the high words of argument and value,
// and then on the low ones. Each step is a jump with its two targets; 0 goes on.
func steps(op string) (high, low []step) {
	const eq, gt, ge = unix.BPF_JEQ, unix.BPF_JGT, unix.BPF_JGE
	switch op {
	case "SCMP_CMP_EQ", "SCMP_CMP_MASKED_EQ":
		return []step{{eq, 0, fails}}, []step{{eq, 0, fails}}
	case "SCMP_CMP_NE":
		return []step{{eq, 0, holds}}, []step{{eq, fails, 0}}
	case "SCMP_CMP_GT":
		return []step{{gt, holds, 0}, {eq, 0, fails}}, []step{{gt, 0, fails}}
	case "SCMP_CMP_GE":
		return []step{{gt, holds, 0}, {eq, 0, fails}}, []step{{ge, 0, fails}}
	case "SCMP_CMP_LT":
		return []step{{gt, fails, 0}, {eq, 0, holds}}, []step{{ge, fails, 0}}
	case "SCMP_CMP_LE":
		return []step{{gt, fails, 0}, {eq, 0, holds}}, []step{{gt, fails, 0}}
	}
	return nil, nil
}

type step struct {
	op      uint16
	yes, no uint8
}

// compile makes code that answers if all conditions hold, and goes on behind itself if not.
func (c *clause) compile() (code []unix.SockFilter) {
	for _, a := range c.args {
		value, mask := a.Value, ^uint64(0)
		if a.Op == "SCMP_CMP_MASKED_EQ" {
			value, mask = a.ValueTwo, a.Value
		}
		begin := len(code)
		high, low := steps(a.Op)
		for _, word := range []struct {
			shift uint
			steps []step
		}{{32, high}, {0, low}} {
			code = append(code, load(offArgs+8*uint32(a.Index)+uint32(word.shift)/8))
			if m := uint32(mask >> word.shift); m != ^uint32(0) {
				code = append(code, unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: m})
			}
			for _, s := range word.steps {
				code = append(code, jump(s.op, uint32(value>>word.shift), s.yes, s.no))
			}
		}
		land(code[begin:], holds)
	}
	code = append(code, ret(c.ret))
	land(code, fails)
	return code
}

// land lets the jumps to target lead behind the code.
func land(code []unix.SockFilter, target uint8) {
	for i := range code {
		for _, to := range []*uint8{&code[i].Jt, &code[i].Jf} {
			if *to == target {
				*to = uint8(len(code) - i - 1)
			}
		}
	}
}

// action is what the filter returns for an action: seccomp(2). SCMP_ACT_KILL ends one thread.
func action(a string, errno *uint) (verdict, error) {
	switch a {
	case "SCMP_ACT_ALLOW":
		return allow, nil
	case "SCMP_ACT_ERRNO":
		if errno == nil {
			return eperm, nil
		}
		if *errno > 4095 { // MAX_ERRNO, seccomp(2), SECCOMP_RET_ERRNO
			return 0, fmt.Errorf("errnoRet %d is more than 4095", *errno)
		}
		return verdict(unix.SECCOMP_RET_ERRNO | uint32(*errno)), nil
	case "SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD":
		return unix.SECCOMP_RET_KILL_THREAD, nil
	case "SCMP_ACT_KILL_PROCESS":
		return kill, nil
	case "SCMP_ACT_TRAP":
		return unix.SECCOMP_RET_TRAP, nil
	case "SCMP_ACT_LOG":
		return unix.SECCOMP_RET_LOG, nil
	case "":
		return 0, errors.New("no action")
	}
	return 0, fmt.Errorf("the action %s needs another program, or is none: ALLOW, ERRNO, KILL_PROCESS, KILL_THREAD, TRAP and LOG are", a)
}

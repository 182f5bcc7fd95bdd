package seccomp

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"go/format"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/moby/profiles/seccomp"
	"golang.org/x/sys/unix"
)

var update = flag.Bool("update", false, "write table_*.go anew from the list")

// machines are the architectures with a table, and the 32-bit one that each can also run.
var machines = []struct {
	goarch string
	audit  []string // constants of x/sys/unix
	zsys   []string // where x/sys has the numbers
	far    []string
}{
	{"amd64", []string{"AUDIT_ARCH_X86_64", "AUDIT_ARCH_I386"}, []string{"amd64", "386"}, []string{"", ""}},
	// arch/arm/include/uapi/asm/unistd.h: breakpoint, cacheflush, set_tls.
	{"arm64", []string{"AUDIT_ARCH_AARCH64", "AUDIT_ARCH_ARM"}, []string{"arm64", "arm"}, []string{"", "0xf0001, 0xf0002, 0xf0005"}},
}

// xsys reads a file of golang.org/x/sys/unix.
func xsys(t *testing.T, file string) []byte {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "golang.org/x/sys").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "unix", file))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// numbers reads the system call numbers of an architecture out of x/sys.
func numbers(t *testing.T, arch string) map[string]int {
	t.Helper()
	all := map[string]int{}
	for _, m := range regexp.MustCompile(`(?m)^\s*SYS_(\w+)\s*=\s*(\d+)`).FindAllSubmatch(xsys(t, "zsysnum_linux_"+arch+".go"), -1) {
		n, _ := strconv.Atoi(string(m[2]))
		all[strings.ToLower(string(m[1]))] = n
	}
	return all
}

// names turns numbers around, and returns the highest number that the list mentions. Where a
// number has two names, as 79 on arm64 (fstatat, newfstatat), the one in the list counts.
func names(t *testing.T, arch string, entries []entry) (byNumber map[int]string, last int) {
	byNumber = map[int]string{}
	for name, n := range numbers(t, arch) {
		switch {
		case mentioned(entries, name):
			byNumber[n], last = name, max(last, n)
		case byNumber[n] == "":
			byNumber[n] = name
		}
	}
	return byNumber, last
}

// entry is an item of the list that concerns an architecture.
type entry struct {
	names []string
	alternative
}

// capBits turns names into bits.
func capBits(t *testing.T, names []string) (mask uint64) {
	t.Helper()
	for _, n := range names {
		i := slices.Index(capOrder, strings.TrimPrefix(n, "CAP_"))
		if i < 0 {
			t.Fatalf("unknown capability %s", n)
		}
		mask |= 1 << i
	}
	return mask
}

// families are the address families of socket(2) by number, as x/sys names them.
func families(t *testing.T) map[uint32]string {
	t.Helper()
	all := map[uint32]string{}
	for _, m := range regexp.MustCompile(`(?m)^\s*(AF_\w+)\s*=\s*(0x[0-9a-f]+)`).FindAllSubmatch(xsys(t, "zerrors_linux.go"), -1) {
		n, err := strconv.ParseUint(string(m[2]), 0, 32)
		if err != nil {
			t.Fatal(err)
		}
		if name := string(m[1]); !slices.Contains([]string{"AF_FILE", "AF_LOCAL", "AF_ROUTE"}, name) { // older names
			all[uint32(n)] = "unix." + name
		}
	}
	return all
}

// list reads moby's list as it is for an architecture, with one difference: socketcall(2) of
// i386 is ENOSYS, as the package comment says. All conditions on the kernel's version (4.8) are
// below the oldest kernel tiffin runs on.
func list(t *testing.T, goarch string) (entries []entry) {
	t.Helper()
	for _, c := range seccomp.DefaultProfile().Syscalls {
		var e entry
		e.names = slices.DeleteFunc(slices.Clone(c.Names), func(name string) bool { return name == "socketcall" })
		if c.Excludes != nil {
			if slices.Contains(c.Excludes.Arches, goarch) || c.Excludes.MinKernel != nil {
				continue
			}
			e.not = capBits(t, c.Excludes.Caps)
		}
		if c.Includes != nil {
			if len(c.Includes.Arches) > 0 && !slices.Contains(c.Includes.Arches, goarch) {
				continue
			}
			e.need = capBits(t, c.Includes.Caps)
		}
		switch c.Action {
		case "SCMP_ACT_ALLOW":
		case "SCMP_ACT_ERRNO":
			e.errno = uint16(*c.ErrnoRet)
		default:
			t.Fatalf("action %s", c.Action)
		}
		if len(c.Args) > 1 {
			t.Fatalf("%v: more than one condition at once", c.Names)
		}
		for _, a := range c.Args {
			k := check{arg: uint8(a.Index), val: uint32(a.Value)}
			switch a.Op {
			case "SCMP_CMP_EQ":
				k.op = equal
			case "SCMP_CMP_LT": // each of them by itself
				for k.val = range uint32(a.Value) {
					entries = append(entries, entry{e.names, alternative{args: []check{k}}})
				}
				continue
			case "SCMP_CMP_MASKED_EQ":
				k.op, k.mask, k.val = masked, uint32(a.Value), uint32(a.ValueTwo)
			default:
				t.Fatalf("operator %s", a.Op)
			}
			if a.Value>>32 != 0 {
				t.Fatalf("%v: a wide argument", c.Names)
			}
			e.args = []check{k}
		}
		if len(c.Args) == 0 || len(e.args) > 0 {
			entries = append(entries, e)
		}
	}
	return append(entries, entry{[]string{"socketcall"}, alternative{errno: uint16(unix.ENOSYS)}})
}

// source writes a table.
func source(t *testing.T, m int) []byte {
	t.Helper()
	entries := list(t, machines[m].goarch)
	index := map[string]int{} // printed rule → index
	byFamily := families(t)
	printed := []string{"nil, // 0: no such call", "nil, // 1: known, and not allowed"}
	var tables bytes.Buffer
	for i, zsys := range machines[m].zsys {
		byNumber, last := names(t, zsys, entries)
		fmt.Fprintf(&tables, "\t{audit: unix.%s, far: []uint32{%s}, calls: \"\" +\n", machines[m].audit[i], machines[m].far[i])
		for n := 0; n <= last; n += 16 {
			fmt.Fprintf(&tables, "\t\t\"")
			for k := n; k < n+16 && k <= last; k++ {
				fmt.Fprintf(&tables, "\\x%02x", indexOf(byNumber[k], entries, byFamily, index, &printed))
			}
			fmt.Fprintf(&tables, "\"%s // %d\n", map[bool]string{true: " +", false: ","}[n+16 <= last], n)
		}
		fmt.Fprintf(&tables, "\t\tnames: \"\" +\n")
		for n := 0; n <= last; n += 8 {
			fmt.Fprintf(&tables, "\t\t\t\"")
			for k := n; k < n+8 && k <= last; k++ {
				fmt.Fprintf(&tables, "%s ", cmp.Or(byNumber[k], "-"))
			}
			fmt.Fprintf(&tables, "\"%s // %d\n", map[bool]string{true: " +", false: ","}[n+8 <= last], n)
		}
		fmt.Fprintf(&tables, "\t},\n")
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "// Code generated by go test -update from github.com/moby/profiles/seccomp; DO NOT EDIT.\n\npackage seccomp\n\nimport \"golang.org/x/sys/unix\"\n\n")
	fmt.Fprintf(&out, "var rules = []rule{\n\t%s\n}\n\nvar archs = []arch{\n%s}\n", strings.Join(printed, "\n\t"), tables.String())
	text, err := format.Source(out.Bytes())
	if err != nil {
		t.Fatalf("%v\n%s", err, out.Bytes())
	}
	return text
}

// mentioned tells whether the list says anything about a call. The table ends with the newest that
// it does, as runc's filters do: for later ones it was simply not asked.
func mentioned(entries []entry, name string) bool {
	return slices.ContainsFunc(entries, func(e entry) bool { return slices.Contains(e.names, name) })
}

// indexOf returns the index of the rule for a call, and prints it if it is new.
func indexOf(name string, entries []entry, byFamily map[uint32]string, index map[string]int, printed *[]string) int {
	if name == "" {
		return unknown
	}
	var alts []string
	var any entry // all that depend on an argument alone, as one
	for _, e := range entries {
		switch {
		case !slices.Contains(e.names, name):
		case e.need == 0 && e.not == 0 && len(e.args) > 0:
			any.args = append(any.args, e.args...)
		default:
			alts = append(alts, printAlternative(e.alternative, nil))
		}
	}
	if len(any.args) > 0 {
		if name != "socket" {
			byFamily = nil
		}
		alts = append(alts, printAlternative(any.alternative, byFamily))
	}
	if len(alts) == 0 {
		return known
	}
	text := "{" + strings.Join(alts, ", ") + "},"
	i, ok := index[text]
	if !ok {
		i = len(*printed)
		index[text] = i
		*printed = append(*printed, text+" // "+strconv.Itoa(i)+": "+name+" …")
	}
	return i
}

// printAlternative writes an alternative as Go does, with the values of arguments by name if names
// has them.
func printAlternative(a alternative, names map[uint32]string) string {
	var fields, checks []string
	for _, f := range []struct {
		name  string
		value uint64
	}{{"need", a.need}, {"not", a.not}, {"errno", uint64(a.errno)}} {
		if f.value != 0 {
			fields = append(fields, fmt.Sprintf("%s: %#x", f.name, f.value))
		}
	}
	for _, c := range a.args {
		val := fmt.Sprintf("%#x", c.val)
		if names != nil {
			val = names[c.val]
		}
		checks = append(checks, fmt.Sprintf("{%d, %s, %#x, %s}", c.arg, [...]string{equal: "equal", masked: "masked"}[c.op], c.mask, val))
	}
	if len(checks) > 0 {
		fields = append(fields, "args: []check{"+strings.Join(checks, ", ")+"}")
	}
	return "{" + strings.Join(fields, ", ") + "}"
}

func TestTableMatchesTheList(t *testing.T) {
	for m := range machines {
		file := "table_" + machines[m].goarch + ".go"
		want := source(t, m)
		if *update {
			if err := os.WriteFile(file, want, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		have, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(have, want) {
			t.Errorf("%s is not what the list gives: go test ./ns/seccomp -update", file)
		}
	}
}

// capOrder is linux/capability.h.
var capOrder = strings.Fields(`CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
	NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT
	SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE
	MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE`)

package probe

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"tiffin/internal/errs"
	"tiffin/internal/test/must"
	"tiffin/internal/test/reexec"
	"tiffin/ns"
)

func TestMain(m *testing.M) {
	os.Exit(reexec.Main(m, reexec.Parts{Command: reexec.Never(Main), "limit": underLimit}))
}

func TestEveryCheckSaysWhatItFound(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range All() {
		t.Logf("%+v", r)
		if r.Name == "" || seen[r.Name] || r.Page == "" || r.Level != Required && r.Level != Optional {
			t.Errorf("incomplete, or there twice: %+v", r)
		}
		seen[r.Name] = true
		if r.OK && (r.Found == "" || r.Why != "") || !r.OK && r.Why == "" {
			t.Errorf("does not say what it found: %+v", r)
		}
		if !r.OK && r.Level == Required && must.Have("userns") {
			t.Errorf("must work here: %+v", r)
		}
	}
	if !seen["user namespace"] || !seen["cgroup"] {
		t.Error("checks are missing")
	}
}

func TestReasonIsTheSettingAtFault(t *testing.T) {
	base := map[string]string{
		"/proc/self/uid_map": "0 0 4294967295", "/proc/sys/user/max_user_namespaces": "100", "/proc/self/status": "Seccomp:\t0\n",
	}
	for _, c := range []struct {
		err      error
		path, is string
		why, fix string
	}{
		{err: unix.ENOSPC, path: "/proc/sys/user/max_user_namespaces", is: "0", why: "limited to 0", fix: "user.max_user_namespaces"},
		{err: unix.ENOSPC, why: "limit of user namespaces is reached", fix: "user.max_user_namespaces"},
		{err: unix.EUSERS, why: "nested", fix: "user.max_user_namespaces"},
		{err: unix.EPERM, path: "/proc/sys/kernel/unprivileged_userns_clone", is: "0", why: "only root", fix: "unprivileged_userns_clone=1"},
		{err: unix.EACCES, path: "/proc/sys/kernel/apparmor_restrict_unprivileged_userns", is: "1", why: "AppArmor", fix: "profile tiffin"},
		{err: unix.EPERM, path: "/proc/self/status", is: "Name:\tx\nSeccomp:\t2\n", why: "seccomp filter", fix: "seccomp=unconfined"},
		{err: unix.EPERM, path: "/proc/self/status", is: "Uid:\t0\t0\t0\t0\nCapEff:\t0000000020000420\nSeccomp:\t2\n", why: "CAP_SETFCAP", fix: "process.capabilities"},
		{err: unix.EPERM, path: "/proc/self/status", is: "Uid:\t0\t0\t0\t0\nCapEff:\t00000000a80425fb\nSeccomp:\t2\n", why: "seccomp filter", fix: "seccomp=unconfined"},
		{err: unix.EINVAL, path: "/proc/self/uid_map", why: "CONFIG_USER_NS", fix: "CONFIG_USER_NS"},
		{err: unix.EINVAL, why: "invalid argument"},
		{err: unix.EIO, why: "input/output error"},
	} {
		get := func(path string) string {
			if path == c.path {
				return c.is
			}
			return base[path]
		}
		why, fix := whyNoUserNS(fmt.Errorf("clone: %w", c.err), get)
		if !strings.Contains(why, c.why) || !strings.Contains(fix, c.fix) {
			t.Errorf("%v with %s=%s: %q, %q", c.err, c.path, c.is, why, fix)
		}
	}
}

func TestOverlappingRangesAreFound(t *testing.T) {
	mine := []ns.IDRange{{Outside: 100000, Count: 65536}}
	for text, want := range map[string]string{
		"alice:100000:65536\nbob:165536:65536\n":        "",
		"alice:100000:65536\nbob:165535:65536\n":        "bob",
		"1001:100000:65536\nbob:99999:1\ncarol:1:99999": "",
		"bob:1:100000\n":              "bob",
		"bob:x:y\nbob\n":              "",
		"bob:4294967295:4294967295\n": "",
	} {
		if got := overlap(text, mine, "1001", "alice"); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestKernelVersions(t *testing.T) {
	for release, want := range map[string]bool{
		"6.18.44-fc": true, "5.12.0": true, "5.11.22": false, "4.18.0-553.el8": false, "6.1-rc1": true, "strange": true,
	} {
		if newEnough(release) != want {
			t.Errorf("%s: %v", release, !want)
		}
	}
}

func TestErrorOfTheCommandIsLeftAlone(t *testing.T) {
	err := errs.Code(errors.New("not found"), 127)
	if Explain(err) != err {
		t.Error("changed")
	}
	if Explain(nil) != nil {
		t.Error("nil changed")
	}
}

// The limits can be set per user namespace, so they can be tried for real: in a namespace whose
// limit is 0, the check must fail for that reason.
func TestLimitOfZeroIsExplained(t *testing.T) {
	for kind, reason := range map[string]string{"user": "limited to 0", "net": "max_net_namespaces is reached"} {
		cmd := reexec.Command("limit", kind, reason)
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		}
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil {
			must.Skip(t, "userns", "there are no user namespaces: %v", err)
		}
		if err != nil {
			t.Errorf("%s: in the namespace: %v\n%s", kind, err, out)
		}
	}
}

// underLimit fails to start something in a user namespace whose limit is 0, and looks for the
// reason in the explanation.
func underLimit(args []string) int {
	limit := "max_" + args[0] + "_namespaces"
	err := os.WriteFile("/proc/sys/user/"+limit, []byte("0"), 0)
	if err == nil {
		err = Explain(errors.New("cannot start"))
		if strings.Contains(err.Error(), args[1]) && strings.Contains(errs.HintOf(err), "sysctl -w user."+limit) {
			return 0
		}
	}
	fmt.Printf("%v; hint: %s\n", err, errs.HintOf(err))
	return 1
}

// TestAppArmorProfile types what is proposed, but for the place of the file. An apparmor_parser of
// version 4 or later, which knows the rule, reads it.
func TestAppArmorProfile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tiffin")
	write, load, _ := strings.Cut(appArmorFix(), "\n")
	if load != "apparmor_parser -r /etc/apparmor.d/tiffin" {
		t.Errorf("%q", load)
	}
	if out, err := exec.Command("sh", "-ec", strings.ReplaceAll(write, "/etc/apparmor.d/tiffin", file)).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	exe, _ := os.Executable()
	want := "abi <abi/4.0>,\ninclude <tunables/global>\nprofile tiffin \"" + exe + "\" flags=(unconfined) { userns, }\n" +
		"profile tiffin-programs \"@{HOME}/.local/share/tiffin/programs/*\" flags=(unconfined) { userns, }\n"
	if text, err := os.ReadFile(file); err != nil || string(text) != want {
		t.Errorf("%s, %v", text, err)
	}
	if _, err := os.Stat("/etc/apparmor.d/abi/4.0"); err != nil {
		return
	}
	if out, err := exec.Command("apparmor_parser", "--skip-kernel-load", "--skip-cache", file).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

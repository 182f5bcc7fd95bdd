package cli_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"tiffin/internal/test/must"
)

// TestOtherRuntimesRunBundles: runc and crun run what `tiffin bundle` makes, without root, unpacked
// or served, and the command finds what it finds under tiffin.
func TestOtherRuntimesRunBundles(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("as TestInsideOtherEngines")
	}
	const make = `cd '%s'
"$TIFFIN" create --name cook -e A=b --device /dev/null:/dev/mine --read-only --tmpfs /run -v "$PWD/shared:/shared:ro" --cap-drop ALL --hostname kitchen -w /tmp tiffin/base sh -c '
	echo $A $(hostname) $(pwd) $(id -u) $(cat /shared/menu); touch /x 2> /dev/null || echo read-only; touch /run/x /shared/x 2> /dev/null || echo shared
	echo x > /dev/mine && echo device
	grep -E "^(CapBnd|NoNewPrivs|Seccomp):" /proc/self/status; exit 7' > /dev/null
"$TIFFIN" bundle cook bundle 2> /dev/null`
	const want = "b kitchen /tmp 0 rice\nread-only\nshared\ndevice\nCapBnd:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n"
	for _, p := range everybody(t) {
		if p.uid == 0 {
			continue
		}
		for engine, how := range map[string]string{"runc": "", "crun": "--cgroup-manager=disabled"} {
			t.Run(engine+"/"+p.name, func(t *testing.T) {
				must.Tool(t, engine)
				b := newBench(t, p)
				if _, _, err := b.without(":", fmt.Sprintf("cd '%s'; mkdir shared; echo rice > shared/menu", b.dir)); err != nil {
					t.Fatal(err)
				}
				if out, stderr, err := b.without(":", fmt.Sprintf(make, b.dir)); err != nil {
					t.Fatalf("%v\n%s%s", err, out, stderr)
				}
				runtime := fmt.Sprintf("%s --root $PWD/state %s run --bundle", engine, how)
				for _, run := range []string{runtime + " bundle %s", `"$TIFFIN" bundle --serve cook served -- ` + runtime + " served %s"} {
					out, stderr, err := b.without(noHybrid, fmt.Sprintf("cd '%s'; "+run+" < /dev/null; echo $?", b.dir, filepath.Base(b.dir)))
					if err != nil || !strings.HasPrefix(out, want) || !strings.HasSuffix(out, "\n7\n") {
						t.Errorf("%s: %v\n%sinstead of\n%s…7\n%s", run, err, out, want, stderr)
					}
				}
				if out, stderr, err := b.without(":", fmt.Sprintf(`cd '%s'; "$TIFFIN" bundle --rm bundle; "$TIFFIN" rm cook > /dev/null; ls`, b.dir)); err != nil || strings.Contains(out, "bundle") || strings.Contains(out, "served") {
					t.Errorf("it stays: %v\n%s%s", err, out, stderr)
				}
			})
		}
	}
}

// TestBubblewrapRunsBundles: the line of the book that runs the files of a bundle without
// config.json does, for a user with one id and with many, and gives no more than it says.
func TestBubblewrapRunsBundles(t *testing.T) {
	must.Tool(t, "bwrap")
	page, err := os.ReadFile("../../tutorial/book/g-production.md")
	if err != nil {
		t.Fatal(err)
	}
	line, ok := strings.CutSuffix(regexp.MustCompile(`(?m)^    bwrap .*$`).FindString(string(page)), " sh")
	if !ok {
		t.Fatalf("the book has no line for bwrap that runs sh, but %q", line)
	}
	const script = `sh -c 'id -u; cat /srv/menu; grep -E "^(CapEff|NoNewPrivs):" /proc/self/status; ls /proc/1/exe > /dev/null && echo $PATH $TIFFIN; ls /sys /home; exit 7'`
	for _, p := range everybody(t) {
		if p.uid == 0 {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			b := newBench(t, p)
			cmd := exec.Command("sh", "-c", fmt.Sprintf(`cd '%s'; echo rice > menu
"$TIFFIN" create --name cook tiffin/base > /dev/null && "$TIFFIN" cp menu cook:/srv/menu && "$TIFFIN" bundle cook kitchen 2> /dev/null
%s %s; echo $?; "$TIFFIN" bundle --rm kitchen; "$TIFFIN" rm cook > /dev/null`, b.dir, line, script))
			cmd.Env, cmd.SysProcAttr = append(os.Environ(), "TIFFIN="+binary, "TIFFIN_ROOT="+b.store(), "HOME="+b.dir), p.attr()
			out, err := cmd.CombinedOutput()
			want := fmt.Sprintf("%d\nrice\nCapEff:\t0000000000000000\nNoNewPrivs:\t1\n/bin:/usr/bin\n/home:\nguest\n/sys:\n7\n", p.uid)
			if err != nil || strings.ReplaceAll(string(out), "\n\n", "\n") != want {
				t.Errorf("%v\n%sinstead of\n%s", err, out, want)
			}
		})
	}
}

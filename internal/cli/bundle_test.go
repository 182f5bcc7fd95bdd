package cli_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tiffin/internal/test/must"
)

// TestOtherRuntimesRunBundles: runc and crun run what `tiffin bundle` makes, without root, and the
// command finds what it finds under tiffin.
func TestOtherRuntimesRunBundles(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("as TestInsideOtherEngines")
	}
	const make = `cd '%s'
"$TIFFIN" create --name cook -e A=b --read-only --tmpfs /run -v "$PWD/shared:/shared:ro" --cap-drop ALL --hostname kitchen -w /tmp tiffin/base sh -c '
	echo $A $(hostname) $(pwd) $(id -u) $(cat /shared/menu); touch /x 2> /dev/null || echo read-only; touch /run/x /shared/x 2> /dev/null || echo shared
	grep -E "^(CapBnd|NoNewPrivs|Seccomp):" /proc/self/status; exit 7' > /dev/null
"$TIFFIN" bundle cook bundle 2> /dev/null && "$TIFFIN" rm cook > /dev/null`
	const want = "b kitchen /tmp 0 rice\nread-only\nshared\nCapBnd:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n"
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
				run := fmt.Sprintf("cd '%s'; %s --root $PWD/state %s run --bundle bundle %s < /dev/null; echo $?", b.dir, engine, how, filepath.Base(b.dir))
				out, stderr, err := b.without(noHybrid, run)
				if err != nil || !strings.HasPrefix(out, want) || !strings.HasSuffix(out, "\n7\n") {
					t.Errorf("%v\n%sinstead of\n%s…7\n%s", err, out, want, stderr)
				}
				if out, stderr, err := b.without(":", fmt.Sprintf(`cd '%s'; "$TIFFIN" bundle --rm bundle; ls`, b.dir)); err != nil || strings.Contains(out, "bundle") {
					t.Errorf("it stays: %v\n%s%s", err, out, stderr)
				}
			})
		}
	}
}

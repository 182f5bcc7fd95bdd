package cli_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestWithoutTheDeviceThereIsANote: where /dev/net/tun cannot be used, a container has loopback and
// one line says why; published ports alone are no reason to go on without the network that comes
// with them.
func TestWithoutTheDeviceThereIsANote(t *testing.T) {
	for _, p := range people(t) {
		if p.uid == 0 {
			continue // whom no mode keeps from opening it
		}
		t.Run(p.name, func(t *testing.T) {
			need(t, p)
			needTun(t)
			store := p.home(t)
			// A file in its place, in a mount namespace of the script's own, is enough for
			// everybody; its mode is what an administrator has left.
			without := func(do string) string {
				script := `touch "$HOME/tun"; chmod 000 "$HOME/tun"; mount --bind "$HOME/tun" /dev/net/tun; exec setpriv --inh-caps=-all --ambient-caps=-all sh -c ` + "'" + do + "'"
				cmd := exec.Command("unshare", "--user", "--map-current-user", "--keep-caps", "--mount", "sh", "-ec", script)
				cmd.SysProcAttr, cmd.Dir = p.attr(), filepath.Dir(store)
				cmd.Env = append(cmd.Environ(), "TIFFIN="+binary, "TIFFIN_ROOT="+store, "HOME="+filepath.Dir(store))
				out, err := cmd.CombinedOutput()
				if err != nil {
					t.Fatalf("%s: %v\n%s", do, err, out)
				}
				return string(out)
			}
			out := without(`$TIFFIN run --rm --userns single tiffin/base ip addr`)
			if !strings.Contains(out, "tiffin: note: network: there is nothing but loopback: open /dev/net/tun: permission denied\n") || strings.Contains(out, "eth0") || !strings.Contains(out, "127.0.0.1") {
				t.Errorf("a container without the device: %s", out)
			}
			out = without(`$TIFFIN run --rm --userns single -p 127.0.0.1::80 tiffin/base true || echo status $?`)
			for _, want := range []string{"tiffin: no network for the container: ", "permission denied\n", "hint: ", "chmod 666 /dev/net/tun", "--network none -p", "status 125"} {
				if !strings.Contains(out, want) {
					t.Errorf("with -p: %s\nwant %q", out, want)
				}
			}
			out = without(`$TIFFIN run --rm --userns single --network none -p 127.0.0.1::80 tiffin/base echo fine`)
			if out != "fine\n" {
				t.Errorf("with -p and --network none: %s", out)
			}
		})
	}
}

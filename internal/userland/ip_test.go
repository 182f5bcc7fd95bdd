package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestIPChangesTheNetwork: in two network namespaces of a user namespace.
func TestIPChangesTheNetwork(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(self, filepath.Join(dir, "ip")); err != nil {
		t.Fatal(err)
	}
	const script = `PATH=$0:$PATH
		ip link add a type veth peer b || exit 77
		unshare -n sleep 1000 & other=$!; trap 'kill $other' EXIT
		until [ "$(readlink /proc/$other/ns/net)" != "$(readlink /proc/$$/ns/net)" ]; do sleep 0.05; done
		on="nsenter -t $other -n --preserve-credentials"
		ip link add c type veth peer name d; ip link del d; ip link set c up; echo $?
		ip link set b netns $other; ip link set b up; echo $?
		ip addr add 192.0.2.1/28 dev a; ip link set a up
		$on ip addr add 192.0.2.2/28 dev b; $on ip link set b up
		ip addr add 192.0.2.1/28 dev a; echo $?
		ip addr add 192.0.2 dev a; ip addr add 2001:db8::1/64 dev a; ip addr show a
		ip route add 198.51.100.0/24 via 192.0.2.2; ip route add 203.0.113.7 dev a; ip route add default via 192.0.2.2; ip route add 10.0.0.0/8 via 10.1.1.1
		ip route; ip route del default via 192.0.2.2; ip route del 203.0.113.7 dev a; ip route
		ip addr del 192.0.2.1/28 dev a; ip addr show a; ip link add x type bridge`
	cmd := exec.Command("unshare", "-Urn", "sh", "-c", script, dir)
	out, err := cmd.CombinedOutput()
	if e, ok := err.(*exec.ExitError); ok && e.ExitCode() == 77 || err != nil && !ok {
		t.Skipf("no veth pairs here: %s", out)
	}
	for _, want := range []string{
		`ip: c: no such device\n2\n`, `ip: b: no such device\n2\n`, `ip: 192.0.2.1/28: file exists\n2\n`, `ip: 192.0.2: not an address\n`,
		`(?s)a@if.*<BROADCAST,MULTICAST,UP.*    inet 192.0.2.1/28 scope global a\n.*    inet6 2001:db8::1/64 scope global`,
		`ip: 10.0.0.0/8: network is unreachable\n`,
		`default via 192.0.2.2 dev a\n192.0.2.0/28 dev a proto kernel scope link src 192.0.2.1\n198.51.100.0/24 via 192.0.2.2 dev a\n203.0.113.7/32 dev a scope link\n192.0.2.0/28`,
		`(?s)192.0.2.0/28 dev a proto kernel scope link src 192.0.2.1\n198.51.100.0/24 via 192.0.2.2 dev a\n[0-9]+: a`,
		`usage: ip `,
	} {
		if !regexp.MustCompile(want).Match(out) {
			t.Errorf("not there: %s", want)
		}
	}
	if after := string(out[strings.LastIndex(string(out), "a@if"):]); strings.Contains(after, "inet 192") {
		t.Errorf("the address is still there: %s", after)
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
}

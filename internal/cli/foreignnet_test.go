package cli_test

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"tiffin/internal/test/must"
)

// foreignNetworks are the programs of others that give a network.
var foreignNetworks = []string{"pasta", "slirp4netns"}

// TestForeignNetwork: a program of others carries packets, has this machine's loopback behind a
// wall, goes with its container, and leaves published ports to tiffin.
func TestForeignNetwork(t *testing.T) {
	needTun(t)
	own := ownAddress(t)
	echo, err := net.Listen("tcp4", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			go func() { io.CopyN(c, c, 6); c.Close() }()
		}
	}()
	port := strconv.Itoa(echo.Addr().(*net.TCPAddr).Port)
	for i, p := range people(t) {
		for _, name := range foreignNetworks {
			t.Run(p.name+"/"+name, func(t *testing.T) {
				need(t, p)
				if _, err := exec.LookPath(name); err != nil {
					must.Skip(t, name, "%v", err)
				}
				store := p.home(t)
				p.as(t, store, "", binary, "run", "-d", "--name", "box", "--network", name, "-p", "127.0.0.1::80", "tiffin/base", "sh", "-c", "while :; do echo rice | nc -l -p 80; done")
				t.Cleanup(func() { p.as(t, store, "", binary, "rm", "-f", "box") })
				supervisor := strings.TrimSpace(p.as(t, store, "", binary, "inspect", "-f", "{{.State.SupervisorPid}}", "box"))
				var pid int
				if pid = childOf(supervisor, "eth0"); pid == 0 {
					t.Fatalf("%s does not run", name)
				}
				// The server ends first: pasta of 2023 may lose the end of a connection whose other
				// direction has ended before.
				talk := fmt.Sprintf("{ echo hello; sleep 1; } | nc -w 60 %s %s 2>/dev/null || true", own, port)
				if got := p.as(t, store, "", binary, "exec", "box", "sh", "-c", talk); got != "hello\n" {
					t.Errorf("from a server on this machine: %q", got)
				}
				at := strings.TrimSpace(p.as(t, store, "", binary, "port", "box", "80"))
				if c, err := net.DialTimeout("tcp", at, time.Minute); err != nil {
					t.Error(err)
				} else if got, err := readUntilEnd(c.(*net.TCPConn)); string(got) != "rice\n" {
					t.Errorf("through the port: %q, %v", got, err)
				}
				if i > 0 { // what follows does not depend on the user
					p.as(t, store, "", binary, "rm", "-f", "box")
					gone(t, pid)
					return
				}
				for _, host := range []string{"10.0.2.2", "127.0.0.1"} {
					if got := p.as(t, store, "", binary, "exec", "box", "sh", "-c", fmt.Sprintf("echo hello | nc -w 1 %s %s 2>/dev/null || true", host, port)); got != "" {
						t.Errorf("this machine's loopback can be reached at %s: %q", host, got)
					}
				}
				syscall.Kill(pid, syscall.SIGKILL)
				gone(t, pid)
				waitFor(t, func() bool {
					notes := p.as(t, store, "", binary, "inspect", "box")
					return strings.Contains(notes, "nothing leaves the container until that is started again: it was killed by SIGKILL")
				})
			})
		}
	}
}

// readUntilEnd says nothing, and returns what the other side says.
func readUntilEnd(c *net.TCPConn) ([]byte, error) {
	defer c.Close()
	_ = c.CloseWrite()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	return io.ReadAll(c)
}

// gone waits until a process has ended.
func gone(t *testing.T, pid int) {
	t.Helper()
	for end := time.Now().Add(time.Minute); syscall.Kill(pid, 0) == nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("process %d is left", pid)
		}
	}
}

// ownAddress is one of this machine's that is not loopback.
func ownAddress(t *testing.T) netip.Addr {
	t.Helper()
	all, _ := net.InterfaceAddrs()
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && !p.Addr().IsLoopback() {
			return p.Addr()
		}
	}
	t.Skip("this machine has no address but loopback")
	return netip.Addr{}
}

// TestForeignNetworkNames: questions for names go to this machine's servers, here of a network that
// the test makes; and --explain has the program.
func TestForeignNetworkNames(t *testing.T) {
	needTun(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := people(t)[0]
	need(t, p)
	store := p.home(t)
	dir := filepath.Dir(store)
	for _, name := range []string{"visitor", "nameserver"} {
		copyFile(t, self, filepath.Join(dir, name))
	}
	if err := os.WriteFile(filepath.Join(dir, "resolv.conf"), []byte("nameserver 198.51.100.1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	const script = `set -e
		ip link set lo up; ip tuntap add dev d0 mode tap; ip link set dev d0 up
		ip address add 198.51.100.1/24 dev d0; ip route add default via 198.51.100.2
		mount --bind "$1/resolv.conf" /etc/resolv.conf
		"$1/nameserver" & trap "kill $!" EXIT
		for name in pasta slirp4netns; do
			command -v $name >/dev/null || continue
			"$0" run --rm --explain --network $name -v "$1/visitor:/visitor:ro" tiffin/base /visitor name 0 2>&1 | sed "s/^/$name /"
		done`
	out := p.as(t, store, "", "unshare", "-Urnm", "sh", "-c", script, binary, dir)
	for _, name := range foreignNetworks {
		if _, err := exec.LookPath(name); err != nil {
			continue
		}
		for _, want := range []string{"name: 198.51.100.7\n", fmt.Sprintf("     execve(%q, [%q, ", name, name), "eth0 is up, its address is 10.0.2.100\n"} {
			if !strings.Contains(out, want) {
				t.Errorf("%s: no %q in\n%s", name, want, out)
			}
		}
	}
}

// nameserver answers each question with 198.51.100.7.
func nameserver() {
	u, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(198, 51, 100, 1), Port: 53})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for b := make([]byte, 1500); ; {
		n, from, err := u.ReadFrom(b)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(b[:n]) != nil || len(m.Questions) == 0 {
			continue
		}
		q := m.Questions[0]
		m.Response, m.Additionals = true, nil
		if q.Type == dnsmessage.TypeA {
			m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 60},
				Body: &dnsmessage.AResource{A: [4]byte{198, 51, 100, 7}}}}
		}
		answer, _ := m.Pack()
		_, _ = u.WriteTo(answer, from)
	}
}

// TestForeignNetworkMissing: the error names the program's package.
func TestForeignNetworkMissing(t *testing.T) {
	p := people(t)[0]
	need(t, p)
	store := p.home(t)
	for name, pkg := range map[string]string{"pasta": "passt", "slirp4netns": "slirp4netns"} {
		out := p.as(t, store, "", "sh", "-c", `PATH=/nowhere; "$0" run --rm --network "$1" tiffin/base true 2>&1 || echo $?`, binary, name)
		if !strings.Contains(out, `exec: "`+name+`": executable file not found`) || !strings.Contains(out, "the package "+pkg) || !strings.HasSuffix(out, "\n125\n") {
			t.Error(out)
		}
	}
}

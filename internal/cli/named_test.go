package cli_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Containers in one network, made with a name: this program, again, is in each.

// member is the program in the container: `serve` greets whoever connects, else each argument is a
// name or an address to be greeted by.
func member() {
	if os.Args[1] == "serve" {
		l, err := net.Listen("tcp", ":80")
		for err == nil {
			var c net.Conn
			if c, err = l.Accept(); err == nil {
				host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
				name, _ := os.Hostname()
				fmt.Fprintf(c, "%s greets %s\n", name, host)
				c.Close()
			}
		}
		fmt.Println(err)
		return
	}
	for _, name := range os.Args[1:] {
		addresses, _ := net.LookupHost(name)
		slices.SortFunc(addresses, func(a, b string) int { return strings.Count(a, ":") - strings.Count(b, ":") }) // IPv4 first
		if addresses == nil {
			fmt.Printf("%s: not found\n", name)
		}
		for _, a := range addresses {
			c, err := net.DialTimeout("tcp", net.JoinHostPort(a, "80"), 2*time.Second)
			answer := ""
			if err == nil {
				answer, err = bufio.NewReader(c).ReadString('\n')
			}
			if err != nil {
				answer = err.Error() + "\n"
			}
			fmt.Printf("%s: %s", name, answer)
		}
	}
}

func TestContainersOfANetworkFindEachOther(t *testing.T) {
	needTun(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range people(t) {
		t.Run(p.name, func(t *testing.T) {
			need(t, p)
			t.Parallel()
			store := p.home(t)
			bin := filepath.Join(filepath.Dir(store), "member")
			copyFile(t, self, bin)
			tiffin := func(args ...string) string { return p.as(t, store, "", binary, args...) }
			run := func(net string, more ...string) []string {
				return append([]string{"run", "-v", bin + ":/member:ro", "--network", net}, more...)
			}
			tiffin("network", "create", "--subnet", "172.31.7.0/24", "--subnet", "fd07::/64", "front")
			tiffin("network", "create", "--subnet", "172.31.8.0/24", "back")
			tiffin(run("front", "-d", "--name", "web", "-h", "kitchen", "--network-alias", "www", "tiffin/base", "/member", "serve")...)
			tiffin(run("front", "-d", "--name", "second", "--network-alias", "www", "--ip", "172.31.7.77", "--ip6", "fd07::77", "tiffin/base", "/member", "serve")...)
			t.Cleanup(func() { tiffin("rm", "-f", "web", "second") })
			short := strings.TrimSpace(tiffin("ps", "-q", "-f", "name=second"))
			ask := func(net string, names ...string) string {
				return tiffin(append(run(net, "--rm", "--name", "guest", "tiffin/base", "/member"), names...)...)
			}
			var got string
			for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
				if got = ask("front", "web", "kitchen", "172.31.7.2", "fd07::2", "second", short, "guest", "nobody", "172.31.7.9"); strings.Count(got, "greets") == 10 {
					break
				}
			}
			want := "web: kitchen greets 172.31.7.3\nweb: kitchen greets fd07::3\nkitchen: kitchen greets 172.31.7.3\nkitchen: kitchen greets fd07::3\n" +
				"172.31.7.2: kitchen greets 172.31.7.3\nfd07::2: kitchen greets fd07::3\n" +
				"second: SHORT greets 172.31.7.3\nsecond: SHORT greets fd07::3\nSHORT: SHORT greets 172.31.7.3\nSHORT: SHORT greets fd07::3\n" +
				"guest: dial tcp 172.31.7.3:80: connect: connection refused\nguest: dial tcp [fd07::3]:80: connect: connection refused\n" +
				"nobody: not found\n172.31.7.9: dial tcp 172.31.7.9:80: connect: no route to host\n"
			if want = strings.ReplaceAll(want, "SHORT", short); got != want {
				t.Errorf("in the same network:\n%s\nwant\n%s", got, want)
			}
			if got := ask("front", "www"); strings.Count(got, "www: kitchen greets") != 2 || strings.Count(got, "www: "+short+" greets") != 2 {
				t.Errorf("two with one name:\n%s", got)
			}
			if got := ask("back", "web", "www", short); got != "web: not found\nwww: not found\n"+short+": not found\n" {
				t.Errorf("in another network:\n%s", got)
			}
			if got := tiffin("exec", "web", "cat", "/etc/hosts", "/etc/resolv.conf"); !strings.Contains(got, "172.31.7.2\tkitchen\n") || !strings.Contains(got, "nameserver 172.31.7.1\n") {
				t.Errorf("files of a member:\n%s", got)
			}
			// A restarted one is found again, with the address that it has asked for.
			tiffin("restart", "-t", "0", "second")
			if got := ask("front", "second"); !strings.HasPrefix(got, "second: "+short+" greets") {
				t.Errorf("after a restart:\n%s", got)
			}
			out := tiffin("network", "inspect", "front")
			for _, s := range []string{`"Name": "web"`, `"IPv4Address": "172.31.7.2/24"`, `"IPv6Address": "fd07::77/64"`} {
				if !strings.Contains(out, s) {
					t.Errorf("no %s in\n%s", s, out)
				}
			}
			// One in two networks is found in both, and finds those of both.
			tiffin(append([]string{"create"}, run("front", "--name", "both", "tiffin/base", "/member", "serve")[1:]...)...)
			tiffin("network", "connect", "--alias", "bridge", "back", "both")
			tiffin(run("back", "-d", "--name", "hidden", "tiffin/base", "/member", "serve")...)
			tiffin("start", "both")
			t.Cleanup(func() { tiffin("rm", "-f", "both", "hidden") })
			for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
				if got = ask("back", "bridge", "web") + tiffin("exec", "both", "/member", "web", "hidden", "nobody") + ask("front", "both", "bridge", "hidden"); strings.Count(got, "greets") == 8 {
					break
				}
			}
			for s, n := range map[string]int{"bridge: ": 3, "bridge: not found\n": 1, "web: not found\n": 1, "web: kitchen greets": 2, "hidden: not found\n": 1, "hidden: ": 3, "nobody: not found\n": 1, "both: ": 2, "greets": 8} {
				if strings.Count(got, s) != n {
					t.Errorf("with two networks, %q is not there %d times:\n%s", s, n, got)
				}
			}
			if out := tiffin("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}", "both"); strings.Count(out, "172.31.") != 2 {
				t.Errorf("inspect says %s", out)
			}
			tiffin("stop", "-t", "0", "both")
			tiffin("network", "disconnect", "front", "both")
			tiffin("start", "both")
			if out := tiffin("exec", "both", "ls", "/sys/class/net"); out != "eth0\nlo\n" {
				t.Errorf("after a network was left, there are %s", out)
			}
			tiffin("rm", "-f", "both", "hidden")
			// One process carries for all; it is gone some seconds after the last of them.
			pid := carrier(t, p)
			if pid == 0 {
				t.Fatal("no process listens for members")
			}
			tiffin("rm", "-f", "web", "second")
			for end := time.Now().Add(15 * time.Second); syscall.Kill(pid, 0) == nil; time.Sleep(50 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("process %d is left", pid)
				}
			}
			tiffin("network", "rm", "front", "back")
		})
	}
}

// TestANetworkComesBack when the process that carries its packets was killed: with the next start.
func TestANetworkComesBack(t *testing.T) {
	needTun(t)
	p := people(t)[len(people(t))-1]
	need(t, p)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	store := p.home(t)
	bin := filepath.Join(filepath.Dir(store), "member")
	copyFile(t, self, bin)
	tiffin := func(args ...string) string { return p.as(t, store, "", binary, args...) }
	tiffin("network", "create", "front")
	tiffin("run", "-d", "--name", "web", "-v", bin+":/member:ro", "--network", "front", "tiffin/base", "/member", "serve")
	t.Cleanup(func() { tiffin("rm", "-f", "web") })
	pid := carrier(t, p)
	syscall.Kill(pid, syscall.SIGKILL)
	for end := time.Now().Add(5 * time.Second); !strings.Contains(tiffin("inspect", "web"), "the network program has ended"); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nobody says that the network has gone")
		}
	}
	tiffin("restart", "-t", "0", "web")
	out := ""
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end) && !strings.Contains(out, "greets"); time.Sleep(50 * time.Millisecond) {
		out = tiffin("run", "--rm", "-v", bin+":/member:ro", "--network", "front", "tiffin/base", "/member", "web")
	}
	if again := carrier(t, p); !strings.Contains(out, "greets") || again == pid || again == 0 {
		t.Errorf("process %d after %d: %s", again, pid, out)
	}
}

// carrier is the process that carries the packets of a person's network front: it has inherited
// the socket.
func carrier(t *testing.T, p person) int {
	t.Helper()
	sockets, _ := os.ReadFile("/proc/net/unix")
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		if args, _ := os.ReadFile(f); !strings.Contains(string(args), "\x00__network\x00") {
			continue
		}
		fds, _ := filepath.Glob(filepath.Join(filepath.Dir(f), "fd/*"))
		for _, fd := range fds {
			to, _ := os.Readlink(fd)
			if inode, ok := strings.CutPrefix(to, "socket:["); ok {
				for line := range strings.Lines(string(sockets)) {
					if strings.Contains(line, " "+strings.TrimSuffix(inode, "]")+" ") && strings.HasSuffix(strings.TrimSpace(line), "/front.sock") && owned(f, p) {
						var pid int
						fmt.Sscan(filepath.Base(filepath.Dir(f)), &pid)
						return pid
					}
				}
			}
		}
	}
	return 0
}

// owned tells whether a file in /proc is a person's.
func owned(path string, p person) bool {
	var st syscall.Stat_t
	return syscall.Stat(path, &st) == nil && int(st.Uid) == p.uid
}

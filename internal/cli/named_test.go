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
		host, port, err := net.SplitHostPort(name)
		if err != nil {
			host, port = name, "80"
		}
		addresses, _ := net.LookupHost(host)
		slices.SortFunc(addresses, func(a, b string) int { return strings.Count(a, ":") - strings.Count(b, ":") }) // IPv4 first
		if addresses == nil {
			fmt.Printf("%s: not found\n", name)
		}
		for _, a := range addresses {
			c, err := net.DialTimeout("tcp", net.JoinHostPort(a, port), time.Minute)
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
	onNetworks(t, func(w *wired) {
		w.Parallel()
		w.tiffin("network", "create", "--subnet", "172.31.7.0/24", "--subnet", "fd07::/64", "meeting")
		w.tiffin("network", "create", "--subnet", "172.31.8.0/24", "back")
		w.server("meeting", "web", "-h", "kitchen", "--network-alias", "www")
		w.server("meeting", "second", "--network-alias", "www", "--ip", "172.31.7.77", "--ip6", "fd07::77")
		short := strings.TrimSpace(w.tiffin("ps", "-q", "-f", "name=second"))
		ask := func(net string, names ...string) string {
			return w.run(net, append([]string{"--rm", "--name", "guest", "tiffin/base", "/programs/member"}, names...)...)
		}
		var got string
		w.until("answers", func() bool {
			got = ask("meeting", "web", "kitchen", "172.31.7.2", "fd07::2", "second", short, "guest", "nobody", "172.31.7.9")
			return strings.Count(got, "greets") == 10
		})
		want := "web: kitchen greets 172.31.7.3\nweb: kitchen greets fd07::3\nkitchen: kitchen greets 172.31.7.3\nkitchen: kitchen greets fd07::3\n" +
			"172.31.7.2: kitchen greets 172.31.7.3\nfd07::2: kitchen greets fd07::3\n" +
			"second: SHORT greets 172.31.7.3\nsecond: SHORT greets fd07::3\nSHORT: SHORT greets 172.31.7.3\nSHORT: SHORT greets fd07::3\n" +
			"guest: dial tcp 172.31.7.3:80: connect: connection refused\nguest: dial tcp [fd07::3]:80: connect: connection refused\n" +
			"nobody: not found\n172.31.7.9: dial tcp 172.31.7.9:80: connect: no route to host\n"
		if want = strings.ReplaceAll(want, "SHORT", short); got != want {
			w.Errorf("in the same network:\n%s\nwant\n%s", got, want)
		}
		if got := ask("meeting", "www"); strings.Count(got, "www: kitchen greets") != 2 || strings.Count(got, "www: "+short+" greets") != 2 {
			w.Errorf("two with one name:\n%s", got)
		}
		if got := ask("back", "web", "www", short); got != "web: not found\nwww: not found\n"+short+": not found\n" {
			w.Errorf("in another network:\n%s", got)
		}
		if got := w.tiffin("exec", "web", "cat", "/etc/hosts", "/etc/resolv.conf"); !strings.Contains(got, "172.31.7.2\tkitchen\n") || !strings.Contains(got, "nameserver 172.31.7.1\n") {
			w.Errorf("files of a member:\n%s", got)
		}
		// A restarted one is found again, with the address that it has asked for.
		w.tiffin("restart", "-t", "0", "second")
		w.until("the restarted one", func() bool { return strings.HasPrefix(ask("meeting", "second"), "second: "+short+" greets") })
		out := w.tiffin("network", "inspect", "meeting")
		for _, s := range []string{`"Name": "web"`, `"IPv4Address": "172.31.7.2/24"`, `"IPv6Address": "fd07::77/64"`} {
			if !strings.Contains(out, s) {
				w.Errorf("no %s in\n%s", s, out)
			}
		}
		// One process carries for all; it is gone some seconds after the last of them.
		pid := carrier(w, "meeting")
		if pid == 0 {
			w.Fatal("no process listens for members")
		}
		w.tiffin("rm", "-f", "web", "second")
		w.gone(pid)
		w.tiffin("network", "rm", "meeting", "back")
	})
}

// TestANetworkIsJoinedAndLeft: by a container that runs; and by one in two from its start.
func TestANetworkIsJoinedAndLeft(t *testing.T) {
	onNetworks(t, func(w *wired) {
		w.Parallel()
		w.tiffin("network", "create", "--subnet", "172.31.7.0/24", "front")
		w.tiffin("network", "create", "--subnet", "172.31.8.0/24", "--internal", "back")
		w.server("front", "web")
		w.server("none", "late", "-h", "late")
		w.tiffin("create", "--name", "both", "-v", w.programs+":/programs:ro", "--network", "front", "tiffin/base", "/programs/member", "serve")
		w.tiffin("network", "connect", "--alias", "bridge", "--ip", "172.31.8.9", "back", "both")
		w.tiffin("start", "both")
		w.Cleanup(func() { w.tiffin("rm", "-f", "both") })
		state := func(name string) string {
			return w.tiffin("exec", name, "sh", "-c", "cd /sys/class/net; echo eth*; ip route | grep default; grep -h 172 /etc/hosts; grep nameserver /etc/resolv.conf") +
				w.tiffin("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}},{{.Gateway}} {{end}}", name)
		}
		same := func(when, got, want string) {
			w.Helper()
			if got != want {
				w.Errorf("%s:\n%s\nwant\n%s", when, got, want)
			}
		}
		w.until("servers", func() bool { return strings.Count(w.ask("both", "127.0.0.1", "web"), "greets") == 3 })
		same("without a network", w.ask("late", "web", "172.31.7.2"), "web: not found\n172.31.7.2: dial tcp 172.31.7.2:80: connect: network is unreachable\n")
		w.tiffin("network", "connect", "back", "late")
		same("internal", state("late"), "eth0\n172.31.8.2\tlate\nnameserver 172.31.8.1\n172.31.8.2, \n")
		same("internal", strings.ReplaceAll(w.ask("late", "172.31.8.9", "192.0.2.1", "web", "example.org"), "172.31.8.9: "+w.short("both"), "it"),
			"it greets 172.31.8.2\n192.0.2.1: dial tcp 192.0.2.1:80: connect: network is unreachable\nweb: not found\nexample.org: not found\n")
		w.tiffin("network", "connect", "--alias", "latest", "--ip", "172.31.7.99", "front", "late")
		same("in both", state("late"), "eth0 eth1\ndefault via 172.31.7.1 dev eth1\n172.31.8.2\tlate\nnameserver 172.31.8.1\nnameserver 172.31.7.1\n172.31.8.2, 172.31.7.99,172.31.7.1 \n")
		if got := w.ask("late", "web", "both", "bridge") + w.ask("web", "latest", "late"); strings.Count(got, "greets") != 6+4 || !strings.Contains(got, "latest: late greets 172.31.7.") {
			w.Errorf("in both:\n%s", got)
		}
		w.tiffin("network", "disconnect", "back", "late")
		same("left", state("late"), "eth1\ndefault via 172.31.7.1 dev eth1\n172.31.7.99\tlate\nnameserver 172.31.7.1\n172.31.7.99,172.31.7.1 \n")
		if got := w.ask("late", "bridge", "web", "both"); !strings.HasPrefix(got, "bridge: not found\n") || strings.Count(got, "greets") != 4 {
			w.Errorf("left:\n%s", got)
		}
		w.tiffin("network", "disconnect", "front", "both")
		same("the first one left", w.tiffin("exec", "both", "sh", "-c", "ls /sys/class/net; grep nameserver /etc/resolv.conf"), "eth1\nlo\nnameserver 172.31.8.1\n")
		// What somebody has written into a file stays, and that is said.
		if got := w.sh(`$TIFFIN exec late sh -c 'echo mine >/etc/resolv.conf'; $TIFFIN network connect back late; $TIFFIN exec late cat /etc/resolv.conf`); got != "tiffin: note: /etc/resolv.conf is not as it was when the container was started, and stays as it is: names of its networks may be missing\nmine\n" {
			w.Errorf("a file with other text: %s", got)
		}
		// The next start has what was changed.
		w.tiffin("restart", "-t", "0", "late")
		same("restarted", w.tiffin("exec", "late", "sh", "-c", "ip route | grep default; grep nameserver /etc/resolv.conf"), "default via 172.31.7.1 dev eth0\nnameserver 172.31.7.1\nnameserver 172.31.8.1\n")
		if got := w.sh(`$TIFFIN network connect back late; $TIFFIN network connect --ip 172.31.7.99 front both; $TIFFIN network ls --filter name=front --format {{.Containers}}`); got != "tiffin: container late joins network back already\ntiffin: connect container both with network front: address 172.31.7.99 is that of container "+w.short("late")+"\nlate,web\n" {
			w.Errorf("what cannot be: %s", got)
		}
	})
}

// TestANetworkComesBack when the process that carries its packets was killed: containers keep their
// addresses, and newcomers do not get them.
func TestANetworkComesBack(t *testing.T) {
	onNetworks(t, func(w *wired) {
		w.Parallel()
		w.tiffin("network", "create", "--subnet", "172.31.9.0/24", "again")
		w.server("again", "web")
		w.server("again", "other")
		w.until("servers", func() bool { return strings.Count(w.ask("other", "web", "other"), "greets") == 4 })
		where := w.ask("other", "web") + w.ask("web", "other")
		for _, killed := range []string{"web", "other"} { // the second one is a child of a supervisor
			pid := 0
			w.until("a carrier", func() bool { pid = carrier(w, "again"); return pid != 0 })
			syscall.Kill(pid, syscall.SIGKILL)
			w.gone(pid)
			got := w.run("again", "--rm", "tiffin/base", "/programs/member", "web", "other") // at once
			w.until("a new one", func() bool { return w.ask("other", "web")+w.ask("web", "other") == where })
			if again := carrier(w, "again"); strings.Contains(got, "greets 172.31.9.2") || strings.Contains(got, "greets 172.31.9.3") || again == pid || again == 0 {
				w.Errorf("process %d after %d: a newcomer is told %s", again, pid, got)
			}
			if notes := w.tiffin("inspect", "-f", "{{.Notes}}", killed); !strings.Contains(notes, "the network program has ended: it was started again, and the container has joined it") {
				w.Errorf("nobody says that it was away: %s", notes)
			}
		}
	})
}

// TestTraceOfContainersThatMeet: what comes in from another container, and through a published
// port, as each sees it; also from the first packet of a container on.
func TestTraceOfContainersThatMeet(t *testing.T) {
	onNetworks(t, func(w *wired) {
		w.Parallel()
		w.tiffin("network", "create", "--subnet", "172.31.10.0/24", "front")
		w.server("front", "web", "-p", "80")
		w.until("a server", func() bool { return strings.Contains(w.ask("web", "127.0.0.1"), "greets") })
		got := w.sh(`$TIFFIN trace --network web >trace &
			timeout 120 sh -c 'until grep -q "dns  " trace; do '$TIFFIN' exec web /programs/member nobody >/dev/null; sleep 0.1; done'; cat </dev/null >other
			$TIFFIN run --rm --trace=network -v ` + w.programs + `:/programs:ro --network front tiffin/base /programs/member web 172.31.10.9 2>other >/dev/null
			` + w.programs + `/member "$($TIFFIN port web 80 | head -n 1)" >/dev/null; timeout 120 sh -c 'until grep -q "closed.* 127.0.0.1:80 from" trace; do sleep 0.1; done'
			$TIFFIN kill web >/dev/null; wait; cat trace; echo --; cat other; rm trace other`)
		server, client, _ := strings.Cut(got, "--\n")
		size := len(w.short("web") + " greets 172.31.10.3\n") // of what it says
		for _, want := range []string{
			"tcp  open                           172.31.10.2:80 from 172.31.10.3:",
			fmt.Sprintf("tcp  closed %13s %8s  172.31.10.2:80 from 172.31.10.3:", fmt.Sprint(size, "B"), "0B"),
			"tcp  open                           127.0.0.1:80 from 127.0.0.1:",
			fmt.Sprintf("tcp  closed %13s %8s  127.0.0.1:80 from 127.0.0.1:", fmt.Sprint(len(w.short("web")+" greets 10.0.2.1\n"), "B"), "0B"),
		} {
			if !strings.Contains(server, want) {
				w.Errorf("%q is not shown:\n%s", want, got)
			}
		}
		for _, want := range []string{
			"dns  answered    web. A 172.31.10.2\n",
			"tcp  open                           172.31.10.2:80\n",
			fmt.Sprintf("tcp  closed %13s %8s  172.31.10.2:80\n", "0B", fmt.Sprint(size, "B")),
			"tcp  unreachable       0B       0B  172.31.10.9:80\n",
		} {
			if !strings.Contains(client, want) {
				w.Errorf("the client does not see %q:\n%s", want, got)
			}
		}
	})
}

// carrier is the process that carries the packets of a person's network: it has inherited the
// socket, by whose name other tests have none.
func carrier(w *wired, network string) int {
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
					if strings.Contains(line, " "+strings.TrimSuffix(inode, "]")+" ") && strings.HasSuffix(strings.TrimSpace(line), "/"+network+".sock") && owned(f, w.person) {
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

package cli_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What becomes of connections from a container's own network: servers of each kind are in this
// process, and their visitor, this program again, is in a container.

// sightings are what servers have seen of their clients.
type sightings struct{ bytes, resets atomic.Int64 }

// hosts are servers on loopback, by what they do, and their ports.
func hosts(t *testing.T, saw *sightings) map[string]int {
	ports := map[string]int{}
	listen := func(name string, serve func(*net.TCPConn)) *net.TCPListener {
		l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		ports[name] = l.Addr().(*net.TCPAddr).Port
		if serve != nil {
			go func() {
				for {
					c, err := l.AcceptTCP()
					if err != nil {
						return
					}
					go func() {
						defer c.Close()
						serve(c)
					}()
				}
			}()
		}
		return l
	}
	listen("echo", func(c *net.TCPConn) { // and a last word after the other side has ended
		io.Copy(c, c)
		io.WriteString(c, "bye")
	})
	listen("ends first", func(c *net.TCPConn) {
		io.WriteString(c, "hello")
		c.CloseWrite()
		b, _ := io.ReadAll(c)
		saw.bytes.Add(int64(len(b)))
	})
	listen("resets", func(c *net.TCPConn) {
		c.Read(make([]byte, 1))
		c.SetLinger(0)
	})
	listen("sees a reset", func(c *net.TCPConn) {
		_, err := io.ReadAll(c)
		if errors.Is(err, syscall.ECONNRESET) {
			saw.resets.Add(1)
		}
	})
	listen("nobody", nil).Close()
	// A queue for nobody, filled: further connections get no answer.
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	name, _ := unix.Getsockname(fd)
	ports["full"] = name.(*unix.SockaddrInet4).Port
	for range 2 {
		c, err := net.DialTimeout("tcp", fmt.Sprint("127.0.0.1:", ports["full"]), time.Second/4)
		if err == nil {
			t.Cleanup(func() { c.Close() })
		}
	}
	u, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close() })
	ports["udp"] = u.LocalAddr().(*net.UDPAddr).Port
	go func() {
		for b := make([]byte, 1<<16); ; {
			n, from, err := u.ReadFrom(b)
			if err != nil {
				return
			}
			u.WriteTo(b[:n], from)
		}
	}()
	return ports
}

// visits are what the visitor does, with what it says.
var visits = []struct{ what, finds string }{
	{"echo", `"hello" and then "bye"`},
	{"ends first", `"hello", and 100000 bytes go the other way`},
	{"nobody", "connection refused"},
	{"full", "i/o timeout"},
	{"resets", "connection reset by peer"},
	{"sees a reset", "resets it"},
	{"udp", "0 1 1400 65507 bytes are back"},
	{"udp nobody", "connection refused"},
	{"127.0.0.1", "connection refused"},
	{"0.0.0.0", "connection refused"},
	{"10.0.2.9", "no route to host"},
	{"169.254.1.1", "network is unreachable"},
}

// TestWhatConnectsOutside: from inside each kind of server looks as it is.
func TestWhatConnectsOutside(t *testing.T) {
	onNetworks(t, func(w *wired) {
		var saw sightings
		ports := hosts(w.T, &saw)
		visit := func(network string) string {
			args := []string{"--rm", "tiffin/base", "/programs/visitor"}
			for _, v := range visits {
				args = append(args, v.what, strconv.Itoa(ports[strings.TrimPrefix(v.what, "udp ")]))
			}
			return w.run(network, args...)
		}
		var want, closed strings.Builder
		for i, v := range visits {
			fmt.Fprintf(&want, "%s: %s\n", v.what, v.finds)
			if i < 8 {
				v.finds = "connection refused"
			}
			fmt.Fprintf(&closed, "%s: %s\n", v.what, v.finds)
		}
		if got := visit("user:host-loopback"); got != want.String() {
			w.Errorf("with the host's loopback:\n%s\nwant\n%s", got, want.String())
		}
		w.until("the servers have heard 100000 bytes, and seen a reset", func() bool { return saw.bytes.Load() == 100000 && saw.resets.Load() == 1 })
		if got := visit("user"); got != closed.String() {
			w.Errorf("without the host's loopback:\n%s\nwant\n%s", got, closed.String())
		}
	})
}

// visitor is the program in the container: pairs of what it visits and a port.
func visitor() {
	for i := 1; i+1 < len(os.Args); i += 2 {
		what, port := os.Args[i], os.Args[i+1]
		finds, err := visit(what, port)
		var errno syscall.Errno
		var late net.Error
		switch {
		case errors.As(err, &errno):
			finds = errno.Error()
		case errors.As(err, &late) && late.Timeout():
			finds = "i/o timeout"
		case err != nil:
			finds = err.Error()
		}
		fmt.Printf("%s: %s\n", what, finds)
	}
}

const gateway = "10.0.2.2"

func visit(what, port string) (string, error) {
	if what == "name" {
		all, err := net.LookupHost("box.")
		return strings.Join(all, " "), err
	}
	if strings.HasPrefix(what, "udp") {
		return visitUDP(net.JoinHostPort(gateway, port))
	}
	host := gateway
	if net.ParseIP(what) != nil {
		host, port = what, "1"
	}
	patience := time.Minute
	if what == "full" { // nobody answers
		patience = 3 * time.Second
	}
	conn, err := net.DialTimeout("tcp", net.JoinHostPort(host, port), patience)
	if err != nil {
		return "", err
	}
	c := conn.(*net.TCPConn)
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	hello := make([]byte, 5)
	switch what {
	case "echo":
		io.WriteString(c, "hello")
		_, err = io.ReadFull(c, hello)
		c.CloseWrite()
		rest, e := io.ReadAll(c)
		return fmt.Sprintf("%q and then %q", hello, rest), errors.Join(err, e)
	case "ends first":
		got, err := io.ReadAll(c)
		n, e := c.Write(make([]byte, 100000))
		return fmt.Sprintf("%q, and %d bytes go the other way", got, n), errors.Join(err, e)
	case "sees a reset":
		c.SetLinger(0)
		return "resets it", nil
	}
	io.WriteString(c, "x")
	n, err := c.Read(hello)
	return fmt.Sprintf("%q", hello[:n]), err
}

func visitUDP(to string) (string, error) {
	c, err := net.Dial("udp", to)
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	var sizes []string
	b := make([]byte, 1<<16)
	for i, n := range []int{0, 1, 1400, 65507} {
		sent := bytes.Repeat([]byte{byte(i)}, n)
		if _, err := c.Write(sent); err != nil {
			return "", err
		}
		m, err := c.Read(b)
		if err != nil {
			return "", err
		}
		if !bytes.Equal(b[:m], sent) {
			return fmt.Sprintf("%d bytes for %d", m, n), nil
		}
		sizes = append(sizes, strconv.Itoa(m))
	}
	return strings.Join(sizes, " ") + " bytes are back", nil
}

// TestNetworkProgramStartsWithTheFirstPacket, and not before; killed, it is started again; and it
// is gone with its container.
func TestNetworkProgramStartsWithTheFirstPacket(t *testing.T) {
	onNetworks(t, func(w *wired) {
		ports := hosts(w.T, new(sightings))
		w.box("user:host-loopback", "box", "tiffin/base", "sleep", "1000")
		supervisor := w.supervisor("box")
		time.Sleep(time.Second) // what a kernel says on a new interface, it says at once
		if pid := childOf(supervisor, "__network"); pid != 0 {
			w.Errorf("nobody has sent anything, but there is process %d", pid)
		}
		last := 0
		for i := range 3 {
			w.until("an echo", func() bool {
				return strings.Contains(w.tiffin("exec", "box", "/programs/visitor", "echo", strconv.Itoa(ports["echo"])), "bye")
			})
			pid := childOf(supervisor, "__network")
			if pid == 0 || pid == last {
				w.Fatalf("it came by process %d, after %d", pid, last)
			}
			if last = pid; i < 2 {
				syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		const own = `{{.IPAddress}} {{.Gateway}} {{.MacAddress}}`
		if got := w.tiffin("inspect", "-f", "{{with .NetworkSettings}}"+own+"{{end}} {{with .NetworkSettings.Networks.user}}"+own+"{{end}}", "box"); got != strings.Repeat(" 10.0.2.100 10.0.2.2 02:42:0a:00:02:64", 2)[1:]+"\n" {
			w.Errorf("inspect has %q", got)
		}
		if notes := w.tiffin("inspect", "box"); !strings.Contains(notes, "is started again for the next packet: it was killed by SIGKILL") {
			w.Error("the note does not say what became of the network program")
		}
		w.tiffin("kill", "box")
		w.gone(last)
	})
}

// TestTraceOfANetwork: questions, connections and what became of them, also of the first packet.
func TestTraceOfANetwork(t *testing.T) {
	onNetworks(t, func(w *wired) {
		ports := hosts(w.T, new(sightings))
		var visits strings.Builder
		visits.WriteString("/programs/visitor name 0")
		for _, what := range []string{"echo", "nobody", "resets", "sees a reset", "udp", "10.0.2.9", "169.254.1.1"} {
			fmt.Fprintf(&visits, ` "%s" %d`, what, ports[what])
		}
		w.box("user:host-loopback", "box", "--hostname", "other", "tiffin/base", "sleep", "1000")
		traced := w.sh(`$TIFFIN trace --network box >trace & $TIFFIN trace --network --format json box >json &
			until grep -q "dns  answered" trace && grep -q answered json; do $TIFFIN exec box /programs/visitor name 0 >/dev/null; sleep 0.1; done
			$TIFFIN exec box sh -c '` + visits.String() + `' >/dev/null; until grep -q unreachable trace && grep -q unreachable json; do sleep 0.1; done; $TIFFIN kill box >/dev/null; wait; cat trace; grep -c '"sent":5,.*"result":"closed"' json; rm trace json`)
		w.Log(traced)
		for _, want := range []string{
			"dns  answered    box. A 10.0.2.100\n",
			fmt.Sprintf("tcp  open                           10.0.2.2:%d", ports["echo"]),
			fmt.Sprintf("tcp  closed            5B       8B  10.0.2.2:%d", ports["echo"]),
			fmt.Sprintf("tcp  refused           0B       0B  10.0.2.2:%d", ports["nobody"]),
			fmt.Sprintf("tcp  reset             1B       0B  10.0.2.2:%d", ports["resets"]),
			fmt.Sprintf("tcp  reset             0B       0B  10.0.2.2:%d", ports["sees a reset"]),
			fmt.Sprintf("udp  open                           10.0.2.2:%d", ports["udp"]),
			"tcp  unreachable       0B       0B  169.254.1.1:1",
			"\n1\n",
		} {
			if !strings.Contains(traced, want) {
				w.Errorf("%q is not shown", want)
			}
		}
	})
}

// TestPortsOfAnotherContainersNetwork are not for this one to publish, and an interface is shown
// with its address.
func TestPortsOfAnotherContainersNetwork(t *testing.T) {
	onNetworks(t, func(w *wired) {
		if out := w.sh("$TIFFIN run --rm --explain --network user tiffin/base true"); !strings.Contains(out, "eth0 is up, its address is 10.0.2.100") {
			w.Errorf("no address in\n%s", out)
		}
		w.tiffin("create", "--name", "box", "tiffin/base", "true")
		for _, flag := range []string{"-p=8080:80", "-P"} {
			if out := w.sh("$TIFFIN run --rm " + flag + " --network container:box tiffin/base true || true"); !strings.Contains(out, "exclude each other") {
				w.Errorf("%s: %s", flag, out)
			}
		}
	})
}

// TestPacketsWakeOnlyWhoCarriesThem: the supervisor, which has waited for the first one, sleeps.
func TestPacketsWakeOnlyWhoCarriesThem(t *testing.T) {
	onNetworks(t, func(w *wired) {
		ports := hosts(w.T, new(sightings))
		w.box("user:host-loopback", "box", "tiffin/base", "sleep", "1000")
		const count = 600
		wakes := func() (n int) {
			tasks, _ := filepath.Glob("/proc/" + w.supervisor("box") + "/task/*/status")
			for _, f := range tasks {
				status, _ := os.ReadFile(f)
				_, rest, _ := strings.Cut(string(status), "\nvoluntary_ctxt_switches:")
				k, _ := strconv.Atoi(strings.TrimSpace(strings.SplitN(rest, "\n", 2)[0]))
				n += k
			}
			return n
		}
		echo := fmt.Sprint(" echo ", ports["echo"])
		w.tiffin("exec", "box", "sh", "-c", "/programs/visitor"+echo)
		before := wakes()
		w.tiffin("exec", "box", "sh", "-c", "/programs/visitor"+strings.Repeat(echo, count)+" >/dev/null")
		if n := wakes() - before; n > count {
			w.Errorf("%d connections have woken the supervisor %d times", count, n)
		} else {
			w.Logf("woken %d times", n)
		}
	})
}

// childOf finds a process by its parent and its second argument, 0 if there is none.
func childOf(parent, argument string) int {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		args, _ := os.ReadFile(f)
		status, _ := os.ReadFile(filepath.Join(filepath.Dir(f), "status"))
		if strings.Contains(string(args), "\x00"+argument+"\x00") && strings.Contains(string(status), "\nPPid:\t"+parent+"\n") {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
			return pid
		}
	}
	return 0
}

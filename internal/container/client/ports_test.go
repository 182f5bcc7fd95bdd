package client

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
	"tiffin/internal/network"
)

// lastBytes is more than a client that does not read gets out of the container's buffers.
const lastBytes = 12 << 20

// serve is a server in a container. It is told a word by each client: "who" answers with the
// client's address, "last" with many bytes, after which the server ends without waiting, and "look"
// with what can be had through a helper that is seen in /proc.
func serve([]string) int {
	l, err := net.Listen("tcp", ":80")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("serving")
	for {
		c, err := l.Accept()
		if err != nil {
			return 1
		}
		go func() {
			defer c.Close()
			switch word, _ := bufio.NewReader(c).ReadString('\n'); word {
			case "who\n":
				fmt.Fprint(c, c.RemoteAddr())
			case "look\n":
				fmt.Fprint(c, lookInto("__ports"))
			case "last\n":
				_ = c.(*net.TCPConn).SetWriteBuffer(lastBytes) // as far as net.core.wmem_max allows
				n, _ := c.Write(make([]byte, lastBytes))
				fmt.Println("wrote", n)
				os.Exit(0)
			}
		}()
	}
}

// lookInto tells how many processes have such an argument, and what of theirs this one gets at.
func lookInto(argument string) string {
	seen, found := 0, []string{}
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range lines {
		dir := filepath.Dir(name)
		if line, _ := os.ReadFile(name); !strings.Contains(string(line), argument) {
			continue
		}
		seen++
		for _, secret := range []string{"root/etc", "root/.", "cwd/.", "fd/0", "environ", "maps"} {
			if f, err := os.Open(filepath.Join(dir, secret)); err == nil {
				found = append(found, secret)
				f.Close()
			}
		}
	}
	return fmt.Sprint(seen, found)
}

// publisher is a container that serves, and where.
func publisher(t *testing.T, arg string, without ...string) (*box, string) {
	t.Helper()
	ports, err := network.ParsePorts(arg)
	if err != nil {
		t.Fatal(err)
	}
	b := newBox(t, disk.Config{Ports: ports, Network: "none", Without: without}, "serve")
	s := b.start(StartOptions{})
	t.Cleanup(func() { runtime.KeepAlive(s) }) // the container ends with its connection
	b.got.has("serving")
	return b, b.state(disk.Running).Ports[0].At()
}

// tell connects, says a word, and returns what comes.
func tell(t *testing.T, at, word string) (string, error) {
	t.Helper()
	c, err := net.Dial("tcp", at)
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	fmt.Fprintln(c, word)
	if word == "last" {
		time.Sleep(500 * time.Millisecond)
	}
	said, err := io.ReadAll(c)
	return string(said), err
}

// forwarders are the helpers of a container that carry bytes.
func forwarders(b *box) (pids []int) {
	supervisor := b.state(disk.Running).Supervisor
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range all {
		line, _ := os.ReadFile(name)
		status, _ := os.ReadFile(filepath.Join(filepath.Dir(name), "status"))
		if strings.Contains(string(line), "__ports") && strings.Contains(string(status), fmt.Sprintf("PPid:\t%d\n", supervisor)) {
			var pid int
			fmt.Sscanf(name, "/proc/%d/", &pid)
			pids = append(pids, pid)
		}
	}
	return pids
}

// TestAPublishedPort is served from the first client on, by a helper that may be killed.
func TestAPublishedPort(t *testing.T) {
	b, at := publisher(t, "80")
	if pids := forwarders(b); len(pids) > 0 {
		t.Errorf("before the first client there are helpers %d", pids)
	}
	for range 3 {
		said, err := tell(t, at, "who")
		if host, _, _ := net.SplitHostPort(said); host != network.Forwarder4.String() {
			t.Errorf("the server sees %q, %v; want %s", said, err, network.Forwarder4)
		}
		pids := forwarders(b)
		if len(pids) != 1 {
			t.Fatalf("helpers %d", pids)
		}
		caps, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pids[0]))
		if want := fmt.Sprintf("CapPrm:\t%016x\n", 1<<unix.CAP_NET_RAW); !strings.Contains(string(caps), want) || !strings.Contains(string(caps), "NoNewPrivs:\t1\n") {
			t.Errorf("rights of the helper:\n%s", caps)
		}
		_ = unix.Kill(pids[0], unix.SIGKILL)
		gone(t, pids[0])
	}
	// Somebody else wants the port, before and after.
	ports := b.state(disk.Running).Ports
	other := newBox(t, disk.Config{Ports: ports[:1], Network: "none"}, "exit", "0")
	if _, err := Start(other.Container, nil, other.lock, other.m, StartOptions{}); err == nil || !strings.Contains(err.Error(), "it is in use") || errs.HintOf(err) == "" {
		t.Errorf("the port is taken by another: %v", err)
	}
	if err := Kill(b.Container, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s := b.state(disk.Exited)
	if len(s.Ports) > 0 {
		t.Errorf("it has ended, and has ports %v", s.Ports)
	}
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Errorf("after its end: %v", err)
	} else {
		l.Close()
	}
}

// TestTheLastBytesArrive that a server has sent before it ended.
func TestTheLastBytesArrive(t *testing.T) {
	b, at := publisher(t, "80")
	said, err := tell(t, at, "last")
	b.state(disk.Exited)
	var wrote int
	b.got.has("wrote")
	_, after, _ := strings.Cut(b.got.String(), "wrote ")
	fmt.Sscan(after, &wrote)
	if len(said) != wrote || wrote != lastBytes || err != nil {
		t.Errorf("%d bytes of %d arrived: %v", len(said), wrote, err)
	}
}

// TestHostNetworkNeedsNoPorts: the same start, and nobody listens.
func TestHostNetworkNeedsNoPorts(t *testing.T) {
	b := newBox(t, disk.Config{Ports: []network.Port{{Container: 80, Protocol: network.TCP}}, Network: "host"}, "say", "hello")
	s := b.start(StartOptions{})
	ends(t, s, 0)
	if s := b.state(disk.Exited); len(s.Notes) > 0 {
		t.Errorf("%+v", s)
	}
}

// TestNothingLeadsOutThroughTheHelper of published ports, which the container sees if it has no pid
// namespace of its own: its root directory and descriptors are the host's.
func TestNothingLeadsOutThroughTheHelper(t *testing.T) {
	_, at := publisher(t, "80", "pid")
	// Those of other containers of the machine may be seen as well.
	if got, err := tell(t, at, "look"); strings.HasPrefix(got, "0 ") || !strings.HasSuffix(got, " []") || err != nil {
		t.Errorf("helpers that are seen, and what is to be had of them: %s, %v", got, err)
	}
}

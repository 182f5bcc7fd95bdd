package port

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/internal/network"
	"tiffin/internal/test/reexec"
	"tiffin/internal/wire"
)

func TestMain(m *testing.M) {
	os.Exit(reexec.Main(m, reexec.Parts{"inside": inside, "helper": helperMain}))
}

// Ports of the servers inside.
const (
	echo    = 7001 // what it is sent, when the client has ended: half-close
	who     = 7002 // the client's address
	reset   = 7003 // a reset, after the first byte
	suffer  = 7004 // tells last how the client has ended
	last    = 7005
	hasty   = 7006 // an answer, without reading the question
	nobody  = 7007
	onlyNet = 7008 // who, on an address that is not loopback
	only6   = 7009 // who, on IPv6 alone
	dgram   = 7010 // UDP: the client's address and what it said
	flood   = 7011 // zeros without end
	named   = 7012 // who, on the address of the container's own name
)

// elsewhereIP is an address of the container besides loopback.
const elsewhereIP = "10.0.2.100"

// helperMain is the helper, with a limit of open files.
func helperMain(args []string) int {
	var limit unix.Rlimit
	_ = unix.Getrlimit(unix.RLIMIT_NOFILE, &limit)
	limit.Cur = limit.Max
	fmt.Sscan(args[0], &limit.Cur)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return Main()
}

// inside has the servers, and the helper beside them.
func inside(args []string) int {
	if err := up(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ended := make(chan string, 16)
	for port, serve := range map[string]func(*net.TCPConn){
		fmt.Sprint(":", echo): func(c *net.TCPConn) {
			b, _ := io.ReadAll(c)
			_, _ = c.Write(b)
		},
		fmt.Sprint("0.0.0.0:", who): tellWho,
		fmt.Sprint(":", reset): func(c *net.TCPConn) {
			_, _ = c.Read(make([]byte, 1))
			_ = c.SetLinger(0)
		},
		fmt.Sprint(":", suffer): func(c *net.TCPConn) {
			_, err := io.Copy(io.Discard, c)
			ended <- fmt.Sprint(err)
		},
		fmt.Sprint(":", last): func(c *net.TCPConn) { fmt.Fprint(c, <-ended) },
		fmt.Sprint(":", hasty): func(c *net.TCPConn) {
			_, _ = c.Read(make([]byte, 1))
			fmt.Fprint(c, "too large")
			time.Sleep(100 * time.Millisecond) // more comes in meanwhile, so that close resets
		},
		fmt.Sprint(elsewhereIP, ":", onlyNet):   tellWho,
		fmt.Sprint(network.OwnName, ":", named): tellWho,
		fmt.Sprint("[::1]:", only6):             tellWho,
		fmt.Sprint(":", flood): func(c *net.TCPConn) {
			for b := make([]byte, 64<<10); ; {
				if _, err := c.Write(b); err != nil {
					ended <- fmt.Sprint(err)
					return
				}
			}
		},
	} {
		kind := "tcp"
		if strings.HasPrefix(port, "0.0.0.0") {
			kind = "tcp4"
		}
		l, err := net.Listen(kind, port)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					continue
				}
				go func() {
					defer c.Close()
					serve(c.(*net.TCPConn))
				}()
			}
		}()
	}
	u, err := net.ListenPacket("udp", fmt.Sprint(":", dgram))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	go func() {
		for b := make([]byte, most); ; {
			n, from, _ := u.ReadFrom(b)
			_, _ = u.WriteTo(append([]byte(from.String()+" "), b[:n]...), from)
		}
	}()
	cmd := reexec.Command("helper", args...)
	cmd.Stderr, cmd.ExtraFiles = os.Stderr, []*os.File{os.NewFile(wire.FD, "connection")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL, AmbientCaps: []uintptr{unix.CAP_NET_ADMIN, unix.CAP_NET_RAW, unix.CAP_SYS_CHROOT}}
	runtime.LockOSThread() // for the signal
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func tellWho(c *net.TCPConn) {
	host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
	fmt.Fprint(c, host)
}

// up sets loopback up, with one address more: as good as that of another interface here.
func up() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	ifr, _ := unix.NewIfreq("lo")
	ifr.SetUint16(unix.IFF_UP)
	if err = unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, ifr); err == nil {
		ifr, _ = unix.NewIfreq("lo:1")
		_ = ifr.SetInet4Addr(netip.MustParseAddr(elsewhereIP).AsSlice())
		if err = unix.IoctlIfreq(s, unix.SIOCSIFADDR, ifr); err == nil {
			_ = ifr.SetInet4Addr([]byte{255, 255, 255, 255})
			err = unix.IoctlIfreq(s, unix.SIOCSIFNETMASK, ifr)
		}
	}
	return err
}

// forward publishes ports of the servers inside, and returns where they are on the host.
func forward(t *testing.T, args ...string) (ls *Listeners, at func(port uint16, ip string) string) {
	t.Helper()
	return forwardAndTell(t, func(*network.Flow) {}, args...)
}

// forwardAndTell is forward; pass gets what the helper tells.
func forwardAndTell(t *testing.T, pass func(*network.Flow), args ...string) (ls *Listeners, at func(port uint16, ip string) string) {
	t.Helper()
	var ports []network.Port
	for _, a := range args {
		p, err := network.ParsePorts(a)
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, p...)
	}
	ls, err := Listen(ports)
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan bool)
	go func() {
		defer close(over)
		ls.Serve(start, pass, func(err error) { t.Error(err) })
	}()
	t.Cleanup(func() {
		ls.Close()
		select {
		case <-over:
		case <-time.After(20 * time.Second):
			t.Error("the helper has not ended")
		}
	})
	return ls, func(port uint16, ip string) string {
		for _, p := range ls.Ports() {
			if p.Container == port && p.IP.String() == ip {
				return p.At()
			}
		}
		t.Fatalf("port %d is not published on %s", port, ip)
		return ""
	}
}

// start starts the helper in namespaces of its own, as the supervisor does in the container's.
func start() (*Helper, error) {
	conn, theirs, err := wire.Pair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	cmd := reexec.Command("inside", openFiles)
	cmd.Stderr, cmd.ExtraFiles = os.Stderr, []*os.File{theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}, GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		Pdeathsig: unix.SIGKILL,
	}
	helper = cmd
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &Helper{conn, func() { _ = cmd.Wait() }}, nil
}

var (
	helper    *exec.Cmd // what start has started last
	openFiles = "max"   // limit for the helper
)

func dialTCP(t *testing.T, at string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c.(*net.TCPConn)
}

// ask connects and reads all that comes.
func ask(t *testing.T, at string) string {
	t.Helper()
	b, err := io.ReadAll(dialTCP(t, at))
	if err != nil {
		t.Errorf("%s: %v", at, err)
	}
	return string(b)
}

// TestWhatOneSideDoesTheOtherGets: bytes, their end, resets and refusals, either way.
func TestWhatOneSideDoesTheOtherGets(t *testing.T) {
	_, at := forward(t, fmt.Sprintf("%d-%d", echo, flood))
	t.Run("half-close", func(t *testing.T) {
		var wg sync.WaitGroup
		for _, size := range []int{0, 1, small - 1, small, small + 1, most, 3 << 20, 10<<20 + 7} {
			wg.Go(func() {
				sent := make([]byte, size)
				rand.NewChaCha8([32]byte{byte(size)}).Read(sent)
				c := dialTCP(t, at(echo, "127.0.0.1"))
				go func() {
					_, _ = io.Copy(c, bytes.NewReader(sent))
					_ = c.CloseWrite()
				}()
				got, err := io.ReadAll(c)
				if err != nil || sha256.Sum256(got) != sha256.Sum256(sent) {
					t.Errorf("of %d bytes %d came back: %v", size, len(got), err)
				}
			})
		}
		wg.Wait()
	})
	t.Run("reset by the server", func(t *testing.T) {
		c := dialTCP(t, at(reset, "127.0.0.1"))
		_, _ = c.Write([]byte("x"))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("the client sees %v", err)
		}
	})
	t.Run("reset by the client", func(t *testing.T) {
		c := dialTCP(t, at(suffer, "127.0.0.1"))
		_, _ = c.Write([]byte("x"))
		time.Sleep(50 * time.Millisecond)
		_ = c.SetLinger(0)
		c.Close()
		if got := ask(t, at(last, "127.0.0.1")); !strings.Contains(got, "reset by peer") {
			t.Errorf("the server sees %s", got)
		}
	})
	t.Run("end by the client", func(t *testing.T) {
		dialTCP(t, at(suffer, "127.0.0.1")).Close()
		if got := ask(t, at(last, "127.0.0.1")); got != "<nil>" {
			t.Errorf("the server sees %s", got)
		}
	})
	t.Run("gone while it is sent to", func(t *testing.T) {
		c := dialTCP(t, at(flood, "127.0.0.1"))
		_, _ = io.CopyN(io.Discard, c, 5<<20)
		c.Close()
		if got := ask(t, at(last, "127.0.0.1")); !strings.Contains(got, "reset") && !strings.Contains(got, "broken pipe") {
			t.Errorf("the server sees %s", got)
		}
	})
	t.Run("nobody listens", func(t *testing.T) {
		c, err := net.Dial("tcp", at(nobody, "127.0.0.1"))
		if err == nil { // the reset was not quicker
			_, err = c.Read(make([]byte, 1))
			c.Close()
		}
		if !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("the client sees %v", err)
		}
	})
	t.Run("the helper is killed", func(t *testing.T) {
		c := dialTCP(t, at(flood, "127.0.0.1"))
		_, _ = io.CopyN(io.Discard, c, 1<<20)
		for _, pid := range children(t) { // not inside, where the server would say that it ends
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		if _, err := io.Copy(io.Discard, c); !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("the client sees %v", err)
		}
	})
	t.Run("an answer before the end of the question", func(t *testing.T) {
		c := dialTCP(t, at(hasty, "127.0.0.1"))
		sent := make(chan error)
		go func() {
			_, err := io.Copy(c, io.LimitReader(zeros{}, 64<<20))
			sent <- err
		}()
		b := make([]byte, 100)
		if n, err := c.Read(b); string(b[:n]) != "too large" {
			t.Errorf("the client reads %q, %v", b[:n], err)
		}
		if err := <-sent; err == nil {
			t.Error("all has been taken")
		}
	})
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

// TestManyConnections at once, each for as long as all others are there.
func TestManyConnections(t *testing.T) {
	many := 1000
	if s := os.Getenv("TIFFIN_CONNECTIONS"); s != "" {
		fmt.Sscan(s, &many)
	}
	_, at := forward(t, fmt.Sprint(echo))
	conns := make([]*net.TCPConn, many)
	for i := range conns {
		conns[i] = dialTCP(t, at(echo, "127.0.0.1"))
		fmt.Fprint(conns[i], i)
	}
	for i, c := range conns {
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		_ = c.CloseWrite()
		if b, err := io.ReadAll(c); string(b) != fmt.Sprint(i) {
			t.Fatalf("connection %d of %d: %q, %v", i, many, b, err)
		}
		c.Close()
	}
}

// TestClientsWaitForDescriptors when there are more of them than the helper may have open files.
func TestClientsWaitForDescriptors(t *testing.T) {
	openFiles = "60"
	defer func() { openFiles = "max" }()
	_, at := forward(t, fmt.Sprint(echo))
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			c, err := net.Dial("tcp", at(echo, "127.0.0.1"))
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(20 * time.Second))
			fmt.Fprint(c, i)
			time.Sleep(50 * time.Millisecond)
			_ = c.(*net.TCPConn).CloseWrite()
			if b, err := io.ReadAll(c); string(b) != fmt.Sprint(i) {
				t.Errorf("connection %d: %q, %v", i, b, err)
			}
		})
	}
	wg.Wait()
}

// TestASlowReader gets all, and holds up neither its server for ever nor others.
func TestASlowReader(t *testing.T) {
	_, at := forward(t, fmt.Sprint(echo), fmt.Sprint(flood), fmt.Sprint(who))
	slow := dialTCP(t, at(flood, "127.0.0.1"))
	time.Sleep(300 * time.Millisecond) // all buffers are full
	if got := ask(t, at(who, "127.0.0.1")); got != network.Forwarder4.String() {
		t.Errorf("beside it: %q", got)
	}
	before := cpuTime(t)
	time.Sleep(300 * time.Millisecond)
	if after := cpuTime(t); after > before+5 {
		t.Errorf("to wait costs %d0 ms", after-before)
	}
	n, err := io.CopyN(io.Discard, slow, 64<<20)
	if err != nil {
		t.Errorf("after %d bytes: %v", n, err)
	}
}

// children are the helper itself, a child of inside: proc(5), /proc/PID/task/TID/children.
func children(t *testing.T) (pids []int) {
	t.Helper()
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", helper.Process.Pid))
	for _, name := range threads {
		text, _ := os.ReadFile(name)
		for _, word := range strings.Fields(string(text)) {
			pid, _ := strconv.Atoi(word)
			pids = append(pids, pid)
		}
	}
	if len(pids) == 0 {
		t.Error("there is no helper")
	}
	return pids
}

// cpuTime is what the processes inside have had, in ticks of 10 ms: proc(5), /proc/PID/stat.
func cpuTime(t *testing.T) (ticks int) {
	t.Helper()
	for _, pid := range append(children(t), helper.Process.Pid) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(text), ") ")
		for _, f := range strings.Fields(rest)[11:13] {
			n := 0
			fmt.Sscan(f, &n)
			ticks += n
		}
	}
	return ticks
}

// TestWhoTheServerSees: never loopback, which servers trust.
func TestWhoTheServerSees(t *testing.T) {
	_, at := forward(t, fmt.Sprintf("%d-%d", who, only6), fmt.Sprintf("0.0.0.0::%d", who), fmt.Sprintf("[::]::%d", only6), fmt.Sprint(dgram, "/udp"), fmt.Sprint(named))
	const v4, v6 = "127.0.0.1", "::1"
	for _, c := range []struct {
		port     uint16
		ip, want string
	}{
		{who, v4, network.Forwarder4.String()},
		{who, v6, network.Forwarder4.String()},
		{only6, v4, network.Forwarder6.String()},
		{only6, v6, network.Forwarder6.String()},
		{onlyNet, v4, elsewhereIP},
		{named, v4, network.Forwarder4.String()},
		{named, v6, network.Forwarder4.String()},
	} {
		if got := ask(t, at(c.port, c.ip)); got != c.want {
			t.Errorf("server %d sees a client on %s as %q, want %s", c.port, c.ip, got, c.want)
		}
	}
	// Clients that are not on loopback, as far as this machine has addresses.
	own, _ := net.InterfaceAddrs()
	for _, a := range own {
		ip, _, _ := net.ParseCIDR(a.String())
		if ip.IsLoopback() || ip.IsLinkLocalUnicast() {
			continue
		}
		to := at(only6, "::")
		if ip.To4() != nil {
			to = at(who, "0.0.0.0")
		}
		_, port, _ := net.SplitHostPort(to)
		if got := ask(t, net.JoinHostPort(ip.String(), port)); got != ip.String() {
			t.Errorf("the server sees %s as %q", ip, got)
		}
	}
}

// TestDatagrams come and go, from the address that was asked, of any size.
func TestDatagrams(t *testing.T) {
	_, at := forward(t, fmt.Sprint(dgram, "/udp"), fmt.Sprintf("0.0.0.0::%d/udp", dgram))
	for ip, want := range map[string]string{"127.0.0.1": network.Forwarder4.String(), "::1": network.Forwarder6.String()} {
		c, err := net.Dial("udp", at(dgram, ip)) // takes answers from there alone
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		for _, said := range []string{"hello", "", strings.Repeat("x", 60000)} {
			if _, err := c.Write([]byte(said)); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, most)
			n, err := c.Read(b)
			from, got, _ := strings.Cut(string(b[:n]), " ")
			if host, _, _ := net.SplitHostPort(from); err != nil || host != want || got != said {
				t.Errorf("%s: of %d bytes %d came back, to %q: %v", ip, len(said), len(got), host, err)
			}
		}
	}
	_, port, _ := net.SplitHostPort(at(dgram, "0.0.0.0"))
	own, _ := net.InterfaceAddrs()
	for _, a := range own {
		ip, _, _ := net.ParseCIDR(a.String())
		if ip.To4() == nil {
			continue
		}
		c, err := net.Dial("udp", net.JoinHostPort(ip.String(), port))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		fmt.Fprint(c, "hello")
		if n, err := c.Read(make([]byte, 100)); n == 0 {
			t.Errorf("no answer from %s: %v", ip, err)
		}
	}
}

// TestFollow: what clients do is told, by the first helper and by the next one, until nobody wants
// to know.
func TestFollow(t *testing.T) {
	told := make(chan *network.Flow, 100)
	var unfollowed netip.AddrPort // the client that came when nobody wanted to know
	ls, at := forwardAndTell(t, func(f *network.Flow) { told <- f }, fmt.Sprint("127.0.0.1::", echo), fmt.Sprint("127.0.0.1::", reset), fmt.Sprint("127.0.0.1::", nobody), fmt.Sprint("127.0.0.1::", dgram, "/udp"))
	visit := func(kind string, port uint16) (from netip.AddrPort) {
		c, err := net.Dial(kind, at(port, "127.0.0.1"))
		if port == nobody && errors.Is(err, unix.ECONNRESET) {
			return from // sooner than connect(2) has returned
		}
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprint(c, "hello")
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.CloseWrite()
			_, _ = io.ReadAll(tcp)
		} else {
			_, _ = c.Read(make([]byte, 100))
		}
		return netip.MustParseAddrPort(c.LocalAddr().String())
	}
	hear := func(what string, from netip.AddrPort, want ...string) {
		t.Helper()
		for _, w := range want {
			select {
			case f := <-told:
				for f.From == unfollowed { // its end may come when somebody wants to know again
					f = <-told
				}
				if got := fmt.Sprint(f.Protocol, " ", f.Result, " ", f.Sent, " ", f.Received, " ", f.To.Port()); got != w || from.IsValid() && f.From != from || !f.To.Addr().IsLoopback() {
					t.Errorf("%s: %s from %v, want %s from %v", what, got, f.From, w, from)
				}
			case <-time.After(5 * time.Second):
				t.Fatalf("%s: nothing instead of %s", what, w)
			}
		}
	}
	ls.Follow(true) // there is no helper yet
	hear("an echo", visit("tcp", echo), "tcp open 0 0 7001", "tcp closed 5 5 7001")
	hear("a reset", visit("tcp", reset), "tcp open 0 0 7003", "tcp reset 0 5 7003")
	hear("a refusal", visit("tcp", nobody), "tcp refused 0 0 7007")
	hear("a datagram", visit("udp", dgram), "udp open 0 0 7010")
	ls.Follow(false)
	time.Sleep(200 * time.Millisecond) // the helper is not asked to answer
	unfollowed = visit("tcp", echo)
	ls.Follow(true)
	time.Sleep(200 * time.Millisecond)
	hear("once more", visit("tcp", echo), "tcp open 0 0 7001", "tcp closed 5 5 7001")
}

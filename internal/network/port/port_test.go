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
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/internal/network"
	"tiffin/internal/test/reexec"
)

func TestMain(m *testing.M) {
	os.Exit(reexec.Main(m, reexec.Parts{"inside": inside, "helper": helperMain}))
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
		_, _ = c.Read(make([]byte, 1))
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
		_ = c.SetDeadline(time.Now().Add(atMost))
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
			_ = c.SetDeadline(time.Now().Add(atMost))
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
	if got := ask(t, at(who, "127.0.0.1")); got != network.Forwarder4.String() {
		t.Errorf("beside it: %q", got)
	}
	ticks := 6
	for end := time.Now().Add(atMost); ticks > 5 && time.Now().Before(end); { // until all buffers are full
		before := cpuTime(t)
		time.Sleep(300 * time.Millisecond)
		ticks = cpuTime(t) - before
	}
	if ticks > 5 {
		t.Errorf("to wait for 300 ms costs %d0 ms", ticks)
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
		_ = c.SetDeadline(time.Now().Add(atMost))
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
		_ = c.SetDeadline(time.Now().Add(atMost))
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
	describe := func(f *network.Flow) string {
		return fmt.Sprint(f.Protocol, " ", f.Result, " ", f.Sent, " ", f.Received, " ", f.To.Port())
	}
	hear := func(what string, from netip.AddrPort, want ...string) {
		t.Helper()
		for _, w := range want {
			select {
			case f := <-told:
				if got := describe(f); got != w || from.IsValid() && f.From != from || !f.To.Addr().IsLoopback() {
					t.Errorf("%s: %s from %v, want %s from %v", what, got, f.From, w, from)
				}
			case <-time.After(atMost):
				t.Fatalf("%s: nothing instead of %s", what, w)
			}
		}
	}
	ls.Follow(true) // there is no helper yet
	hear("an echo", visit("tcp", echo), "tcp open 0 0 7001", "tcp closed 5 5 7001")
	hear("a reset", visit("tcp", reset), "tcp open 0 0 7003", "tcp reset 0 5 7003")
	hear("a refusal", visit("tcp", nobody), "tcp refused 0 0 7007")
	hear("a datagram", visit("udp", dgram), "udp open 0 0 7010")
	for _, c := range []struct {
		on   bool
		want []string
	}{{false, nil}, {true, []string{"tcp open 0 0 7001", "tcp closed 5 5 7001"}}} {
		ls.Follow(c.on)
		var got []string
		for end := time.Now().Add(atMost); ; { // the helper is not asked to say when it knows
			got = nil
			from := visit("tcp", echo)
			for heard := true; heard; {
				select {
				case f := <-told:
					if f.From == from {
						got = append(got, describe(f))
					}
				case <-time.After(200 * time.Millisecond):
					heard = false
				}
			}
			if slices.Equal(got, c.want) || time.Now().After(end) {
				break
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("with Follow(%v): %q", c.on, got)
		}
	}
}

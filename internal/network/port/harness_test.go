package port

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/internal/network"
	"tiffin/internal/test/reexec"
	"tiffin/internal/wire"
)

// The servers behind published ports, and how tests reach them.

// Ports of the servers inside.
const (
	echo    = 7001 // what it is sent, when the client has ended: half-close
	who     = 7002 // the client's address
	reset   = 7003 // a reset, after the first byte
	suffer  = 7004 // echo, and tells last how the client has ended
	last    = 7005
	hasty   = 7006 // an answer, without reading the question
	nobody  = 7007
	onlyNet = 7008 // who, on an address that is not loopback
	only6   = 7009 // who, on IPv6 alone
	dgram   = 7010 // UDP: the client's address and what it said
	flood   = 7011 // zeros without end
	named   = 7012 // who, on the address of the container's own name
)

// atMost is how long is waited for what comes within milliseconds, unless others need the
// processors.
const atMost = 2 * time.Minute

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
			_, err := io.Copy(c, c)
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
		case <-time.After(atMost):
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
	_ = c.SetDeadline(time.Now().Add(atMost))
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

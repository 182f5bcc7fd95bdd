package server

import (
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/internal/test/must"
	"tiffin/internal/test/reexec"
)

// dialAndHold connects to an address, as a set-user-ID program of another user's if a real user id
// follows, says so, and waits for the end of its input.
func dialAndHold(args []string) error {
	if len(args) > 1 {
		real, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		if err := unix.Setresuid(real, 0, 0); err != nil {
			return err
		}
	}
	c, err := net.Dial("tcp", args[0])
	if err != nil {
		return err
	}
	defer c.Close()
	fmt.Println("connected")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// listener is a place to connect to.
func listener(t *testing.T, addr string) *net.TCPListener {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		must.Skip(t, "", "%v", err) // a machine without IPv6
	}
	t.Cleanup(func() { l.Close() })
	return l.(*net.TCPListener)
}

// connected dials, from the given local address if there is one, and returns both ends.
func connected(t *testing.T, l *net.TCPListener, to string, from net.Addr) (client, server *net.TCPConn) {
	t.Helper()
	d := net.Dialer{LocalAddr: from}
	c, err := d.Dial("tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); s.Close() })
	return c.(*net.TCPConn), s
}

func TestOwnConnectionsAreMine(t *testing.T) {
	for addr, to := range map[string]string{"127.0.0.1:0": "127.0.0.1", "[::1]:0": "::1", "[::]:0": "127.0.0.1", "127.0.0.3:0": "127.0.0.3"} {
		t.Run(addr, func(t *testing.T) {
			l := listener(t, addr)
			if _, s := connected(t, l, net.JoinHostPort(to, fmt.Sprint(l.Addr().(*net.TCPAddr).Port)), nil); !tcpIsMine(s) {
				t.Error("a connection of this process is not this user's")
			}
		})
	}
	l := listener(t, "127.0.0.1:0")
	cmd := reexec.Command("dial", l.Addr().String())
	if s := held(t, l, cmd.Start, cmd.StdinPipe); !tcpIsMine(s) {
		t.Error("a connection of another process of this user's is not this user's")
	}
}

// held starts a process that connects, and returns the server's end.
func held(t *testing.T, l *net.TCPListener, start func() error, stdin func() (io.WriteCloser, error)) *net.TCPConn {
	t.Helper()
	w, err := stdin()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	if err := start(); err != nil {
		must.Skip(t, "userns", "%v", err)
	}
	l.SetDeadline(time.Now().Add(2 * time.Minute))
	s, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// TestClosedConnectionsAreNobodys: what is closed, half closed or reset is in the kernel's list as
// root's, or not at all, and its port may be another's by then.
func TestClosedConnectionsAreNobodys(t *testing.T) {
	l := listener(t, "127.0.0.1:0")
	for name, end := range map[string]func(c *net.TCPConn){
		"closed":      func(c *net.TCPConn) { c.Close() },
		"half closed": func(c *net.TCPConn) { c.CloseWrite() },
		"reset":       func(c *net.TCPConn) { c.SetLinger(0); c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			c, s := connected(t, l, l.Addr().String(), nil)
			fmt.Fprint(c, "a request")
			end(c)
			for range 20 { // FIN_WAIT2, then TIME_WAIT
				if tcpIsMine(s) {
					t.Fatal("it is this user's")
				}
				time.Sleep(5 * time.Millisecond)
			}
			if b := make([]byte, 100); name != "reset" {
				if n, _ := s.Read(b); string(b[:n]) != "a request" {
					t.Errorf("%q came: this shows nothing", b[:n])
				}
			}
		})
	}
}

// TestAPortThatIsUsedAgain: somebody sends a request and resets the connection; then this user
// happens to connect from the same port. The request is still there to be read, and the kernel
// lists a socket of this user's with the addresses that it came from.
func TestAPortThatIsUsedAgain(t *testing.T) {
	l := listener(t, "127.0.0.1:0")
	// An address that no other program has: at 127.0.0.1 the port might be somebody's meanwhile.
	c, first := connected(t, l, l.Addr().String(), &net.TCPAddr{IP: net.IPv4(127, 91, 17, 3)})
	fmt.Fprint(c, "a request")
	time.Sleep(50 * time.Millisecond)
	c.SetLinger(0)
	c.Close()
	_, second := connected(t, l, l.Addr().String(), c.LocalAddr())
	if _, uid, ok := establishedSocket(addrPort(first.RemoteAddr()), addrPort(first.LocalAddr())); !ok || uid != fmt.Sprint(os.Getuid()) {
		t.Fatal("the kernel does not list the second socket: this shows nothing")
	}
	if tcpIsMine(first) {
		t.Error("the first connection is this user's because the second is")
	}
	if !tcpIsMine(second) {
		t.Error("the second is not this user's")
	}
}

// TestContainersAreNotMine: a process in a user namespace of its own, as in a container with the
// network of this machine, whose root is this user.
func TestContainersAreNotMine(t *testing.T) {
	l := listener(t, "127.0.0.1:0")
	cmd := reexec.Command("dial", l.Addr().String())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}}
	s := held(t, l, cmd.Start, cmd.StdinPipe)
	if _, uid, ok := establishedSocket(addrPort(s.RemoteAddr()), addrPort(s.LocalAddr())); !ok || uid != fmt.Sprint(os.Getuid()) {
		t.Fatal("the kernel does not list its socket as this user's: this shows nothing")
	}
	if tcpIsMine(s) {
		t.Error("it is taken for a process of this user's outside")
	}
}

func TestOtherUsersAreNotMe(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("it takes root to be two people")
	}
	l := listener(t, "127.0.0.1:0")
	other := reexec.Command("dial", l.Addr().String())
	other.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if tcpIsMine(held(t, l, other.Start, other.StdinPipe)) {
		t.Error("another user is this one")
	}
	setuid := reexec.Command("dial", l.Addr().String(), "65534")
	s := held(t, l, setuid.Start, setuid.StdinPipe)
	if _, uid, ok := establishedSocket(addrPort(s.RemoteAddr()), addrPort(s.LocalAddr())); !ok || uid != "0" {
		t.Fatal("the kernel does not list its socket as root's: this shows nothing")
	}
	if tcpIsMine(s) {
		t.Error("a set-user-ID program that another user has started is this one")
	}
}

// TestOwnClientsNeedNoPassword, of whatever kind, where there is a token too.
func TestOwnClientsNeedNoPassword(t *testing.T) {
	srv := &Server{Store: newStore(t), Token: "s3cret"}
	hs := httptest.NewUnstartedServer(srv)
	hs.Config.ConnContext = srv.HTTP(nil).ConnContext
	hs.Start()
	t.Cleanup(func() { hs.Close(); srv.Close() })
	h := &served{hs, srv, srv.Store, strings.TrimPrefix(hs.URL, "http://")}
	f := newFixture(t, "a", thisArch())
	h.push(t, "x", "v1", f)
	b := []byte("in parts")
	at := h.do(t, "POST", "/v2/x/blobs/uploads/", nil).want(t, 202).Header.Get("Location")
	at = h.do(t, "PATCH", at, b).want(t, 202).Header.Get("Location")
	h.do(t, "GET", at, nil).want(t, 204)
	h.do(t, "DELETE", at, nil).want(t, 204)
	h.do(t, "POST", "/v2/x/blobs/uploads/", nil, "Origin", "http://evil.example").want(t, 403)
	h.do(t, "POST", "/v2/x/blobs/uploads/", nil, "Authorization", basicAuth("owner", "wrong")).want(t, 401)
	output(t, must.Tool(t, "skopeo"), "copy", "--insecure-policy", "--dest-tls-verify=false", layout(t, f), "docker://"+h.host+"/by/skopeo:v1")
	h.do(t, "DELETE", "/v2/by/skopeo/manifests/v1", nil).want(t, 202)
	if uid := os.Getuid(); uid == 0 { // and others need one, also if they close at once
		other := reexec.Command("post", "tcp:"+h.host)
		other.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		if out, err := other.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "401" {
			t.Errorf("another user is answered %s, %v", out, err)
		}
	}
}

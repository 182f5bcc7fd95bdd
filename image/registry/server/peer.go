// Which user has the other end of a connection, if it is on this machine.
//
// For a Unix socket the kernel says it: SO_PEERCRED. For a connection from 127.0.0.1 or ::1 it is
// found out once, when something is to be changed:
//
//  1. The kernel lists the client's socket, that with the two addresses exchanged, as ESTABLISHED,
//     made by this user, and with an inode. One that has been closed or shut down is in another
//     state, has no inode, and is listed as root's.
//  2. This end is ESTABLISHED still. So all the time there was one connection between these two
//     addresses: for another one the kernel would have had to end this. What step 1 saw is the
//     other end of this very connection, and not a later socket of this user's at the same port.
//  3. Whoever holds that inode is this user, by all four user ids, in the user namespace of this
//     process. A set-user-ID program has another real one; what runs in a container with this
//     machine's network has another namespace, also where its root is this user.
//
// A socket remembers the user who made it, and all bytes of a connection come from its one other
// end. But the kernel cannot tell for whom a process of this user sends them: if the user forwards
// the port (ssh -L, socat), whoever the forwarder lets in can push. Browsers are refused (who.go).

package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

type peerKey struct{}

// withPeer notes in a connection's context how to find out whether its other end is this user's.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	switch c := c.(type) {
	case *net.UnixConn:
		return context.WithValue(ctx, peerKey{}, sync.OnceValue(func() bool { return unixIsMine(c) }))
	case *net.TCPConn:
		return context.WithValue(ctx, peerKey{}, sync.OnceValue(func() bool { return tcpIsMine(c) }))
	}
	return ctx
}

// peerIsMe reports whether a request came from a process of the user who runs the server, or by a
// Unix socket from root.
func peerIsMe(r *http.Request) bool {
	mine, ok := r.Context().Value(peerKey{}).(func() bool)
	return ok && mine()
}

func unixIsMine(c *net.UnixConn) (mine bool) {
	control(c, func(fd int) {
		// unix(7), SO_PEERCRED: the ids that the other end had when it called connect(2).
		peer, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
		mine = err == nil && (int(peer.Uid) == os.Getuid() || peer.Uid == 0)
	})
	return mine
}

// control calls f with the descriptor of a connection that is open.
func control(c interface {
	SyscallConn() (syscall.RawConn, error)
}, f func(fd int)) {
	if raw, err := c.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { f(int(fd)) })
	}
}

// tcpIsMine takes the three steps.
func tcpIsMine(c *net.TCPConn) bool {
	from, to := addrPort(c.RemoteAddr()), addrPort(c.LocalAddr())
	if !from.Addr().IsLoopback() || !to.Addr().IsLoopback() {
		return false
	}
	inode, uid, ok := establishedSocket(from, to)
	return ok && uid == fmt.Sprint(os.Getuid()) && isEstablished(c) && heldByMe(inode)
}

func addrPort(a net.Addr) netip.AddrPort {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	p := t.AddrPort()
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}

// isEstablished reports whether neither end has closed or reset a connection. tcp(7), TCP_INFO.
func isEstablished(c *net.TCPConn) (is bool) {
	control(c, func(fd int) {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		is = err == nil && info.State == unix.BPF_TCP_ESTABLISHED
	})
	return is
}

// establishedSocket finds a socket with that local and that remote address: its inode, in decimal,
// and who made it. proc(5), /proc/net/tcp: a line is
//
//	0: 0100007F:A3F2 0100007F:1388 01 00000000:00000000 00:00000000 00000000 1000 0 24131 …
//	   local         remote        ESTABLISHED                                uid    inode
func establishedSocket(local, remote netip.AddrPort) (inode, uid string, ok bool) {
	for _, file := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		six := strings.HasSuffix(file, "6") // where programs keep 127.0.0.1 as ::ffff:127.0.0.1
		f, err := os.Open(file)
		if err != nil {
			continue
		}
		defer f.Close()
		for s := bufio.NewScanner(f); s.Scan(); {
			v := strings.Fields(s.Text())
			if len(v) > 9 && v[1] == procAddress(local, six) && v[2] == procAddress(remote, six) && v[3] == "01" && v[9] != "0" {
				return v[9], v[7], true
			}
		}
	}
	return "", "", false
}

// procAddress is how /proc/net/tcp writes an address: four bytes are a number of this machine's.
func procAddress(a netip.AddrPort, six bool) (text string) {
	b := a.Addr().AsSlice()
	if six {
		all := a.Addr().As16()
		b = all[:]
	}
	for word := range slices.Chunk(b, 4) {
		text += fmt.Sprintf("%08X", binary.NativeEndian.Uint32(word))
	}
	return fmt.Sprintf("%s:%04X", text, a.Port())
}

// heldByMe reports whether a process holds a socket, and all that can be seen to hold it are this
// user's and in the user namespace of this one.
func heldByMe(inode string) (held bool) {
	own, err := os.Readlink("/proc/self/ns/user")
	if err != nil {
		return false
	}
	me := fmt.Sprint(os.Getuid())
	me = strings.Join([]string{"Uid:", me, me, me, me}, "\t")
	fds, _ := filepath.Glob("/proc/[0-9]*/fd") // proc(5)
	for _, dir := range fds {
		process := filepath.Dir(dir)
		if !hasOpen(dir, "socket:["+inode+"]") {
			continue
		}
		space, err := os.Readlink(process + "/ns/user")  // user_namespaces(7)
		status, err2 := os.ReadFile(process + "/status") // proc(5): real, effective, saved, fs
		if err != nil || err2 != nil || space != own || !slices.Contains(strings.Split(string(status), "\n"), me) {
			return false
		}
		held = true
	}
	return held
}

// hasOpen reports whether a process, if it may be looked at, has a file open.
func hasOpen(fds, file string) bool {
	names, _ := os.ReadDir(fds)
	return slices.ContainsFunc(names, func(n os.DirEntry) bool {
		link, _ := os.Readlink(filepath.Join(fds, n.Name()))
		return link == file
	})
}

package server

import (
	"bufio"
	"encoding/hex"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// mine reports whether a request comes from the user who runs the server, or
// from root: 127.0.0.1 is for everybody with an account on this machine, but the
// kernel says whose the other end of a connection is.
func mine(r *http.Request) bool {
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if local == nil {
		return false
	}
	if local.Network() == "unix" {
		return true // nobody else can connect: see ListenUnix
	}
	server, err1 := netip.ParseAddrPort(local.String())
	client, err2 := netip.ParseAddrPort(r.RemoteAddr)
	if err1 != nil || err2 != nil {
		return false
	}
	uid, ok := socketOwner(unmap(client), unmap(server))
	return ok && (uid == os.Getuid() || uid == 0)
}

func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// socketOwner is who has the socket of this machine that is bound to local and
// connected to remote. One on another machine is not found.
func socketOwner(local, remote netip.AddrPort) (uid int, ok bool) {
	for _, name := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		f, err := os.Open(name)
		if err != nil {
			continue
		}
		uid, ok = ownerIn(bufio.NewScanner(f), local, remote)
		f.Close()
		if ok {
			return uid, true
		}
	}
	return 0, false
}

// ownerIn reads a table of sockets. proc_pid_net(5), "/proc/pid/net/tcp": the
// second and third field are the addresses, the eighth is the user id.
func ownerIn(table *bufio.Scanner, local, remote netip.AddrPort) (uid int, ok bool) {
	for table.Scan() {
		f := strings.Fields(table.Text())
		if len(f) < 8 {
			continue
		}
		l, ok1 := parseSocketAddr(f[1])
		r, ok2 := parseSocketAddr(f[2])
		if ok1 && ok2 && l == local && r == remote {
			uid, err := strconv.Atoi(f[7])
			return uid, err == nil
		}
	}
	return 0, false
}

// parseSocketAddr reads ADDRESS:PORT in hexadecimal digits. The address is
// printed as words of 32 bits in the order of this machine's bytes, little-endian on
// all that tiffin runs on, the port as a number.
func parseSocketAddr(s string) (netip.AddrPort, bool) {
	addr, port, _ := strings.Cut(s, ":")
	b, err1 := hex.DecodeString(addr)
	p, err2 := strconv.ParseUint(port, 16, 16)
	if err1 != nil || err2 != nil || len(b)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(b); i += 4 {
		b[i], b[i+1], b[i+2], b[i+3] = b[i+3], b[i+2], b[i+1], b[i]
	}
	ip, ok := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(ip.Unmap(), uint16(p)), ok
}

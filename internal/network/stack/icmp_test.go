package stack

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"tiffin/internal/test/must"
)

// TestEcho: what the host answers comes in with the container's identifier, number and data, where
// the host's kernel lets this user ask; where it does not, the container is told that.
func TestEcho(t *testing.T) {
	if os.Getenv("TIFFIN_TEST_ECHO") == "" {
		inNamespaces(t)
		return
	}
	addLoopback(t)
	n := newNetwork(t)
	a := plugIn(t, n, "a")
	addr6 := n.member(a.addr).IPv6
	// In a new namespace no group may ask: icmp(7), ping_group_range.
	a.send(etherIPv4, ping(a.addr, here4))
	if got := header.IPv4(a.hear(patience)); got == nil || header.ICMPv4(got.Payload()).Type() != header.ICMPv4DstUnreachable || header.ICMPv4(got.Payload()).Code() != header.ICMPv4AdminProhibited {
		t.Fatalf("forbidden: %x", got)
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ping_group_range", []byte("0 0"), 0); err != nil {
		t.Fatal(err)
	}
	marked := func(packet []byte, at int) []byte {
		copy(packet[at+4:], []byte{0x12, 0x34, 0x56, 0x78})
		return packet
	}
	for range 2 {
		a.send(etherIPv4, marked(ping(a.addr, here4), header.IPv4MinimumSize))
		got := header.IPv4(a.hear(patience))
		if got == nil || header.ICMPv4(got.Payload()).Type() != header.ICMPv4EchoReply || !bytes.Equal(got.Payload()[4:8], []byte{0x12, 0x34, 0x56, 0x78}) {
			t.Fatalf("IPv4: %x", got)
		}
	}
	a.send(etherIPv6, marked(ping6(addr6, here6), header.IPv6MinimumSize))
	if got := header.IPv6(a.hear(patience)); got == nil || header.ICMPv6(got.Payload()).Type() != header.ICMPv6EchoReply || !bytes.Equal(got.Payload()[4:8], []byte{0x12, 0x34, 0x56, 0x78}) {
		t.Fatalf("IPv6: %x", got)
	}
}

// here4 and here6 are this machine's addresses in the test: RFC 5737 and RFC 3849.
var here4, here6 = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")

// inNamespaces runs the test once more, in a user and network namespace of its own.
func inNamespaces(t *testing.T) {
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "TIFFIN_TEST_ECHO=1")
	own := func(id int) []syscall.SysProcIDMap { return []syscall.SysProcIDMap{{HostID: id, Size: 1}} }
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNET, UidMappings: own(os.Getuid()), GidMappings: own(os.Getgid())}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		must.Skip(t, "userns", "no namespaces: %v", err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// addLoopback switches lo on, and gives it the addresses: netdevice(7).
func addLoopback(t *testing.T) {
	t.Helper()
	four, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(four)
	up, _ := unix.NewIfreq("lo")
	up.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	alias, _ := unix.NewIfreq("lo:1")
	_ = alias.SetInet4Addr(here4.AsSlice())
	for request, ifr := range map[uint]*unix.Ifreq{unix.SIOCSIFFLAGS: up, unix.SIOCSIFADDR: alias} {
		if err := unix.IoctlIfreq(four, request, ifr); err != nil {
			t.Fatal(err)
		}
	}
	six, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(six)
	in6 := struct { // struct in6_ifreq, linux/ipv6.h
		addr   [16]byte
		prefix uint32
		index  int32
	}{here6.As16(), 128, 1} // lo is the first interface of each namespace
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(six), unix.SIOCSIFADDR, uintptr(unsafe.Pointer(&in6))); errno != 0 {
		t.Fatal(errno)
	}
	// A worker of the kernel makes the address usable: IFA_F_TENTATIVE, linux/if_addr.h.
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		list, err := os.ReadFile("/proc/net/if_inet6")
		if err != nil || time.Now().After(end) {
			t.Fatalf("the address stays tentative: %v\n%s", err, list)
		}
		for line := range strings.Lines(string(list)) {
			f := strings.Fields(line)
			if flags, err := strconv.ParseUint(f[4], 16, 8); f[0] == hex.EncodeToString(in6.addr[:]) && err == nil && flags&unix.IFA_F_TENTATIVE == 0 {
				return
			}
		}
	}
}

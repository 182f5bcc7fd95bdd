package stack

import (
	"net"
	"net/netip"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"tiffin/internal/network"
)

// slow is a cable whose writes take long to return, after the packet has arrived.
type slow struct {
	syscall.RawConn
	wait time.Duration
}

func (s slow) Control(f func(uintptr)) error {
	err := s.RawConn.Control(f)
	time.Sleep(s.wait)
	return err
}

// segment is a packet of TCP without a body.
func segment(src, dst netip.AddrPort, seq, ack uint32, flags header.TCPFlags) []byte {
	b := make([]byte, header.IPv4MinimumSize+header.TCPMinimumSize)
	part := header.TCP(b[header.IPv4MinimumSize:])
	part.Encode(&header.TCPFields{SrcPort: src.Port(), DstPort: dst.Port(), SeqNum: seq, AckNum: ack,
		DataOffset: header.TCPMinimumSize, Flags: flags, WindowSize: 1 << 15})
	sum := header.PseudoHeaderChecksum(header.TCPProtocolNumber, tcpipAddress(src.Addr()), tcpipAddress(dst.Addr()), header.TCPMinimumSize)
	part.SetChecksum(^checksum.Checksum(part, sum))
	h := header.IPv4(b)
	h.Encode(&header.IPv4Fields{TotalLength: uint16(len(b)), TTL: 64, Protocol: uint8(header.TCPProtocolNumber), SrcAddr: tcpipAddress(src.Addr()), DstAddr: tcpipAddress(dst.Addr())})
	h.SetChecksum(^h.CalculateChecksum())
	return b
}

// TestNobodySpinsWhileAConnectionIsAccepted: a container that answers sooner than the write of what
// it answers has returned is waited for without work.
func TestNobodySpinsWhileAConnectionIsAccepted(t *testing.T) {
	const wait = 500 * time.Millisecond
	var spent time.Duration
	for range 10 { // the garbage collector works when it likes, but not each time
		if spent = spentOnWaiting(t, wait); spent <= wait/10 {
			return
		}
	}
	t.Errorf("waiting for %v took %v of a processor", wait, spent)
}

// spentOnWaiting is what waiting costs this process.
func spentOnWaiting(t *testing.T, wait time.Duration) time.Duration {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	n := newNetwork(t)
	n.config.HostLoopback = true
	a := plugIn(t, n, "a")
	tap := n.member(a.addr).tap
	tap.raw = slow{tap.raw, wait}
	src := netip.AddrPortFrom(a.addr, 1000)
	dst := netip.AddrPortFrom(network.Private.Gateway4, uint16(l.Addr().(*net.TCPAddr).Port))
	a.send(etherIPv4, segment(src, dst, 1, 0, header.TCPFlagSyn))
	answer := header.IPv4(a.hear(patience))
	if answer == nil || header.TCP(answer.Payload()).Flags() != header.TCPFlagSyn|header.TCPFlagAck {
		t.Fatalf("%x instead of an accepted connection", answer)
	}
	before := cpuTime(t)
	a.send(etherIPv4, segment(src, dst, 2, header.TCP(answer.Payload()).SequenceNumber()+1, header.TCPFlagAck))
	time.Sleep(wait - 100*time.Millisecond)
	return cpuTime(t) - before
}

// cpuTime is what this process has used: getrusage(2).
func cpuTime(t *testing.T) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestSilentReadersHaveBounds: what waits for containers that do not read is limited for all
// connections together, not only for each.
func TestSilentReadersHaveBounds(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { // a server that says as much as it can
		for b := make([]byte, 1<<20); ; {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for err == nil {
					_, err = c.Write(b)
				}
			}()
		}
	}()
	n := newNetwork(t)
	n.config.HostLoopback = true
	a := plugIn(t, n, "a")
	const count = 128
	before := heap()
	for port := range uint16(count) {
		src := netip.AddrPortFrom(a.addr, 1000+port)
		dst := netip.AddrPortFrom(network.Private.Gateway4, uint16(l.Addr().(*net.TCPAddr).Port))
		a.send(etherIPv4, segment(src, dst, 1, 0, header.TCPFlagSyn))
		for { // between what has come of others
			answer := header.IPv4(a.hear(patience))
			if answer == nil {
				t.Fatalf("connection %d is not accepted", port)
			}
			part := header.TCP(answer.Payload())
			if part.Flags() == header.TCPFlagSyn|header.TCPFlagAck && part.DestinationPort() == src.Port() {
				a.send(etherIPv4, segment(src, dst, 2, part.SequenceNumber()+1, header.TCPFlagAck))
				break
			}
		}
	}
	last := int64(0)
	for now := heap(); now > last+1<<20; now = heap() { // until no more comes
		last = now
		time.Sleep(500 * time.Millisecond)
	}
	n.Leave(n.member(a.addr))
	each := (last - before) / count
	t.Logf("%d KiB each", each>>10)
	if each > 512<<10 {
		t.Errorf("%d silent connections keep %d KiB each in memory", count, each>>10)
	}
}

// heap is how many bytes are in use.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

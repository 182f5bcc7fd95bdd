// One cable: the descriptor of a container's tap device, from which packets come and to which they
// go, each behind two headers: virtio's, which says what is left to be computed (linux/virtio_net.h
// and IFF_VNET_HDR in linux/if_tun.h), and that of Ethernet.

package stack

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/buffer"

	"tiffin/internal/network"
)

// Sizes in bytes.
const (
	virtioSize   = 10
	ethernetSize = 14
	frontSize    = virtioSize + ethernetSize
	maxPacket    = 65535 // of an IP packet: its length field has 16 bits
)

// Protocols in an Ethernet header, IEEE 802.
const (
	etherIPv4 = unix.ETH_P_IP
	etherIPv6 = unix.ETH_P_IPV6
)

// Of a virtio header.
const (
	needsChecksum = 1 // VIRTIO_NET_HDR_F_NEEDS_CSUM: what is there covers the pseudo header alone
	segmentTCPv4  = 1 // VIRTIO_NET_HDR_GSO_TCPV4
	segmentTCPv6  = 4 // VIRTIO_NET_HDR_GSO_TCPV6
)

// tap is a container's end of the network.
type tap struct {
	file *os.File
	raw  syscall.RawConn
}

// openTap prepares the device that init has made for packets of this program.
func openTap(f *os.File) (*tap, error) {
	fd := int(f.Fd())
	// Not blocking before Go's poller sees the descriptor: os.NewFile looks.
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, fmt.Errorf("open the tap device: %w", err)
	}
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	f.Close()
	if err != nil {
		return nil, fmt.Errorf("open the tap device: %w", err)
	}
	f = os.NewFile(uintptr(dup), "tap")
	raw, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open the tap device: %w", err)
	}
	// What its kernel would have to sum up for us, it need not: the packet has never left memory.
	raw.Control(func(fd uintptr) {
		if err = unix.IoctlSetPointerInt(int(fd), unix.TUNSETVNETHDRSZ, virtioSize); err == nil {
			err = unix.IoctlSetInt(int(fd), unix.TUNSETOFFLOAD, unix.TUN_F_CSUM)
		}
	})
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("prepare the tap device: %w", err)
	}
	return &tap{f, raw}, nil
}

// packet is what has come from a tap.
type packet struct {
	virtio [virtioSize]byte
	proto  uint16       // etherIPv4 or etherIPv6
	view   *buffer.View // the IP packet
}

// each reads packets until the device is closed, and gives each to use, which owns it then.
func (t *tap) each(use func(*packet)) error {
	var front [frontSize]byte
	whole := buffer.NewViewSize(maxPacket)
	defer func() { whole.Release() }()
	vec := make([]unix.Iovec, 2)
	for {
		vec[0].Base, vec[1].Base = &front[0], &whole.AsSlice()[0]
		vec[0].SetLen(frontSize)
		vec[1].SetLen(maxPacket)
		var n int
		var errno error
		err := t.raw.Read(func(fd uintptr) bool {
			n, errno = readv(int(fd), vec)
			return errno != unix.EAGAIN
		})
		if err = errors.Join(err, errno); errors.Is(err, unix.EINTR) {
			continue
		} else if err != nil {
			return err
		}
		p := &packet{proto: binary.BigEndian.Uint16(front[frontSize-2:])}
		if n -= frontSize; n < minHeader || p.proto != etherIPv4 && p.proto != etherIPv6 {
			continue // what else there is on an Ethernet has nobody to answer it
		}
		copy(p.virtio[:], front[:])
		if n > maxPacket/2 { // not worth copying
			p.view, whole = whole, buffer.NewViewSize(maxPacket)
			p.view.CapLength(n)
		} else {
			p.view = buffer.NewViewWithData(whole.AsSlice()[:n])
		}
		use(p)
	}
}

// write sends a packet to the container with the hardware address mac. If the device cannot take
// it, it is lost, as on any cable.
func (t *tap) write(virtio [virtioSize]byte, proto uint16, mac network.HardwareAddress, parts ...[]byte) {
	var front [frontSize]byte
	copy(front[:], virtio[:])
	copy(front[virtioSize:], mac[:])
	copy(front[virtioSize+6:], gatewayMAC[:])
	binary.BigEndian.PutUint16(front[frontSize-2:], proto)
	_ = t.raw.Control(func(fd uintptr) {
		_, _ = unix.Writev(int(fd), append([][]byte{front[:]}, parts...))
	})
}

// gatewayMAC is whom packets come from, for those who look.
var gatewayMAC = network.MAC(network.Private.Gateway4)

// readv is readv(2) without what unix.Readv allocates.
func readv(fd int, vec []unix.Iovec) (int, error) {
	n, _, errno := unix.Syscall(unix.SYS_READV, uintptr(fd), uintptr(unsafe.Pointer(&vec[0])), uintptr(len(vec)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

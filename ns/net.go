// The steps for the host name and the loopback interface.

package ns

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

func (s *Spec) hostNetwork() bool { return s.Network == "host" || s.leavesOut("net") }

// SharedNetwork begins Spec.Network where that is the network of another container, whose id
// follows.
const SharedNetwork = "container:"

func (s *Spec) sharedNetwork() bool { return strings.HasPrefix(s.Network, SharedNetwork) }

func skipLoopback(b *builder) string {
	if b.spec.sharedNetwork() {
		return "the network is another container's"
	}
	return skipIf(b.spec.hostNetwork(), "the network is the host's")
}

func (s *Spec) hostname() string {
	if s.Hostname == "" {
		return "tiffin"
	}
	return s.Hostname
}

func runHostname(b *builder) error {
	name, domain := b.spec.hostname(), b.spec.Domainname
	err := b.call(unix.Sethostname([]byte(name)), "sethostname(%q, %d)", name, len(name))
	if err == nil && domain != "" {
		err = b.call(unix.Setdomainname([]byte(domain)), "setdomainname(%q, %d)", domain, len(domain))
	}
	if errors.Is(err, unix.EPERM) {
		// The namespace is ours, so the kernel has no objection, sethostname(2): a filter has.
		b.note("the host name "+name, "a seccomp filter around this session forbids sethostname(2), as in a container; the one outside is seen",
			"podman run --security-opt seccomp=unconfined …   # for the container around this session")
		return nil
	}
	return err
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return err.Error()
	}
	return name
}

// runLoopback sets IFF_UP on lo: netdevice(7). The kernel then adds 127.0.0.1 and ::1 itself.
func runLoopback(b *builder) error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return &callError{"socket(AF_INET, SOCK_DGRAM)", err}
	}
	defer unix.Close(s)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	err = unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, ifr)
	return b.call(err, `ioctl(%d, SIOCSIFFLAGS, {ifr_name="lo", ifr_flags=IFF_UP|IFF_RUNNING})`, s)
}

func loopbackState(*builder) string { return deviceState("lo") }

// deviceState tells of a network interface whether it is there and up.
func deviceState(name string) string {
	ifr, err := unix.NewIfreq(name)
	if err == nil {
		err = askDevice(unix.SIOCGIFFLAGS, ifr)
	}
	if err != nil {
		return "no " + name + ": " + err.Error()
	}
	return name + pick(ifr.Uint16()&unix.IFF_UP != 0, " is up", " is down")
}

// readAll reads a small file of /proc, "" if it cannot.
func readAll(path string) string {
	text, _ := os.ReadFile(path)
	return strings.ToValidUTF8(string(text), "?")
}

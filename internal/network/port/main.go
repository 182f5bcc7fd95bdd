// The main function of the helper: what it is given, what it keeps, when it ends.

package port

import (
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"tiffin/internal/network"
	"tiffin/internal/wire"
	"tiffin/ns"
)

// Command is what Main goes by, as os.Args[1].
const Command = "__ports"

// Main is the helper's main function: it runs in the container's user and network namespace, with
// all capabilities there. It returns the exit status.
func Main() int {
	if ns.Hide() != nil {
		return 125
	}
	conn, err := wire.Open(os.NewFile(wire.FD, "connection"))
	if err != nil {
		return 125
	}
	files, ports, follow, err := receive(conn)
	if err != nil {
		return 125 // the supervisor has changed its mind, or is gone
	}
	f := &forwarder{stopped: make(chan struct{})}
	f.sources, _ = openSources()
	if follow { // from the first client on
		f.follow(conn, true)
	}
	if giveUpRights() != nil {
		return 125
	}
	loops := make([]*loop, min(maxThreads, runtime.NumCPU()))
	runtime.GOMAXPROCS(len(loops) + 1) // one for this goroutine
	for i := range loops {
		if loops[i], err = newLoop(f, files, ports, i == 0); err != nil {
			return 125
		}
		go loops[i].run()
	}
	for _, file := range files {
		file.Close()
	}
	for {
		m := new(message)
		if conn.Receive(m) != nil {
			return 0 // the supervisor is gone, and the container with it
		}
		if m.Op == opStop {
			break
		}
		if m.Op == opFollow {
			f.follow(conn, m.Follow)
		}
	}
	for _, l := range loops {
		l.stop()
	}
	for range loops {
		<-f.stopped
	}
	_ = conn.Send(&message{Op: opStop})
	for f.open.Load() > 0 {
		time.Sleep(5 * time.Millisecond)
	}
	return 0
}

// receive gets the listening sockets, and whether somebody wants to know who comes.
func receive(conn *wire.Conn) (files []*os.File, ports []network.Port, follow bool, err error) {
	for {
		m := new(message)
		if err := conn.Receive(m); err != nil || m.Op != opListen || len(m.Ports) != len(m.files) {
			return files, ports, m.Follow, err
		}
		files, ports = append(files, m.files...), append(ports, m.Ports...)
	}
}

// maxThreads is enough for more than a network card brings.
const maxThreads = 4

// giveUpRights keeps the one capability that foreign addresses need: CAP_NET_RAW, ip(7),
// IP_TRANSPARENT. capset(2) concerns one thread.
func giveUpRights() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{}
	data[0].Effective, data[0].Permitted = 1<<unix.CAP_NET_RAW, 1<<unix.CAP_NET_RAW
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0)
	if errno != 0 {
		return os.NewSyscallError("capset", errno)
	}
	return nil
}

// The types that other packages speak to ns with: what to build (Spec), how to start it (UserNS,
// Start, Exec), and what comes back.

package ns

import (
	"os"
	"syscall"
	"time"

	"tiffin/internal/network"
	"tiffin/internal/wire"
	"tiffin/ns/cgroup"
	"tiffin/ns/seccomp"
)

// The names main dispatches on, as os.Args[1], before it looks at anything else.
const (
	InitCommand    = "__init"  // → InitMain
	ExecCommand    = "__exec"  // → ExecMain
	EmulateCommand = "__root"  // → EmulateMain
	CableCommand   = "__cable" // → CableMain
)

// UserNS says how to start the supervisor: a process in a new user namespace,
// where it has every capability, and in a private copy of the mount namespace.
type UserNS struct {
	Program  *os.File    // what is executed; nil = this binary
	Args     []string    // argv; Args[0] is for ps(1)
	Env      []string    // nil = this process's
	Dir      string      // working directory; "" = this process's
	Stdio    [3]*os.File // nil = /dev/null
	SingleID bool        // map only the caller's id, even if subordinate ids are there
	Beside   *os.File    // a pidfd: in the user namespace of that process, one of this user's, and with its ids; nil = a new one
	Setsid   bool        // own session: survives the terminal
}

// UserProc is a process started by UserNS.Start, or its Clone.
type UserProc struct {
	Pid   int        // it must be waited for
	Conn  *wire.Conn // to it: Entered
	IDs   IDMap
	Notes []Note // what this machine could not do, such as subordinate ids

	began time.Time
	took  time.Duration
	calls []string
	given bool // its ids are those of a user namespace that was there
}

// Note tells of something that was left out because this machine cannot do it.
type Note struct {
	What string // what is missing: "subordinate user ids"
	Why  string // "newuidmap is not setuid root"
	Fix  string // the line an administrator types, or ""
}

// IDRange is a line of /proc/PID/uid_map, see user_namespaces(7).
type IDRange struct{ Inside, Outside, Count uint32 }

// IDMap is the id maps of a user namespace.
type IDMap struct {
	UIDs, GIDs []IDRange
	Setgroups  bool // setgroups(2) is allowed
	// Renamed says that the container has other ids than its supervisor: As. Outside is what the
	// supervisor calls them. Otherwise it is what the host does.
	Renamed bool
}

// Spec describes a container to the init process. It crosses as JSON.
type Spec struct {
	Root       Root
	IDs        IDMap
	Hostname   string // "" = "tiffin"
	Domainname string // setdomainname(2); "" = as it is on the host
	Network    string // "host", or "container:" and its id: see Start.Beside; else its own
	// Interfaces are the container's ends of cables, eth0 and so on; without any it has loopback
	// alone. One without gateways leads to no further network.
	Interfaces []network.Addresses
	Foreign    *network.Foreign // makes eth0 instead, from outside: Start.Attach
	Mounts     []Mount          // volumes and tmpfs, in this order
	Files      []File           // /etc/hostname, /etc/hosts, /etc/resolv.conf
	ReadOnly   bool             // the root is mounted read-only once everything is in place
	ShmSize    int64            // bytes of /dev/shm, 0 = 64 MiB
	HostIPC    bool             // the machine's IPC namespace and /dev/shm instead
	Sysctls    []Sysctl         // in this order
	Init       bool             // --init: stay as PID 1, reap, forward signals
	Idle       bool             // no command: make the root, with nothing mounted in it, and stay until killed
	Process    Process
	Cgroup     *cgroup.Group // that the container is to be in, nil = its supervisor's
	Without    []string      // names of steps and namespaces to leave out, see ParseWithout
	Unmasked   bool          // nothing of /proc and /sys is covered or made read-only
	Explain    bool          // set by Start from Report
}

// Root is where the root file system comes from: exactly one of Bind and FUSE.
type Root struct {
	// Target is an existing directory, outside of the image, to mount on. Only the
	// container's mount namespace ever sees the mount.
	Target string
	Bind   string     // bind this directory (recursively)
	FUSE   *FUSEMount // or mount a /dev/fuse descriptor, which Start.Mounted gets
	// Overlay mounts the kernel's overlayfs on top of that, which is not written to; nil = that is
	// all.
	Overlay *OverlayMount
	// Ahead is what the command will probably read of the FUSE mount, by path: a hint.
	Ahead []Span
}

// Span is a part of a file, in bytes.
type Span struct {
	Path     string
	Off, Len int64
}

// OverlayMount is the writable side of an overlayfs: two directories of one file system, Work
// empty.
type OverlayMount struct {
	Upper, Work string
}

// FUSEMount is what fs.MountOptions returns: arguments of mount(2). Every
// "fd=N" option in Data is replaced: the descriptor has another number in init.
type FUSEMount struct {
	Source, Type string
	Data         string
}

// Mount is a volume or a tmpfs.
type Mount struct {
	Source   string // absolute path on the host; "" = a tmpfs
	Target   string // absolute path in the container; created if missing
	ReadOnly bool
	Options  string // of a tmpfs: "size=64m,mode=1777"; docker's words ro rw noexec exec nosuid nodev … are understood
}

// File is a small file that is mounted over one of the image.
type File struct {
	Target, Content string
}

// Sysctl is a setting of the kernel that a namespace has for itself: sysctl(8).
type Sysctl struct {
	Name  string // "net.ipv4.ip_forward"
	Value string
}

// KeepGroups, alone in Process.Groups, has the command keep the groups of whoever starts it.
const KeepGroups = "keep-groups"

// Process describes a command and what it may do.
type Process struct {
	Args, Env  wire.Strings     // HOME is added from /etc/passwd if missing
	Cwd        string           // "" = "/"; created if missing
	Umask      *uint32          // umask(2); nil = 022
	User       string           // name|uid[:group|gid], as in an image's config; "" = root
	Groups     []string         // supplementary ones, names or numbers, beside those of the user; or KeepGroups
	Terminal   bool             // give it a pseudo terminal; Child.Console is its other side
	Rows, Cols uint16           // size of the terminal, 0 = unset
	Caps       []string         // "CAP_KILL" or "KILL"; nil = DefaultCaps
	NewPrivs   bool             // leave no_new_privs off; set-user-ID programs of the image work
	NoSeccomp  bool             // leave the system call filter out
	Seccomp    *seccomp.Profile // nil = moby's list
	// RootEmulation has the supervisor answer calls that only root with many ids can make: see
	// package emulation.
	RootEmulation bool
	// ShowOwners has stat(2) show the owners that root emulation remembers.
	ShowOwners  bool
	OOMScoreAdj *int
	Bounds
}

// Bounds are what the kernel lets a process set for itself, and for what it starts. They hold for
// each process alone; but for Rlimits, each can take them back.
type Bounds struct {
	Rlimits    []Rlimit
	CPUs       []int // where it may run: sched_setaffinity(2); nil = as it is
	Nice       int   // added to the nice value, 0–19: setpriority(2)
	IOPriority int   // as ioprio_set(2) takes it; 0 = as it is
}

// Rlimit is a limit by setrlimit(2).
type Rlimit struct {
	Name       string // "nofile", "nproc", …
	Soft, Hard uint64 // syscall.RLIM_INFINITY as ^uint64(0)
}

// Start starts a container's init process. It is used by the supervisor.
type Start struct {
	Spec   *Spec
	Beside *os.File     // a pidfd of a container's process 1, whose user and network namespaces it shares; nil = own ones
	Stdio  [3]*os.File  // not used with a terminal; nil = /dev/null
	Forked func(*Child) // init is there, and Shell and Signal can be used
	// Attach is called before init does anything, if its network is to be made from outside.
	Attach func(*Child) error
	// Mounted is called when the root is mounted: it must begin to serve /dev/fuse, which it owns
	// from then on, and return at once. Without FUSE it is not called.
	Mounted func(fuse *os.File)
	// Tap is called for each interface, numbered from 0, with the other end of its cable, which it
	// owns from then on, and must return at once.
	Tap func(n int, tap *os.File)
	// Emulate is called when system calls come to a listener: it must begin to answer them.
	Emulate func(*Emulation) error
	// Report is called when a step was done, or skipped; init waits until it returns. nil = do not
	// explain.
	Report func(Report)
}

// Exec starts a further command in a running container. It is used by the supervisor.
type Exec struct {
	Container *Child
	IDs       IDMap
	Process   Process
	Stdio     [3]*os.File
	Without   []string // as Spec.Without of the container
	Emulate   func(*Emulation) error
	Report    func(Report)
}

// Child is a started command: the container's PID 1, or the helper that looks
// after a command of `tiffin exec`.
type Child struct {
	Pid     int      // in the supervisor's pid namespace
	Console *os.File // master side of the pseudo terminal, or nil
	Created []string // paths in the image's tree that had to be made as mount points or as working directory
	Notes   []Note
	pidfd   *os.File
	handed  *Emulation      // nil: all system calls go to the kernel
	command *os.File        // exec: pidfd of the command, of which Pid is only the helper
	flags   uintptr         // the namespaces it is in
	cgroup  *cgroup.Group   // Spec.Cgroup
	alone   <-chan struct{} // closed: see configure
}

// Report tells of one step, as it happened.
type Report struct {
	N       int      // number, from 1, the same in every run
	Step    string   // Step.Name
	Calls   []string // kernel calls with arguments and results: `sethostname("x", 1) = 0`
	Before  string   // what was, "" if the step has nothing to show
	After   string   // what is
	Skipped string   // why the step was not done, "" if it was
	Took    time.Duration
}

// exitStatus is the exit status a shell would show: 0–255, or 128+signal.
func exitStatus(ws syscall.WaitStatus) int {
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}

// The file system as a whole: what it serves, how it is opened, its locks and their order, the
// start and the end of serving.

package fs

import (
	"errors"
	"fmt"
	"io"
	"log"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"tiffin/image/layer"
	"tiffin/image/sidecar"
)

// Config says what to serve.
type Config struct {
	Index *layer.Index  // merged index of all layers
	Flats []*layer.Flat // of each layer, by number: 0 is the bottom

	// Damaged is told of the first file that cannot be read because its layer is not what it
	// was when it was indexed, and of each whose bytes could not be fetched (layer.ErrAway). May be
	// nil.
	Damaged func(error)

	// Broken is told of a panic in the server, with the request in which it happened and the stack.
	// When it returns, the connection ends: every request gets an error, and Serve returns. Here
	// processes that must not see that error should be killed. May be nil.
	Broken func(err error, stack []byte)

	// Upper is the directory that takes all changes, Work an empty one on the
	// same file system for what is being made. Both "": read-only.
	Upper, Work string

	// MapUID and MapGID give the owner to show for an id that an inode has;
	// nil shows it as it is. An id without a mapping in the user namespace
	// must be shown as one with a mapping: the kernel refuses to write to an inode
	// whose owner it cannot express (user_namespaces(7)).
	MapUID, MapGID func(uint32) uint32

	// Creator says who owns what a thread makes, by its number in the pid namespace of mount(2)'s
	// caller, and what the kernel says. It must not touch the file system. nil: the kernel is
	// right.
	Creator func(pid, uid, gid uint32) (uint32, uint32)

	// Killed tells whether a thread, by its number in the pid namespace of mount(2)'s caller, has
	// been killed, and only has not ended yet. nil: nobody knows.
	Killed func(pid uint32) bool

	// Uncached makes the kernel ask about every use of a name, an attribute, a
	// symbolic link or a written byte, so that each is an Event. It still keeps
	// what it has read of a file, and OPEN is not asked either way.
	Uncached bool

	// Volatile is for changes that nobody wants after a power cut: nothing waits for the disk.
	Volatile bool
}

// maxWrite is the largest READ or WRITE, in bytes: the kernel's limit.
const maxWrite = 1 << 20

// FS is a union of layers and an upper directory, ready to be served.
type FS struct {
	fuse.RawFileSystem // answers ENOSYS to all that is not here
	cfg                Config
	x                  *layer.Index
	valid              uint64        // seconds that names and attributes may be cached
	flats              []io.ReaderAt // cfg.Flats
	maps               [][]byte      // of them, for inMemory
	damaged            sync.Once
	loop               atomic.Pointer[loop]
	root               *node        // nil: read-only
	dev                atomic.Int32 // descriptor of /dev/fuse while it is served, or -1
	noXattrs, hasACLs  bool         // see lookForXattrs
	reads              firstReads
	waits              waits

	writing atomic.Int32 // WRITEs being done
	freeze  sync.RWMutex // read-locked by every change; see Freeze
	tree    sync.RWMutex // names: which file is where
	ids     ids
	fds     fdCache
	side    *sidecar.Store // attributes of the upper's files; nil: the disk has them

	workSeq     atomic.Uint64
	renamesOpen bool // of the disk, see hold
	writeback   bool // the kernel keeps what is written, for a while
	refused     bool // WorkersAreRefused
	room        room
	scanned     bool    // findMoved has been here; guarded by tree
	empty       string  // an empty file in Work, see makeEmpty; guarded by tree
	held        int     // nodes whose file is held, see hold; guarded by tree
	idle        []*node // nodes to look at for release; guarded by tree

	subs   atomic.Pointer[[]*subscriber]
	subsMu sync.Mutex
	layers atomic.Pointer[[]*layer.Index] // SetLayers
	counts [numOps]atomic.Uint64
	next   atomic.Pointer[chan struct{}] // of NextRequest; nil: nobody waits
}

// New prepares to serve cfg: it maps the flat files and empties Work. The
// caller keeps the index and the files, and closes them after Serve has
// returned.
func New(cfg Config) (*FS, error) {
	if cfg.Index == nil {
		return nil, errors.New("no index to serve")
	}
	if (cfg.Upper == "") != (cfg.Work == "") {
		return nil, errors.New("an upper directory needs a work directory and the reverse")
	}
	f := &FS{RawFileSystem: fuse.NewDefaultRawFileSystem(), cfg: cfg, x: cfg.Index, valid: forever}
	if cfg.Uncached {
		f.valid = 0
	}
	f.fds.work = -1
	f.dev.Store(-1)
	f.ids.init(f.x.Len())
	f.waits.init(f)
	for i, file := range cfg.Flats {
		m, err := mapFlat(file)
		if err != nil {
			f.close()
			return nil, fmt.Errorf("map layer %d, %s, into memory: %w", i, file.Name(), err)
		}
		f.flats, f.maps = append(f.flats, file), append(f.maps, m)
	}
	if cfg.Upper != "" {
		if err := f.openUpper(); err != nil {
			f.close()
			return nil, err
		}
	}
	f.lookForXattrs()
	return f, nil
}

// openUpper opens the two directories and makes the node of the root.
func (f *FS) openUpper() error {
	var err error
	if f.fds.work, err = unix.Open(f.cfg.Work, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return fmt.Errorf("open the work directory %s: %w", f.cfg.Work, err)
	}
	f.renamesOpen = renamesOpen(f.fds.work)
	f.writeback = !f.cfg.Uncached && f.diskRoom() >= cacheRoom
	f.refused = WorkersAreRefused()
	removeAll(f.fds.work)
	fd, err := openat(unix.AT_FDCWD, f.cfg.Upper, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return fmt.Errorf("open the upper directory %s: %w", f.cfg.Upper, err)
	}
	f.fds.max = openMax()
	n := &node{}
	if err = f.openSidecar(); err == nil {
		n.side = f.side.At("")
		err = n.loadStat(fd)
	}
	if err == nil && n.lower == noLower {
		err = f.newUpper(n, fd)
	}
	if err != nil {
		unix.Close(fd)
		return fmt.Errorf("open the upper directory %s: %w", f.cfg.Upper, err)
	}
	f.root = n
	f.ids.add(n)
	n.at = place{nil, "."}
	f.fds.insert(n, fd) // never put: it stays open
	return nil
}

// newUpper makes n, open as fd, the root of a new upper directory: it continues the layers' root,
// whatever mode mkdir(2) gave it.
func (f *FS) newUpper(n *node, fd int) error {
	for {
		n.lower, n.typ = 0, 0
		err := f.fillCopy(n.asLower(f.x), fd)
		if again, err := f.needsSidecar(err, fd); !again {
			return err
		}
		n.side = f.side.At("")
	}
}

// openMax is how many descriptors the server may keep open: a quarter of what
// the process can have, once its soft limit is raised to the hard one.
func openMax() int {
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &l) != nil {
		return 64
	}
	if l.Cur < l.Max {
		l.Cur = l.Max
		unix.Setrlimit(unix.RLIMIT_NOFILE, &l)
	}
	return int(min(max(l.Cur/4, 16), 1024))
}

// close gives back what New took.
func (f *FS) close() {
	for _, m := range f.maps {
		if m != nil {
			unix.Munmap(m)
		}
	}
	f.maps = nil
	f.fds.closeAll()
	f.side.Close()
	if f.fds.work >= 0 {
		unix.Close(f.fds.work)
		f.fds.work = -1
	}
}

// MountOptions returns the arguments, but for the flags, of the mount(2) call that attaches the
// file system whose server has /dev/fuse open as fd. userID and groupID are
// the caller's, as its user namespace has them. Reading sets no access time, as on any FUSE file
// system (fuse_init_inode in fs/fuse/inode.c): MS_NOATIME among the flags makes the mount say so.
func MountOptions(userID, groupID, fd int) (source, fstype, data string) {
	data = fmt.Sprintf("fd=%d,rootmode=40000,user_id=%d,group_id=%d,default_permissions,allow_other,max_read=%d",
		fd, userID, groupID, maxWrite)
	return "tiffin", "fuse.tiffin", data
}

// Serve answers requests until the file system is unmounted; an error is why it has stopped before.
// mount(2) must have been called with fuseFd, which Serve owns from then on. An FS can be
// served once.
func (f *FS) Serve(fuseFd int) error {
	l := &loop{f: f, fd: fuseFd, proto: fuse.NewProtocolServer(f, f.options())}
	f.loop.Store(l)
	f.dev.Store(int32(fuseFd))
	left, err := l.serve()
	f.dev.Store(-1)
	if !left {
		// A request that never ends may use the descriptors. In the place of this one there now is
		// another file, and when the last of /dev/fuse is closed, the kernel ends the connection:
		// fuse_dev_release in fs/fuse/dev.c.
		return errors.Join(err, unix.Dup3(l.stop, fuseFd, unix.O_CLOEXEC))
	}
	unix.Close(fuseFd)
	if err == ended { // after a panic nothing that is remembered is believed
		f.saveAllTimes()
	}
	f.clearWork()
	f.close()
	if err == ended {
		return nil
	}
	return err
}

// Trim gives back memory that a burst of requests has left.
func (f *FS) Trim() {
	if l := f.loop.Load(); l != nil {
		l.trim()
	}
}

// clearWork removes the files without a name that were open until the end.
func (f *FS) clearWork() {
	if f.root != nil {
		removeAll(f.fds.work)
	}
}

// options is what is agreed with the kernel at FUSE_INIT.
func (f *FS) options() *fuse.MountOptions {
	caps := uint64(fuse.CAP_READDIRPLUS_AUTO | fuse.CAP_NO_OPENDIR_SUPPORT | fuse.CAP_HANDLE_KILLPRIV_V2)
	if f.root != nil {
		caps |= fuse.CAP_DONT_MASK // a default access control list takes the place of the umask
		// A handle must find its file when the kernel has forgotten it. The node id of a file that
		// only the upper has does not live so long. So name_to_handle_at(2) is EOPNOTSUPP, as on
		// overlayfs.
		caps |= fuse.CAP_NO_EXPORT_SUPPORT
		if f.writeback {
			caps |= fuse.CAP_WRITEBACK_CACHE
		}
	}
	return &fuse.MountOptions{
		MaxWrite:                 maxWrite,
		MaxReadAhead:             maxWrite,
		MaxBackground:            64,
		EnableSymlinkCaching:     !f.cfg.Uncached,
		ExplicitDataCacheControl: true,
		ExtraCapabilities:        caps,
		EnableAcl:                f.root != nil || f.hasACLs,
		DisabledCapabilities:     fuse.CAP_ATOMIC_O_TRUNC | fuse.CAP_PASSTHROUGH | fuse.CAP_ALLOW_IDMAP,
		DisableReadDirPlus:       f.cfg.Uncached, // its entries would be asked for again
		Logger:                   log.New(io.Discard, "", 0),
		PanicHandler:             func(r any) fuse.Status { panic(r) }, // for catch; else it would be EIO
	}
}

// String names the file system in go-fuse's messages.
func (f *FS) String() string { return "tiffin" }

// Freeze waits for the changes under way and holds others back until Thaw: the
// upper directory stays as it is in between. What the kernel has not written
// back yet is not in it: call syncfs(2) on a descriptor inside the mount first.
// That only starts the writing (appendix B of the book, "Dirty pages"); Freeze
// waits for the requests to have come and gone.
func (f *FS) Freeze() {
	f.waitForWrites()
	f.freeze.Lock()
	f.saveAllTimes()
}

// waitForWrites returns when no WRITE has come for 10 ms; after a second, for 2 ms: somebody may
// write a little all the time. Who writes much then is not waited for. A machine that has not done
// many WRITEs by then is slow, and has more time.
func (f *FS) waitForWrites() {
	const many, most = 4096, 30 * time.Second
	before, began := f.counts[opWrite].Load(), time.Now()
	for quiet, enough := 0, 10; quiet < enough; quiet++ {
		n, took := f.counts[opWrite].Load(), time.Since(began)
		if took > most || took > time.Second && n-before > many {
			return
		}
		if took > time.Second {
			enough = 2
		}
		time.Sleep(time.Millisecond)
		if f.pending() || f.writing.Load() > 0 || f.counts[opWrite].Load() != n {
			quiet = -1
		}
	}
}

// pending reports whether the kernel has requests that nobody has read.
func (f *FS) pending() bool {
	fd := f.dev.Load()
	if fd < 0 {
		return false
	}
	p := []unix.PollFd{{Fd: fd, Events: unix.POLLIN}}
	n, err := unix.Poll(p, 0)
	return err == nil && n > 0 && p[0].Revents&unix.POLLIN != 0
}

// Thaw ends Freeze.
func (f *FS) Thaw() { f.freeze.Unlock() }

// The kernel stops asking after the first ENOSYS to each of these.

// Open is FUSE_OPEN: no.
func (f *FS) Open(_ <-chan struct{}, in *fuse.OpenIn, _ *fuse.OpenOut) fuse.Status {
	f.counts[opOpen].Add(1)
	return fuse.ENOSYS
}

// OpenDir is FUSE_OPENDIR: no.
func (f *FS) OpenDir(_ <-chan struct{}, in *fuse.OpenIn, _ *fuse.OpenOut) fuse.Status {
	f.counts[opOpendir].Add(1)
	return fuse.ENOSYS
}

// Create is FUSE_CREATE: no; the kernel sends MKNOD instead.
func (f *FS) Create(_ <-chan struct{}, in *fuse.CreateIn, _ string, _ *fuse.CreateOut) fuse.Status {
	f.counts[opCreate].Add(1)
	return fuse.ENOSYS
}

// Flush is FUSE_FLUSH: no; the kernel writes dirty data back at close all the same.
func (f *FS) Flush(_ <-chan struct{}, in *fuse.FlushIn) fuse.Status {
	f.counts[opFlush].Add(1)
	return fuse.ENOSYS
}

// Access is FUSE_ACCESS: no; default_permissions makes the kernel decide.
func (f *FS) Access(_ <-chan struct{}, in *fuse.AccessIn) fuse.Status {
	f.counts[opAccess].Add(1)
	return fuse.ENOSYS
}

// Ioctl is FUSE_IOCTL: there is none.
func (f *FS) Ioctl(_ <-chan struct{}, _ *fuse.IoctlIn, _ []byte, _ *fuse.IoctlOut, _ []byte) fuse.Status {
	f.counts[opIoctl].Add(1)
	return fuse.Status(unix.ENOTTY)
}

// Release follows only what Tmpfile opened; there is nothing to close.
func (f *FS) Release(<-chan struct{}, *fuse.ReleaseIn) { f.counts[opRelease].Add(1) }

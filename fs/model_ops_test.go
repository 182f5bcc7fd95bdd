package fs_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"tiffin/internal/test/fstest"
)

// op is one operation of the model test. It says everything about itself, so
// that a sequence means the same when some of its operations are left out.
type op struct {
	do   func(w *world, o *op) string
	name string
	a, b string // paths, relative to the root
	slot int    // which open file
	from int    // another open file, as a source
	flag int    // open flags, rename flags, fallocate mode …
	mode uint32
	off  int64
	len  int
	seed byte   // of the bytes to write
	uid  uint32 // as whom
}

func (o *op) String() string {
	s := o.name
	if o.a != "" {
		s += fmt.Sprintf(" %q", o.a)
	}
	if o.b != "" {
		s += fmt.Sprintf(" %q", o.b)
	}
	return s + fmt.Sprintf(" slot %d from %d flag %#x mode %#o off %d len %d uid %d", o.slot, o.from, o.flag, o.mode, o.off, o.len, o.uid)
}

// world is one of the two directories the operations are done in.
type world struct {
	root  string
	slots [3]int // open files, -1 = none
	union *fstest.Mount
}

func newWorld(root string) *world {
	w := &world{root: root}
	for i := range w.slots {
		w.slots[i] = -1
	}
	return w
}

func (w *world) path(rel string) string { return filepath.Join(w.root, rel) }

func (w *world) closeAll() {
	for i, fd := range w.slots {
		if fd >= 0 {
			unix.Close(fd)
			w.slots[i] = -1
		}
	}
}

// run does the operation and describes its outcome: what it returned, and how
// the files it names look afterwards.
func (w *world) run(o *op) string {
	if o.uid != 0 {
		// setfsuid(2): of this thread alone; capabilities(7), "Effect of user
		// ID changes on capabilities": those about files go and come back.
		runtime.LockOSThread()
		unix.Setfsgid(int(o.uid))
		unix.Setfsuid(int(o.uid))
		defer func() {
			unix.Setfsuid(0)
			unix.Setfsgid(0)
			runtime.UnlockOSThread()
		}()
	}
	s := o.do(w, o)
	for _, p := range []string{o.a, o.b} {
		if p != "" {
			s += "; " + w.look(p)
		}
	}
	if fd := w.slots[o.slot]; fd >= 0 {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return s + "; fstat " + errno(err)
		}
		s += "; open: " + show(&st)
	}
	return s
}

func (w *world) look(rel string) string {
	var st unix.Stat_t
	if err := unix.Lstat(w.path(rel), &st); err != nil {
		return errno(err)
	}
	return show(&st)
}

// show prints what two equal files have in common. Times count if an
// operation set them: those are all long ago.
func show(st *unix.Stat_t) string {
	s := fmt.Sprintf("%o %d:%d nlink %d", st.Mode, st.Uid, st.Gid, st.Nlink)
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		s += fmt.Sprintf(" size %d", st.Size)
	}
	return s + setMtime("", st)
}

// longAgo divides the times that operations set from those that the kernel
// takes from the clock.
const longAgo = 1_500_000_000 // seconds since 1970

func setMtime(_ string, st *unix.Stat_t) string {
	if st.Mtim.Sec > longAgo {
		return " mtime now"
	}
	return fmt.Sprintf(" mtime %d.%09d", st.Mtim.Sec, st.Mtim.Nsec)
}

func errno(err error) string {
	if err == nil {
		return "ok"
	}
	var e syscall.Errno
	if !errors.As(err, &e) {
		return err.Error()
	}
	return unix.ErrnoName(e)
}

func data(o *op) []byte {
	b := make([]byte, o.len)
	for i := range b {
		b[i] = o.seed + byte(i*7)
	}
	return b
}

func dataHash(b []byte) string { return fmt.Sprintf("%d bytes %x", len(b), sha256.Sum256(b))[:28] }

// choice is a kind of operation with its weight among the others.
type choice struct {
	weight int
	name   string
	do     func(w *world, o *op) string
}

func onSlot(f func(fd int, o *op) string) func(w *world, o *op) string {
	return func(w *world, o *op) string {
		if w.slots[o.slot] < 0 {
			return "nothing open"
		}
		return f(w.slots[o.slot], o)
	}
}

func onPath(f func(p string, o *op) error) func(w *world, o *op) string {
	return func(w *world, o *op) string { return errno(f(w.path(o.a), o)) }
}

func (w *world) keep(o *op, fd int, err error) string {
	if err == unix.ENXIO || err == unix.EACCES {
		// The union is mounted nodev, where a device cannot be opened at all,
		// EACCES; elsewhere device 0/0 is one without a driver, ENXIO.
		var st unix.Stat_t
		if unix.Stat(w.path(o.a), &st); st.Mode&unix.S_IFMT == unix.S_IFCHR {
			return "a device"
		}
	}
	if err != nil {
		return errno(err)
	}
	if w.slots[o.slot] >= 0 {
		unix.Close(w.slots[o.slot])
	}
	w.slots[o.slot] = fd
	return "ok"
}

func n(n int, err error) string {
	if err != nil {
		return errno(err)
	}
	return fmt.Sprint(n)
}

var choices = []choice{
	{8, "open", func(w *world, o *op) string {
		fd, err := unix.Open(w.path(o.a), o.flag|unix.O_CLOEXEC, o.mode)
		return w.keep(o, fd, err)
	}},
	{6, "create", func(w *world, o *op) string {
		fd, err := unix.Open(w.path(o.a), unix.O_CREAT|unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC|o.flag&(unix.O_EXCL|unix.O_TRUNC|unix.O_APPEND), o.mode)
		return w.keep(o, fd, err)
	}},
	{1, "tmpfile", func(w *world, o *op) string {
		fd, err := unix.Open(w.path(o.a), unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, o.mode)
		return w.keep(o, fd, err)
	}},
	{1, "linkat", func(w *world, o *op) string { // open(2), O_TMPFILE: how such a file gets a name
		if w.slots[o.slot] < 0 {
			return "nothing open"
		}
		return errno(unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", w.slots[o.slot]), unix.AT_FDCWD, w.path(o.a), unix.AT_SYMLINK_FOLLOW))
	}},
	{3, "close", func(w *world, o *op) string {
		if w.slots[o.slot] < 0 {
			return "nothing open"
		}
		err := unix.Close(w.slots[o.slot])
		w.slots[o.slot] = -1
		return errno(err)
	}},
	{6, "pread", onSlot(func(fd int, o *op) string {
		b := make([]byte, o.len)
		k, err := unix.Pread(fd, b, o.off)
		if err != nil {
			return errno(err)
		}
		return dataHash(b[:k])
	})},
	{6, "pwrite", onSlot(func(fd int, o *op) string { return n(unix.Pwrite(fd, data(o), o.off)) })},
	{4, "write", onSlot(func(fd int, o *op) string {
		// The kernel tells a FUSE server nothing of what goes through a fifo, so
		// the fifo's times stay.
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT == unix.S_IFIFO {
			return "a fifo"
		}
		return n(unix.Write(fd, data(o)))
	})},
	{3, "read", onSlot(func(fd int, o *op) string {
		b := make([]byte, o.len)
		k, err := unix.Read(fd, b)
		if err != nil {
			return errno(err)
		}
		return dataHash(b[:k])
	})},
	{3, "mmap", onSlot(mmap)},
	{3, "ftruncate", onSlot(func(fd int, o *op) string { return errno(unix.Ftruncate(fd, o.off)) })},
	{2, "fallocate", onSlot(func(fd int, o *op) string { return errno(unix.Fallocate(fd, uint32(o.flag), o.off, int64(o.len))) })},
	{2, "seek", onSlot(seek)},
	{2, "copy", func(w *world, o *op) string {
		in, out := w.slots[o.from], w.slots[o.slot]
		if in < 0 || out < 0 {
			return "nothing open"
		}
		at, to := int64(o.len), o.off
		return n(unix.CopyFileRange(in, &at, out, &to, o.len, 0))
	}},
	{1, "fsync", onSlot(func(fd int, o *op) string { return errno(unix.Fsync(fd)) })},
	{1, "fchmod", onSlot(func(fd int, o *op) string { return errno(unix.Fchmod(fd, o.mode)) })},
	{1, "futimens", onSlot(func(fd int, o *op) string {
		return errno(unix.UtimesNano(fmt.Sprintf("/proc/self/fd/%d", fd), times(o)))
	})},
	{3, "truncate", onPath(func(p string, o *op) error {
		// truncate(2): the times change "if the size changed". ext4 changes them
		// always, the write-back cache as it says there.
		var st unix.Stat_t
		if err := unix.Stat(p, &st); err == nil && st.Size == o.off {
			return nil
		}
		return unix.Truncate(p, o.off)
	})},
	{5, "mkdir", onPath(func(p string, o *op) error { return unix.Mkdir(p, o.mode) })},
	{4, "rmdir", onPath(func(p string, o *op) error { return unix.Rmdir(p) })},
	{5, "unlink", onPath(func(p string, o *op) error { return unix.Unlink(p) })},
	{3, "mknod", onPath(func(p string, o *op) error {
		kind := []uint32{unix.S_IFIFO, unix.S_IFSOCK, unix.S_IFREG, unix.S_IFCHR}[o.flag&3] // device 0/0 needs no privilege
		return unix.Mknod(p, kind|o.mode&0o777, 0)
	})},
	{3, "symlink", func(w *world, o *op) string { return errno(unix.Symlink(targets[o.flag&7], w.path(o.a))) }},
	{2, "readlink", func(w *world, o *op) string {
		s, err := os.Readlink(w.path(o.a))
		return s + " " + errno(err)
	}},
	{5, "link", func(w *world, o *op) string { return errno(unix.Link(w.path(o.a), w.path(o.b))) }},
	{10, "rename", func(w *world, o *op) string {
		flags := []uint{0, 0, 0, unix.RENAME_NOREPLACE, unix.RENAME_EXCHANGE}[o.flag%5]
		return errno(unix.Renameat2(unix.AT_FDCWD, w.path(o.a), unix.AT_FDCWD, w.path(o.b), flags))
	}},
	{4, "chmod", onPath(func(p string, o *op) error { return unix.Chmod(p, o.mode) })},
	{3, "chown", onPath(func(p string, o *op) error { return unix.Lchown(p, o.flag%4-1, o.len%4-1) })},
	{4, "utimens", onPath(func(p string, o *op) error {
		return unix.UtimesNanoAt(unix.AT_FDCWD, p, times(o), unix.AT_SYMLINK_NOFOLLOW)
	})},
	{3, "setxattr", onPath(func(p string, o *op) error {
		return unix.Lsetxattr(p, xattrs[o.flag&3], data(&op{len: o.len & 63, seed: o.seed}), o.flag>>2%3)
	})},
	{3, "getxattr", func(w *world, o *op) string {
		b := make([]byte, 100)
		k, err := unix.Lgetxattr(w.path(o.a), xattrs[o.flag&3], b)
		return fmt.Sprintf("%x %s", b[:max(k, 0)], errno(err))
	}},
	{2, "removexattr", onPath(func(p string, o *op) error { return unix.Lremovexattr(p, xattrs[o.flag&3]) })},
	{2, "listxattr", func(w *world, o *op) string {
		l, err := fstest.Listxattr(w.path(o.a))
		return fmt.Sprint(l, errno(err))
	}},
	{4, "readdir", readdir},
	{4, "stat", func(w *world, o *op) string {
		var st unix.Stat_t
		if err := unix.Stat(w.path(o.a), &st); err != nil {
			return errno(err)
		}
		return show(&st)
	}},
	{2, "access", onPath(func(p string, o *op) error { return unix.Access(p, o.mode&7) })},
	{4, "readfile", func(w *world, o *op) string {
		var st unix.Stat_t
		if unix.Stat(w.path(o.a), &st); st.Mode&unix.S_IFMT == unix.S_IFIFO || st.Mode&unix.S_IFMT == unix.S_IFCHR {
			return "a fifo would block, a device cannot be opened"
		}
		b, err := os.ReadFile(w.path(o.a))
		return dataHash(b) + errno(err)
	}},
	{1, "drop caches", func(w *world, o *op) string {
		if w.union != nil {
			if err := w.union.DropCaches(); err != nil {
				return err.Error()
			}
		}
		return ""
	}},
}

var (
	xattrs = []string{"user.a", "user.bb", "user.tiffin.c", "user.containers.override_stat"}
	// targets stay inside the tree whatever directory the link is in.
	targets = []string{"a", "b/c", "c", "d/a/b", "nowhere", "e", "a/a", "."}
)

func times(o *op) []unix.Timespec {
	ts := []unix.Timespec{{Sec: 1_000_000_000, Nsec: 5}, {Sec: 1_000_000_000 + o.off, Nsec: int64(o.len)}}
	switch o.flag & 7 {
	case 0:
		ts[1].Nsec = unix.UTIME_OMIT
	case 1:
		ts[1].Nsec = unix.UTIME_NOW
	case 2:
		ts[1].Sec = -o.off // before 1970
	}
	return ts
}

// mmap writes (or reads) through a shared mapping, within the file.
func mmap(fd int, o *op) string {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || o.len == 0 || st.Size < o.off+int64(o.len) {
		return "outside"
	}
	page := o.off &^ 4095
	prot := unix.PROT_READ | o.flag&unix.PROT_WRITE
	m, err := unix.Mmap(fd, page, int(o.off-page)+o.len, prot, unix.MAP_SHARED)
	if err != nil {
		return errno(err)
	}
	defer unix.Munmap(m)
	if prot&unix.PROT_WRITE != 0 {
		copy(m[o.off-page:], data(o))
	}
	if o.flag&8 != 0 {
		return errno(unix.Msync(m, unix.MS_SYNC))
	}
	return dataHash(m[o.off-page:])
}

// seek looks for data and holes. Where those are is the file system's
// business; that the end is one and nothing is beyond it, is not.
func seek(fd int, o *op) string {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return "no file"
	}
	pos, err := unix.Seek(fd, 0, unix.SEEK_CUR)
	if err != nil {
		return errno(err)
	}
	defer unix.Seek(fd, pos, unix.SEEK_SET)
	hole, err := unix.Seek(fd, o.off, unix.SEEK_HOLE)
	if err == nil && (hole < o.off || hole > st.Size) {
		return fmt.Sprintf("hole at %d of %d", hole, st.Size)
	}
	if data, err := unix.Seek(fd, o.off, unix.SEEK_DATA); err == nil && (data < o.off || data >= st.Size) {
		return fmt.Sprintf("data at %d of %d", data, st.Size)
	}
	return errno(err)
}

func readdir(w *world, o *op) string {
	es, err := os.ReadDir(w.path(o.a))
	var names []string
	for _, e := range es {
		names = append(names, fmt.Sprintf("%s %v", e.Name(), e.Type()))
	}
	sort.Strings(names)
	return strings.Join(names, ", ") + errno(err)
}

// generate makes a sequence of count operations from a seed. Ids other than 0
// occur only if they are mapped.
func generate(seed uint64, count int, ids bool) []*op {
	r := rand.New(rand.NewPCG(seed, 4))
	total := 0
	for _, c := range choices {
		total += c.weight
	}
	ops := make([]*op, count)
	for i := range ops {
		k := r.IntN(total)
		c := 0
		for ; k >= choices[c].weight; c++ {
			k -= choices[c].weight
		}
		o := &op{name: choices[c].name, do: choices[c].do, a: randomPath(r), slot: r.IntN(3), from: r.IntN(3),
			flag: r.IntN(16), mode: r.Uint32N(0o1000), off: int64(r.IntN(5)), len: r.IntN(5000), seed: byte(r.IntN(256))}
		if o.name == "link" || o.name == "rename" {
			o.b = randomPath(r)
		}
		o.size(r)
		if o.mode |= 0o600; r.IntN(8) == 0 {
			o.mode = r.Uint32N(0o10000)
		}
		if ids && r.IntN(6) == 0 {
			o.uid = 1 + r.Uint32N(2)
		}
		ops[i] = o
	}
	return ops
}

// size gives the numbers of o the range that suits its kind.
func (o *op) size(r *rand.Rand) {
	switch o.name {
	case "open":
		o.flag = []int{unix.O_RDONLY, unix.O_RDWR, unix.O_RDWR, unix.O_WRONLY}[r.IntN(4)] | unix.O_NONBLOCK
		for _, f := range []int{unix.O_APPEND, unix.O_TRUNC, unix.O_CREAT, unix.O_CREAT | unix.O_EXCL, unix.O_NOFOLLOW, unix.O_DIRECTORY} {
			if r.IntN(5) == 0 {
				o.flag |= f
			}
		}
	case "create":
		o.flag = r.IntN(1 << 12)
	case "fallocate":
		o.flag = []int{0, unix.FALLOC_FL_KEEP_SIZE, unix.FALLOC_FL_KEEP_SIZE | unix.FALLOC_FL_PUNCH_HOLE, unix.FALLOC_FL_ZERO_RANGE}[r.IntN(4)]
	}
	if r.IntN(2) == 0 {
		o.off = int64(r.IntN(40_000))
	}
	if r.IntN(6) == 0 {
		o.off = int64(r.IntN(1_000_000))
		o.len = r.IntN(70_000)
	}
}

// randomPath is one of 5 + 25 + 125 paths, the shorter ones more often.
func randomPath(r *rand.Rand) string {
	depth := []int{1, 1, 2, 2, 2, 3, 3}[r.IntN(7)]
	s := make([]string, depth)
	for i := range s {
		s[i] = string("abcde"[r.IntN(5)])
	}
	return strings.Join(s, "/")
}

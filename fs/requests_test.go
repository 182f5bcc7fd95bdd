package fs_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tiffin/fs"
	"tiffin/internal/test/fstest"
	"tiffin/internal/test/tartest"
)

// What an operation costs is how often the kernel asks the server. That number
// is the same on every machine, so it, and not a time, is what these tests
// hold on to. The numbers are exact: a smaller one is an error too, because
// it says that the explanation beside it is wrong.
type cost struct {
	name string
	want string // requests in the order of their names, as "LOOKUP 1, READ 2"
	prep func(c *caller)
	do   func(c *caller)
}

// caller does things in the union and fails the test if they fail.
type caller struct {
	t       *testing.T
	m       *fstest.Mount
	dir     string
	changed bool // leave the root directory's attributes forgotten
}

var sink byte

func (c *caller) path(rel string) string { return filepath.Join(c.dir, rel) }

func (c *caller) ok(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *caller) stat(rel string) {
	var st unix.Stat_t
	if err := unix.Lstat(c.path(rel), &st); err != unix.ENOENT {
		c.ok(err)
	}
}

// read reads the first n bytes.
func (c *caller) read(rel string, n int) {
	f, err := os.Open(c.path(rel))
	c.ok(err)
	defer f.Close()
	_, err = io.ReadFull(f, make([]byte, n))
	c.ok(err)
}

func (c *caller) list(rel string) {
	_, err := os.ReadDir(c.path(rel))
	c.ok(err)
}

// write opens, writes n bytes at once and closes.
func (c *caller) write(rel string, flags, n int) {
	fd, err := unix.Open(c.path(rel), flags|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
	c.ok(err)
	_, err = unix.Write(fd, make([]byte, n))
	c.ok(err)
	c.ok(unix.Close(fd))
}

func (c *caller) run(rel string) { c.ok(exec.Command(c.path(rel)).Run()) }

func (c *caller) open(rel string, flags int, f func(fd int) error) {
	fd, err := unix.Open(c.path(rel), flags|unix.O_CLOEXEC, 0)
	c.ok(err)
	c.ok(f(fd))
	c.ok(unix.Close(fd))
}

const gib = 1 << 30 // bytes

func costLayer(t *testing.T) []byte {
	text := strings.Repeat("x", 4096)
	es := []tartest.Entry{tartest.Dir("many"), tartest.Dir("tree"), tartest.Dir("tree/sub"), tartest.File("tree/sub/file", "x"),
		tartest.File("file", text), tartest.File("mapped", text), tartest.File("append", "some"), tartest.File("replace", text),
		tartest.File("old", text), tartest.File("gone", text), tartest.File("linked", text), tartest.File("holes", text),
		tartest.Symlink("link", "file"), tartest.File("program", program(), tartest.Mode(0o755)),
		tartest.File("attr", "x", tartest.Xattr("user.k", "v"))}
	for _, f := range []string{"mode", "owner", "times", "big"} {
		es = append(es, tartest.Sparse10("huge-"+f, gib, []tartest.Piece{{Off: 0, Data: "start"}, {Off: gib - 3, Data: "end"}}))
	}
	for i := range 20 {
		es = append(es, tartest.File(fmt.Sprintf("many/%02d", i), "x"))
	}
	return tartest.Of(t, es...)
}

// program is the smallest ELF file that exits with status 0.
func program() string {
	code, machine := "\x31\xff\xb8\x3c\x00\x00\x00\x0f\x05", uint16(62) // xor edi,edi; mov eax,60; syscall
	if runtime.GOARCH == "arm64" {
		code, machine = "\x00\x00\x80\xd2\xa8\x0b\x80\xd2\x01\x00\x00\xd4", 183 // mov x0,0; mov x8,93; svc 0
	}
	const base, head = 0x10000, 64 + 56
	le := binary.LittleEndian
	b := append([]byte("\x7fELF\x02\x01\x01"), make([]byte, 9)...)
	b = le.AppendUint16(le.AppendUint16(b, 2), machine) // ET_EXEC
	b = le.AppendUint32(b, 1)
	b = le.AppendUint64(le.AppendUint64(le.AppendUint64(b, base+head), 64), 0) // entry, program headers, no sections
	b = le.AppendUint32(b, 0)
	for _, v := range []uint16{64, 56, 1, 64, 0, 0} {
		b = le.AppendUint16(b, v)
	}
	b = le.AppendUint32(le.AppendUint32(b, 1), 5) // PT_LOAD, readable and executable
	size := uint64(head + len(code))
	for _, v := range []uint64{0, base, base, size, size, 4096} {
		b = le.AppendUint64(b, v)
	}
	return string(b) + code
}

var costs = []cost{
	// The kernel remembers the answer ENOSYS for each of these, for as long as
	// the mount lives (fs/fuse: fc->no_open, no_opendir, no_create, no_flush …).
	{"what it learns once: OPEN, OPENDIR and CREATE are not for it", "", nil, func(c *caller) {
		c.read("file", 1)
		c.list("many")
		c.write("first", unix.O_CREAT, 1)
		c.open("first", unix.O_RDONLY, unix.Fsync)
	}},

	{"stat of a name not seen before", "LOOKUP 1", nil, func(c *caller) { c.stat("old") }},
	{"stat of a name seen before", "", nil, func(c *caller) { c.stat("old") }},
	{"stat of a missing name", "LOOKUP 1", nil, func(c *caller) { c.stat("missing") }},
	{"stat of a missing name again", "", nil, func(c *caller) { c.stat("missing") }},                           // a negative dentry without time-out
	{"access of a name seen before", "", nil, func(c *caller) { c.ok(unix.Access(c.path("old"), unix.R_OK)) }}, // default_permissions
	{"readlink", "READLINK 1", func(c *caller) { c.stat("link") }, func(c *caller) { os.Readlink(c.path("link")) }},
	{"readlink again", "", nil, func(c *caller) { os.Readlink(c.path("link")) }}, // FUSE_CACHE_SYMLINKS

	// READDIRPLUS_AUTO: plus for the first part only, unless its names are used.
	{"readdir of 20 names", "READDIR 1, READDIRPLUS 1", func(c *caller) { c.ok(c.m.DropCaches()); c.stat("many") }, func(c *caller) { c.list("many") }},
	{"stat of what readdir showed", "", nil, func(c *caller) { c.stat("many/07") }},
	{"readdir again", "", nil, func(c *caller) { c.list("many") }},

	{"open, read 4 KiB, close: not cached", "READ 1", func(c *caller) { c.ok(c.m.DropCaches()); c.stat("file") }, func(c *caller) { c.read("file", 4096) }},
	{"open, read 4 KiB, close: cached", "", nil, func(c *caller) { c.read("file", 4096) }},
	{"map 4 KiB into memory and read", "READ 1", func(c *caller) { c.stat("mapped") }, func(c *caller) {
		c.open("mapped", unix.O_RDONLY, func(fd int) error {
			b, err := unix.Mmap(fd, 0, 4096, unix.PROT_READ, unix.MAP_SHARED)
			c.ok(err)
			sink = b[100]
			return unix.Munmap(b)
		})
	}},
	{"exec of a program", "READ 1", func(c *caller) { c.stat("program") }, func(c *caller) { c.run("program") }},
	{"exec of a program again", "", nil, func(c *caller) { c.run("program") }},
	{"getxattr", "GETXATTR 1", func(c *caller) { c.stat("attr") }, func(c *caller) {
		_, err := unix.Lgetxattr(c.path("attr"), "user.k", make([]byte, 9))
		c.ok(err)
	}},
	{"statfs", "STATFS 1", nil, func(c *caller) { c.ok(unix.Statfs(c.dir, &unix.Statfs_t{})) }},

	// CREATE is not for us: LOOKUP, MKNOD. Before its first write to any file the
	// kernel wants to know whether it has file capabilities to take away
	// (file_remove_privs; HANDLE_KILLPRIV_V2 lets it remember the answer). The
	// data comes when it is closed, and with it the time that the kernel kept for
	// us, if its clock has ticked since MKNOD.
	{"create, write 4 KiB, close", "GETXATTR 1, LOOKUP 1, MKNOD 1, WRITE 1 or GETXATTR 1, LOOKUP 1, MKNOD 1, SETATTR 1, WRITE 1", nil,
		func(c *caller) { c.write("new", unix.O_CREAT|unix.O_EXCL, 4096) }},
	// Any change in a directory makes the kernel forget its attributes
	// (fuse_dir_changed); other tests here have it ask again before they count.
	{"stat in a directory that has changed", "GETATTR 1", func(c *caller) { c.stat("huge-big"); c.write("newer", unix.O_CREAT, 1); c.changed = true }, func(c *caller) { c.stat("huge-big") }},
	// mkdir(2), symlink(2), link(2) and rename(2) never trust a negative dentry
	// (fuse_dentry_revalidate, LOOKUP_EXCL and LOOKUP_RENAME_TARGET).
	{"mkdir", "LOOKUP 1, MKDIR 1", nil, func(c *caller) { c.ok(unix.Mkdir(c.path("newdir"), 0o755)) }},
	{"symlink", "LOOKUP 1, SYMLINK 1", nil, func(c *caller) { c.ok(unix.Symlink("x", c.path("newlink"))) }},
	// With the write-back cache the kernel keeps the times of regular files, and
	// says so each time a name of one comes or goes (fuse_update_ctime): SETATTR.
	{"link of a lower file", "LINK 1, LOOKUP 1, SETATTR 1", func(c *caller) { c.stat("linked") }, func(c *caller) { c.ok(unix.Link(c.path("linked"), c.path("linked2"))) }},
	{"rename of a lower file", "LOOKUP 1, RENAME 1, SETATTR 1", func(c *caller) { c.stat("old") }, func(c *caller) { c.ok(unix.Rename(c.path("old"), c.path("old2"))) }},
	{"unlink of a lower file", "SETATTR 1, UNLINK 1", func(c *caller) { c.stat("gone") }, func(c *caller) { c.ok(unix.Unlink(c.path("gone"))) }},
	{"stat of what was unlinked", "LOOKUP 1", nil, func(c *caller) { c.stat("gone") }},
	{"rename of a lower directory", "LOOKUP 1, RENAME 1", func(c *caller) { c.stat("tree/sub/file") }, func(c *caller) { c.ok(unix.Rename(c.path("tree"), c.path("tree2"))) }},
	{"stat in a renamed lower directory", "", nil, func(c *caller) { c.stat("tree2/sub/file") }},
	{"rmdir", "RMDIR 1", nil, func(c *caller) { c.ok(unix.Rmdir(c.path("newdir"))) }},

	// chown(2) and truncation take file capabilities away, too: GETXATTR.
	{"chmod of a 1 GiB lower file", "SETATTR 1", func(c *caller) { c.stat("huge-mode") }, func(c *caller) { c.ok(unix.Chmod(c.path("huge-mode"), 0o600)) }},
	{"utimes of a 1 GiB lower file", "SETATTR 1", func(c *caller) { c.stat("huge-times") }, func(c *caller) {
		c.ok(unix.UtimesNano(c.path("huge-times"), []unix.Timespec{{Sec: 1}, {Sec: 2}}))
	}},
	{"chown of a 1 GiB lower file", "GETXATTR 1, SETATTR 1", func(c *caller) { c.stat("huge-owner") }, func(c *caller) { c.ok(unix.Lchown(c.path("huge-owner"), 0, 0)) }},
	{"open with O_TRUNC of a lower file", "GETXATTR 1, SETATTR 1", func(c *caller) { c.stat("replace") }, func(c *caller) {
		c.open("replace", unix.O_WRONLY|unix.O_TRUNC, func(int) error { return nil })
	}},
	// The page it appends to has to be read first.
	{"append to a lower file", "GETXATTR 1, READ 1, SETATTR 1, WRITE 1", func(c *caller) { c.stat("append") }, func(c *caller) { c.write("append", unix.O_APPEND, 10) }},
	{"append to it again", "SETATTR 1, WRITE 1", nil, func(c *caller) { c.write("append", unix.O_APPEND, 10) }},
	{"stat of what was written", "GETATTR 1", nil, func(c *caller) { c.stat("append") }},
	{"fsync of a clean file", "FSYNC 1", nil, func(c *caller) { c.open("append", unix.O_RDONLY, unix.Fsync) }},
}

func TestRequestsThatOperationsCost(t *testing.T) {
	fstest.Run(t, fstest.Options{Layers: [][]byte{costLayer(t)}}, func(t *testing.T, m *fstest.Mount) {
		for i, e := range costs {
			c := &caller{t: t, m: m, dir: m.Dir}
			if e.prep != nil {
				e.prep(c)
			}
			if !c.changed {
				c.stat(".")
			}
			var got map[string]uint64
			events := m.Events(func() { got = m.Requests(func() { e.do(c) }) })
			want := strings.Split(e.want, " or ")
			if fs.WorkersAreRefused() {
				// After another person's sync(2) a worker of the kernel may write before close(2).
				want = append(want, strings.ReplaceAll(e.want, "SETATTR 1, WRITE 1", "WRITE 1"))
			}
			if i > 0 && !slices.Contains(want, counts(got)) {
				t.Errorf("%s costs %q, wanted %q\n%s", e.name, counts(got), e.want, strings.Join(events, "\n"))
			}
		}
	})
}

// TestNobodyWaitsForTheDiskIfChangesAreVolatile: fsync(2) has the kernel write out what it has, and
// no more.
func TestNobodyWaitsForTheDiskIfChangesAreVolatile(t *testing.T) {
	fstest.Run(t, fstest.Options{Layers: [][]byte{costLayer(t)}, Volatile: true}, func(t *testing.T, m *fstest.Mount) {
		c := &caller{t: t, m: m, dir: m.Dir}
		c.open("first", unix.O_RDWR|unix.O_CREAT, unix.Fsync) // the kernel remembers the answer
		got := m.Requests(func() {
			c.open("first", unix.O_RDWR, func(fd int) error {
				_, err := unix.Write(fd, []byte("x"))
				return errors.Join(err, unix.Fsync(fd))
			})
		})
		if got["WRITE"] != 1 || got["FSYNC"] != 0 {
			t.Errorf("write and fsync cost %s, wanted WRITE 1 and no FSYNC", counts(got))
		}
	})
}

func counts(m map[string]uint64) string {
	var s []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		s = append(s, fmt.Sprintf("%s %d", k, m[k]))
	}
	return strings.Join(s, ", ")
}

// TestMetadataChangesCopyNoData looks at the disk: of 1 GiB with changed
// metadata the upper directory may hold no more than a block or two.
func TestMetadataChangesCopyNoData(t *testing.T) {
	fstest.Run(t, fstest.Options{Layers: [][]byte{costLayer(t)}}, func(t *testing.T, m *fstest.Mount) {
		c := &caller{t: t, m: m, dir: m.Dir}
		c.ok(unix.Chmod(c.path("huge-mode"), 0o600))
		c.ok(unix.Lchown(c.path("huge-owner"), 0, 0))
		c.ok(unix.UtimesNano(c.path("huge-times"), []unix.Timespec{{Sec: 1}, {Sec: 2}}))
		c.ok(unix.Rename(c.path("huge-big"), c.path("huge-renamed")))
		for _, f := range []string{"huge-mode", "huge-owner", "huge-times", "huge-renamed"} {
			var st unix.Stat_t
			if err := unix.Lstat(filepath.Join(m.Upper, f), &st); err == unix.ENOENT && f == "huge-owner" {
				continue // an owner that does not change needs no copy of anything
			} else if err != nil || st.Blocks > 16 {
				t.Errorf("%s: %v, has %d blocks of 512 bytes", f, err, st.Blocks)
			}
			b := make([]byte, 3)
			c.open(f, unix.O_RDONLY, func(fd int) error { _, err := unix.Pread(fd, b, gib-3); return err })
			if string(b) != "end" {
				t.Errorf("%s ends with %q", f, b)
			}
		}
	})
}

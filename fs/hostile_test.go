package fs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"tiffin/image/layer"
	"tiffin/image/union"
	"tiffin/internal/test/tartest"
)

// TestHostileStore changes the files of a store before and while a union uses them: their bytes,
// their lengths, what stands under their names. A read gives what was in the image or an error,
// never something else; a table with the right checksum may lie about the image, and even then
// nothing outside the upper directory is written, nothing panics and nothing hangs.
//
//	TIFFIN_MUTATIONS   how many changes
func TestHostileStore(t *testing.T) {
	want := 20_000
	if v := os.Getenv("TIFFIN_MUTATIONS"); v != "" {
		var err error
		if want, err = strconv.Atoi(v); err != nil {
			t.Fatalf("TIFFIN_MUTATIONS=%s: not a number", v)
		}
	}
	h := newHostile(t)
	for seed := uint64(1); h.mutations < want; seed++ {
		h.round(t, seed)
		if t.Failed() {
			t.Fatalf("in round %d", seed)
		}
	}
	t.Logf("%d changes, %d of them with a checksum put right; %d opened, %d refused; %d reads right, %d errors; %d copied up",
		h.mutations, h.crafted, h.opened, h.refused, h.right, h.errors, h.copied)
	if h.opened == 0 || h.refused == 0 || h.right == 0 || h.errors == 0 || h.copied == 0 {
		t.Error("a kind of outcome has not occurred")
	}
}

// FuzzHostileStore is TestHostileStore with other seeds.
func FuzzHostileStore(f *testing.F) {
	f.Add(uint64(1))
	h := newHostile(f)
	f.Fuzz(func(t *testing.T, seed uint64) { h.round(t, seed) })
}

// hostile is a directory with
//
//	host/canary     a file that nobody may write to, and nothing beside it
//	host/store      what is changed: union, and index, flat.tar and blocks of each layer
//	host/upper work as a container has them
type hostile struct {
	dir   string
	files []stored
	truth map[string]seen

	mutations, crafted, opened, refused, right, errors, copied int
}

// stored is a file of the store and what belongs into it.
type stored struct {
	name    string
	content []byte
}

// seen is what a path shows.
type seen struct {
	mode, uid uint32
	size      uint64
	mtime     uint64
	data      string // content, or target
	value     string // of user.k
}

// poison is the name of a file that a lie turns into a path that leads to the canary.
const poison = "0000000000canary"

var poisons = []string{"./.././../canary", "./.././../canary", "./.././../canary", "./.././../canary", "../../../canary\x00", "..", ".", "a/../../canary", "/../canary", "../canary", "upper/../canary", "\x00", ""}

func newHostile(t testing.TB) *hostile {
	h := &hostile{dir: t.TempDir()}
	var es []tartest.Entry
	for d := range 4 {
		dir := fmt.Sprintf("d%d", d)
		es = append(es, tartest.Dir(dir), tartest.Symlink(dir+"/link", "f0"), tartest.Dir(dir+"/empty"),
			tartest.File(dir+"/"+poison, "echo evil"), tartest.Hardlink(dir+"/hard", dir+"/"+poison))
		for f, size := range []int{0, 1, 700, 33_000, 70_000} {
			text := strings.Repeat(fmt.Sprintf("%s/%d ", dir, f), size/5+1)[:size]
			es = append(es, tartest.File(fmt.Sprintf("%s/f%d", dir, f), text, tartest.Xattr("user.k", dir), tartest.Owner(int64(f), 0)))
		}
	}
	es = append(es, tartest.Sparse10("holes", 90_000, []tartest.Piece{{Off: 500, Data: "a"}, {Off: 80_000, Data: "b"}}),
		tartest.Fifo("fifo"), tartest.Char("null", 1, 3))
	top := []tartest.Entry{tartest.Dir("d0"), tartest.File("d0/new", "new"), tartest.Whiteout("d0/f1"), tartest.File("d1/f2", "changed"), tartest.Hardlink("h", "d2/f3")}
	var merged *layer.Tree
	for n, entries := range [][]tartest.Entry{es, top} {
		tar := tartest.Of(t, entries...)
		tree, err := layer.Scan(bytes.NewReader(tar))
		if err != nil {
			t.Fatal(err)
		}
		blocks := layer.NewBlocks()
		blocks.Write(tar)
		dir := fmt.Sprintf("layers/%d/", n)
		h.files = append(h.files, stored{dir + "flat.tar", tar}, stored{dir + "blocks", blocks.Encode(dir + "blocks")}, h.index(t, dir+"index", tree))
		if merged, err = union.Merge(merged, tree, uint16(n)); err != nil {
			t.Fatal(err)
		}
	}
	h.files = append(h.files, h.index(t, "unions/0", merged))
	h.restore(t)
	h.truth = map[string]seen{}
	f := h.open(t, layer.OpenIndex)
	defer f.close()
	h.walk(t, f, func(p string, s seen, err error) {
		if err != nil {
			t.Fatalf("%s: %v", p, err)
		}
		h.truth[p] = s
	}, func() {})
	if n := len(h.truth); n != len(es)+1 || h.truth["/d3/f4"].data[:10] != "d3/4 d3/4 " || h.truth["/d1/f2"].data != "changed" {
		t.Fatalf("the truth has %d paths", n)
	}
	return h
}

// index is the file that a tree is written to.
func (h *hostile) index(t testing.TB, name string, tree *layer.Tree) stored {
	path := filepath.Join(t.TempDir(), name)
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if err == nil {
		err = tree.WriteFile(path)
	}
	b, err2 := os.ReadFile(path)
	if err = errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	return stored{name, b}
}

func (h *hostile) path(name string) string { return filepath.Join(h.dir, "host", name) }

// restore makes all of the directory again.
func (h *hostile) restore(t testing.TB) {
	t.Helper()
	err := os.RemoveAll(h.path(""))
	for _, dir := range []string{"store/layers/0", "store/layers/1", "store/unions", "upper", "work"} {
		err = errors.Join(err, os.MkdirAll(h.path(dir), 0o700))
	}
	for _, f := range h.files {
		err = errors.Join(err, os.WriteFile(h.path("store/"+f.name), f.content, 0o600))
	}
	if err = errors.Join(err, os.WriteFile(h.path("canary"), []byte("my own"), 0o640)); err != nil {
		t.Fatal(err)
	}
}

// open opens the store as a container does; nil if it is refused.
func (h *hostile) open(t testing.TB, openIndex func(string) (*layer.Index, error)) *FS {
	x, err := openIndex(h.path("store/unions/0"))
	if err != nil {
		return nil
	}
	cfg := Config{Index: x, Upper: h.path("upper"), Work: h.path("work")}
	var layers []*layer.Index
	for n := range 2 {
		dir := h.path(fmt.Sprintf("store/layers/%d", n)) + "/"
		fl, err := layer.OpenFlat(dir+"flat.tar", dir+"blocks")
		if err != nil {
			break
		}
		cfg.Flats = append(cfg.Flats, fl)
		if l, err := layer.OpenIndex(dir + "index"); err == nil {
			layers = append(layers, l)
		}
	}
	var f *FS
	if len(cfg.Flats) == 2 {
		f, err = New(cfg)
	}
	if f == nil || err != nil {
		for _, fl := range cfg.Flats {
			fl.Close()
		}
		return nil
	}
	if len(layers) == 2 {
		f.SetLayers(layers)
		f.Subscribe(func(Event) {})
	}
	return f
}

// round changes the store, opens it, and uses it while it is changed.
func (h *hostile) round(t *testing.T, seed uint64) {
	watchdog := time.AfterFunc(2*time.Minute, func() {
		debug.SetTraceback("all")
		panic(fmt.Sprintf("round %d hangs", seed))
	})
	defer watchdog.Stop()
	r := rand.New(rand.NewPCG(seed, 14))
	h.restore(t)
	lies := false
	if r.IntN(2) == 0 {
		for range 1 + r.IntN(6) {
			lies = h.mutate(r, r.IntN(2) == 0) || lies
		}
	}
	openIndex := layer.OpenIndex
	if r.IntN(2) == 0 {
		openIndex = layer.MapIndex
	}
	f := h.open(t, openIndex)
	if f == nil {
		h.refused++
		h.unharmed(t)
		return
	}
	h.opened++
	defer func() {
		for _, fl := range f.cfg.Flats {
			fl.Close()
		}
		f.close()
	}()
	change := func() {
		for range 1 + r.IntN(4) {
			h.mutate(r, r.IntN(8) == 0)
		}
	}
	h.walk(t, f, func(p string, s seen, err error) {
		switch was, ok := h.truth[p]; {
		case err != nil:
			h.errors++
		case lies:
		case !ok:
			t.Errorf("%s has come from nowhere", p)
		case s != was:
			t.Errorf("%s is %.60v…, was %.60v…", p, s, was)
		default:
			h.right++
		}
	}, change)
	h.write(f, r, change)
	h.unharmed(t)
}

// mutate makes one change of a file of the store. It reports whether that is one that a checksum
// cannot show: such a table may say anything.
func (h *hostile) mutate(r *rand.Rand, craft bool) bool {
	h.mutations++
	file := h.files[min(r.IntN(2*len(h.files)), len(h.files)-1)] // the merged index half the time
	if craft {
		file = h.files[[]int{2, 5, 6, 6, 6, 6}[r.IntN(6)]] // an index, whose checksum is no secret
	}
	path := h.path("store/" + file.name)
	if craft {
		b := bytes.Clone(file.content)
		if i := bytes.Index(b, []byte(poison)); i >= 0 && r.IntN(2) == 0 {
			copy(b[i:], poisons[r.IntN(len(poisons))])
		}
		for range r.IntN(3) {
			h.scribble(r, b)
		}
		binary.NativeEndian.PutUint32(b[16:], crc32.Checksum(b[128:], crc32.MakeTable(crc32.Castagnoli)))
		h.crafted++
		overwrite(path, b, 0)
		return true
	}
	switch k := r.IntN(40); {
	case k < 2:
		if st, err := os.Lstat(path); err == nil && st.Mode().IsRegular() {
			os.Truncate(path, int64(r.IntN((k+1)*len(file.content))))
		}
	case k == 2: // another file under its name
		os.Remove(path)
		switch r.IntN(5) {
		case 0:
			unix.Mkfifo(path, 0o600)
		case 1:
			os.Symlink(h.path("canary"), path)
		case 2:
			os.Mkdir(path, 0o700)
		case 3:
			os.WriteFile(path, h.files[r.IntN(len(h.files))].content, 0o600)
		}
	case k < 20: // all as it was, in the same file
		overwrite(path, file.content, 0)
	default:
		off := r.IntN(len(file.content) - 8)
		b := bytes.Clone(file.content[off : off+8])
		h.scribble(r, b)
		overwrite(path, b, int64(off))
	}
	return false
}

// overwrite writes into a file, if that is a regular one still.
func overwrite(path string, b []byte, off int64) {
	if fd, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0); err == nil {
		pwrite(fd, b, off)
		unix.Close(fd)
	}
}

// scribble changes some bytes of b.
func (h *hostile) scribble(r *rand.Rand, b []byte) {
	at := r.IntN(len(b))
	switch r.IntN(5) {
	case 0:
		b[at] ^= 1 << r.IntN(8)
	case 1, 2: // a number
		at &^= 3
		n := []uint32{0, 1, 2, 3, 16, 255, 256, 4096, 1 << 16, 1 << 31, ^uint32(0), r.Uint32N(200), r.Uint32N(200)}[r.IntN(13)]
		copy(b[at:], binary.NativeEndian.AppendUint32(nil, n))
	case 3: // a piece of another place
		from := b[r.IntN(len(b)):]
		copy(b[at:], from[:min(4+r.IntN(88), len(from))])
	case 4:
		copy(b[at:], poisons[r.IntN(len(poisons))])
	}
}

// walk tells found about each path, and calls between before each request.
func (h *hostile) walk(t testing.TB, f *FS, found func(p string, s seen, err error), between func()) {
	buf := make([]byte, 128<<10)
	steps := 0
	var dir func(id uint64, path string)
	dir = func(id uint64, path string) {
		between()
		in := fuse.ReadIn{InHeader: fuse.InHeader{NodeId: id}, Size: 1 << 16}
		list := make([]byte, 1<<16)
		out := fuse.NewDirEntryList(list, 0)
		if st := f.ReadDir(nil, &in, out); !st.Ok() {
			found(path, seen{}, syscall.Errno(st))
			return
		}
		for _, name := range names(list) {
			if steps++; steps > 2000 {
				return // a lie about directories may take long
			}
			p := path + "/" + name
			var e fuse.EntryOut
			between()
			st := f.Lookup(nil, &fuse.InHeader{NodeId: id}, name, &e)
			if !st.Ok() || e.NodeId == 0 {
				found(p, seen{}, errors.Join(syscall.ENOENT, syscall.Errno(st)))
				continue
			}
			s := seen{mode: e.Mode, uid: e.Uid, size: e.Size, mtime: e.Mtime}
			between()
			err := h.content(f, &e, &s, buf)
			found(p, s, err)
			if e.Mode&syscall.S_IFMT == syscall.S_IFDIR && strings.Count(p, "/") < 20 {
				dir(e.NodeId, p)
			}
		}
	}
	dir(rootID, "")
}

// names takes the answer to READDIR apart: struct fuse_dirent of linux/fuse.h.
func names(b []byte) (all []string) {
	for len(b) >= 24 {
		n := int(binary.NativeEndian.Uint32(b[16:]))
		if n == 0 || 24+n > len(b) {
			break
		}
		if name := string(b[24 : 24+n]); name != "." && name != ".." {
			all = append(all, name)
		}
		b = b[min((24+n+7)&^7, len(b)):]
	}
	return all
}

// content reads what there is to read of a file.
func (h *hostile) content(f *FS, e *fuse.EntryOut, s *seen, buf []byte) error {
	head := fuse.InHeader{NodeId: e.NodeId}
	switch e.Mode & syscall.S_IFMT {
	case syscall.S_IFLNK:
		target, st := f.Readlink(nil, &head)
		s.data = string(target)
		return status2(st)
	case syscall.S_IFREG:
		r, st := f.Read(nil, &fuse.ReadIn{InHeader: head, Size: uint32(len(buf))}, buf)
		if !st.Ok() {
			return status2(st)
		}
		b, st := r.Bytes(nil)
		s.data = string(b)
		if n, st := f.GetXAttr(nil, &head, "user.k", buf); st.Ok() {
			s.value = string(buf[:min(int(n), len(buf))])
		}
		return status2(st)
	}
	return nil
}

func status2(st fuse.Status) error {
	if st.Ok() {
		return nil
	}
	return syscall.Errno(st)
}

// write does what copies files up, and removes and renames them.
func (h *hostile) write(f *FS, r *rand.Rand, between func()) {
	for _, p := range slices.Sorted(maps.Keys(h.truth)) {
		if r.IntN(6) > 0 {
			continue
		}
		between()
		id, parent, base := uint64(rootID), uint64(rootID), ""
		for name := range strings.SplitSeq(p[1:], "/") {
			var e fuse.EntryOut
			parent, base = id, name
			if st := f.Lookup(nil, &fuse.InHeader{NodeId: id}, name, &e); !st.Ok() || e.NodeId == 0 {
				id = 0
				break
			}
			id = e.NodeId
		}
		if id == 0 {
			continue
		}
		head := fuse.InHeader{NodeId: id}
		var st fuse.Status
		var e fuse.EntryOut
		switch r.IntN(5) {
		case 0:
			in := fuse.SetAttrIn{}
			in.InHeader, in.Valid, in.Mode = head, fuse.FATTR_MODE, 0o600
			st = f.SetAttr(nil, &in, &fuse.AttrOut{})
		case 1:
			_, st = f.Write(nil, &fuse.WriteIn{InHeader: head, Offset: uint64(r.IntN(100)), Size: 5}, []byte("wrote"))
		case 2:
			st = f.Link(nil, &fuse.LinkIn{InHeader: fuse.InHeader{NodeId: parent}, Oldnodeid: id}, "linked", &e)
		case 3:
			st = f.Rename(nil, &fuse.RenameIn{InHeader: fuse.InHeader{NodeId: parent}, Newdir: rootID}, base, "renamed")
		case 4:
			st = f.Unlink(nil, &fuse.InHeader{NodeId: parent}, base)
		}
		if st.Ok() {
			h.copied++
		}
	}
}

// unharmed makes sure that nothing outside the upper and work directories was written.
func (h *hostile) unharmed(t *testing.T) {
	t.Helper()
	b, err := os.ReadFile(h.path("canary"))
	st, err2 := os.Lstat(h.path("canary"))
	if err = errors.Join(err, err2); err != nil || string(b) != "my own" || st.Mode() != 0o640 {
		t.Errorf("the file beside the store is now %q: %v, %v", b, st, err)
	}
	for dir, want := range map[string]string{"": "host", "host": "canary store upper work"} {
		var got []string
		es, err := os.ReadDir(filepath.Join(h.dir, dir))
		for _, e := range es {
			got = append(got, e.Name())
		}
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%q has %q: %v", dir, got, err)
		}
	}
}

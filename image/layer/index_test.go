package layer

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	tt "tiffin/internal/test/tartest"
)

func TestIndexKeepsTheTreeItWasEncodedFrom(t *testing.T) {
	tree := NewTree(NewDir(0o755))
	tree.FlatSize = 7
	dir := NewDir(0o700)
	a := tree.Add(&dir)
	tree.Put(0, "a", a)
	f := tree.Add(&Node{Mode: unix.S_IFREG | 0o644, Size: 3, Offset: 512, Xattrs: []Xattr{{"user.b", ""}, {"user.z", "1"}}})
	tree.Put(a, "x", f)
	tree.Put(0, "hard", f)
	tree.Put(0, "link", tree.Add(&Node{Mode: unix.S_IFLNK | 0o777, Target: "a/x", Size: 3}))
	b := tree.Encode()
	x, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if x.Len() != 4 || x.flatSize != 7 {
		t.Fatalf("len %d flat %d", x.Len(), x.flatSize)
	}
	h, ok := x.Lookup(0, "hard")
	if !ok || x.Inode(h).Nlink != 2 || x.Path(h) != "/hard" || len(x.Names(h)) != 2 {
		t.Errorf("hard link: %v %+v %v", ok, x.Inode(h), x.Names(h))
	}
	if as := x.Xattrs(h); len(as) != 2 || as[0].Name != "user.b" || as[1].Value != "1" {
		t.Errorf("xattrs %v", as)
	}
	l, _ := x.Lookup(0, "link")
	if x.Target(l) != "a/x" {
		t.Errorf("target %q", x.Target(l))
	}
	if string(x.Tree().Encode()) != string(b) {
		t.Error("encode(tree(index)) differs from the index")
	}
	for i := range b {
		c := append([]byte(nil), b...)
		c[i] ^= 0x40
		if y, err := Decode(c); err == nil && i >= headerSize {
			t.Errorf("flipped byte %d accepted: %d inodes", i, y.Len())
		}
	}
}

func TestStatSurvivesItsAttribute(t *testing.T) {
	for _, s := range []Stat{
		{0, 0, unix.S_IFREG | 0o4755, 0}, {1000, 5, unix.S_IFDIR | 0o1777, 0}, {1, 2, unix.S_IFLNK | 0o777, 0},
		{0, 6, unix.S_IFBLK | 0o660, mkdev(259, 70000)}, {0, 0, unix.S_IFCHR, 0}, {9, 9, unix.S_IFIFO | 0o600, 0},
	} {
		if got, err := ParseStat(s.String(), 0); err != nil || got != s {
			t.Errorf("%v: %q gives %v, %v", s, s.String(), got, err)
		}
	}
}

// TestOpenIndexRefusesLies: tables with the right checksum that would lead a copy-up out of its
// directory, or keep whoever checks them busy.
func TestOpenIndexRefusesLies(t *testing.T) {
	x, err := Scan(bytes.NewReader(tt.Of(t, tt.Dir("a"), tt.File("a/one", ""), tt.File("a/two", "", tt.Xattr("user.k", "v")), tt.Hardlink("a/xyz", "a/one"),
		tt.Dir("b"), tt.File("b/one", ""), tt.File("b/two", "", tt.Xattr("user.k", "v")), tt.Symlink("c", "one"))))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "index")
	if err := x.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	good, _ := os.ReadFile(path)
	open := func(b []byte) error {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := OpenIndex(path)
		return err
	}
	if err := open(good); err != nil {
		t.Fatal(err)
	}
	rename := func(name string) func(*Index) {
		return func(x *Index) {
			d := &x.dirents[x.inodes[1].first]
			copy(unsafe.Slice(unsafe.StringData(x.heap), len(x.heap))[d.name:], name)
			d.nameLen = uint32(len(name))
		}
	}
	for what, lie := range map[string]func(*Index){
		"a name with a slash":           rename("a/b"),
		"a name that leads up":          rename(".."),
		"a name that stays":             rename("."),
		"an empty name":                 rename(""),
		"a name with NUL":               rename("a\x00b"),
		"a name longer than NAME_MAX":   func(x *Index) { x.dirents[x.inodes[1].first].nameLen = nameMax + 1 },
		"a target longer than PATH_MAX": func(x *Index) { x.inodes[x.Len()-1].targetLen = pathMax + 1 },
		"directories that share names":  func(x *Index) { x.inodes[4].first = x.inodes[1].first },
		"a directory above itself":      func(x *Index) { x.inodes[4].parent = 5 },
		"files that share attributes":   func(x *Index) { x.inodes[6].xattr = x.inodes[3].xattr },
		"attributes by the thousand":    func(x *Index) { x.inodes[3].numXattr = 1 << 31 },
		"data before the start":         func(x *Index) { x.inodes[3].Offset = -512 },
	} {
		b := bytes.Clone(good)
		x, err := Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		lie(x)
		putCRC(b)
		if err := open(b); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for cut := 0; cut < len(good); cut += 7 {
		if err := open(good[:cut]); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut at %d: %v", cut, err)
		}
	}
}

// TestOpenIndexOpensRegularFilesOnly: nothing else can keep it waiting, or show another file.
func TestOpenIndexOpensRegularFilesOnly(t *testing.T) {
	dir := t.TempDir()
	err := errors.Join(NewTree(NewDir(0o755)).WriteFile(dir+"/index"),
		unix.Mkfifo(dir+"/fifo", 0o600), os.Symlink("index", dir+"/link"), os.Mkdir(dir+"/dir", 0o700))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenIndex(dir + "/index"); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"fifo", "link", "dir"} {
		if _, err := OpenIndex(filepath.Join(dir, name)); err == nil {
			t.Errorf("%s is opened", name)
		}
		if _, err := PeekFlatSize(filepath.Join(dir, name)); err == nil {
			t.Errorf("%s is looked into", name)
		}
	}
}

// TestIndexIsNotTheFile: what happens to the file after it has been opened changes nothing.
func TestIndexIsNotTheFile(t *testing.T) {
	for name, c := range map[string]struct {
		open func(string) (*Index, error)
		mode os.FileMode
	}{
		"opened": {OpenIndex, 0o600}, "mapped": {MapIndex, 0o600}, "mapped, open to all": {MapIndex, 0o666},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "index")
			tree := NewTree(NewDir(0o755))
			tree.Put(0, "name", tree.Add(&Node{Mode: unix.S_IFLNK | 0o777, Target: "target", Size: 6}))
			if err := errors.Join(tree.WriteFile(path), os.Chmod(path, c.mode)); err != nil {
				t.Fatal(err)
			}
			x, err := c.open(path)
			if err == nil {
				err = os.Truncate(path, 0)
			}
			if err != nil {
				t.Fatal(err)
			}
			if i, ok := x.Lookup(0, "name"); !ok || x.Target(i) != "target" {
				t.Errorf("%d %v", i, ok)
			}
		})
	}
}

// TestMappedIndexIsTheSame: a file of this user's alone is mapped.
func TestMappedIndexIsTheSame(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index")
	tree := NewTree(NewDir(0o755))
	tree.Put(0, "name", tree.Add(&Node{Mode: unix.S_IFLNK | 0o777, Target: "target", Size: 6}))
	if err := errors.Join(tree.WriteFile(path), os.Chmod(path, 0o600)); err != nil {
		t.Fatal(err)
	}
	x, err := MapIndex(path)
	if err != nil {
		t.Fatal(err)
	}
	if i, ok := x.Lookup(0, "name"); !ok || x.Target(i) != "target" {
		t.Errorf("%d %v", i, ok)
	}
	maps, _ := os.ReadFile("/proc/self/maps")
	if !strings.Contains(string(maps), path) {
		t.Error("it is not mapped")
	}
}

package layer

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestIndexKeepsTheTreeItWasEncodedFrom(t *testing.T) {
	root := NewDir(0o755)
	a := NewDir(0o700)
	root.Children["a"] = a
	f := &Node{Mode: unix.S_IFREG | 0o644, Size: 3, Offset: 512, Xattrs: []Xattr{{"user.z", "1"}, {"user.b", ""}}}
	a.Children["x"] = f
	root.Children["hard"] = f
	root.Children["link"] = &Node{Mode: unix.S_IFLNK | 0o777, Target: "a/x", Size: 3}
	b := (&Tree{Root: root, FlatSize: 7}).Encode()
	x, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if x.Len() != 4 || x.FlatSize() != 7 {
		t.Fatalf("len %d flat %d", x.Len(), x.FlatSize())
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
		{0, 6, unix.S_IFBLK | 0o660, Mkdev(259, 70000)}, {0, 0, unix.S_IFCHR, 0}, {9, 9, unix.S_IFIFO | 0o600, 0},
	} {
		if got, err := ParseStat(s.String(), 0); err != nil || got != s {
			t.Errorf("%v: %q gives %v, %v", s, s.String(), got, err)
		}
	}
}

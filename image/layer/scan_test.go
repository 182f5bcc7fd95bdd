package layer

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"golang.org/x/sys/unix"

	"tiffin/internal/test/must"
	tt "tiffin/internal/test/tartest"
)

// show writes a tree as a line per name, in order, with all that matters.
func show(t *Tree) []string { return showBelow(t, t.List(), 0, "/") }

func showBelow(t *Tree, list *Listing, i uint32, name string) []string {
	n, flags := t.Node(i), ""
	for i, f := range []string{"whiteout", "opaque", "implicit", "hardlink", "sparse"} {
		if n.Flags>>i&1 != 0 {
			flags += " " + f
		}
	}
	l := fmt.Sprintf("%s %o %d:%d size %d", name, n.Mode, n.UID, n.GID, n.Size)
	if n.Rdev != 0 {
		l += fmt.Sprintf(" dev %d,%d", Major(n.Rdev), Minor(n.Rdev))
	}
	if n.Mtime != 0 || n.Nsec != 0 {
		l += fmt.Sprintf(" @%d.%09d", n.Mtime, n.Nsec)
	}
	if n.Target != "" {
		l += " -> " + n.Target
	}
	for _, a := range n.Xattrs {
		l += fmt.Sprintf(" %s=%q", a.Name, a.Value)
	}
	lines := []string{l + flags}
	for c, i := range list.Of(i) {
		lines = append(lines, showBelow(t, list, i, path.Join(name, c))...)
	}
	return lines
}

// at is what the tree has at a path.
func at(t *Tree, path string) Node {
	i, err := t.Find(path)
	if err != nil {
		return Node{Target: err.Error()}
	}
	return t.Node(i)
}

func scan(t testing.TB, b []byte) *Tree {
	t.Helper()
	tree, err := Scan(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func checkTree(t *testing.T, want string, entries ...tt.Entry) *Tree {
	t.Helper()
	tree := scan(t, tt.Of(t, entries...))
	got := strings.Join(show(tree), "\n")
	want = strings.TrimSpace(strings.ReplaceAll(want, "\n\t\t", "\n"))
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	return tree
}

func TestScanKeepsWhatTheEntriesSay(t *testing.T) {
	long := strings.Repeat("d/", 80) + strings.Repeat("n", 200)
	checkTree(t, `
		/ 40700 1:2 size 0 @5.000000000
		/a 41777 0:0 size 0
		/a/f 104755 1000:3000000 size 5 @12.000000500 user.empty="" user.k="v=\n"
		/a/h 104755 1000:3000000 size 5 @12.000000500 user.empty="" user.k="v=\n"
		/blk 60600 0:0 size 0 dev 259,70000
		/l 120777 0:0 size 4 -> /a/f
		/null 20666 0:0 size 0 dev 1,3
		/old 100644 0:0 size 0 @-3.500000000
		/p 10644 0:0 size 0`,
		tt.Dir(".", tt.Mode(0o700), tt.Owner(1, 2), tt.Mtime(5, 0)),
		tt.Dir("/a", tt.Mode(0o1777)),
		tt.File("./a/f", "hello", tt.Mode(0o4755), tt.Owner(1000, 3_000_000), tt.Mtime(12, 500), tt.Xattr("user.k", "v=\n"), tt.Xattr("user.empty", "")),
		tt.Symlink("l", "/a/f"), tt.Hardlink("a/h", "/a/f"),
		tt.Char("null", 1, 3, tt.Mode(0o666)), tt.Block("blk", 259, 70000, tt.Mode(0o600)), tt.Fifo("p"),
		tt.File("old", "", tt.Mtime(-3, 500_000_000)),
		tt.Global("comment", "of git archive"))
	for _, opts := range [][]tt.Option{nil, {tt.GNU()}} {
		tree := scan(t, tt.Of(t, tt.File(long, "x", opts...), tt.Symlink("l", long, opts...)))
		if at(tree, "l").Target != long || len(show(tree)) != 83 {
			t.Errorf("long names: %q", show(tree))
		}
	}
}

func TestLibarchiveXattrsAreDecoded(t *testing.T) {
	checkTree(t, `
		/ 40755 0:0 size 0 implicit
		/f 100644 0:0 size 0 user.a b="one" user.c="exact"`,
		tt.File("f", "", tt.Pax("LIBARCHIVE.xattr.user.a%20b", "b25l"), tt.Pax("LIBARCHIVE.xattr.user.c", "b25l"), tt.Xattr("user.c", "exact")))
}

func TestDirectoriesWithoutEntryAreImplicit(t *testing.T) {
	checkTree(t, `
		/ 40755 0:0 size 0 implicit
		/a 40755 0:0 size 0 implicit
		/a/b 40700 0:0 size 0
		/a/b/c 100644 0:0 size 0
		/a/x 100644 0:0 size 0`,
		tt.File("a/b/c", ""), tt.Dir("a/b", tt.Mode(0o700)), tt.File("a/x", ""))
}

func TestTheLastEntryOfANameCounts(t *testing.T) {
	checkTree(t, `
		/ 40755 0:0 size 0 implicit
		/d 40700 0:0 size 0
		/d/kept 100644 0:0 size 1
		/f 100644 0:0 size 2
		/file-now 100644 0:0 size 0
		/h 100600 0:0 size 1
		/opaque-now 40755 0:0 size 0 opaque
		/opaque-now/x 100644 0:0 size 0`,
		tt.Dir("d"), tt.File("d/kept", "1"), tt.Dir("d", tt.Mode(0o700)),
		tt.File("f", "1", tt.Mode(0o600)), tt.Hardlink("h", "f"), tt.File("f", "22"),
		tt.Dir("file-now"), tt.File("file-now/gone", ""), tt.File("file-now", ""),
		tt.File("opaque-now", ""), tt.Dir("opaque-now"), tt.File("opaque-now/x", ""))
}

func TestWhiteoutsAreNamesAndDoNotHideTheirOwnLayer(t *testing.T) {
	want := `
		/ 40755 0:0 size 0 implicit
		/a 40755 0:0 size 0 implicit
		/a/gone 0 0:0 size 0 whiteout
		/b 40755 0:0 size 0 opaque implicit
		/b/new 100644 0:0 size 0
		/c 100644 0:0 size 0
		/d 40700 0:0 size 0 opaque
		/e 40755 0:0 size 0 opaque
		/e/new 100644 0:0 size 0`
	entries := []tt.Entry{tt.Whiteout("a/gone"), tt.Opaque("b"), tt.File("b/new", ""), tt.Whiteout("c"), tt.File("c", ""),
		tt.Whiteout("d"), tt.Dir("d", tt.Mode(0o700)), tt.Whiteout("e"), tt.File("e/new", "")}
	checkTree(t, want, entries...)
	slices.Reverse(entries) // the order in the archive does not matter
	checkTree(t, want, entries...)
	checkTree(t, "\n\t\t/ 40755 0:0 size 0 opaque implicit", tt.Opaque("/"), tt.File(".wh..wh.plnk/123", "aufs"), tt.File(".wh..wh.aufs", ""))
	name := strings.Repeat("n", 255)
	if tree := scan(t, tt.Of(t, tt.Whiteout(name))); len(show(tree)) != 2 {
		t.Error("whiteout of a name of 255 bytes got lost")
	}
}

func TestHardLinkToALowerFileIsMarked(t *testing.T) {
	tree := checkTree(t, `
		/ 40755 0:0 size 0 implicit
		/a 0 0:0 size 0 -> etc/below hardlink
		/b 0 0:0 size 0 -> etc/below hardlink
		/c 0 0:0 size 0 -> gone hardlink
		/etc 40755 0:0 size 0
		/gone 0 0:0 size 0 whiteout`,
		tt.Dir("etc"), tt.Hardlink("a", "etc/below"), tt.Hardlink("b", "a"), tt.Whiteout("gone"), tt.Hardlink("c", "gone"))
	a, _ := tree.Lookup(0, "a")
	if b, _ := tree.Lookup(0, "b"); a != b {
		t.Error("a link to a link is another file")
	}
}

// TestSymbolicLinksOfTheLayerAreFollowed: a layer that was made of a tree with /bin -> usr/bin has
// entries below bin, and tar(1), docker and podman put them into usr/bin.
func TestSymbolicLinksOfTheLayerAreFollowed(t *testing.T) {
	checkTree(t, `
		/ 40755 0:0 size 0 implicit
		/bin 120777 0:0 size 7 -> usr/bin
		/deep 40755 0:0 size 0 implicit
		/deep/root 120777 0:0 size 9 -> ../../../
		/hard 100644 0:0 size 1
		/hop 120777 0:0 size 3 -> bin
		/lower 0 0:0 size 0 -> opt/there hardlink
		/o 120777 0:0 size 4 -> /opt
		/opt 40755 0:0 size 0 implicit
		/opt/new 100644 0:0 size 0
		/usr 40755 0:0 size 0 implicit
		/usr/bin 40755 0:0 size 0
		/usr/bin/gone 0 0:0 size 0 whiteout
		/usr/bin/hopped 100644 0:0 size 0
		/usr/bin/tool 100644 0:0 size 1`,
		tt.Dir("usr/bin"), tt.Symlink("bin", "usr/bin"), tt.File("bin/tool", "T"), tt.Whiteout("bin/gone"), tt.Symlink("hop", "bin"),
		tt.Symlink("deep/root", "../../../"), tt.File("deep/root/hop/hopped", ""), tt.Hardlink("hard", "deep/root/bin/tool"),
		tt.Symlink("o", "/opt"), tt.Hardlink("lower", "o/there"), tt.File("o/new", ""))
	// It is the link of the moment that counts.
	checkTree(t, `
		/ 40755 0:0 size 0 implicit
		/a 40755 0:0 size 0 implicit
		/a/x 100644 0:0 size 0
		/b 40755 0:0 size 0 implicit
		/b/x 100644 0:0 size 0
		/l 120777 0:0 size 1 -> b`,
		tt.Symlink("l", "a"), tt.File("l/x", ""), tt.Symlink("l", "b"), tt.File("l/x", ""))
}

// TestNamesThatStayInsideAreCleaned as docker does it.
func TestNamesThatStayInsideAreCleaned(t *testing.T) {
	checkTree(t, `
		/ 40755 0:0 size 0 implicit
		/.hidden 100644 0:0 size 0
		/b 100644 0:0 size 0
		/h 100644 0:0 size 0`,
		tt.File("a/../b", ""), tt.File("./.hidden", ""), tt.Hardlink("//x/.././h", "./y/../b"))
}

// TestHardLinksIntoTheDirectoryOfAUFS lead to files that are seen under no other name.
func TestHardLinksIntoTheDirectoryOfAUFS(t *testing.T) {
	tree := checkTree(t, `
		/ 40755 0:0 size 0 implicit
		/a 100644 0:0 size 4
		/b 100644 0:0 size 4`,
		tt.Dir(".wh..wh.plnk"), tt.File(".wh..wh.plnk/123.45", "text"), tt.File(".wh..wh.plnk/9.9", "unused"),
		tt.Hardlink("a", ".wh..wh.plnk/123.45"), tt.Hardlink("b", ".wh..wh.plnk/123.45"))
	x, err := Decode(tree.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if i, _ := x.Find("a"); x.Len() != 2 || x.Inode(i).Nlink != 2 {
		t.Errorf("%d inodes, %d names", x.Len(), x.Inode(i).Nlink)
	}
}

func TestScanRefuses(t *testing.T) {
	sp := []tt.Piece{{Off: 0, Data: strings.Repeat("x", 512)}}
	deep := strings.Repeat("d/", 8300)
	for _, c := range []struct {
		what    string
		entries []tt.Entry
	}{
		{`"a/../../etc/passwd": the name "a/../../etc/passwd" contains ".."`, []tt.Entry{tt.File("a/../../etc/passwd", "")}},
		{`contains ".."`, []tt.Entry{tt.Dir("..")}},
		{`hard link to "../x": the name "../x" contains ".."`, []tt.Entry{tt.Hardlink("h", "../x")}},
		{`"l/x": it is below "l", which is no directory`, []tt.Entry{tt.File("l", ""), tt.File("l/x", "")}},
		{`below "f", which is no directory`, []tt.Entry{tt.File("f", ""), tt.Dir("f/x")}},
		{`hard link to "l/passwd", which is below "l", which is no directory`, []tt.Entry{tt.File("l", ""), tt.Hardlink("h", "l/passwd")}},
		{`"a/x": it is below "a", a symbolic link that leads through too many others`, []tt.Entry{tt.Symlink("a", "b"), tt.Symlink("b", "a"), tt.File("a/x", "")}},
		{`"l/m/x": it is below "m", a symbolic link that leads through too many others`, []tt.Entry{tt.Symlink("l", deep[:4000]), tt.Symlink("l/m", deep[:4000]), tt.File("l/m/x", "")}},
		{`hard link to ".wh..wh.plnk/1.2", which AUFS's directory does not have`, []tt.Entry{tt.Hardlink("h", ".wh..wh.plnk/1.2")}},
		{`hard link to "d", which is a directory`, []tt.Entry{tt.Dir("d"), tt.Hardlink("h", "d")}},
		{`hard link to "/", which is a directory`, []tt.Entry{tt.Hardlink("h", "/")}},
		{`the root of the layer is not a directory`, []tt.Entry{tt.Symlink("./", "/etc")}},
		{`has 16599 bytes, more than`, []tt.Entry{tt.Dir(deep)}},
		{`has 16599 bytes, more than`, []tt.Entry{tt.Hardlink("h", deep)}},
		{`has 256 bytes, more than a name`, []tt.Entry{tt.File(strings.Repeat("n", 256), "")}},
		{`has 256 bytes, more than a name`, []tt.Entry{tt.File(strings.Repeat("n", 256)+"/f", "")}},
		{`hides a name of 256 bytes`, []tt.Entry{tt.Whiteout(strings.Repeat("n", 256))}},
		{`it contains a NUL byte`, []tt.Entry{tt.File("f", "", tt.Pax("path", "a\x00b"))}},
		{`a whiteout that hides no name`, []tt.Entry{tt.File("a/.wh.", "")}},
		{`a whiteout that hides no name`, []tt.Entry{tt.File("a/.wh...", "")}},
		{`a whiteout has nothing in it`, []tt.Entry{tt.File("a/.wh.b/c", "")}},
		{`size is negative or too large`, []tt.Entry{tt.File("f", "", tt.GNU(), tt.Size(-1))}},
		{`size is negative or too large`, []tt.Entry{tt.File("f", "", tt.Pax("size", "-5"))}},
		{`size is negative or too large`, []tt.Entry{tt.File("f", "", tt.Pax("size", "9223372036854775807"))}},
		{`PAX record "size" is "99999999999999999999": not a decimal number`, []tt.Entry{tt.File("f", "", tt.Pax("size", "99999999999999999999"))}},
		{`PAX record "mtime" is "soon"`, []tt.Entry{tt.File("f", "", tt.Pax("mtime", "soon"))}},
		{`owner -1:0 is no pair`, []tt.Entry{tt.File("f", "", tt.Pax("uid", "-1"))}},
		{`owner 0:4294967295`, []tt.Entry{tt.File("f", "", tt.Pax("gid", "4294967295"))}},
		{`device number 4096,0`, []tt.Entry{tt.Char("c", 4096, 0)}},
		{`target of the symbolic link has 0 bytes`, []tt.Entry{tt.Symlink("l", "")}},
		{`target of the symbolic link has 5000 bytes`, []tt.Entry{tt.Symlink("l", strings.Repeat("t", 5000))}},
		{`extended attribute "user.big" of 65537 bytes`, []tt.Entry{tt.File("f", "", tt.Xattr("user.big", strings.Repeat("v", 65537)))}},
		{`extended header has 1048593 bytes`, []tt.Entry{tt.File("f", "", tt.Pax("comment", strings.Repeat("v", 1<<20)))}},
		{`entries of type 'D' are not supported`, []tt.Entry{tt.File("f", "", tt.Type('D'))}},
		{`checksum is wrong`, []tt.Entry{tt.Raw(bytes.Repeat([]byte{7}, 512))}},
		{`a block of zeros, then more entries`, []tt.Entry{tt.Raw(make([]byte, 512)), tt.File("f", "")}},
		{`truncated at byte`, []tt.Entry{tt.File("f", "abc", tt.Size(1<<30))}},
		{`ends after an extended header`, []tt.Entry{tt.Entry{Name: "x", Type: 'x'}}},
		{`PAX header is malformed at "99 path=x`, []tt.Entry{tt.Entry{Name: "x", Type: 'x', Data: "99 path=x\n", Size: 10}, tt.File("f", "")}},
		{`not fit its data`, []tt.Entry{tt.Sparse10("s", 1000, sp, tt.Size(512))}},
		{`beyond the file's end`, []tt.Entry{tt.Sparse01("s", 100, sp)}},
		{`beyond the file's end`, []tt.Entry{tt.SparseOld("s", 100, sp)}},
		{`out of order`, []tt.Entry{tt.Sparse00("s", 9000, append([]tt.Piece{{Off: 4096, Data: "y"}}, sp...))}},
		{`something that is no number`, []tt.Entry{tt.Sparse01("s", 9000, sp, tt.Pax("GNU.sparse.map", "0,x"))}},
		{`number of entries it says`, []tt.Entry{tt.Sparse01("s", 9000, sp, tt.Pax("GNU.sparse.numblocks", "9999999"))}},
		{`does not say its size`, []tt.Entry{tt.Sparse10("s", 9000, sp, tt.Pax("GNU.sparse.realsize", "-1"))}},
		{`offset and numbytes must take turns`, []tt.Entry{tt.File("s", "", tt.Pax("GNU.sparse.numbytes", "1"))}},
	} {
		_, err := Scan(bytes.NewReader(tt.Of(t, c.entries...)))
		if err == nil || !strings.Contains(err.Error(), c.what) {
			t.Errorf("want an error with %q, got %v", c.what, err)
		}
	}
}

func TestEveryTruncationIsAnErrorOrAnEnd(t *testing.T) {
	b := tt.Of(t, tt.File("a", "hello", tt.Xattr("user.a", "b")), tt.Sparse10("s", 5000, []tt.Piece{{Off: 1024, Data: "x"}}))
	for n := range len(b) {
		tree, err := Scan(bytes.NewReader(b[:n]))
		whole := n%512 == 0 && (n == 0 || n == 2048 || n >= len(b)-1024)
		if whole != (err == nil) {
			t.Errorf("%d of %d bytes: %v", n, len(b), err)
		}
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !strings.Contains(err.Error(), "ends after") {
			t.Errorf("%d bytes: %v", n, err)
		}
		if err == nil && tree.FlatSize != int64(n) {
			t.Errorf("%d bytes, FlatSize %d", n, tree.FlatSize)
		}
	}
}

func TestScanReadsToTheEndWhateverFollows(t *testing.T) {
	b := append(tt.Of(t, tt.File("a", "")), bytes.Repeat([]byte("garbage"), 100_000)...)
	for _, r := range []io.Reader{bytes.NewReader(b), iotest.OneByteReader(bytes.NewReader(b)), bufio.NewReader(bytes.NewReader(b))} {
		tree, err := Scan(r)
		if err != nil || tree.FlatSize != int64(len(b)) || len(show(tree)) != 2 {
			t.Errorf("%T: %+v %v", r, tree, err)
		}
	}
	boom := errors.New("boom")
	for _, n := range []int{100, 512, 2000} {
		if _, err := Scan(io.MultiReader(bytes.NewReader(b[:n]), iotest.ErrReader(boom))); !errors.Is(err, boom) {
			t.Errorf("reader's own error after %d bytes: %v", n, err)
		}
	}
}

func TestALongPathCanBeDeleted(t *testing.T) {
	dir := strings.Repeat("d/", 8190)
	if tree := scan(t, tt.Of(t, tt.File(dir+"abc", ""), tt.Whiteout(dir+"xyz"), tt.Opaque(dir+"dir"))); tree.Len() != 8190+4 {
		t.Errorf("%d inodes", tree.Len())
	}
	if _, err := Scan(bytes.NewReader(tt.Of(t, tt.Whiteout(dir+"wxyz1")))); err == nil {
		t.Error("a path of 16385 bytes was accepted")
	}
}

func TestNamesDoNotKeepTheirHeadersInMemory(t *testing.T) {
	const entries = 200
	comment := strings.Repeat("c", 1_000_000)
	var parts []io.Reader
	for i := range entries {
		var b bytes.Buffer
		if err := tt.Write(&b, tt.File("f", "", tt.Pax("path", fmt.Sprintf("d%d/f", i)), tt.Xattr("user.k", "v"), tt.Pax("comment", comment))); err != nil {
			t.Fatal(err)
		}
		parts = append(parts, &b)
	}
	tree, err := Scan(io.MultiReader(parts...))
	parts = nil
	if err != nil || tree.Len() != 2*entries+1 {
		t.Fatal(err)
	}
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	if m.HeapAlloc > 100e6 {
		t.Errorf("%d MB in use for %d names", m.HeapAlloc/1e6, entries)
	}
	runtime.KeepAlive(tree)
}

func TestTooManyFilesAreRefused(t *testing.T) {
	entries := make([]tt.Entry, 0, 600)
	for i := range 600 { // each implies 2000 directories
		entries = append(entries, tt.File(fmt.Sprintf("%03d", i)+strings.Repeat("/d", 2000)+"/f", ""))
	}
	_, err := Scan(bytes.NewReader(tt.Of(t, entries...)))
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("more than %d files", maxInodes)) {
		t.Error(err)
	}
}

// sameAsArchiveTar compares what Scan says about a tarball with archive/tar:
// the bytes of every regular file whose name occurs once.
func sameAsArchiveTar(t *testing.T, b []byte, tree *Tree) {
	t.Helper()
	x, err := Decode(tree.Encode())
	if err != nil {
		t.Fatalf("what Scan accepted does not decode: %v", err)
	}
	last := map[string]string{}
	r := tar.NewReader(bytes.NewReader(b))
	for {
		h, err := r.Next()
		if err != nil {
			break // archive/tar refuses some things that Scan ignores
		}
		if h.Typeflag == tar.TypeSymlink {
			return // two names may be one path
		}
		name := path.Clean("/" + h.Name)
		delete(last, name)
		if h.Typeflag == tar.TypeReg && h.Size < 1<<20 {
			if data, err := io.ReadAll(r); err == nil {
				last[name] = string(data)
			}
		}
	}
	for name, want := range last {
		i, ok := x.Find(name)
		if !ok || x.Inode(i).Mode&unix.S_IFMT != unix.S_IFREG || x.Inode(i).Flags&HardLink != 0 {
			continue
		}
		got, err := io.ReadAll(x.Reader(i, []io.ReaderAt{bytes.NewReader(b)}))
		if err != nil || string(got) != want {
			t.Errorf("%s: %d bytes (%v), archive/tar reads %d", name, len(got), err, len(want))
		}
	}
}

func TestFilesReadAsArchiveTarReadsThem(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		var pieces []tt.Piece
		at := int64(0)
		for range rng.IntN(50) {
			at += 512 * rng.Int64N(3)
			data := strings.Repeat(string(rune('a'+rng.IntN(26))), 512*(1+rng.IntN(3)))
			pieces = append(pieces, tt.Piece{Off: at, Data: data})
			at += int64(len(data))
		}
		size := at + rng.Int64N(3000)
		b := tt.Of(t, tt.SparseOld("old", size, pieces), tt.Sparse00("00", size, pieces), tt.Sparse01("d/01", size, pieces),
			tt.Sparse10("d/10", size, pieces), tt.File("plain", tt.Content(size, pieces)))
		tree := scan(t, b)
		if tree.Len() != 7 {
			t.Fatalf("round %d: %q", round, show(tree))
		}
		sameAsArchiveTar(t, b, tree)
		x, _ := Decode(tree.Encode())
		for _, name := range []string{"old", "00", "d/01", "d/10", "plain"} {
			i, _ := x.Find(name)
			if got, err := io.ReadAll(x.Reader(i, []io.ReaderAt{bytes.NewReader(b)})); err != nil || string(got) != tt.Content(size, pieces) {
				t.Fatalf("round %d: %s reads %d bytes of %d: %v", round, name, len(got), size, err)
			}
		}
	}
}

func TestTarballsOfOtherProgramsScan(t *testing.T) {
	dir := t.TempDir()
	long := strings.Repeat("x", 150)
	os.Mkdir(dir+"/"+long, 0o755)
	os.WriteFile(dir+"/"+long+"/"+long, []byte("deep"), 0o600)
	os.Symlink(long, dir+"/link")
	os.Link(dir+"/"+long+"/"+long, dir+"/hard")
	unix.Mkfifo(dir+"/fifo", 0o644)
	f, err := os.Create(dir + "/holes")
	if err != nil {
		t.Fatal(err)
	}
	f.WriteAt([]byte("data"), 1<<20)
	f.Truncate(3 << 20)
	f.Close()
	for _, args := range [][]string{{"tar", "--format=v7"}, {"tar", "--format=ustar"}, {"tar", "--format=gnu", "-S"}, {"tar", "--format=posix", "-S", "--sparse-version=0.0"},
		{"tar", "--format=posix", "-S", "--sparse-version=0.1"}, {"tar", "--format=posix", "-S"}, {"bsdtar"}} {
		prog, err := exec.LookPath(args[0])
		if err != nil && must.Have("") {
			t.Errorf("TIFFIN_MUST is set, but %s is not installed: .ci/run installs it", args[0])
		}
		if err != nil {
			t.Logf("%s is not installed: not compared", args[0])
			continue
		}
		b, err := exec.Command(prog, append(args[1:], "-C", dir, "-cf", "-", ".")...).Output()
		if err != nil && len(b) == 0 {
			t.Fatalf("%q: %v", args, err)
		}
		tree := scan(t, b)
		sameAsArchiveTar(t, b, tree)
		if args[0] == "tar" && (args[1] == "--format=v7" || args[1] == "--format=ustar") {
			continue // have no names that long
		}
		hard, err1 := tree.Find("hard")
		deep, err2 := tree.Find(long + "/" + long)
		if err1 != nil || err2 != nil || hard != deep || at(tree, "link").Target != long ||
			at(tree, "fifo").Mode&unix.S_IFMT != unix.S_IFIFO || at(tree, "holes").Size != 3<<20 {
			t.Errorf("%q:\n%s", args, strings.Join(show(tree), "\n"))
		}
	}
}

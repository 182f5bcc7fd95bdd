package layer_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tiffin/image/layer"
	"tiffin/image/union"
	tt "tiffin/internal/test/tartest"
)

// image is the merged index of a stack of tarballs.
func image(t testing.TB, tars ...[]byte) (*layer.Index, []io.ReaderAt) {
	t.Helper()
	var merged *layer.Tree
	var flats []io.ReaderAt
	for n, b := range tars {
		tree, err := layer.Scan(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if merged, err = union.Merge(merged, tree, uint16(n)); err != nil {
			t.Fatal(err)
		}
		flats = append(flats, bytes.NewReader(b))
	}
	x, err := layer.Decode(merged.Encode())
	if err != nil {
		t.Fatal(err)
	}
	return x, flats
}

// real is a file in an upper directory, as the server leaves it there.
type real struct {
	path, data string
	dir        bool
	link       string // hard link to that path
	mode       os.FileMode
	size       int64
	sec, nsec  int64
	attrs      map[string]string
}

// upper makes an upper directory.
func upper(t testing.TB, files ...real) string {
	t.Helper()
	root := t.TempDir()
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	for _, f := range files {
		p := filepath.Join(root, f.path)
		mode := f.mode
		switch {
		case f.link != "":
			must(os.Link(filepath.Join(root, f.link), p))
			continue
		case f.dir:
			if f.path != "." {
				must(os.Mkdir(p, 0o755))
			}
			mode |= 0o700
		default:
			must(os.WriteFile(p, []byte(f.data), 0o644))
			mode |= 0o600
		}
		if f.mode != 0 {
			must(os.Chmod(p, mode))
		}
		if f.size > 0 {
			must(os.Truncate(p, f.size))
		}
		for k, v := range f.attrs {
			must(unix.Lsetxattr(p, k, []byte(v), 0))
		}
	}
	for _, f := range slices.Backward(files) { // children before their parents
		if f.link == "" {
			ts := []unix.Timespec{{Sec: f.sec, Nsec: f.nsec}, {Sec: f.sec, Nsec: f.nsec}}
			must(unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(root, f.path), ts, 0))
		}
	}
	return root
}

func override(s string) map[string]string { return map[string]string{layer.XattrOverride: s} }

func origin(x *layer.Index, path string, more ...string) map[string]string {
	i, ok := x.Find(path)
	if !ok {
		panic("no " + path + " in the image")
	}
	m := map[string]string{layer.XattrOrigin: fmt.Sprint(i)}
	for k := 0; k < len(more); k += 2 {
		m[more[k]] = more[k+1]
	}
	return m
}

// checkDiff compares the layer written for u with want, and what Changes says.
func checkDiff(t *testing.T, u *layer.Upper, want, changes string) []byte {
	t.Helper()
	var b, again bytes.Buffer
	if err := layer.WriteDiff(&b, u); err != nil {
		t.Fatal(err)
	}
	if err := layer.WriteDiff(&again, u); err != nil || !bytes.Equal(b.Bytes(), again.Bytes()) {
		t.Errorf("the same changes give other bytes the second time (%v)", err)
	}
	trim := func(s string) string { return strings.TrimSpace(strings.ReplaceAll(s, "\n\t\t", "\n")) }
	if got := strings.Join(tt.List(t, b.Bytes()), "\n"); got != trim(want) {
		t.Errorf("layer:\n%s\nwant:\n%s", got, trim(want))
	}
	cs, err := layer.Changes(u)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range cs {
		got = append(got, string(c.Kind)+" "+c.Path)
	}
	if strings.Join(got, "\n") != trim(changes) {
		t.Errorf("changes:\n%s\nwant:\n%s", strings.Join(got, "\n"), trim(changes))
	}
	return b.Bytes()
}

func TestAddedFilesKeepEverything(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "")
	dir := upper(t,
		real{path: "a", dir: true, attrs: override("5:6:01777:dir"), sec: 7},
		real{path: "a/f", data: "hello", attrs: map[string]string{layer.XattrOverride: "1000:3000000:04755:file", "user.k": "v",
			"user.tiffin.xattr.security.capability": "\x01\x00\x02", "user.tiffin.xattr.user.tiffin.origin": "not mine", "user.empty": ""}, sec: 12, nsec: 500},
		real{path: "a/hard", link: "a/f"},
		real{path: "by-hand", data: "x", mode: 0o640, sec: -5},
		real{path: "fifo", attrs: override("0:0:0600:pipe")},
		real{path: "link", data: "a/f", attrs: override("0:0:0777:symlink")},
		real{path: "null", attrs: override("0:0:0666:char-1-3")},
		real{path: "sda", attrs: override("0:6:0660:block-259-70000")},
		real{path: "sock", attrs: override("0:0:0755:socket")},
		real{path: strings.Repeat("long", 50), data: "y"})
	if err := os.Symlink("/etc/passwd", dir+"/real-link"); err != nil {
		t.Fatal(err)
	}
	ts := []unix.Timespec{{}, {}}
	unix.UtimesNanoAt(unix.AT_FDCWD, dir+"/real-link", ts, unix.AT_SYMLINK_NOFOLLOW)
	checkDiff(t, &layer.Upper{Dir: dir}, `
		drwxrwxrwt 5:6 0 a/ @7
		-rwsr-xr-x 1000:3000000 5 a/f security.capability="\x01\x00\x02" user.empty="" user.k="v" user.tiffin.origin="not mine" = "hello" @12.000000500
		hrwsr-xr-x 1000:3000000 0 a/hard -> a/f @12.000000500
		-rw-r----- 0:0 1 by-hand = "x" @-5
		prw------- 0:0 0 fifo
		lrwxrwxrwx 0:0 0 link -> a/f
		-rw-r--r-- 0:0 1 `+strings.Repeat("long", 50)+` = "y"
		crw-rw-rw- 0:0 1,3 null
		lrwxrwxrwx 0:0 0 real-link -> /etc/passwd
		brw-rw---- 0:6 259,70000 sda`, `
		A /a
		A /a/f
		A /a/hard
		A /by-hand
		A /fifo
		A /link
		A /`+strings.Repeat("long", 50)+`
		A /null
		A /real-link
		A /sda
		A /sock`)
}

func TestDeletionsAndReplacements(t *testing.T) {
	name250 := strings.Repeat("n", 253)
	x, flats := image(t, tt.Of(t, tt.Dir("d", tt.Mode(0o750)), tt.File("d/a", "A"), tt.File("d/b", "B"), tt.File("d/"+name250, ""),
		tt.Dir("gone"), tt.File("gone/x", ""), tt.Dir("opq"), tt.File("opq/old", ""), tt.File("opq/same", ""), tt.File("opq/sub/y", ""), tt.File("opq/sub/z", ""),
		tt.File("tofile", ""), tt.Dir("todir"), tt.File("s", "")))
	whiteout, content := layer.WhiteoutFile(name250)
	dir := upper(t,
		real{path: "d", dir: true, mode: 0o750, attrs: origin(x, "d")},
		real{path: "d/.wh.a"}, real{path: "d/.wh.b"}, real{path: "d/b", data: "new"}, real{path: "d/" + whiteout, data: content},
		real{path: "d/.wh.never-was"},
		real{path: ".wh.gone"},
		real{path: "opq", dir: true}, real{path: "opq/same", data: "2"}, real{path: "opq/.wh.old"}, real{path: "opq/sub", dir: true, attrs: origin(x, "opq/sub")}, real{path: "opq/sub/.wh.y"},
		real{path: "tofile", dir: true}, real{path: "todir", data: "f"},
		real{path: "s", attrs: override("0:0:0755:socket")})
	b := checkDiff(t, &layer.Upper{Dir: dir, Lower: x, Flats: flats}, `
		drwxr-x--- 0:0 0 d/
		-rw------- 0:0 0 d/.wh.a
		-rw-r--r-- 0:0 3 d/b = "new"
		-rw------- 0:0 0 d/.wh.`+name250+`
		-rw------- 0:0 0 .wh.gone
		drwxr-xr-x 0:0 0 opq/
		-rw------- 0:0 0 opq/.wh..wh..opq
		-rw-r--r-- 0:0 1 opq/same = "2"
		drwxr-xr-x 0:0 0 opq/sub/
		-rw-r--r-- 0:0 0 opq/sub/z
		-rw------- 0:0 0 .wh.s
		-rw-r--r-- 0:0 1 todir = "f"
		drwxr-xr-x 0:0 0 tofile/`, `
		C /d
		D /d/a
		C /d/b
		D /d/`+name250+`
		D /gone
		C /opq
		D /opq/old
		C /opq/same
		C /opq/sub
		D /opq/sub/y
		C /opq/sub/z
		C /s
		C /todir
		C /tofile`)
	if _, err := layer.Scan(bytes.NewReader(b)); err != nil {
		t.Error(err)
	}
}

func TestAMetacopyTakesItsDataFromTheImage(t *testing.T) {
	pieces := []tt.Piece{{Off: 4096, Data: "piece"}}
	x, flats := image(t, tt.Of(t, tt.File("other", "unused")), tt.Of(t, tt.File("f", "lower data"), tt.Sparse10("s", 10000, pieces)))
	dir := upper(t,
		real{path: "f", size: 10, attrs: origin(x, "f", layer.XattrMetacopy, "", layer.XattrOverride, "1:2:0600:file")},
		real{path: "s", size: 10000, attrs: origin(x, "s", layer.XattrMetacopy, "")})
	b := checkDiff(t, &layer.Upper{Dir: dir, Lower: x, Flats: flats}, `
		-rw------- 1:2 10 f = "lower data"
		-rw-r--r-- 0:0 10000 s`, `
		C /f
		C /s`)
	if !bytes.Contains(b, []byte(tt.Content(10000, pieces))) {
		t.Error("the sparse file's bytes are not in the layer")
	}
}

// What was appended to a file of the image comes after the image's bytes; a
// real file that is shorter was being truncated and has its own.
func TestAMetacopyWithATailHasTheImagesDataFirst(t *testing.T) {
	x, flats := image(t, tt.Of(t, tt.File("f", "1234"), tt.File("same", "1234"), tt.File("short", "1234")))
	head := func(name string) map[string]string { return origin(x, name, layer.XattrMetacopy, layer.MetacopyHead) }
	dir := upper(t, real{path: "f", data: "\x00\x00\x00\x0056", attrs: head("f")},
		real{path: "same", size: 4, attrs: head("same")}, real{path: "short", data: "ab", attrs: head("short")})
	checkDiff(t, &layer.Upper{Dir: dir, Lower: x, Flats: flats}, `
		-rw-r--r-- 0:0 6 f = "123456"
		-rw-r--r-- 0:0 4 same = "1234"
		-rw-r--r-- 0:0 2 short = "ab"`, `
		C /f
		C /same
		C /short`)
}

func TestARenamedDirectoryIsWrittenWhole(t *testing.T) {
	x, flats := image(t, tt.Of(t, tt.Dir("old", tt.Mode(0o700)), tt.File("old/a", "A"), tt.File("old/b", "B"), tt.File("old/c", "C"),
		tt.Dir("old/sub"), tt.File("old/sub/deep", "deep"), tt.Symlink("old/sub/l", "deep"), tt.Dir("taken"), tt.File("taken/x", "")))
	dir := upper(t,
		real{path: ".wh.old"},
		real{path: "new", dir: true, mode: 0o700, attrs: origin(x, "old")},
		real{path: "new/.wh.a"}, real{path: "new/b", data: "changed"},
		real{path: "taken", dir: true, attrs: origin(x, "old/sub")}, real{path: "new/.wh.sub"})
	checkDiff(t, &layer.Upper{Dir: dir, Lower: x, Flats: flats}, `
		drwx------ 0:0 0 new/
		-rw-r--r-- 0:0 7 new/b = "changed"
		-rw-r--r-- 0:0 1 new/c = "C"
		-rw------- 0:0 0 .wh.old
		drwxr-xr-x 0:0 0 taken/
		-rw------- 0:0 0 taken/.wh..wh..opq
		-rw-r--r-- 0:0 4 taken/deep = "deep"
		lrwxrwxrwx 0:0 0 taken/l -> deep`, `
		A /new
		A /new/b
		A /new/c
		D /old
		C /taken
		A /taken/deep
		A /taken/l
		D /taken/x`)
}

func TestHardLinksOfTheImageStayTogether(t *testing.T) {
	x, flats := image(t, tt.Of(t, tt.Dir("d", tt.Mode(0o711), tt.Mtime(3, 0)), tt.File("d/a", "data"), tt.Hardlink("b", "d/a"), tt.Hardlink("c", "d/a"), tt.Hardlink("e", "d/a"), tt.Dir("moved"), tt.Hardlink("moved/m", "d/a")))
	// The copy-up of b was interrupted before d/a got its link, c is deleted,
	// e is another file now, and moved has another name.
	dir := upper(t,
		real{path: "b", size: 4, attrs: origin(x, "b", layer.XattrMetacopy, "", layer.XattrOverride, "0:0:0600:file")},
		real{path: ".wh.c"}, real{path: "e", data: "other"}, real{path: ".wh.moved"}, real{path: "there", dir: true, attrs: origin(x, "moved")})
	checkDiff(t, &layer.Upper{Dir: dir, Lower: x, Flats: flats}, `
		-rw------- 0:0 4 b = "data"
		-rw------- 0:0 0 .wh.c
		drwx--x--x 0:0 0 d/ @3
		hrw------- 0:0 0 d/a -> b
		-rw-r--r-- 0:0 5 e = "other"
		-rw------- 0:0 0 .wh.moved
		drwxr-xr-x 0:0 0 there/
		hrw------- 0:0 0 there/m -> b`, `
		C /b
		D /c
		C /d
		C /d/a
		C /e
		D /moved
		A /there
		A /there/m`)
}

func TestTheRootIsWrittenOnlyWhenItsAttributesChange(t *testing.T) {
	x, flats := image(t, tt.Of(t, tt.Dir(".", tt.Mode(0o700))))
	checkDiff(t, &layer.Upper{Dir: upper(t, real{path: ".", dir: true, mode: 0o700}, real{path: "f"}), Lower: x, Flats: flats}, `
		-rw-r--r-- 0:0 0 f`, "A /f")
	checkDiff(t, &layer.Upper{Dir: upper(t, real{path: ".", dir: true, mode: 0o711}), Lower: x, Flats: flats}, `
		drwx--x--x 0:0 0 ./`, "")
}

func TestSourceDateEpochIsTheLatestTime(t *testing.T) {
	dir := upper(t, real{path: "early", sec: 99, nsec: 5}, real{path: "late", sec: 101, nsec: 7})
	t.Setenv("SOURCE_DATE_EPOCH", "100")
	checkDiff(t, &layer.Upper{Dir: dir}, `
		-rw-r--r-- 0:0 0 early @99.000000005
		-rw-r--r-- 0:0 0 late @100`, "A /early\n\t\tA /late")
	t.Setenv("SOURCE_DATE_EPOCH", "yesterday")
	if err := layer.WriteDiff(io.Discard, &layer.Upper{Dir: dir}); err == nil || !strings.Contains(err.Error(), "SOURCE_DATE_EPOCH") {
		t.Error(err)
	}
}

// A server that is killed while it copies data leaves a metacopy of any size.
func TestMetacopyHasTheDataOfItsOriginWhateverItsRealSize(t *testing.T) {
	x, flats := image(t, tt.Of(t, tt.File("f", "1234")))
	for _, size := range []int64{0, 2, 5} {
		var b bytes.Buffer
		u := upper(t, real{path: "f", size: size, attrs: origin(x, "f", layer.XattrMetacopy, "")})
		if err := layer.WriteDiff(&b, &layer.Upper{Dir: u, Lower: x, Flats: flats}); err != nil {
			t.Fatal(err)
		}
		r := tar.NewReader(&b)
		for {
			h, err := r.Next()
			if err != nil {
				t.Fatalf("real size %d: no f in the layer: %v", size, err)
			}
			if h.Name != "f" {
				continue
			}
			if got, err := io.ReadAll(r); string(got) != "1234" || err != nil {
				t.Errorf("real size %d: data is %q, %v", size, got, err)
			}
			break
		}
	}
}

func TestDamagedUppersAreNamed(t *testing.T) {
	x, flats := image(t, tt.Of(t, tt.Dir("d"), tt.File("f", "1234")))
	for _, c := range []struct {
		file real
		want string
	}{
		{real{path: "f", attrs: map[string]string{layer.XattrOrigin: "99"}}, `"f": attribute user.tiffin.origin is "99", which the image does not have`},
		{real{path: "f", attrs: origin(x, "d")}, `which the image does not have`},
		{real{path: "f", attrs: map[string]string{layer.XattrMetacopy: ""}}, `"f" has its data in the image, but`},
		{real{path: "f", attrs: override("root:0:0644")}, `"f": attribute user.containers.override_stat`},
		{real{path: "f", attrs: override("0:0:0644:dir")}, `does not fit the file`},
		{real{path: "f", attrs: map[string]string{"user.a=b": ""}}, `has a "="`},
	} {
		err := layer.WriteDiff(io.Discard, &layer.Upper{Dir: upper(t, c.file), Lower: x, Flats: flats})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("want %q, got %v", c.want, err)
		}
	}
	if err := layer.WriteDiff(io.Discard, &layer.Upper{Dir: t.TempDir() + "/missing"}); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Error(err)
	}
}

// TestCommitDoesNotWalkTheImage gives a lower of 20,000 files whose flat.tar
// fails when read, and checks that what is allocated does not grow with it.
func TestCommitDoesNotWalkTheImage(t *testing.T) {
	var small, large []tt.Entry
	for d := range 200 {
		for f := range 100 {
			e := tt.File(fmt.Sprintf("d%03d/f%02d", d, f), "x")
			if d < 2 {
				small = append(small, e)
			}
			large = append(large, e)
		}
	}
	cost := func(entries []tt.Entry) float64 {
		x, _ := image(t, tt.Of(t, entries...))
		u := &layer.Upper{Dir: upper(t, real{path: "d000", dir: true, attrs: origin(x, "d000")}, real{path: "d000/new", data: "1"}, real{path: "d000/.wh.f01"}), Lower: x}
		return testing.AllocsPerRun(5, func() {
			if err := layer.WriteDiff(io.Discard, u); err != nil { // u has no Flats: a read would fail
				t.Fatal(err)
			}
		})
	}
	if a, b := cost(small), cost(large); b > a*1.2 {
		t.Errorf("%.0f allocations over 200 files, %.0f over 20,000", a, b)
	}
}

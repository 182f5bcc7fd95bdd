package treecopy

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/internal/test/tartest"
)

// room is a directory "in" with a secret beside it.
func room(t testing.TB) (in string, untouched func()) {
	t.Helper()
	top := t.TempDir()
	in = filepath.Join(top, "in")
	t.Cleanup(func() { // before that of TempDir, which directories without permissions would stop
		filepath.WalkDir(top, func(path string, d os.DirEntry, err error) error {
			if d != nil && d.IsDir() {
				os.Chmod(path, 0o700)
			}
			return nil
		})
	})
	if err := errors.Join(os.Mkdir(in, 0o755), os.WriteFile(filepath.Join(top, "secret"), []byte("secret"), 0o644)); err != nil {
		t.Fatal(err)
	}
	return in, func() {
		t.Helper()
		ents, err := os.ReadDir(top)
		b, err2 := os.ReadFile(filepath.Join(top, "secret"))
		st, err3 := os.Stat(filepath.Join(top, "secret"))
		if err := errors.Join(err, err2, err3); err != nil || len(ents) != 2 || string(b) != "secret" || st.Mode() != 0o644 {
			t.Errorf("what is outside was touched: %v, %d entries, %q, %v", err, len(ents), b, st.Mode())
		}
	}
}

// TestNothingIsUnpackedOutside: whatever names and links a tarball has, it stays in the directory
// it is unpacked to.
func TestNothingIsUnpackedOutside(t *testing.T) {
	for name, entries := range map[string][]tartest.Entry{
		"a name with ..":              {tartest.File("../secret", "x"), tartest.File("a/../../secret", "x")},
		"an absolute name":            {tartest.File("/secret", "x")},
		"a link to a directory":       {tartest.Symlink("out", ".."), tartest.File("out/secret", "x")},
		"a link to a file":            {tartest.Symlink("out", "../secret"), tartest.File("out", "x")},
		"an absolute link":            {tartest.Symlink("out", "OUTSIDE"), tartest.File("out/secret", "x")},
		"a link in place of the top":  {tartest.Symlink(".", ".."), tartest.File("./secret", "x")},
		"a hard link by ..":           {tartest.Hardlink("out", "../secret"), tartest.File("out", "x")},
		"a hard link through a link":  {tartest.Symlink("up", ".."), tartest.Hardlink("out", "up/secret"), tartest.File("out", "x")},
		"a directory through a link":  {tartest.Symlink("up", ".."), tartest.Dir("up", tartest.Mode(0o700)), tartest.Dir("up/new")},
		"a fifo through a link":       {tartest.Symlink("up", ".."), tartest.Fifo("up/new")},
		"a link made a directory of":  {tartest.Dir("d"), tartest.Symlink("d/up", "../.."), tartest.Dir("d/up"), tartest.File("d/up/secret", "x")},
		"a mode through a late link":  {tartest.Dir("d", tartest.Mode(0)), tartest.Symlink("d", "../secret")},
		"a set-user-ID through links": {tartest.Symlink("l", "../secret"), tartest.Hardlink("m", "l"), tartest.File("m", "x", tartest.Mode(0o4777))},
	} {
		t.Run(name, func(t *testing.T) {
			for _, tree := range []string{"host", "container"} {
				in, untouched := room(t)
				h, dir := Host(), in
				if tree == "container" {
					fd, err := unix.Open(in, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
					if err != nil {
						t.Fatal(err)
					}
					defer unix.Close(fd)
					h, dir = Rooted(fd), "/"
				}
				made := slices.Clone(entries)
				for i := range made {
					made[i].Link = strings.Replace(made[i].Link, "OUTSIDE", filepath.Dir(in), 1)
				}
				_, err := h.Unpack(bytes.NewReader(tartest.Of(t, made...)), dir, "", false)
				t.Logf("%s: %v", tree, err)
				untouched()
			}
		})
	}
}

// TestNamesStayBelowTheTop: what is unpacked under a name has that name, also if it says "..".
func TestNamesStayBelowTheTop(t *testing.T) {
	in, untouched := room(t)
	b := tartest.Of(t, tartest.Dir("."), tartest.File("../beside", "x"), tartest.Hardlink("link", "../../beside"))
	if _, err := Host().Unpack(bytes.NewReader(b), in, "top", false); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"beside", "link"} {
		if _, err := os.Stat(filepath.Join(in, "top", name)); err != nil {
			t.Error(err)
		}
	}
	if ents, _ := os.ReadDir(in); len(ents) != 1 {
		t.Errorf("%s are beside the top", ents)
	}
	untouched()
}

func TestPathsOfAContainerStayInside(t *testing.T) {
	in, untouched := room(t)
	if err := errors.Join(os.Symlink("../../secret", filepath.Join(in, "relative")), os.Symlink("/secret", filepath.Join(in, "absolute")),
		os.Symlink("..", filepath.Join(in, "up")), os.WriteFile(filepath.Join(in, "secret"), []byte("mine"), 0o644)); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(in, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for _, p := range []string{"/relative", "/absolute", "/up/secret", "/../secret", "secret"} {
		var b bytes.Buffer
		if err := Rooted(fd).Pack(&b, p, "x", true); err != nil || !strings.Contains(b.String(), "mine") {
			t.Errorf("%s: %v", p, err)
		}
	}
	if _, err := Rooted(fd).Unpack(bytes.NewReader(tartest.Of(t, tartest.File("new", "x"))), "/up/..", "", false); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(in, "new")); err != nil {
		t.Error(err)
	}
	untouched()
}

// TestALinkIsNotFollowed, whether the tarball brings it or an earlier one has.
func TestALinkIsNotFollowed(t *testing.T) {
	in, untouched := room(t)
	b := tartest.Of(t, tartest.Symlink("x", "../secret"), tartest.File("x", "x"))
	if _, err := Host().Unpack(bytes.NewReader(b), in, "top", false); err != nil {
		t.Error(err)
	}
	if _, err := Host().Unpack(bytes.NewReader(tartest.Of(t, tartest.Symlink(".", "../secret"), tartest.File(".", "x"))), in, "again", false); err != nil {
		t.Error(err)
	}
	untouched()
	if _, err := Host().Unpack(bytes.NewReader(tartest.Of(t, tartest.File(".", "new"))), in, "again", false); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(in, "again")); string(b) != "new" || err != nil {
		t.Errorf("in the place of the link is %q, %v", b, err)
	}
	untouched()
}

// TestHostGetsNoPrivilegedFiles: a file of a container that was root's and set-user-ID would be
// the user's here.
func TestHostGetsNoPrivilegedFiles(t *testing.T) {
	in, _ := room(t)
	b := tartest.Of(t, tartest.Dir("d", tartest.Mode(0o2777)), tartest.File("d/f", "x", tartest.Mode(0o6755)))
	if _, err := Host().Unpack(bytes.NewReader(b), in, "", false); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{"d": os.ModeDir | 0o777, "d/f": 0o755} {
		if fi, err := os.Stat(filepath.Join(in, name)); err != nil || fi.Mode() != want {
			t.Errorf("%s: %v, %v", name, fi.Mode(), err)
		}
	}
}

// TestTreesComeBackAsTheyWere packs a tree and unpacks it under another name.
func TestTreesComeBackAsTheyWere(t *testing.T) {
	in, _ := room(t)
	b := tartest.Of(t, tartest.Dir("d", tartest.Mode(0o500), tartest.Mtime(5, 6)), tartest.File("d/f", "data", tartest.Mode(0o640), tartest.Mtime(7, 8)),
		tartest.Hardlink("d/g", "d/f"), tartest.Symlink("d/l", "/nowhere", tartest.Mtime(9, 0)), tartest.Fifo("d/p"), tartest.Dir("d/empty"))
	if _, err := Host().Unpack(bytes.NewReader(b), in, "", false); err != nil {
		t.Fatal(err)
	}
	for _, as := range []string{".", "other"} {
		var first, second bytes.Buffer
		if err := Host().Pack(&first, filepath.Join(in, "d"), as, false); err != nil {
			t.Fatal(err)
		}
		if _, err := Host().Unpack(bytes.NewReader(first.Bytes()), in, "copy-"+as, false); err != nil {
			t.Fatal(err)
		}
		at := filepath.Join(in, "copy-"+as)
		if as != "." {
			at = filepath.Join(at, as)
		}
		if err := Host().Pack(&second, at, as, false); err != nil {
			t.Fatal(err)
		}
		if a, b := tartest.List(t, first.Bytes()), tartest.List(t, second.Bytes()); strings.Join(a, "\n") != strings.Join(b, "\n") || len(a) != 6 {
			t.Errorf("as %s: %q became %q", as, a, b)
		}
	}
	if fi, err := os.Stat(filepath.Join(in, "d")); err != nil || !fi.ModTime().Equal(time.Unix(5, 6)) {
		t.Errorf("the directory's time is %v, %v", fi.ModTime(), err)
	}
}

func TestPlaceFollowsTheRulesOfCp(t *testing.T) {
	file, dir, none := Info{Exists: true}, Info{Exists: true, Dir: true}, Info{}
	for _, c := range []struct {
		src        string
		from       Info
		dst        string
		to         Info
		where, top string // where "" is an error
	}{
		{"/a", file, "/x", none, "/", "x"},
		{"/a", file, "/x", file, "/", "x"},
		{"/a", file, "/x", dir, "/x", "a"},
		{"/a", file, "/x/", none, "", ""},
		{"/a", file, "x", none, ".", "x"},
		{"/a/", file, "/x", dir, "", ""},
		{"/d", dir, "/x", none, "/", "x"},
		{"/d", dir, "/y/x/", none, "/y/", "x"},
		{"/d", dir, "/x", dir, "/x", "d"},
		{"/d/", dir, "/x", dir, "/x", "d"},
		{"/d", dir, "/x", file, "", ""},
		{"/d/.", dir, "/x", dir, "/x", ""},
		{"/d/.", dir, "/x", none, "/", "x"},
		{"/", dir, "/x", dir, "/x", ""},
		{"..", dir, "/x", dir, "/x", ""},
		{"/d", dir, "/x/..", none, "", ""},
	} {
		where, top, err := Place(c.src, c.from, c.dst, c.to)
		if where != c.where || top != c.top || (err != nil) != (c.where == "") {
			t.Errorf("%s %+v to %s %+v: %q, %q, %v", c.src, c.from, c.dst, c.to, where, top, err)
		}
	}
}

// FuzzUnpackStaysInside: no tarball writes, or changes, anything outside.
func FuzzUnpackStaysInside(f *testing.F) {
	f.Add(tartest.Of(f, tartest.Dir("d"), tartest.File("d/f", "x"), tartest.Symlink("d/l", "../.."), tartest.File("d/l/secret", "y")))
	f.Add(tartest.Of(f, tartest.Hardlink("h", "../secret"), tartest.File("h", "z"), tartest.Fifo("p"), tartest.Char("c", 1, 3)))
	f.Fuzz(func(t *testing.T, b []byte) {
		in, untouched := room(t)
		_, _ = Host().Unpack(bytes.NewReader(b), in, "", false)
		untouched()
		fd, err := unix.Open(in, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		_, _ = Rooted(fd).Unpack(bytes.NewReader(b), "/", "", false)
		untouched()
	})
}

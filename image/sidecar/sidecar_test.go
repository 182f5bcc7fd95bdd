package sidecar

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// dir is an upper directory with its sidecar, changed as a server changes them.
type dir struct {
	*testing.T
	upper string
	*Store
}

func newDir(t *testing.T) *dir {
	upper := filepath.Join(t.TempDir(), "upper")
	if err := os.Mkdir(upper, 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := Create(upper)
	if err != nil {
		t.Fatal(err)
	}
	d := &dir{t, upper, s}
	t.Cleanup(func() { d.Close() })
	return d
}

func (d *dir) path(p string) string { return filepath.Join(d.upper, p) }

func (d *dir) change(verb, p, q string, f *File, do func() error) {
	d.Helper()
	if err := d.Change(verb, p, q, f, 0, do); err != nil {
		d.Fatalf("%s %s %s: %v", verb, p, q, err)
	}
}

// create makes a file with an attribute, or without if value is "".
func (d *dir) create(p, value string) *File {
	d.Helper()
	f := d.NewFile()
	if value != "" {
		if err := f.Set("user.k", value, 0); err != nil {
			d.Fatal(err)
		}
	}
	d.change(New, p, "", f, func() error { return os.WriteFile(d.path(p), nil, 0o600) })
	return f
}

func (d *dir) rename(p, q string) {
	d.Helper()
	d.change(Move, p, q, nil, func() error { return os.Rename(d.path(p), d.path(q)) })
}

func (d *dir) remove(p string) {
	d.Helper()
	d.change(Gone, p, "", nil, func() error { return os.Remove(d.path(p)) })
}

// crash is kill -9 of the server and the start of another.
func (d *dir) crash() {
	d.Helper()
	d.Close()
	s, err := Open(d.upper)
	if err != nil {
		d.Fatal(err)
	}
	d.Store = s
}

// want compares what is recorded: "path=value", in order, for the reader and after a crash.
func (d *dir) want(all ...string) {
	d.Helper()
	for _, when := range []string{"as it is", "read by another", "after a crash", "after two"} {
		s := d.Store
		switch when {
		case "read by another":
			var err error
			if s, err = Read(d.upper); err != nil {
				d.Fatal(err)
			}
		case "after a crash", "after two":
			d.crash()
			s = d.Store
		}
		var got []string
		for _, p := range s.Paths() {
			v, _ := s.At(p).Get("user.k")
			got = append(got, p+"="+v)
		}
		if !slices.Equal(got, all) {
			d.Fatalf("%s: %q, wanted %q", when, got, all)
		}
	}
}

func (d *dir) mkdir(p string) {
	d.Helper()
	d.change(New, p, "", d.NewFile(), func() error { return os.Mkdir(d.path(p), 0o700) })
}

func TestAttributesFollowTheirNames(t *testing.T) {
	d := newDir(t)
	d.mkdir("d")
	d.create("d/a", "1")
	d.create("plain", "")
	d.want("d/a=1")
	d.rename("d", "e")
	d.want("e/a=1")
	f := d.At("e/a")
	d.change(Link, "e/a", "b", f, func() error { return os.Link(d.path("e/a"), d.path("b")) })
	if err := d.At("b").Set("user.k", "two\nlines", 0); err != nil {
		t.Fatal(err)
	}
	d.want("b=two\nlines", "e/a=two\nlines")
	d.remove("b")
	d.create("c", "3")
	d.rename("c", "plain")
	d.want("e/a=two\nlines", "plain=3")
	d.rename("plain", "e/a")
	d.want("e/a=3")
	if err := d.At("e/a").Remove("user.k"); err != nil {
		t.Fatal(err)
	}
	d.want()
}

// TestALineInDoubtIsJudgedByTheDirectory: the change after the announcement is made, or not, by
// somebody who is killed then.
func TestALineInDoubtIsJudgedByTheDirectory(t *testing.T) {
	type doing func(d *dir) error
	link := func(d *dir) error { return os.Link(d.path("a"), d.path("new")) }
	for _, c := range []struct {
		verb, p, q    string
		do            doing
		before, after []string
	}{
		{New, "new", "", func(d *dir) error { return os.WriteFile(d.path("new"), nil, 0o600) }, []string{"a=1", "b=2"}, []string{"a=1", "b=2", "new=3"}},
		{Link, "a", "new", link, []string{"a=1", "b=2"}, []string{"a=1", "b=2", "new=1"}},
		{Move, "a", "new", func(d *dir) error { return os.Rename(d.path("a"), d.path("new")) }, []string{"a=1", "b=2"}, []string{"b=2", "new=1"}},
		{Move, "a", "b", func(d *dir) error { return os.Rename(d.path("a"), d.path("b")) }, []string{"a=1", "b=2"}, []string{"b=1"}},
		{Gone, "a", "", func(d *dir) error { return os.Remove(d.path("a")) }, []string{"a=1", "b=2"}, []string{"b=2"}},
		{Swap, "a", "b", func(d *dir) error { return exchange(d.path("a"), d.path("b")) }, []string{"a=1", "b=2"}, []string{"a=2", "b=1"}},
	} {
		for _, made := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s %s %s made=%v", c.verb, c.p, c.q, made), func(t *testing.T) {
				d := newDir(t)
				d.create("a", "1")
				d.create("b", "2")
				f := d.NewFile()
				_ = f.Set("user.k", "3", 0)
				r := &record{verb: c.verb, p: c.p, q: c.q}
				if c.verb == New {
					r.attrs = f.attrs
				}
				if c.verb == Swap {
					r.n = ino(t, d.path("a"))
				}
				if err := d.append(r, true); err != nil {
					t.Fatal(err)
				}
				want := c.before
				if made {
					want = c.after
					if err := c.do(d); err != nil {
						t.Fatal(err)
					}
				}
				d.crash()
				d.want(want...)
			})
		}
	}
}

// TestALaterChangeDoesNotRevealAnOlderOne: a change that needs no line looks like the undoing of
// the one before.
func TestALaterChangeDoesNotRevealAnOlderOne(t *testing.T) {
	d := newDir(t)
	d.create("a", "1")
	d.rename("a", "b")
	d.create("a", "") // "move a b" was not made?
	d.want("b=1")
	d.remove("b")
	d.create("b", "")
	d.want()
}

func TestACutLineWasNeverWritten(t *testing.T) {
	d := newDir(t)
	d.create("a", "1")
	whole, err := os.ReadFile(Path(d.upper))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.At("a").Set("user.k", "2", 0); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(Path(d.upper))
	if err != nil {
		t.Fatal(err)
	}
	for n := len(whole); n < len(text)-1; n++ {
		for _, rest := range []string{"", strings.Repeat("\x00", 9), "\n\n"} {
			if err := os.WriteFile(Path(d.upper), []byte(string(text[:n])+rest), 0o600); err != nil {
				t.Fatal(err)
			}
			d.crash()
			d.want("a=1")
		}
	}
}

func TestADamagedLogIsRefused(t *testing.T) {
	d := newDir(t)
	d.create("a", "1")
	d.create("b", "2")
	text, err := os.ReadFile(Path(d.upper))
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", strings.Replace(string(text), `"1"`, `"7"`, 1), string(text[20:]), string((&record{verb: first, n: 2}).encode())} {
		if err := os.WriteFile(Path(d.upper), []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := Open(d.upper); err == nil || !strings.Contains(err.Error(), "upper.attrs") {
			t.Errorf("%.60q: %v, %v", bad, s, err)
		}
	}
}

// TestALogOfAStrangerIsRefused: lines that are whole, and could not be of this program.
func TestALogOfAStrangerIsRefused(t *testing.T) {
	d := newDir(t)
	for _, r := range []record{
		{verb: Move, p: "", q: "x"}, {verb: Move, p: "a", q: "a/b"}, {verb: Move, p: "a/b", q: "a"},
		{verb: Swap, p: "a", q: "a/b/c"}, {verb: Link, p: "a", q: "../a"}, {verb: Gone, p: ""}, {verb: New, p: "a//b"}, {verb: set, p: "./a"},
	} {
		bad := slices.Concat((&record{verb: first, n: version}).encode(), r.encode(), (&record{verb: done}).encode())
		if err := os.WriteFile(Path(d.upper), bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := Open(d.upper); err == nil || !strings.Contains(err.Error(), "line 2 is damaged") {
			t.Errorf("%s %q %q: %v, %v", r.verb, r.p, r.q, s, err)
		}
	}
}

func TestAChangeThatFailsIsTakenBack(t *testing.T) {
	d := newDir(t)
	d.create("a", "1")
	if err := d.Change(Gone, "a", "", nil, 0, func() error { return syscall.EBUSY }); err != syscall.EBUSY {
		t.Fatal(err)
	}
	d.want("a=1")
}

func TestALongLogIsMadeAgain(t *testing.T) {
	d := newDir(t)
	d.create("b", "")
	d.create("a", "1")
	d.change(Link, "a", "c", d.At("a"), func() error { return os.Link(d.path("a"), d.path("c")) })
	for i := range 1100 {
		if err := d.At("a").Set("user.k", fmt.Sprint(i), 0); err != nil {
			t.Fatal(err)
		}
	}
	d.want("a=1099", "c=1099")
	if d.lines > 10 {
		t.Errorf("the log has %d lines", d.lines)
	}
}

func TestAttributesHaveTheLimitsOfOthers(t *testing.T) {
	f := newDir(t).create("a", "1")
	for _, c := range []struct {
		name  string
		bytes int
		flags int
		want  error
	}{{"user.k", 1, 1, syscall.EEXIST}, {"user.new", 1, 2, syscall.ENODATA}, {"user.big", maxBytes, 0, syscall.ENOSPC}, {"user.big", 1000, 0, nil}} {
		if err := f.Set(c.name, strings.Repeat("x", c.bytes), c.flags); !errors.Is(err, c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if err := f.Remove("user.none"); err != syscall.ENODATA {
		t.Error(err)
	}
}

// TestTheBookIsRight reads the example of appendix A.
func TestTheBookIsRight(t *testing.T) {
	text, err := os.ReadFile("../../tutorial/book/a-formats.md")
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for _, line := range regexp.MustCompile(`(?m)^    [0-9a-f]{8} [a-z]+ \d.*$`).FindAllString(string(text), -1) {
		lines++
		if _, ok := decode([]byte(line[4:])); !ok {
			t.Errorf("no line: %s", line)
		}
	}
	if lines < 5 {
		t.Errorf("%d lines", lines)
	}
}

func ino(t *testing.T, path string) uint64 {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return st.Sys().(*syscall.Stat_t).Ino
}

func FuzzReplay(f *testing.F) {
	f.Add([]byte(`x`))
	f.Add((&record{verb: first, n: version}).encode())
	f.Fuzz(func(t *testing.T, line []byte) {
		if r, ok := decode(line); ok {
			if again, ok := decode([]byte(strings.TrimSuffix(string(r.encode()), "\n"))); !ok || fmt.Sprint(again) != fmt.Sprint(r) {
				t.Errorf("%q: %v, then %v", line, r, again)
			}
		}
	})
}

func exchange(p, q string) error {
	return unix.Renameat2(unix.AT_FDCWD, p, unix.AT_FDCWD, q, unix.RENAME_EXCHANGE)
}

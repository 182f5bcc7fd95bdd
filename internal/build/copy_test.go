// Where COPY puts files, in an image that has links and files in the way.

package build

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tiffin/internal/dockerfile"
)

// paper is a tree on paper: "dir/" is a directory, "link -> target" a link, "a" a file with its
// name as content.
type paper map[string]*file

func treeOf(names ...string) paper {
	t := paper{"": {mode: unix.S_IFDIR | 0o755}}
	for _, n := range names {
		n, target, isLink := strings.Cut(n, " -> ")
		f := &file{mode: unix.S_IFREG | 0o644, size: int64(len(n)), target: target}
		if isLink {
			f.mode = unix.S_IFLNK | 0o777
		} else if strings.HasSuffix(n, "/") {
			f.mode = unix.S_IFDIR | 0o700
		}
		t[strings.TrimSuffix(n, "/")] = f
	}
	return t
}

func (t paper) stat(path string) (*file, error) {
	if f := t[path]; f != nil {
		return f, nil
	}
	return nil, fs.ErrNotExist
}

func (t paper) list(path string) (names []string, err error) {
	for n := range t {
		if n != "" && parent(n) == path {
			names = append(names, n[strings.LastIndexByte(n, '/')+1:])
		}
	}
	slices.Sort(names)
	return names, nil
}

func (t paper) open(path string) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(path)), nil
}

func (t paper) sum(path string, _ *file) (string, error) { return sumOf(t, path) }

var (
	inContext = treeOf("f", "g.txt", "d/", "d/a", "d/b.txt", "d/sub/", "d/sub/c", "to-f -> f", "to-d -> d", "up -> ../../..", "abs -> /f", "loop -> loop")
	onImage   = treeOf("etc/", "etc/a", "file", "alias -> etc", "out -> ../../../etc", "loop -> loop", "etc/sub -> /real", "real/")
)

// TestCopy has the rules of the Dockerfile reference, "COPY", and of "Destination".
func TestCopy(t *testing.T) {
	for _, c := range []struct{ sources, dest, want string }{
		{"f", "/new", "new=f"},
		{"f", "/new/", "new/ new/f=f"},
		{"f", "/etc", "etc! etc/f=f"},
		{"f", "/p/q/r", "p/ p/q/ p/q/r=f"},
		{"f", "/alias/", "etc! etc/f=f"},
		{"f", "/out", "etc! etc/f=f"}, // a link that would lead out of the root
		{"f", "/file", "file=f"},
		{"f", "/file/", "error"},
		{"f", "/file/x", "error"},
		{"f", "/loop", "error"},
		{"to-f", "/x", "x=f"},
		{"abs", "/x", "x=f"},
		{"up/f", "/x", "x=f"}, // nothing is above the context
		{"../../f", "/x", "x=f"},
		{"loop", "/x", "error"},
		{"d", "/x", "x/ x/a=d/a x/b.txt=d/b.txt x/sub/ x/sub/c=d/sub/c"},
		{"to-d/", "/x", "x/ x/a=d/a x/b.txt=d/b.txt x/sub/ x/sub/c=d/sub/c"},
		{"d", "/etc/", "etc! etc/a=d/a etc/b.txt=d/b.txt real/ real/c=d/sub/c"},
		{"d", "/file", "error"},
		{"f g.txt", "/x/", "x/ x/f=f x/g.txt=g.txt"},
		{"f g.txt", "/x", "error"},
		{"d/*.txt", "/x", "x=d/b.txt"},
		{"*/a", "/x/", "x/ x/a=d/a"},
		{"d/*", "/x/", "x/ x/a=d/a x/b.txt=d/b.txt x/c=d/sub/c"},
		{"d/*", "/x", "error"},
		{"d/*", "/etc", "etc! etc/a=d/a etc/b.txt=d/b.txt etc/c=d/sub/c"},
		{"*.nothing", "/x", ""},
		{"f *.nothing", "/x/", "x/ x/f=f"},
		{"nothing", "/x", "error"},
		{"f", "/.wh.x", "error"},
	} {
		d := newDelta(onImage, t.TempDir())
		err := d.copy(inContext, &dockerfile.Instruction{Name: "copy", Copy: &dockerfile.Copy{Sources: strings.Fields(c.sources), Dest: c.dest}})
		if got := shape(d, err); got != c.want {
			t.Errorf("COPY %s %s: %s (%v), want %s", c.sources, c.dest, got, err, c.want)
		}
	}
}

// TestPatternsEnd, whatever loops of links there are; and a file has as many names as directories.
func TestPatternsEnd(t *testing.T) {
	loops := treeOf("a", "d/", "d/a", "d/e/", "d/e/a")
	for _, n := range []string{"l1", "l2", "l3", "d/l1", "d/l2", "d/e/up"} {
		loops[n] = &file{mode: unix.S_IFLNK | 0o777, target: "/"}
	}
	for pattern, want := range map[string]string{
		strings.Repeat("*/", 40) + "a": "a d/a d/e/a", "**/a": "a d/a d/e/a", "**/**/**/a": "a d/a d/e/a", "d/**/a": "d/a d/e/a", "l1/l2/d/a": "l1/l2/d/a",
	} {
		found, err := glob(loops, "", pattern)
		files := map[string]bool{}
		for _, p := range found {
			real, _, err := follow(loops, p)
			if err != nil {
				t.Fatal(err)
			}
			files[real] = true
			if !strings.Contains(pattern, "*") {
				files = map[string]bool{p: true}
			}
		}
		if got := strings.Join(slices.Sorted(maps.Keys(files)), " "); err != nil || got != want || len(found) > 9 {
			t.Errorf("%s: %s (%d times), %v; want %s", pattern, got, len(found), err, want)
		}
	}
}

// TestFlagsOfCopy: the Dockerfile reference, "COPY --parents" and "COPY --exclude".
func TestFlagsOfCopy(t *testing.T) {
	for _, c := range []struct {
		sources, exclude, dest string
		parents                bool
		want                   string
	}{
		{"d/sub/c", "", "/x", true, "x/ x/d/ x/d/sub/ x/d/sub/c=d/sub/c"},
		{"d/a d/*.txt", "", "/x/", true, "x/ x/d/ x/d/a=d/a x/d/b.txt=d/b.txt"},
		{"d/./sub/c", "", "/x/", true, "x/ x/sub/ x/sub/c=d/sub/c"},
		{"d/sub", "", "/x/", true, "x/ x/d/ x/d/sub/ x/d/sub/c=d/sub/c"},
		{"**/c", "", "/x/", true, "x/ x/d/ x/d/sub/ x/d/sub/c=d/sub/c"},
		{"../d/a", "", "/alias/", true, "etc! etc/d/ etc/d/a=d/a"},
		{"d", "*.txt", "/x", false, "x/ x/a=d/a x/sub/ x/sub/c=d/sub/c"},
		{"d", "sub", "/x", false, "x/ x/a=d/a x/b.txt=d/b.txt"},
		{"f g.txt", "*.txt", "/x/", false, "x/ x/f=f"},
		{"d/*", "d/a", "/x/", false, "x/ x/b.txt=d/b.txt x/c=d/sub/c"},
	} {
		d := newDelta(onImage, t.TempDir())
		in := &dockerfile.Instruction{Name: "copy", Copy: &dockerfile.Copy{Sources: strings.Fields(c.sources), Exclude: strings.Fields(c.exclude), Dest: c.dest, Parents: c.parents}}
		err := d.owner(in.Copy)
		if err == nil {
			err = d.copy(inContext, in)
		}
		if got := shape(d, err); got != c.want {
			t.Errorf("COPY %+v: %s (%v)", c, got, err)
		}
	}
}

// shape is what a layer has: "dir/", "dir!" for one that stays as it is, "path=source".
func shape(d *delta, err error) string {
	if err != nil {
		return "error"
	}
	var all []string
	err = d.each(func(p string, e *entry) error {
		switch {
		case e.kept:
			all = append(all, p+"!")
		case e.isDir():
			all = append(all, p+"/")
		default:
			all = append(all, fmt.Sprintf("%s=%s", p, e.path))
		}
		return nil
	})
	if err != nil {
		return "error"
	}
	return strings.Join(all, " ")
}

// TestDigestIsThatOfWhatCounts: owner, mode, name and content, but no time.
func TestDigestIsThatOfWhatCounts(t *testing.T) {
	digest := func(c dockerfile.Copy, change func(paper)) string {
		from := treeOf("f", "d/", "d/a")
		if change != nil {
			change(from)
		}
		d := newDelta(onImage, t.TempDir())
		err := d.owner(&c)
		if err == nil {
			err = d.copy(from, &dockerfile.Instruction{Name: "copy", Copy: &c})
		}
		sum, serr := d.digest()
		if err = errors.Join(err, serr); err != nil {
			t.Fatal(err)
		}
		return sum
	}
	plain := dockerfile.Copy{Sources: []string{"d"}, Dest: "/x"}
	was := digest(plain, nil)
	if digest(plain, func(p paper) { p["d/a"].mtime = p["d/a"].mtime.Add(1e9) }) != was {
		t.Error("a time counts")
	}
	for name, now := range map[string]string{
		"mode":  digest(plain, func(p paper) { p["d/a"].mode |= 0o111 }),
		"name":  digest(plain, func(p paper) { p["d/b"] = p["d/a"]; delete(p, "d/a") }),
		"owner": digest(dockerfile.Copy{Sources: plain.Sources, Dest: plain.Dest, Chown: "1:2"}, nil),
		"chmod": digest(dockerfile.Copy{Sources: plain.Sources, Dest: plain.Dest, Chmod: "700"}, nil),
		"place": digest(dockerfile.Copy{Sources: plain.Sources, Dest: "/y"}, nil),
	} {
		if now == was {
			t.Errorf("the %s does not count", name)
		}
	}
}

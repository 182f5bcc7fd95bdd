package union

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"tiffin/image/layer"
	tt "tiffin/internal/test/tartest"
)

// item is a file in the model of a tree, which is a map from paths to them. Files of one group that
// is not 0 are one file with several names.
type item struct {
	kind             byte // d, f, l, c
	mode, uid, mtime int64
	data, xattr      string // data is content, target or minor number
	group            int
}

type items map[string]item

// randomItems makes a tree, or changes some of one.
func randomItems(rng *rand.Rand, from items, changes int) items {
	m := maps.Clone(from)
	for range changes {
		p := randomPath(rng)
		if rng.IntN(3) == 0 {
			m.drop(p)
			continue
		}
		it := item{kind: "ddfffflc"[rng.IntN(8)], mode: 0o600 + int64(rng.IntN(2)), uid: int64(rng.IntN(2)), mtime: int64(rng.IntN(2)), data: fmt.Sprint(rng.IntN(3))}
		if rng.IntN(5) == 0 {
			it.xattr = fmt.Sprint(rng.IntN(2))
		}
		if it.kind != 'd' || m[p].kind != 'd' {
			m.drop(p)
		}
		for i := range p {
			if q := p[:i]; p[i] == '/' && m[q].kind != 'd' {
				m.drop(q)
				m[q] = item{kind: 'd', mode: 0o755}
			}
		}
		if others := slices.Sorted(maps.Keys(m)); it.kind == 'f' && len(others) > 0 && rng.IntN(2) == 0 {
			if q := others[rng.IntN(len(others))]; m[q].kind == 'f' {
				other := m[q]
				if other.group == 0 {
					other.group = 1 + rng.IntN(1<<30)
					m[q] = other
				}
				it = other
			}
		}
		m[p] = it
	}
	return m
}

func (m items) drop(p string) {
	for q := range m {
		if under(q, p) || q == p {
			delete(m, q)
		}
	}
}

// walked are the paths in the order of the walk.
func (m items) walked() []string {
	return slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		return strings.Compare(strings.ReplaceAll(a, "/", "\x00"), strings.ReplaceAll(b, "/", "\x00"))
	})
}

// entries are those of a tarball; only the paths that which says.
func (m items) entries(which func(string) bool) (out []tt.Entry) {
	named := map[int]string{}
	for _, p := range m.walked() {
		it := m[p]
		if !which(p) {
			continue
		}
		o := []tt.Option{tt.Mode(it.mode), tt.Owner(it.uid, 0), tt.Mtime(it.mtime, 0)}
		if it.xattr != "" {
			o = append(o, tt.Xattr("user.x", it.xattr))
		}
		switch {
		case it.group != 0 && named[it.group] != "":
			out = append(out, tt.Hardlink(p, named[it.group]))
		case it.kind == 'd':
			out = append(out, tt.Dir(p, o...))
		case it.kind == 'f':
			named[it.group] = p
			out = append(out, tt.File(p, it.data, o...))
		case it.kind == 'l':
			out = append(out, tt.Symlink(p, it.data, o...))
		default:
			out = append(out, tt.Char(p, 1, int64(it.data[0]), o...))
		}
	}
	return out
}

// upper is a layer that makes m of below. All names of a file come again if one of them does.
func (m items) upper(below items) (out []tt.Entry) {
	touched := map[int]bool{}
	differs := func(p string) bool { return m[p] != below[p] }
	for p, it := range m {
		if it.group != 0 && differs(p) {
			touched[it.group] = true
		}
	}
	for p := range below {
		if _, ok := m[p]; !ok && (parent(p) == "" || m[parent(p)].kind == 'd') {
			out = append(out, tt.Whiteout(p))
		}
	}
	return append(out, m.entries(func(p string) bool {
		return differs(p) || touched[m[p].group] || m[p].kind == 'd'
	})...)
}

// side puts tarballs over one another.
func side(t testing.TB, names []string, tars ...[]byte) *Side {
	t.Helper()
	s := &Side{Layers: names}
	var tree *layer.Tree
	for i, b := range tars {
		upper, err := layer.Scan(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if tree, err = Merge(tree, upper, uint16(i)); err != nil {
			t.Fatal(err)
		}
		s.Flats = append(s.Flats, bytes.NewReader(b))
	}
	var err error
	if s.Index, err = layer.Decode(tree.Encode()); err != nil {
		t.Fatal(err)
	}
	return s
}

// differences lists what Differ finds.
func differences(t testing.TB, old, new *Side, mtime bool) (out []string) {
	t.Helper()
	if err := Differ(old, new, mtime, func(d Difference) error {
		out = append(out, fmt.Sprintf("%c %s %b %t", d.Kind, d.Path, d.What, d.Below))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// expected lists the same by looking at every path by itself.
func expected(old, new items, mtime bool) (out []string) {
	all := maps.Clone(old)
	maps.Copy(all, new)
	first := func(m items, p string) string { // of the names of the same file, in the order of the walk
		for _, q := range m.walked() {
			if q == p || m[p].group != 0 && m[q].group == m[p].group {
				return q
			}
		}
		return ""
	}
	lines, changed := map[string]string{}, map[string]bool{}
	for p := range all {
		a, inA := old[p]
		b, inB := new[p]
		switch {
		case !inA:
			lines[p] = "A /" + p + " 0 false"
		case !inB:
			_, above := new[parent(p)]
			lines[p] = fmt.Sprintf("D /%s 0 %t", p, parent(p) != "" && (!above || new[parent(p)].kind != 'd'))
		default:
			what := Aspect(0)
			for is, differs := range map[Aspect]bool{
				Type: a.kind != b.kind, Mode: a.mode != b.mode, Owner: a.uid != b.uid, Xattrs: a.xattr != b.xattr,
				Content: a.kind == b.kind && a.kind != 'd' && a.data != b.data, Mtime: mtime && a.mtime != b.mtime,
				Links: a.kind == b.kind && first(old, p) != first(new, p),
			} {
				if differs {
					what |= is
				}
			}
			if what == 0 {
				continue
			}
			lines[p] = fmt.Sprintf("C /%s %b false", p, what)
		}
		for q := parent(p); q != ""; q = parent(q) {
			changed[q] = true
		}
	}
	for p := range changed {
		if lines[p] == "" {
			lines[p] = fmt.Sprintf("C /%s %b false", p, Entries)
		}
	}
	for _, p := range all.walked() {
		if lines[p] != "" {
			out = append(out, lines[p])
		}
	}
	return out
}

func TestDifferAgreesWithAModel(t *testing.T) {
	every := func(string) bool { return true }
	counts := map[byte]int{}
	for seed := range uint64(3000) {
		rng := rand.New(rand.NewPCG(seed, 20))
		old := randomItems(rng, items{}, 2+rng.IntN(15))
		new := randomItems(rng, old, rng.IntN(6))
		first := tt.Of(t, old.entries(every)...)
		a := side(t, []string{"first"}, first)
		for how, b := range map[string]*Side{
			"alone":       side(t, []string{"alone"}, tt.Of(t, new.entries(every)...)),
			"over it":     side(t, []string{"first", "upper"}, first, tt.Of(t, new.upper(old)...)),
			"over others": side(t, []string{"others", "upper"}, tt.Of(t, tt.File("a/b", "other"), tt.Dir("c/c/c")), tt.Of(t, append(new.entries(every), tt.Opaque(""))...)),
		} {
			mtime := seed%2 == 1
			got, want := differences(t, a, b, mtime), expected(old, new, mtime)
			if !slices.Equal(got, want) {
				t.Fatalf("seed %d, %s:\n got %q\nwant %q\n%v\n%v", seed, how, got, want, old, new)
			}
			for _, line := range got {
				counts[line[0]]++
			}
		}
	}
	for _, kind := range "ACD" {
		if counts[byte(kind)] < 1000 {
			t.Errorf("%c came up %d times: the test has lost its balance", kind, counts[byte(kind)])
		}
	}
}

// counted counts reads.
type counted struct {
	io.ReaderAt
	n int
}

func (c *counted) ReadAt(b []byte, off int64) (int, error) {
	c.n++
	return c.ReaderAt.ReadAt(b, off)
}

// TestDifferReadsWhatItMust: a record of a layer that both have is not read, nor are files of
// different sizes; and two files with a thousand names each are read once.
func TestDifferReadsWhatItMust(t *testing.T) {
	entries := []tt.Entry{tt.File("f", "one"), tt.File("g", "two"), tt.File("n", "many")}
	for i := range 1000 {
		entries = append(entries, tt.Hardlink(fmt.Sprintf("n%d", i), "n"))
	}
	one := tt.Of(t, entries...)
	a, b := side(t, []string{"x"}, one), side(t, []string{"x", "y"}, one, tt.Of(t, tt.File("g", "three")))
	flats := b.Flats
	a.Flats, b.Flats = nil, nil // to read is an error
	if got := differences(t, a, b, false); !slices.Equal(got, []string{"C /g 1000 false"}) {
		t.Errorf("with a common layer: %q", got)
	}
	b.Layers[0] = "z" // they cannot be known to be equal
	reads := &counted{ReaderAt: bytes.NewReader(one)}
	a.Flats, b.Flats = []io.ReaderAt{reads}, flats
	if got := differences(t, a, b, false); !slices.Equal(got, []string{"C /g 1000 false"}) || reads.n != 2 {
		t.Errorf("without: %q, %d reads instead of 2", got, reads.n)
	}
	a.Flats = nil
	if err := Differ(a, b, false, func(Difference) error { return nil }); err == nil {
		t.Error("a tarball that cannot be read is no error")
	}
	// Two records of one layer and one size, at one path by a hard link to the layer below.
	if got, want := differences(t, side(t, []string{"x"}, one), side(t, []string{"x", "y"}, one, tt.Of(t, tt.Hardlink("g", "f"))), false),
		[]string{fmt.Sprintf("C /g %b false", Content|Links)}; !slices.Equal(got, want) {
		t.Errorf("another record: %q, not %q", got, want)
	}
	stop := errors.New("stop")
	if err := Differ(b, side(t, nil, tt.Of(t)), false, func(Difference) error { return stop }); err != stop {
		t.Errorf("the caller's error became %v", err)
	}
}

// TestDifferDoesNotReadHoles: a layer of a few bytes says that a file has an exabyte, which nobody
// would read to the end.
func TestDifferDoesNotReadHoles(t *testing.T) {
	const size = 1 << 60
	of := func(ps ...tt.Piece) *Side {
		return side(t, []string{fmt.Sprint(ps)}, tt.Of(t, tt.Sparse10("f", size, ps)))
	}
	whole := of(tt.Piece{Off: 0, Data: "begin"}, tt.Piece{Off: size / 2, Data: "middle\x00\x00"}, tt.Piece{Off: size - 3, Data: "end"})
	for want, other := range map[string]*Side{
		"same":    of(tt.Piece{Off: 0, Data: "be"}, tt.Piece{Off: 2, Data: "gin\x00\x00"}, tt.Piece{Off: size / 2, Data: "middle"}, tt.Piece{Off: size - 3, Data: "end"}),
		"less":    of(tt.Piece{Off: 0, Data: "begin"}, tt.Piece{Off: size - 3, Data: "end"}),
		"another": of(tt.Piece{Off: 0, Data: "begin"}, tt.Piece{Off: size/2 + 1, Data: "middle"}, tt.Piece{Off: size - 3, Data: "end"}),
	} {
		if got := differences(t, whole, other, false); (len(got) == 0) != (want == "same") {
			t.Errorf("%s: %q", want, got)
		}
	}
}

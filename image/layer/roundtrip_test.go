package layer_test

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tiffin/image/layer"
	"tiffin/image/union"
	tt "tiffin/internal/test/tartest"
)

// world is a container's file tree in memory, kept by the rules of the upper
// directory: what an operation touches is copied up first.
type world struct {
	x     *layer.Index
	flats []io.ReaderAt
	root  *thing
	files map[uint32]*thing // by origin: copied-up files, for their other names
	rng   *rand.Rand
	count int
}

// thing is a file in the upper; content, mode and uid are what is shown.
type thing struct {
	dir, meta bool
	origin    int // -1 for none
	content   string
	mode, uid uint32
	kids      map[string]*thing
	gone      map[string]bool
}

func (w *world) lift(i uint32) *thing {
	if t := w.files[i]; t != nil {
		return t
	}
	n := w.x.Inode(i)
	t := &thing{dir: n.IsDir(), meta: true, origin: int(i), mode: n.Mode & 0o7777, uid: n.UID, kids: map[string]*thing{}, gone: map[string]bool{}}
	if !t.dir {
		b, err := io.ReadAll(w.x.Reader(i, w.flats))
		if err != nil {
			panic(err)
		}
		t.content = string(b)
	}
	return t
}

// view lists a directory as the container sees it: upper things, and numbers
// of lower inodes that are untouched.
func (w *world) view(d *thing) (kids map[string]*thing, lower map[string]uint32) {
	lower = map[string]uint32{}
	if d.origin >= 0 {
		for k := range w.x.DirLen(uint32(d.origin)) {
			name, i := w.x.Dirent(uint32(d.origin), k)
			if d.kids[name] == nil && !d.gone[name] {
				lower[name] = i
			}
		}
	}
	return d.kids, lower
}

// pick goes to a random existing name, copying up the directories on the way.
func (w *world) pick() (d *thing, name string) {
	d = w.root
	for {
		kids, lower := w.view(d)
		names := append(slices.Sorted(maps.Keys(kids)), slices.Sorted(maps.Keys(lower))...)
		if len(names) == 0 {
			return d, ""
		}
		name = names[w.rng.IntN(len(names))]
		sub := kids[name]
		if i, ok := lower[name]; ok {
			if !w.x.Inode(i).IsDir() || w.rng.IntN(3) == 0 {
				return d, name
			}
			sub = w.lift(i)
			d.kids[name] = sub
		}
		if !sub.dir || w.rng.IntN(3) == 0 {
			return d, name
		}
		d = sub
	}
}

// up copies up the thing called name, with all its names that are visible.
func (w *world) up(d *thing, name string) *thing {
	if t := d.kids[name]; t != nil {
		return t
	}
	i, _ := w.x.Lookup(uint32(d.origin), name)
	t := w.lift(i)
	d.kids[name] = t
	if !t.dir {
		w.files[i] = t
		w.relink(w.root, i, t)
	}
	return t
}

// relink gives t every visible lower name of inode i, searching the whole view.
func (w *world) relink(d *thing, i uint32, t *thing) {
	_, lower := w.view(d)
	for name, j := range lower {
		if j == i {
			d.kids[name] = t
		} else if w.x.Inode(j).IsDir() && w.contains(j, i) {
			d.kids[name] = w.lift(j)
		}
	}
	for _, k := range d.kids {
		if k.dir {
			w.relink(k, i, t)
		}
	}
}

func (w *world) contains(dir, i uint32) bool {
	for k := range w.x.DirLen(dir) {
		if _, j := w.x.Dirent(dir, k); j == i || w.x.Inode(j).IsDir() && w.contains(j, i) {
			return true
		}
	}
	return false
}

func (w *world) remove(d *thing, name string) {
	delete(d.kids, name)
	if d.origin >= 0 {
		if _, ok := w.x.Lookup(uint32(d.origin), name); ok {
			d.gone[name] = true
		}
	}
}

// step does one random thing to the world.
func (w *world) step() {
	d, name := w.pick()
	if name == "" {
		return
	}
	w.count++
	fresh := fmt.Sprintf("%c", 'a'+w.rng.IntN(6))
	switch w.rng.IntN(8) {
	case 0, 1:
		w.remove(d, name)
	case 2: // create, perhaps over something
		d.kids[fresh] = &thing{origin: -1, content: fmt.Sprintf("new %d", w.count), mode: 0o600, uid: uint32(w.rng.IntN(2))}
	case 3:
		d.kids[fresh] = &thing{origin: -1, dir: true, mode: 0o755, kids: map[string]*thing{}, gone: map[string]bool{}}
	case 4:
		if t := w.up(d, name); !t.dir {
			t.content, t.meta = fmt.Sprintf("written %d", w.count), false
		}
	case 5:
		w.up(d, name).mode = uint32(0o700 + w.rng.IntN(64))
	case 6: // rename to somewhere, perhaps over something
		t := w.up(d, name)
		to, _ := w.pick()
		if t.dir && w.below(t, to) {
			return
		}
		w.remove(d, name)
		to.kids[fresh] = t
	case 7:
		if t := w.up(d, name); !t.dir {
			to, _ := w.pick()
			to.kids[fresh] = t
		}
	}
}

func (w *world) below(t, d *thing) bool {
	if t == d {
		return true
	}
	for _, k := range t.kids {
		if k.dir && w.below(k, d) {
			return true
		}
	}
	return false
}

// list writes the view as path → attributes and content; same is filled with
// an identity for each file.
func (w *world) list(d *thing, dir string, out map[string]string, same map[string]any) {
	kids, lower := w.view(d)
	for name, t := range kids {
		p := path.Join(dir, name)
		out[p] = fmt.Sprintf("%t %o %d %s", t.dir, t.mode, t.uid, t.content)
		same[p] = t
		if t.dir {
			w.list(t, p, out, same)
		}
	}
	for name, i := range lower {
		w.listLower(i, path.Join(dir, name), out, same)
	}
}

func (w *world) listLower(i uint32, p string, out map[string]string, same map[string]any) {
	t := w.lift(i)
	out[p] = fmt.Sprintf("%t %o %d %s", t.dir, t.mode, t.uid, t.content)
	if same[p] = any(i); w.files[i] != nil {
		same[p] = w.files[i]
	}
	for k := range w.x.DirLen(i) {
		name, j := w.x.Dirent(i, k)
		w.listLower(j, path.Join(p, name), out, same)
	}
}

// store writes the upper directory to disk.
func (w *world) store(t *testing.T, dir string, d *thing, written map[*thing]string) {
	for name := range d.gone {
		if err := os.WriteFile(filepath.Join(dir, ".wh."+name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, k := range d.kids {
		p := filepath.Join(dir, name)
		var err error
		switch {
		case k.dir:
			err = os.Mkdir(p, 0o700)
		case written[k] != "":
			if err := os.Link(written[k], p); err != nil {
				t.Fatal(err)
			}
			continue
		case k.meta && len(k.content) > 0:
			if err = os.WriteFile(p, nil, 0o600); err == nil {
				err = os.Truncate(p, int64(len(k.content)))
			}
			unix.Lsetxattr(p, layer.XattrMetacopy, nil, 0)
		default:
			err = os.WriteFile(p, []byte(k.content), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		written[k] = p
		s := layer.Stat{UID: k.uid, Mode: k.mode | unix.S_IFREG}
		if k.dir {
			s.Mode = k.mode | unix.S_IFDIR
		}
		if err := unix.Lsetxattr(p, layer.XattrOverride, []byte(s.String()), 0); err != nil {
			t.Fatal(err)
		}
		if k.origin >= 0 {
			unix.Lsetxattr(p, layer.XattrOrigin, []byte(strconv.Itoa(k.origin)), 0)
		}
		if k.dir {
			w.store(t, p, k, written)
		}
	}
}

func randomImage(t *testing.T, rng *rand.Rand) (*layer.Index, []io.ReaderAt, []byte) {
	var es []tt.Entry
	var files []string
	for d := range 4 {
		dir := path.Join([]string{"a", "b", "a/c", "a/c/d"}[d])
		es = append(es, tt.Dir(dir))
		for f := range 4 {
			name := fmt.Sprintf("%s/%c", dir, 'e'+f)
			if len(files) > 0 && rng.IntN(3) == 0 {
				es = append(es, tt.Hardlink(name, files[rng.IntN(len(files))]))
			} else {
				es = append(es, tt.File(name, "lower "+name, tt.Owner(int64(rng.IntN(2)), 0)))
			}
			files = append(files, name)
		}
	}
	b := tt.Of(t, es...)
	x, flats := image(t, b)
	return x, flats, b
}

func TestALayerOverItsImageGivesTheTreeItWasMadeFrom(t *testing.T) {
	for seed := range uint64(150) {
		rng := rand.New(rand.NewPCG(seed, 3))
		x, flats, _ := randomImage(t, rng)
		w := &world{x: x, flats: flats, rng: rng, files: map[uint32]*thing{}}
		w.root = w.lift(0)
		for range rng.IntN(25) {
			w.step()
		}
		dir := t.TempDir()
		w.store(t, dir, w.root, map[*thing]string{})
		want, same := map[string]string{}, map[string]any{}
		w.list(w.root, "", want, same)

		var b bytes.Buffer
		u := &layer.Upper{Dir: dir, Lower: x, Flats: flats}
		if err := layer.WriteDiff(&b, u); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		upper, err := layer.Scan(bytes.NewReader(b.Bytes()))
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		merged, err := union.Merge(x.Tree(), upper, 1)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		got := checkIndex(t, merged, append(flats, bytes.NewReader(b.Bytes())), same)
		if !maps.Equal(got, want) {
			t.Fatalf("seed %d: got\n%s\nwant\n%s\nlayer\n%s", seed, lines(got), lines(want), strings.Join(tt.List(t, b.Bytes()), "\n"))
		}
		checkChanges(t, seed, u, x, got)
	}
}

func lines(m map[string]string) string {
	var s []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		s = append(s, k+": "+m[k])
	}
	return strings.Join(s, "\n")
}

// checkIndex lists a merged tree, and compares which names are one file.
func checkIndex(t *testing.T, merged *layer.Tree, flats []io.ReaderAt, same map[string]any) map[string]string {
	x, err := layer.Decode(merged.Encode())
	if err != nil {
		t.Fatal(err)
	}
	out, inodes := map[string]string{}, map[string]uint32{}
	var walk func(i uint32, p string)
	walk = func(i uint32, p string) {
		for k := range x.DirLen(i) {
			name, j := x.Dirent(i, k)
			n, q := x.Inode(j), path.Join(p, name)
			content := []byte{}
			if !n.IsDir() {
				if content, err = io.ReadAll(x.Reader(j, flats)); err != nil {
					t.Fatal(err)
				}
			}
			out[q] = fmt.Sprintf("%t %o %d %s", n.IsDir(), n.Mode&0o7777, n.UID, content)
			inodes[q] = j
			walk(j, q)
		}
	}
	walk(0, "")
	for p, i := range inodes {
		for q, j := range inodes {
			if (i == j) != (same[p] == same[q]) {
				t.Fatalf("%s and %s: one file %t, want %t", p, q, i == j, same[p] == same[q])
			}
		}
	}
	return out
}

// checkChanges compares Changes with the image and the tree now: A is new, D
// was there and C is in both, and whatever differs is listed.
func checkChanges(t *testing.T, seed uint64, u *layer.Upper, x *layer.Index, now map[string]string) {
	cs, err := layer.Changes(u)
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]byte{}
	for _, c := range cs {
		p := strings.TrimPrefix(c.Path, "/")
		_, before := x.Find(p)
		_, after := now[p]
		if want := map[[2]bool]byte{{true, true}: 'C', {true, false}: 'D', {false, true}: 'A'}[[2]bool{before, after}]; c.Kind != want || listed[p] != 0 {
			t.Fatalf("seed %d: %c %s, want %c once", seed, c.Kind, p, want)
		}
		listed[p] = c.Kind
	}
	for p := range now {
		if _, before := x.Find(p); !before && listed[p] != 'A' {
			t.Fatalf("seed %d: %s is new and not listed", seed, p)
		}
	}
}

package union

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"tiffin/image/layer"
	tt "tiffin/internal/test/tartest"
)

// The model: a file system is a map from clean paths to entries. It knows
// nothing of trees, and does what the specification says in the order in which
// it says so.
type ent struct {
	dir bool
	id  int64 // unique number of the tar entry, its time; 0 for an implied directory
	bad bool  // a hard link to nothing
}
type model map[string]*ent

var errNoTarget = fmt.Errorf("no target")

func under(p, dir string) bool { return dir == "" || strings.HasPrefix(p, dir+"/") }

func (m model) remove(p string, itself bool) {
	for q := range m {
		if under(q, p) && q != "" || itself && q == p {
			delete(m, q)
		}
	}
}

// step is one tar entry of the model's language.
type step struct {
	kind byte // 'd' directory, 'f' file, 'h' hard link, 'w' whiteout, 'o' opaque
	path string
	link string
	id   int64
}

func (s step) entry() tt.Entry {
	switch s.kind {
	case 'd':
		return tt.Dir(s.path, tt.Mtime(s.id, 0))
	case 'f':
		return tt.File(s.path, "", tt.Mtime(s.id, 0))
	case 'h':
		return tt.Hardlink(s.path, s.link)
	case 'w':
		return tt.Whiteout(s.path)
	}
	return tt.Opaque(s.path)
}

// apply puts a layer over the model.
func (m model) apply(steps []step) error {
	below := maps.Clone(m)
	own := map[string]bool{} // paths that this layer has a file of its own at
	for _, s := range steps {
		switch s.kind {
		case 'w':
			m.remove(s.path, true)
		case 'o':
			m.remove(s.path, false)
		}
	}
	mkdirs := func(dir string) {
		for i := range dir + "/" {
			if i == len(dir) || dir[i] == '/' {
				p := dir[:i]
				if e := m[p]; p != "" && (e == nil || !e.dir) {
					m[p] = &ent{dir: true}
				}
			}
		}
	}
	for _, s := range steps {
		if s.kind == 'o' {
			mkdirs(s.path)
			continue
		}
		mkdirs(parent(s.path))
		var e *ent
		switch s.kind {
		case 'w':
			continue
		case 'd':
			if old := m[s.path]; old != nil && old.dir {
				m[s.path] = &ent{dir: true, id: s.id}
				continue
			}
			e = &ent{dir: true, id: s.id}
		case 'f':
			e = &ent{id: s.id}
		case 'h':
			if e = m[s.link]; !own[s.link] {
				e = below[s.link]
			}
			if e == nil || e.dir {
				e = &ent{bad: true} // an error, unless the layer replaces it
			}
		}
		m.remove(s.path, true)
		for p := range own {
			if p == s.path || under(p, s.path) {
				delete(own, p)
			}
		}
		m[s.path] = e
		own[s.path] = !e.dir
	}
	for _, e := range m {
		if e.bad {
			return errNoTarget
		}
	}
	return nil
}

func parent(p string) string {
	if i := strings.LastIndexByte(p, '/'); i >= 0 {
		return p[:i]
	}
	return ""
}

// flatten lists a merged tree as the model does.
func flatten(t *layer.Tree) map[string]*file {
	out, list := map[string]*file{}, t.List()
	var walk func(i uint32, p string)
	walk = func(i uint32, p string) {
		for name, c := range list.Of(i) {
			q := strings.TrimPrefix(p+"/"+name, "/")
			out[q] = &file{t.Node(c), c}
			walk(c, q)
		}
	}
	walk(0, "")
	return out
}

type file struct {
	layer.Node
	ino uint32
}

// compare says how a tree differs from the model, or nothing.
func compare(tree *layer.Tree, m model) string {
	got := flatten(tree)
	for _, p := range slices.Sorted(maps.Keys(m)) {
		e, n := m[p], got[p]
		if n == nil {
			return fmt.Sprintf("%s is missing", p)
		}
		if n.IsDir() != e.dir || n.Mtime != e.id || n.Flags != 0 {
			return fmt.Sprintf("%s is directory %t, entry %d, flags %b; want %+v", p, n.IsDir(), n.Mtime, n.Flags, *e)
		}
		for q, f := range m { // the same file under two names, or not
			if same := got[q] != nil && got[q].ino == n.ino; !e.dir && (f == e) != same {
				return fmt.Sprintf("%s and %s: one file %t, want %t", p, q, same, f == e)
			}
		}
	}
	for p := range got {
		if m[p] == nil {
			return fmt.Sprintf("%s should not be there", p)
		}
	}
	return ""
}

// randomLayer makes a layer of a few entries, dropping those that Scan refuses.
func randomLayer(t *testing.T, rng *rand.Rand, id *int64) ([]step, *layer.Tree) {
	var steps []step
	var tree *layer.Tree
	for range 1 + rng.IntN(8) {
		*id++
		s := step{kind: "ddffffhhwo"[rng.IntN(10)], path: randomPath(rng), link: randomPath(rng), id: *id}
		if s.kind == 'o' && rng.IntN(4) == 0 {
			s.path = ""
		}
		next := append(slices.Clone(steps), s)
		var entries []tt.Entry
		for _, s := range next {
			entries = append(entries, s.entry())
		}
		if scanned, err := layer.Scan(bytes.NewReader(tt.Of(t, entries...))); err == nil {
			steps, tree = next, scanned
		}
	}
	if tree == nil {
		return randomLayer(t, rng, id)
	}
	return steps, tree
}

func randomPath(rng *rand.Rand) string {
	p := ""
	for range 1 + rng.IntN(3) {
		p = path.Join(p, string(rune('a'+rng.IntN(3))))
	}
	return p
}

func TestMergeDoesWhatTheNaiveModelDoes(t *testing.T) {
	refused := 0
	for seed := range uint64(3000) {
		rng := rand.New(rand.NewPCG(seed, 7))
		m, id := model{}, int64(0)
		var tree *layer.Tree
		var layers []*layer.Index
		var history [][]step
		for n := range uint16(1 + rng.IntN(5)) {
			steps, upper := randomLayer(t, rng, &id)
			history = append(history, steps)
			x, err := layer.Decode(upper.Encode())
			if err != nil {
				t.Fatal(err)
			}
			layers = append(layers, x)
			merged, err := Merge(tree, upper, n)
			if modelErr := m.apply(steps); (modelErr != nil) != (err != nil) {
				t.Fatalf("seed %d: error %v, want %v; layers %+v", seed, err, modelErr, history)
			}
			if err != nil {
				refused++
				break
			}
			tree = merged
			if diff := compare(tree, m); diff != "" {
				t.Fatalf("seed %d: %s; layers %+v", seed, diff, history)
			}
			checkExplain(t, seed, layers, tree)
		}
	}
	if refused == 0 || refused > 2500 {
		t.Errorf("%d of 3000 stacks ended with a hard link to nothing: the test has lost its balance", refused)
	}
}

// checkExplain compares Explain's hit with the layer that the merged inode
// says it is from, for every short path.
func checkExplain(t *testing.T, seed uint64, layers []*layer.Index, tree *layer.Tree) {
	got := flatten(tree)
	for _, p := range []string{"a", "b", "a/a", "a/b", "b/c/a"} {
		vs := Explain(layers, p)
		if len(vs) != len(layers) {
			t.Fatalf("%d verdicts for %d layers", len(vs), len(layers))
		}
		hit := -1
		for i, v := range vs {
			if v.Layer != len(layers)-1-i {
				t.Fatalf("verdict %d is of layer %d", i, v.Layer)
			}
			if v.Answer == Hit {
				hit = i
			}
		}
		n := got[p]
		if (n != nil) != (hit >= 0) {
			t.Fatalf("seed %d: %s exists: %t, verdicts %v", seed, p, n != nil, vs)
		}
		if n == nil {
			continue
		}
		x, v := layers[vs[hit].Layer], vs[hit]
		switch in := x.Inode(v.Inode); {
		case in.IsDir() != n.IsDir() && in.Flags&layer.HardLink == 0:
			t.Fatalf("seed %d: %s is a directory: %t, verdicts %v", seed, p, n.IsDir(), vs)
		case in.Flags&(layer.HardLink|layer.Implicit) == 0 && v.Layer != int(n.Layer):
			t.Fatalf("seed %d: %s is from layer %d, verdicts %v", seed, p, n.Layer, vs)
		}
	}
}

// A stack of layers, as entries of tarballs: by chance, valid, written out, and made smaller.

package mini

import (
	"archive/tar"
	"bytes"
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
)

// entry is one entry of a layer's tarball. Whiteouts are kinds of their own.
type entry struct {
	kind byte // 'd' directory, 'f' file, 'l' symbolic link, 'h' hard link, 'w' whiteout, 'o' opaque
	path string
	link string // of 'l' and 'h'
	data string // of 'f'
	mode int64  // of 'd' and 'f'
}

// String is a line as a person reads it.
func (e entry) String() string {
	switch e.kind {
	case 'd':
		return fmt.Sprintf("%s/  directory, mode %#o", e.path, e.mode)
	case 'f':
		return fmt.Sprintf("%s  file, mode %#o, %q", e.path, e.mode, e.data)
	case 'l':
		return e.path + "  symbolic link to " + e.link
	case 'h':
		return e.path + "  hard link to " + e.link
	}
	return e.header().Name + "  whiteout"
}

// header is the entry as it stands in the tarball: OCI image-spec v1.1 layer.md, "Whiteouts".
func (e entry) header() *tar.Header {
	h := &tar.Header{Name: e.path, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(e.data))}
	switch e.kind {
	case 'd':
		h.Typeflag, h.Name, h.Mode = tar.TypeDir, e.path+"/", e.mode
	case 'f':
		h.Mode = e.mode
	case 'l':
		h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, e.link, 0o777
	case 'h':
		h.Typeflag, h.Linkname = tar.TypeLink, e.link
	case 'w':
		h.Name = path.Join(path.Dir(e.path), ".wh."+path.Base(e.path))
	case 'o':
		h.Name = path.Join(e.path, ".wh..wh..opq")
	}
	return h
}

// stack is layers, the lowest first.
type stack [][]entry

// tarball is one layer of the stack.
func (s stack) tarball(n int) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range s[n] {
		if err := w.WriteHeader(e.header()); err != nil {
			return nil, err
		}
		if _, err := w.Write([]byte(e.data)); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return b.Bytes(), err
}

// String shows each layer with its entries, the lowest first.
func (s stack) String() string {
	var b strings.Builder
	for n, layer := range s {
		fmt.Fprintf(&b, "layer %d:\n", n)
		for _, e := range layer {
			fmt.Fprintf(&b, "  %s\n", e)
		}
	}
	return strings.TrimRight(b.String(), "\n")
}

// valid tells whether every program that follows the specification makes the same of the stack. Of
// what that leaves open nothing is in it: whiteouts of what is not there, several entries of one
// name, entries that reach through something else than a directory of the same layer, hard links to
// other layers, and a directory made anew without an entry of its own.
func (s stack) valid() bool {
	for n, layer := range s {
		var below tree
		if n > 0 {
			var err error
			if below, err = s[:n].merged(); err != nil {
				return false
			}
		}
		own := map[string]byte{}
		anew := map[string]bool{} // directories that hide what is below
		for _, e := range layer {
			if e.kind == 'w' || e.kind == 'o' {
				anew[e.path] = true
			} else if own[e.path] != 0 || e.kind == 'h' && own[e.link] != 'f' {
				return false
			} else {
				own[e.path] = e.kind
			}
		}
		for _, e := range layer {
			dirs := path.Dir(e.path)
			if e.kind == 'w' && below[e.path] == nil || e.kind == 'o' && own[e.path] != 'd' {
				return false
			}
			if e.kind == 'w' && own[dirs] != 'd' && dirs != "." && !below[dirs].isDir() {
				return false
			}
			for ; dirs != "."; dirs = path.Dir(dirs) {
				if k := own[dirs]; k != 0 && k != 'd' || k == 0 && anew[dirs] {
					return false
				}
			}
		}
	}
	_, err := s.merged()
	return err == nil
}

// random makes a valid stack of few names, so that layers meet.
func random(r *rand.Rand) stack {
	for {
		s := make(stack, 2+r.IntN(3))
		for n := range s {
			for i := range 1 + r.IntN(5) {
				s[n] = append(s[n], chance(r, s, n, i))
			}
		}
		if s.valid() {
			return s
		}
	}
}

func chance(r *rand.Rand, s stack, n, i int) entry {
	names := []string{"a", "b", "a/c", "a/d", "b/c", "a/c/e", "b/c/e", "f"}
	e := entry{kind: "ddddffffhhhlwwoo"[r.IntN(16)], path: names[r.IntN(len(names))], mode: 0o644}
	switch e.kind {
	case 'd':
		e.mode = []int64{0o755, 0o700, 0o711}[r.IntN(3)]
	case 'f':
		e.data, e.mode = fmt.Sprintf("%d.%d", n, i), []int64{0o644, 0o600, 0o755}[r.IntN(3)]
	case 'l':
		e.link = []string{"a", "b", "f", "../a", "/b"}[r.IntN(5)]
	case 'h':
		e.link = one(r, s[n], "f")
	case 'w':
		if n > 0 {
			e.path = one(r, s[r.IntN(n)], "dflh")
		}
	case 'o':
		e.path = one(r, s[n], "d")
	}
	return e
}

// one is the path of an entry of these kinds, "" if there is none.
func one(r *rand.Rand, layer []entry, kinds string) string {
	layer = slices.DeleteFunc(slices.Clone(layer), func(e entry) bool { return strings.IndexByte(kinds, e.kind) < 0 })
	if len(layer) == 0 {
		return ""
	}
	return layer[r.IntN(len(layer))].path
}

// smaller are the stacks that lack one layer, or one entry, of s.
func (s stack) smaller() (all []stack) {
	for n := range s {
		if len(s) > 1 {
			all = append(all, slices.Concat(s[:n], s[n+1:]))
		}
	}
	for n, layer := range s {
		for i := range layer {
			t := slices.Clone(s)
			t[n] = slices.Concat(layer[:i], layer[i+1:])
			all = append(all, t)
		}
	}
	return slices.DeleteFunc(all, func(t stack) bool { return !t.valid() })
}

// known are a stack for each rule of image/union, with which chance is not waited for.
func known() []stack {
	f := func(path, data string) entry { return entry{kind: 'f', path: path, data: data, mode: 0o644} }
	d := func(path string, mode int64) entry { return entry{kind: 'd', path: path, mode: mode} }
	w := func(path string) entry { return entry{kind: 'w', path: path} }
	o := func(path string) entry { return entry{kind: 'o', path: path} }
	l := func(path, link string) entry { return entry{kind: 'l', path: path, link: link} }
	h := func(path, link string) entry { return entry{kind: 'h', path: path, link: link} }
	return []stack{
		{{f("a", "0"), f("b", "0")}, {f("a", "1")}},
		{{d("a", 0o700), f("a/c", "0")}, {d("a", 0o755), f("a/d", "1")}},
		{{d("a", 0o700), f("a/c", "0")}, {f("a/d", "1")}},
		{{f("a", "0"), f("b", "0")}, {w("a")}},
		{{d("a", 0o755), f("a/c", "0")}, {w("a")}},
		{{d("a", 0o755), f("a/c", "0")}, {d("a", 0o755), o("a"), f("a/d", "1")}},
		{{d("a", 0o755), f("a/c", "0")}, {d("a", 0o755), f("a/d", "1"), o("a")}},
		{{d("a", 0o755), f("a/c", "0")}, {d("a", 0o711), f("a/d", "1"), w("a")}},
		{{d("a", 0o755), f("a/c", "0")}, {f("a", "1")}},
		{{f("a", "0")}, {d("a", 0o755), f("a/c", "1")}},
		{{d("a", 0o755), f("a/c", "0")}, {f("a", "1")}, {d("a", 0o755), f("a/d", "2")}},
		{{d("b", 0o755), f("b/c", "0"), l("a", "b")}, {f("a/c", "1")}},
		{{d("b", 0o755), f("b/c", "0"), l("a", "b")}, {d("a", 0o755), f("a/d", "1")}},
		{{f("b", "0"), l("a", "b")}, {f("a", "1")}},
		{{d("b", 0o755), f("b/c", "0"), l("a", "b")}, {w("a")}},
		{{d("a", 0o755), f("a/c", "0")}, {l("a", "b"), d("b", 0o755)}},
		{{f("a", "0"), h("b", "a")}, {f("f", "1")}},
		{{f("a", "0"), h("b", "a")}, {f("a", "1")}},
		{{f("a", "0"), h("b", "a")}, {w("a")}},
	}
}

// Stage 9: stacks of layers are merged by the program and by tiffin. If the trees differ, the stack
// is made as small as it can be and still differ, and the rule is named that it shows.

package mini

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"tiffin/image/layer"
	"tiffin/image/union"
)

const (
	knownStacks  = "merge makes of a stack for each rule what tiffin makes of it"
	randomStacks = "and of stacks made by chance"
)

// byChance is how many stacks by chance are tried.
const byChance = 12

func lookMerge(l *look) error {
	for _, part := range []struct {
		name   string
		stacks func() []stack
	}{{knownStacks, known}, {randomStacks, func() (all []stack) {
		r := rand.New(rand.NewPCG(rand.Uint64(), 0))
		for range byChance {
			all = append(all, random(r))
		}
		return all
	}}} {
		stacks := part.stacks()
		trees, err := l.merge(stacks)
		if err != nil {
			return err
		}
		for i, s := range stacks {
			d, err := s.judge(trees[i])
			if err != nil {
				return err
			}
			if d == nil {
				continue
			}
			if d, err = l.shrink(d); err != nil {
				return err
			}
			f := Finding{Name: part.name, Expected: d.expected(), Found: d.found(), Why: d.rule()}
			f.Evidence = "the smallest stack that differs\n" + d.stack.String()
			l.found[part.name] = f
			return errNotReached
		}
		l.ok(part.name, fmt.Sprintf("%d stacks", len(stacks)))
	}
	return nil
}

// outcome is what the program has made of a stack.
type outcome struct {
	tree tree
	bad  string // why it is none
}

// merge has the program merge stacks, all in one go.
func (l *look) merge(stacks []stack) ([]outcome, error) {
	dir, err := os.MkdirTemp(l.Dir, "stacks-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	for i, s := range stacks {
		at := filepath.Join(dir, fmt.Sprint(i))
		if err := os.MkdirAll(filepath.Join(at, "out"), 0o755); err != nil {
			return nil, err
		}
		for n := range s {
			b, err := s.tarball(n)
			if err != nil {
				return nil, err
			}
			if err := os.WriteFile(filepath.Join(at, fmt.Sprintf("%d.tar", n)), b, 0o644); err != nil {
				return nil, err
			}
		}
	}
	const script = `umask 022; i=0; while [ $i -lt $3 ]; do
		timeout 20 "$1" merge "$2/$i"/[0-9].tar "$2/$i/out" >"$2/$i/said" 2>&1 </dev/null; echo $? >"$2/$i/status"; i=$((i + 1))
		done`
	r, err := l.start(append([]string{"/bin/sh", "-c", script, "sh"}, append(l.mini(), dir, fmt.Sprint(len(stacks)))...)...)
	if err != nil {
		return nil, err
	}
	defer r.end()
	select {
	case <-r.done:
	case <-l.ctx.Done():
		return nil, l.ctx.Err()
	}
	var all []outcome
	for i := range stacks {
		at := filepath.Join(dir, fmt.Sprint(i))
		status, _ := l.files.ReadFile(filepath.Join(filepath.Base(dir), fmt.Sprint(i), "status"))
		said, _ := l.files.ReadFile(filepath.Join(filepath.Base(dir), fmt.Sprint(i), "said"))
		o := outcome{}
		if s := strings.TrimSpace(string(status)); s != "0" {
			o.bad = "status " + s + " " + string(said[:min(len(said), 300)])
		} else if o.tree, err = readTree(filepath.Join(at, "out")); err != nil {
			o.bad = err.Error()
		}
		all = append(all, o)
	}
	return all, nil
}

// deviation is a stack of which the program makes something else.
type deviation struct {
	stack       stack
	want        tree
	got         outcome
	path, other string // see difference
}

// judge compares what the program has made with tiffin's own; nil if it is the same.
func (s stack) judge(got outcome) (*deviation, error) {
	want, err := s.merged()
	if err != nil {
		return nil, err
	}
	d := &deviation{stack: s, want: want, got: got}
	if got.bad == "" {
		if d.path, d.other = difference(want, got.tree); d.path == "" {
			return nil, nil
		}
	}
	return d, nil
}

// shrink makes the stack smaller as long as one that lacks a layer or an entry differs, too.
func (l *look) shrink(d *deviation) (*deviation, error) {
	for {
		stacks := d.stack.smaller()
		if len(stacks) == 0 {
			return d, nil
		}
		trees, err := l.merge(stacks)
		if err != nil {
			return nil, err
		}
		var next *deviation
		for i, s := range stacks {
			n, err := s.judge(trees[i])
			if err != nil {
				return nil, err
			}
			// One that fails is another fault than one whose tree is wrong.
			if n != nil && (n.got.bad == "") == (d.got.bad == "") {
				next = n
				break
			}
		}
		if next == nil {
			return d, nil
		}
		d = next
	}
}

func (d *deviation) expected() string {
	switch {
	case d.got.bad != "":
		return "status 0"
	case d.other != "":
		return d.path + " and " + d.other + ": " + files(d.want[d.path].id == d.want[d.other].id)
	}
	return d.path + ": " + d.want[d.path].String()
}

func (d *deviation) found() string {
	switch {
	case d.got.bad != "":
		return d.got.bad
	case d.other != "":
		return files(d.want[d.path].id != d.want[d.other].id)
	}
	return d.got.tree[d.path].String()
}

func files(one bool) string {
	if one {
		return "one file of two names"
	}
	return "two files"
}

// rule names the rule of package union that the program breaks, by what decides the path there.
func (d *deviation) rule() string {
	want, got := d.want[d.path], d.got.tree[d.path]
	top, by := d.decides(d.path)
	switch {
	case d.got.bad != "":
		return "The program must take every stack that is valid, and end with 0."
	case d.other != "":
		return "A hard link is one more name of the same file, and stays that: link(2)."
	case strings.HasPrefix(filepath.Base(d.path), ".wh."):
		return "A whiteout is an order, no file: it must not be in the tree."
	case want == nil && d.throughLink():
		return "A symbolic link of a layer below is a name like any other: an entry below it replaces it by a directory, and nothing is written where it leads."
	case want == nil && by == union.Opaque:
		return "An opaque whiteout hides all that the layers below have in the directory."
	case want == nil && by == union.Whiteout:
		return "A whiteout hides the name, and all below it, in the layers below."
	case want == nil:
		return "What is no directory replaces a directory with all that is in it, and that does not come back."
	case got == nil && d.hides(top):
		return "A whiteout hides what is in the layers below, never what is in its own layer, wherever in the tarball it stands."
	case d.throughLink():
		return "A symbolic link of a layer below is a name like any other: the upper layer replaces it, and what it leads to stays as it is."
	case got == nil && want.isDir():
		return "A directory that is there in one layer is there."
	case got == nil:
		return "A directory over a directory has the entries of both: only what an upper layer names is replaced."
	case want.kind != got.kind:
		return "What the upper layer has is what is seen, whatever type is below: a directory, too, has to go for a file, and a file for a directory."
	case want.isDir() && d.implied(top):
		return "A directory that a layer only has entries in, and none of its own for, keeps the mode that it has below."
	case want.isDir():
		return "A directory of the upper layer has the upper's attributes."
	case d.linked():
		return "A file of the upper layer is a new one. Other names of the file below keep what they show: remove the name first, and do not write into the file."
	}
	return "What the upper layer has is what is seen: its text, its mode."
}

// decides is the layer that decides a path, and its answer.
func (d *deviation) decides(path string) (int, union.Answer) {
	trees, _, err := d.stack.layers()
	if err != nil {
		return 0, union.Miss
	}
	var all []*layer.Index
	for _, t := range trees {
		x, err := layer.Decode(t.Encode())
		if err != nil {
			return 0, union.Miss
		}
		all = append(all, x)
	}
	for _, v := range union.Explain(all, path) {
		if v.Answer != union.Miss && v.Answer != union.NotAsked {
			return v.Layer, v.Answer
		}
	}
	return 0, union.Miss
}

// has tells whether an entry of the stack fulfils a condition.
func (d *deviation) has(ok func(n int, e entry) bool) bool {
	for n, entries := range d.stack {
		for _, e := range entries {
			if ok(n, e) {
				return true
			}
		}
	}
	return false
}

// hides: the layer has a whiteout of the path, or of a directory above it, beside its own entry.
func (d *deviation) hides(layer int) bool {
	return d.has(func(n int, e entry) bool {
		return n == layer && (e.kind == 'w' || e.kind == 'o') && within(d.path, e.path)
	})
}

// throughLink: a layer has a symbolic link where one above it has something else.
func (d *deviation) throughLink() bool {
	return d.has(func(low int, l entry) bool {
		return l.kind == 'l' && d.has(func(n int, e entry) bool {
			return n > low && e.kind != 'w' && within(e.path, l.path)
		})
	})
}

// linked: the path, or the file that it was below, has several names.
func (d *deviation) linked() bool {
	return d.has(func(_ int, e entry) bool { return e.kind == 'h' && (e.path == d.path || e.link == d.path) })
}

// implied: the layer has entries below the path, and none for it.
func (d *deviation) implied(layer int) bool {
	return !d.has(func(n int, e entry) bool { return n == layer && e.path == d.path })
}

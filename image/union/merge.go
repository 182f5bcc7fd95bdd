// One layer is put over those below it. These are the merge rules, and nothing else is.

package union

import (
	"fmt"
	"maps"
	"strings"

	"tiffin/image/layer"
)

// Limits of a merged tree, so that its index can be numbered with 32 bits.
const (
	maxInodes = 16_000_000
	maxHeap   = 2 << 30 // bytes of names, link targets and attributes
)

// Merge puts layer number n (upper, as Scan or Index.Tree returned it) over
// the merged tree of layers 0 to n-1; lower is nil for n = 0. The result is a
// merged tree: no whiteouts, and every inode says which layer it is from.
//
// Neither argument is changed. The result shares with lower all that upper
// leaves alone, so nothing in either may be changed afterwards; all may be
// merged again, and encoded one after the other. Time and memory are those of
// upper and of the directories that it touches.
//
// Errors: a hard link to a file that no layer below has, and too many files.
func Merge(lower, upper *layer.Tree, n uint16) (*layer.Tree, error) {
	m := &merger{n: n, copies: map[*layer.Node]*layer.Node{}}
	out := &layer.Tree{Inodes: upper.Inodes, Heap: upper.Heap}
	if lower != nil {
		m.lower = lower.Root
		out.Inodes += lower.Inodes
		out.Heap += lower.Heap
	}
	if out.Inodes > maxInodes || out.Heap > maxHeap {
		return nil, fmt.Errorf("merge layer %d: the image has up to %d files with %d MiB of names; tiffin takes %d and %d",
			n, out.Inodes, out.Heap>>20, maxInodes, maxHeap>>20)
	}
	root, err := m.dir(m.lower, upper.Root, "")
	if err != nil {
		return nil, fmt.Errorf("merge layer %d: %w", n, err)
	}
	out.Root = root
	return out, nil
}

type merger struct {
	lower  *layer.Node // root of the layers below, nil if there are none
	n      uint16
	copies map[*layer.Node]*layer.Node // upper's files, so that hard links stay such
}

// dir merges directory above of the upper over below, which is nil unless the
// lower has a directory of that path. path is for errors.
func (m *merger) dir(below, above *layer.Node, path string) (*layer.Node, error) {
	d := m.copy(above)
	d.Flags &^= layer.Opaque | layer.Implicit
	if below != nil && above.Flags&layer.Implicit != 0 {
		d.Mode, d.UID, d.GID, d.Mtime, d.Nsec = below.Mode, below.UID, below.GID, below.Mtime, below.Nsec
		d.Xattrs, d.Layer = below.Xattrs, below.Layer
	}
	if above.Flags&layer.Opaque != 0 {
		below = nil
	}
	if below == nil {
		d.Children = make(map[string]*layer.Node, len(above.Children))
	} else {
		d.Children = maps.Clone(below.Children)
	}
	for name, c := range above.Children {
		switch {
		case c.Flags&layer.Whiteout != 0:
			delete(d.Children, name)
		case c.Flags&layer.HardLink != 0:
			target, err := m.resolve(c.Target)
			if err != nil {
				return nil, fmt.Errorf("%.300q is a hard link to %.300q, %w", path+"/"+name, c.Target, err)
			}
			d.Children[name] = target
		case c.IsDir():
			var b *layer.Node
			if below != nil {
				if b = below.Children[name]; b != nil && !b.IsDir() {
					b = nil // a directory in the place of a file starts anew
				}
			}
			sub, err := m.dir(b, c, path+"/"+name)
			if err != nil {
				return nil, err
			}
			d.Children[name] = sub
		default:
			f := m.copies[c]
			if f == nil {
				f = m.copy(c)
				m.copies[c] = f
			}
			d.Children[name] = f
		}
	}
	return d, nil
}

func (m *merger) copy(n *layer.Node) *layer.Node {
	c := *n
	c.Layer = m.n
	return &c
}

// resolve finds the file that a hard link of the upper leads to. It is looked
// for in the layers below as they were: the upper may replace or delete that
// very name and keep the file under the new one.
func (m *merger) resolve(target string) (*layer.Node, error) {
	n := m.lower
	for name := range strings.SplitSeq(target, "/") {
		if n == nil {
			break
		}
		if !n.IsDir() {
			return nil, fmt.Errorf("which reaches through something that is no directory")
		}
		n = n.Children[name]
	}
	if n == nil {
		return nil, fmt.Errorf("which no layer below has")
	}
	if n.IsDir() {
		return nil, fmt.Errorf("which is a directory")
	}
	return n, nil
}

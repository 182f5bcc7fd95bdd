// The merge rules: one layer is put over those below it.

package union

import (
	"errors"
	"fmt"

	"tiffin/image/layer"
)

// Limits of a merged tree, so that its index can be numbered with 32 bits.
var maxInodes = 16_000_000

const maxHeap = 2 << 30 // bytes of names, link targets and attributes

// Merge puts layer number n (upper, as Scan or ReadTree returned it) over
// the merged tree of layers 0 to n-1; lower is nil for n = 0. The result is a
// merged tree: no whiteouts, and every inode says which layer it is from.
//
// Both arguments are used up: the result is one of them, changed. Time and memory are those of
// upper.
//
// Errors: a hard link to a file that no layer below has, and too many files.
func Merge(lower, upper *layer.Tree, n uint16) (*layer.Tree, error) {
	m := &merger{lower: lower, upper: upper, n: n, list: upper.List()}
	var err error
	if lower == nil {
		m.lower, err = upper, m.bottom(0, "")
	} else {
		err = m.merge()
	}
	if err != nil {
		return nil, fmt.Errorf("merge layer %d: %w", n, err)
	}
	m.lower.FlatSize = 0
	return m.lower, nil
}

type merger struct {
	lower, upper *layer.Tree
	list         *layer.Listing // of upper
	n            uint16
	files        []uint32 // of upper's inodes: 1 + the number of the same file in lower, so that hard links stay such
}

// bottom makes a merged tree of the lowest layer: below it there is nothing.
func (m *merger) bottom(dir uint32, path string) error {
	m.upper.Mark(dir, 0, layer.Opaque|layer.Implicit, m.n)
	for name, i := range m.list.Of(dir) {
		switch flags := m.upper.Flags(i); {
		case flags&layer.Whiteout != 0:
			m.upper.Remove(dir, name)
		case flags&layer.HardLink != 0:
			return noTarget(path+"/"+name, m.upper.Node(i).Target, errors.New("no layer below has"))
		case m.upper.IsDir(i):
			if err := m.bottom(i, path+"/"+name); err != nil {
				return err
			}
		default:
			m.upper.Mark(i, 0, 0, m.n)
		}
	}
	return nil
}

func noTarget(path, target string, why error) error {
	return fmt.Errorf("%.300q is a hard link to %.300q, which %w", path, target, why)
}

func (m *merger) merge() error {
	if inodes, heap := m.lower.Len()+m.upper.Len(), m.lower.Weight()+m.upper.Weight(); inodes > maxInodes || heap > maxHeap {
		return fmt.Errorf("the image has up to %d files with %d MiB of names; tiffin takes %d and %d",
			inodes, heap>>20, maxInodes, maxHeap>>20)
	}
	m.files = make([]uint32, m.upper.Len())
	if err := m.resolve(0, ""); err != nil {
		return err
	}
	if m.upper.Flags(0)&layer.Opaque != 0 {
		for name := range m.lower.List().Of(0) {
			m.lower.Remove(0, name)
		}
	}
	m.attributes(0, 0)
	m.dir(0, 0)
	return nil
}

// resolve finds the files that hard links of the upper lead to, before anything is changed: the
// upper may replace or delete that very name and keep the file under the new one.
func (m *merger) resolve(dir uint32, path string) error {
	for name, i := range m.list.Of(dir) {
		if m.upper.IsDir(i) {
			if err := m.resolve(i, path+"/"+name); err != nil {
				return err
			}
		} else if m.upper.Flags(i)&layer.HardLink != 0 && m.files[i] == 0 {
			target := m.upper.Node(i).Target
			file, err := m.lower.Find(target)
			if err != nil {
				return noTarget(path+"/"+name, target, fmt.Errorf("in the layers below %w", err))
			}
			m.files[i] = file + 1
		}
	}
	return nil
}

// dir merges one directory, and those in it: above is its number in the upper tree, below in the
// lower one, which is changed. Its first case decides a whiteout.
func (m *merger) dir(below, above uint32) {
	for name, i := range m.list.Of(above) {
		old, ok := m.lower.Lookup(below, name)
		switch flags := m.upper.Flags(i); {
		case flags&layer.Whiteout != 0:
			m.lower.Remove(below, name)
		case m.upper.IsDir(i):
			if !ok || !m.lower.IsDir(old) { // in the place of a file it starts anew
				old = m.add(i)
				m.lower.Put(below, name, old)
			} else {
				if flags&layer.Opaque != 0 { // a new one with the attributes of the old
					n := m.lower.Node(old)
					old = m.lower.Add(&n)
					m.lower.Put(below, name, old)
				}
				m.attributes(old, i)
			}
			m.dir(old, i)
		default:
			if m.files[i] == 0 {
				m.files[i] = m.add(i) + 1
			}
			m.lower.Put(below, name, m.files[i]-1)
		}
	}
}

// add makes an inode of the lower like i of the upper.
func (m *merger) add(i uint32) uint32 {
	n := m.node(i)
	return m.lower.Add(&n)
}

// attributes gives directory below of the lower tree the attributes of above, if that has any.
func (m *merger) attributes(below, above uint32) {
	if m.upper.Flags(above)&layer.Implicit == 0 {
		n := m.node(above)
		m.lower.Set(below, &n)
	}
}

func (m *merger) node(i uint32) layer.Node {
	n := m.upper.Node(i)
	n.Flags &^= layer.Opaque | layer.Implicit
	n.Layer = m.n
	return n
}

// The layers of an image, opened together with what they are merged to.

package union

import (
	"golang.org/x/sys/unix"

	"tiffin/image/layer"
)

// Stack is the layers of an image, and perhaps what a container has changed as one more on top,
// together with what they are merged to.
type Stack struct {
	Layers []*layer.Index // of single layers; [0] is the bottom
	Merged *layer.Index
}

// Push puts a layer on top.
func (s *Stack) Push(t *layer.Tree) error {
	top, err := layer.Decode(t.Encode())
	if err != nil {
		return err
	}
	merged, err := Merge(s.Merged.Tree(), t, uint16(len(s.Layers)))
	if err != nil {
		return err
	}
	all, err := layer.Decode(merged.Encode())
	if err != nil {
		return err
	}
	s.Layers, s.Merged = append(s.Layers, top), all
	return nil
}

// Usage counts regular files of one layer that are not empty; one with several names counts once.
type Usage struct {
	Files       int   `json:"files"`
	Bytes       int64 `json:"bytes"`
	Hidden      int   `json:"hiddenFiles"` // of these, those that no path of the merged tree leads to
	HiddenBytes int64 `json:"hiddenBytes"` // which the layer carries for nothing
}

func counts(n *layer.Inode) bool {
	return n.Mode&unix.S_IFMT == unix.S_IFREG && n.Size > 0 && n.Flags&(layer.HardLink|layer.Whiteout) == 0
}

// Usage tells, for each layer from the bottom, what it has at path and below. Symbolic links in
// path are not followed. It takes a walk over all inodes of the stack.
func (s *Stack) Usage(path string) []Usage {
	visible := s.visible()
	out := make([]Usage, len(s.Layers))
	for i, x := range s.Layers {
		start, ok := x.Find(path)
		if !ok {
			continue
		}
		seen := map[uint32]bool{}
		u := &out[i]
		walk(x, start, func(ino uint32) {
			n := x.Inode(ino)
			if !counts(n) || seen[ino] {
				return
			}
			seen[ino] = true
			u.Files++
			u.Bytes += n.Size
			if !visible[key(n, i)] {
				u.Hidden++
				u.HiddenBytes += n.Size
			}
		})
	}
	return out
}

// Hides tells, for each layer from the bottom, which files of the layers below nobody sees because
// of it: it is the first to replace or delete them, by their last name.
func (s *Stack) Hides() []Usage {
	visible := s.visible()
	out := make([]Usage, len(s.Layers))
	for i, x := range s.Layers {
		hider := map[uint32]int{} // by inode
		var walk func(dir uint32, path string)
		walk = func(dir uint32, path string) {
			for k := range x.DirLen(dir) {
				name, ino := x.Dirent(dir, k)
				if n := x.Inode(ino); n.IsDir() {
					walk(ino, path+"/"+name)
				} else if counts(n) && !visible[key(n, i)] {
					hider[ino] = max(hider[ino], s.hider(i, path+"/"+name))
				}
			}
		}
		walk(0, "")
		for ino, by := range hider {
			out[by].Files++
			out[by].Bytes += x.Inode(ino).Size
		}
	}
	return out
}

// hider is the first layer above number i that takes a path from it.
func (s *Stack) hider(i int, path string) int {
	for by := i + 1; by < len(s.Layers); by++ {
		if v := Explain(s.Layers[i:by+1], path); v[by-i].Answer != Hit {
			return by
		}
	}
	return i
}

// source is what a file of the merged tree has in common with the same file in its layer: the
// place of its data, which belongs to it alone because every file has a header before it.
type source struct {
	layer  int
	offset int64
}

func key(n *layer.Inode, layer int) source { return source{layer, n.Offset} }

// visible is the set of files in the merged tree.
func (s *Stack) visible() map[source]bool {
	set := make(map[source]bool, s.Merged.Len())
	for i := range uint32(s.Merged.Len()) {
		if n := s.Merged.Inode(i); n.Mode&unix.S_IFMT == unix.S_IFREG && n.Size > 0 {
			set[key(n, int(n.Layer))] = true
		}
	}
	return set
}

// Finding is what one layer has at a path, by itself, and what that counts for.
type Finding struct {
	Verdict
	Decides bool         // the first that ends the question, or that has the path
	Entry   *layer.Inode // what the layer has there, even if it was not asked; nil: nothing
	Usage   Usage        // of that, and of all below; Ask leaves it out
}

// Why asks all layers for path, from the top down. Symbolic links are not followed.
func (s *Stack) Why(path string) []Finding {
	usage, out := s.Usage(path), s.Ask(path)
	for i := range out {
		out[i].Usage = usage[out[i].Layer]
	}
	return out
}

// Ask is Why without the sums, for which that walks over all inodes.
func (s *Stack) Ask(path string) []Finding {
	var out []Finding
	decided := false
	for _, v := range Explain(s.Layers, path) {
		f := Finding{Verdict: v}
		if !decided && v.Answer != Miss && v.Answer != NotAsked {
			f.Decides, decided = true, true
		}
		if i, ok := s.Layers[v.Layer].Find(path); ok && s.Layers[v.Layer].Inode(i).Flags&layer.Whiteout == 0 {
			f.Entry = s.Layers[v.Layer].Inode(i)
		}
		out = append(out, f)
	}
	return out
}

// walk calls f for inode i and all below it.
func walk(x *layer.Index, i uint32, f func(uint32)) {
	f(i)
	for k := range x.DirLen(i) {
		_, c := x.Dirent(i, k)
		walk(x, c, f)
	}
}

// What is read of the layers at the beginning: whoever starts the same program on the same image
// again can ask the kernel for it ahead of time.

package fs

import (
	"cmp"
	"slices"
	"sync"
)

// Span is a part of a file, in bytes.
type Span struct {
	Path     string // from the root of the file system
	Off, Len int64
}

// maxReads is how many READs are remembered: 128 KiB each as a rule (atOnce).
const maxReads = 256

// firstReads remembers the first READs of files that no change has touched.
type firstReads struct {
	mu   sync.Mutex
	done bool
	all  []lowerRead
}

type lowerRead struct {
	inode    uint32
	from, to int64 // bytes
}

// add remembers a READ.
func (r *firstReads) add(inode uint32, off, n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done = r.done || len(r.all) == maxReads; !r.done {
		r.all = append(r.all, lowerRead{inode, off, off + n})
	}
}

// FirstReads ends the remembering of what is read of the layers, and returns it: the files in the
// order in which they were first read, the parts of each in theirs, overlapping ones joined.
func (f *FS) FirstReads() []Span {
	r := &f.reads
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done = true
	rank := map[uint32]int{}
	for i, a := range r.all {
		if _, ok := rank[a.inode]; !ok {
			rank[a.inode] = i
		}
	}
	slices.SortFunc(r.all, func(a, b lowerRead) int {
		return cmp.Or(rank[a.inode]-rank[b.inode], cmp.Compare(a.from, b.from))
	})
	var spans []Span
	for i, a := range r.all {
		if i > 0 && a.inode == r.all[i-1].inode {
			last := &spans[len(spans)-1]
			if end := last.Off + last.Len; a.from <= end {
				last.Len = max(end, a.to) - last.Off
				continue
			}
		}
		spans = append(spans, Span{f.x.Path(a.inode), a.from, a.to - a.from})
	}
	r.all = nil
	return spans
}

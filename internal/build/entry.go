// One file of a layer, and how records keep it.

package build

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/image/layer"
)

// entry is a file of the layer.
type entry struct {
	file
	from    *source // with its content; nil: it has none
	path    string  // in from
	sum     string  // SHA-256 of the content, once digest has read it
	first   string  // once digest has seen it: of a file with several names, the first of them; "" for that itself
	implied bool    // a directory that is there because of what is in it; what is copied comes first
	kept    bool    // implied, and the image's: it stays as it is
}

// source is a tree that files are taken from.
type source struct {
	tree
	number uint64 // in delta.trees, from 1
}

const (
	isLinked = 1 << iota
	isImplied
	isKept
)

// encode makes a value of an entry, for a record.
func (e *entry) encode(b []byte) []byte {
	f := fields{b: b}
	flags, from := uint64(0), uint64(0)
	for i, set := range [...]bool{e.linked, e.implied, e.kept} {
		if set {
			flags |= 1 << i
		}
	}
	if e.from != nil {
		from = e.from.number
	}
	for _, n := range []uint64{
		uint64(e.mode), uint64(e.uid), uint64(e.gid), uint64(e.rdev), uint64(e.size), uint64(e.mtime.Unix()), uint64(e.mtime.Nanosecond()),
		uint64(e.ctime), e.inode.dev, e.inode.ino, flags, from, uint64(len(e.xattrs)),
	} {
		f.putNumber(n)
	}
	for _, a := range e.xattrs {
		f.putText(a.Name)
		f.putText(a.Value)
	}
	for _, s := range []string{e.target, e.path, e.sum, e.first} {
		f.putText(s)
	}
	return f.b
}

// decode reads what encode has made; sources are those of the delta that it is from, if they count.
func (e *entry) decode(b []byte, sources []*source) error {
	f := fields{b: b}
	*e = entry{file: file{mode: uint32(f.number()), uid: uint32(f.number()), gid: uint32(f.number()), rdev: uint32(f.number()), size: int64(f.number())}}
	e.mtime = time.Unix(int64(f.number()), int64(f.number()))
	e.ctime, e.inode = int64(f.number()), inode{f.number(), f.number()}
	flags, from, xattrs := f.number(), f.number(), f.number()
	e.linked, e.implied, e.kept = flags&isLinked != 0, flags&isImplied != 0, flags&isKept != 0
	if from > 0 && from <= uint64(len(sources)) {
		e.from = sources[from-1]
	}
	for ; xattrs > 0 && !f.bad; xattrs-- {
		e.xattrs = append(e.xattrs, layer.Xattr{Name: f.text(), Value: f.text()})
	}
	e.target, e.path, e.sum, e.first = f.text(), f.text(), f.text(), f.text()
	if f.bad {
		return errors.New("a record is damaged")
	}
	return nil
}

// counting is what the digest of a layer depends on: not the times, nor where the file is from.
func (e *entry) counting() entry {
	return entry{file: file{mode: e.mode, uid: e.uid, gid: e.gid, rdev: e.rdev, target: e.target, xattrs: e.xattrs, mtime: time.Unix(0, 0)}, sum: e.sum, first: e.first}
}

// replaces is an error if e cannot come where was is, of the same instruction or the image.
func (e *entry) replaces(was *file, path string) error {
	if was.isDir() != e.isDir() && (was.isDir() || !was.is(unix.S_IFLNK)) {
		return errors.New("cannot copy to " + shown(path) + ": a directory and a file do not replace each other")
	}
	return nil
}

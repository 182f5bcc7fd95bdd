// Finding names. A reply is good for ever, also the one
// that says there is no such name.

package fs

import (
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"tiffin/image/layer"
)

const (
	rootID    = fuse.FUSE_ROOT_ID
	nameMax   = 255 // bytes, NAME_MAX
	xattrCaps = "security.capability"
)

// reserved reports whether no file may have this name: no layer could hold it.
// OCI image-spec v1.1 layer.md, "Whiteouts".
func reserved(name string) bool { return strings.HasPrefix(name, layer.WhiteoutPrefix) }

// Lookup is FUSE_LOOKUP.
func (f *FS) Lookup(_ <-chan struct{}, in *fuse.InHeader, name string, out *fuse.EntryOut) (st fuse.Status) {
	c := f.begin(opLookup, in, name)
	defer c.end(&st)
	out.EntryValid, out.AttrValid = f.valid, f.valid
	if d, ok := f.ids.lowerOnly(in.NodeId); ok {
		c.explain(f, d, name)
		if i, ok := f.x.Lookup(d, name); ok {
			if _, ok := f.ids.lowerOnly(uint64(i) + 1); ok {
				c.layer(f.x.Inode(i).Layer)
				f.lowerEntry(i, out)
				return fuse.OK
			}
		} else {
			return f.missing(name, out)
		}
	}
	if reserved(name) {
		return f.missing(name, out)
	}
	again, err := f.lookup(c, in.NodeId, name, false, out)
	if again {
		_, err = f.lookup(c, in.NodeId, name, true, out)
	}
	return status(err)
}

// lookup is Lookup under the lock of tree: the write lock if something may have to be loaded. again
// says that it must.
func (f *FS) lookup(c *call, id uint64, name string, load bool, out *fuse.EntryOut) (again bool, err error) {
	if load {
		f.tree.Lock()
		defer f.tree.Unlock()
	} else {
		f.tree.RLock()
		defer f.tree.RUnlock()
	}
	p, err := f.byID(id)
	if err != nil {
		return false, err
	}
	r := found{lower: noLower}
	if p.n == nil {
		r = f.findLower(p.lower, name)
	} else if r, again, err = f.find(p.n, name, load); again || err != nil {
		return again, err
	}
	if r.n != nil && r.n.isDir() && r.n.dir == nil && !load {
		return true, nil // its attributes need its listing
	}
	if p.n != nil && (r.n == nil || !r.n.hasUpper()) && !r.white {
		if d, ok := p.n.lowerDir(); ok {
			c.explain(f, d, name)
		}
		c.hidden(f, p.n)
	}
	if !r.ok() {
		c.whiteout(r.white)
		if st := f.missing(name, out); !st.Ok() {
			return false, syscall.Errno(st)
		}
		return false, nil
	}
	return false, f.entry(c, r, out)
}

// missing is the reply that the kernel remembers as "no such name": node id 0. A name too long for
// any file is ENAMETOOLONG in each system call: path_resolution(7), "Length limit".
func (f *FS) missing(name string, out *fuse.EntryOut) fuse.Status {
	if len(name) > nameMax {
		return fuse.Status(syscall.ENAMETOOLONG)
	}
	out.NodeId = 0
	return fuse.OK
}

// lowerEntry fills in the reply about lower inode i, which has no node, and
// counts it.
func (f *FS) lowerEntry(i uint32, out *fuse.EntryOut) {
	out.NodeId, out.Generation = uint64(i)+1, 1
	out.EntryValid, out.AttrValid = f.valid, f.valid
	f.lowerAttr(i, &out.Attr)
	f.ids.count[i].Add(1)
}

// entry fills in the reply about r and counts it. tree locked.
func (f *FS) entry(c *call, r found, out *fuse.EntryOut) error {
	if r.n == nil {
		c.layer(f.x.Inode(r.lower).Layer)
		f.lowerEntry(r.lower, out)
		return nil
	}
	c.node(f, r.n)
	if err := f.nodeAttr(r.n, &out.Attr); err != nil {
		return err
	}
	out.NodeId, out.Generation = r.n.id, 1
	out.EntryValid, out.AttrValid = f.valid, f.valid
	f.ids.remember(r.n, r.n.lower)
	return nil
}

// Readlink is FUSE_READLINK; the kernel caches the answer.
func (f *FS) Readlink(_ <-chan struct{}, in *fuse.InHeader) (target []byte, st fuse.Status) {
	c := f.begin(opReadlink, in, "")
	defer c.end(&st)
	if i, ok := f.ids.lowerOnly(in.NodeId); ok {
		c.layer(f.x.Inode(i).Layer)
		return []byte(f.x.Target(i)), fuse.OK
	}
	n, h, err := f.openID(in.NodeId)
	if err != nil {
		return nil, status(err)
	}
	if h == nil {
		return []byte(f.x.Target(n.lower)), fuse.OK
	}
	defer f.fds.put(h)
	c.upper()
	buf := make([]byte, syscall.PathMax)
	k, err := pread(h.fd, buf, 0)
	return buf[:k], status(err)
}

// Which number means which file, and how long the
// server remembers it.
//
// A node id below Index.Len()+1 is a lower inode number plus one, for ever,
// whether the file still is in its layer or has been copied up; a larger one
// was handed out, once, to a file that only the upper directory has. Only a
// file that has an upper part, or has lost its last name, has a node.

package fs

import (
	"sync"
	"sync/atomic"
	"syscall"

	"tiffin/image/layer"
	"tiffin/image/sidecar"
)

// noLower is the lower inode number of what no layer has.
const noLower = ^uint32(0)

// upperIno marks the inode numbers of files that only the upper directory has:
// the number of the real file with this bit, so that a restart keeps it.
const upperIno = 1 << 40

// place is a name of an upper file: a directory's node, or nil for Work, and
// a name in it.
type place struct {
	dir  *node
	name string
}

// node is a file with an upper part (at is set), or a lower one that has lost
// its last name (gone is set, and perhaps at, in Work).
type node struct {
	id    uint64
	lower uint32 // origin, or noLower
	ino   uint64 // inode number of the upper file
	typ   uint32 // S_IFMT bits of its mode

	// Guarded by FS.tree.
	at      place   // a name the upper file has; at.name == "": no upper part
	more    []place // other names of it that are known
	parked  bool    // at is a name in Work that nobody but the server sees
	held    *handle // the upper file has no name at all, and this keeps it: at is no name of it
	partial bool    // it lacks some of its origin's names
	gone    bool    // no name is left that a lookup could find
	kids    int     // nodes that have a place in this directory
	moved   bool    // a directory that is not where its origin was: kept, so that whereIs finds it
	dir     *dirState

	lookups atomic.Int64 // what the kernel holds; only if lower == noLower

	// mu guards what follows. Data may be written under the read lock; the
	// write lock is for what makes the bytes come from elsewhere: copy-up.
	mu       sync.RWMutex
	stat     layer.Stat  // as shown
	times    stamps      // as shown
	unsaid   atomic.Bool // the kernel has not said when it was written to
	ctimed   bool        // there is a ctime attribute
	override bool        // there is an override_stat attribute
	metacopy bool        // the data is still the origin's
	tail     bool        // …, and after it comes the upper file's own. Without metacopy: see dropMark
	caps     bool        // has security.capability
	xattrs   bool        // has some attribute to show

	fd   *handle       // guarded by fdCache.mu
	side *sidecar.File // its attributes, if the disk has none; has a lock of its own
}

func (n *node) isDir() bool    { return n.typ == syscall.S_IFDIR }
func (n *node) isReg() bool    { return n.typ == syscall.S_IFREG }
func (n *node) hasUpper() bool { return n.at.name != "" }

// show sets what a new node is shown as.
func (n *node) show(s layer.Stat) { n.stat, n.typ = s, s.Mode&syscall.S_IFMT }

// shownIno is st_ino and d_ino of the node.
func (n *node) shownIno() uint64 {
	if n.lower != noLower {
		return uint64(n.lower) + 1
	}
	return n.ino | upperIno
}

// ids is the table of nodes and the count of what the kernel remembers.
type ids struct {
	has   []atomic.Uint32 // bit i: lower inode i has a node
	count []atomic.Uint32 // lookups of lower inode i that the kernel has not forgotten

	// Guarded by FS.tree.
	nodes map[uint64]*node // by node id
	byIno map[uint64]*node // by real inode number: files without origin, and those with several names
	next  uint64           // next id for a file without origin
}

func (t *ids) init(n int) {
	t.has = make([]atomic.Uint32, (n+31)/32)
	t.count = make([]atomic.Uint32, n)
	t.nodes = map[uint64]*node{}
	t.byIno = map[uint64]*node{}
	t.next = uint64(n) + 1
}

// lowerOnly gives the lower inode of an id that has no node: the fast path,
// without a lock. What it says can only change by a request of its own kind
// that the kernel orders against this one.
func (t *ids) lowerOnly(id uint64) (i uint32, ok bool) {
	if id == 0 || id > uint64(len(t.count)) {
		return 0, false
	}
	i = uint32(id - 1)
	return i, t.has[i/32].Load()>>(i%32)&1 == 0
}

// add enters n into the table, with a new id if it has no origin. tree locked.
func (t *ids) add(n *node) {
	if n.lower == noLower {
		n.id = t.next
		t.next++
		t.byIno[n.ino] = n
	} else {
		n.id = uint64(n.lower) + 1
		t.has[n.lower/32].Or(1 << (n.lower % 32))
	}
	t.nodes[n.id] = n
}

// remove takes n out of the table.
func (t *ids) remove(n *node) {
	delete(t.nodes, n.id)
	if t.byIno[n.ino] == n {
		delete(t.byIno, n.ino)
	}
	if n.lower != noLower {
		t.has[n.lower/32].And(^uint32(1 << (n.lower % 32)))
	}
}

// remember counts a reply that gives the kernel a reference.
func (t *ids) remember(n *node, lower uint32) {
	if n != nil && n.lower == noLower {
		n.lookups.Add(1)
	} else {
		t.count[lower].Add(1)
	}
}

// held reports whether the kernel may still ask about n.
func (t *ids) held(n *node) bool {
	if n.lower == noLower {
		return n.lookups.Load() > 0
	}
	return n.id == rootID || t.count[n.lower].Load() > 0
}

// Forget is FUSE_FORGET: the kernel has dropped nlookup references.
func (f *FS) Forget(id, nlookup uint64) {
	f.counts[opForget].Add(1)
	if i, ok := f.ids.lowerOnly(id); ok {
		f.ids.count[i].Add(^uint32(nlookup - 1))
		return
	}
	f.tree.Lock()
	defer f.tree.Unlock()
	n := f.ids.nodes[id]
	if n == nil {
		return
	}
	if n.lower == noLower {
		n.lookups.Add(-int64(nlookup))
	} else {
		f.ids.count[n.lower].Add(^uint32(nlookup - 1))
	}
	f.release(n)
	for _, n := range f.idle {
		f.release(n)
	}
	f.idle = nil
}

// release drops n, and then the directories above it, as far as nobody needs
// them: all a node knows can be read again from the upper directory. tree locked.
func (f *FS) release(n *node) {
	for n != nil && n.kids == 0 && n != f.root && (!n.moved || n.gone) && !f.ids.held(n) {
		if f.ids.nodes[n.id] != n {
			return
		}
		f.saveTimes(n)
		f.fds.drop(n)
		up := n.at.dir
		f.forgetPlaces(n)
		if n.held != nil {
			f.fds.put(n.held) // the last of it, and of the file
			f.held--
		} else if n.parked {
			f.discard(n)
		}
		f.ids.remove(n)
		n = up
	}
}

// forgetPlaces takes n out of the directories that have it.
func (f *FS) forgetPlaces(n *node) {
	for _, p := range append([]place{n.at}, n.more...) {
		if p.dir == nil {
			continue
		}
		p.dir.kids--
		if e := p.dir.dir.ents[p.name]; e != nil && e.node == n {
			e.node = nil
		}
		if p.dir != n.at.dir {
			f.release(p.dir)
		}
	}
}

// addPlace records that the upper file of n has another name.
func (n *node) addPlace(p place) {
	if p.dir != nil {
		p.dir.kids++
	}
	if n.at.name == "" {
		n.at = p
		return
	}
	n.more = append(n.more, p)
}

// dropPlace records that the upper file of n no longer has the name p. It
// reports whether another name is known.
func (n *node) dropPlace(p place) bool {
	if p.dir != nil {
		p.dir.kids--
	}
	if n.at != p {
		for i, q := range n.more {
			if q == p {
				n.more = append(n.more[:i], n.more[i+1:]...)
				break
			}
		}
		return true
	}
	n.at = place{}
	if len(n.more) == 0 {
		return false
	}
	n.at, n.more = n.more[len(n.more)-1], n.more[:len(n.more)-1]
	return true
}

// Mount points that a container's start has made do not count as changes, unless something was put
// in them.

package layer

import "golang.org/x/sys/unix"

// prune removes from the tree of an upper directory what Skip names, if it is
// still an empty file or directory. Directories on the way to it that have no
// other change go too. path is that of n, "" for the root; touched says that
// something below n was removed.
func (u *Upper) prune(n *upNode, path string) (touched bool) {
	for name, c := range n.kids {
		p := path + "/" + name
		went := c.isDir() && u.prune(c, p)
		touched = touched || went
		if len(c.kids) > 0 || len(c.whiteouts) > 0 || n.whiteouts[name] {
			continue
		}
		if u.Skip(p) && u.unused(c, p) || went && u.incidental(c, p) {
			delete(n.kids, name)
			touched = true
		}
	}
	return touched
}

// unused reports whether n, a leaf at path, is as it was made, and hides
// nothing of the image.
func (u *Upper) unused(n *upNode, path string) bool {
	if n.hasOrigin || !n.isDir() && (n.size > 0 || n.stat.Mode&unix.S_IFMT != unix.S_IFREG) {
		return false
	}
	if u.Lower == nil {
		return true
	}
	_, hides := u.Lower.Find(path)
	return !hides
}

// incidental reports whether directory n at path, whose contents were all removed,
// was made or copied up only to hold them.
func (u *Upper) incidental(n *upNode, path string) bool {
	if !n.hasOrigin {
		return u.unused(n, path)
	}
	below, ok := u.Lower.Find(path)
	was := u.Lower.Inode(n.origin)
	return ok && below == n.origin && was.Mode == n.stat.Mode && was.UID == n.stat.UID && was.GID == n.stat.GID
}

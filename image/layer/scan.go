// A tarball becomes a tree in one pass, by the rules of OCI image-spec v1.1 layer.md. What breaks
// them is an error that names the entry.

package layer

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Limits of a layer. They bound the memory that Scan takes whatever it is
// given: about 400 bytes an inode and maxHeap.
const (
	maxInodes = 1_000_000 // entries, and directories implied by their names
	maxHeap   = 256 << 20 // bytes of names, link targets, attributes and sparse maps
	pathMax   = 4095      // PATH_MAX of linux/limits.h, without the NUL
	xattrMax  = 65536     // XATTR_SIZE_MAX
	idMax     = 1<<32 - 2 // -1 means "leave it" to chown(2)

	aufsPrefix = ".wh..wh."
)

// Scan reads one uncompressed tarball to the end of r and returns the tree in
// it. Offsets are those of the stream; the bytes are not kept. If r has
// bufio's Discard method, data is skipped with it.
//
// The tree is that of the layer alone: whiteouts are in it as names, and what
// it needs of the layers below is marked (see the flags of Inode). The last
// of several entries with one name counts. A leading "/" or "./" of a name is
// dropped. Refused, with an error that names the entry: a name with "..", an
// entry or hard link that reaches through something that is no directory in
// this layer, and whatever exceeds Linux' limits or those above.
func Scan(r io.Reader) (*Tree, error) {
	s := &scanner{tarReader: tarReader{stream{r: r, buf: make([]byte, 64<<10)}}, root: NewDir(0o755)}
	s.root.Flags = Implicit
	for {
		m, err := s.read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		if err := s.add(m); err != nil {
			return nil, m.bad("%w", err)
		}
	}
	// What follows the end of the archive is no part of it, as for tar(1), but
	// it is part of the digest.
	if err := s.drain(); err != nil {
		return nil, fmt.Errorf("after the end of the tar archive: %w", err)
	}
	return &Tree{Root: s.root, FlatSize: s.off, Inodes: s.inodes + 1, Heap: s.heap}, nil
}

type scanner struct {
	tarReader
	root   *Node
	inodes int
	heap   int64
	// The directory of the entry before: entries of a directory usually follow
	// one another. Dropped when a name is replaced.
	lastDir  string
	lastNode *Node
}

// add puts one entry into the tree.
func (s *scanner) add(m *member) error {
	name, err := cleanName(m.name)
	if err != nil {
		return err
	}
	if name == "" {
		if m.typ != typeDir {
			return errors.New("the root of the layer is not a directory")
		}
		return s.set(s.root, m)
	}
	dir, base := "", name
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		dir, base = name[:i], name[i+1:]
	}
	if strings.HasPrefix(base, aufsPrefix) && base != OpaqueName || strings.HasPrefix(dir, aufsPrefix) {
		return nil // housekeeping of aufs, which docker skips as well
	}
	if len(dir) > pathMax {
		return tooLong(name)
	}
	parent, err := s.mkdirs(dir)
	if err != nil {
		return err
	}
	switch hidden, whiteout := strings.CutPrefix(base, WhiteoutPrefix); {
	case len(dir)+1+len(hidden) > pathMax && base != OpaqueName:
		return tooLong(name)
	case base == OpaqueName:
		parent.Flags |= Opaque
		return nil
	case whiteout:
		return s.whiteout(parent, hidden)
	case len(base) > nameMax:
		return fmt.Errorf("its last part has %d bytes, more than a name can have (%d)", len(base), nameMax)
	case m.typ == typeLink:
		return s.link(parent, base, m)
	}
	return s.put(parent, base, m)
}

func tooLong(path string) error {
	return fmt.Errorf("its path has %d bytes, more than a path can have (%d)", len(path), pathMax)
}

// cleanName makes a name relative to the layer's root, without "." and empty
// parts. The root itself is "".
func cleanName(name string) (string, error) {
	if err := noNUL(name); err != nil {
		return "", fmt.Errorf("its name is unusable: %w", err)
	}
	name = strings.TrimSuffix(strings.TrimPrefix(name, "./"), "/")
	clean := true
	for part := range strings.SplitSeq(name, "/") {
		switch part {
		case "..":
			return "", fmt.Errorf("the name %.300q contains \"..\", which could lead out of the image", name)
		case "", ".":
			clean = false
		}
	}
	if clean {
		return name, nil
	}
	var parts []string
	for part := range strings.SplitSeq(name, "/") {
		if part != "" && part != "." {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, "/"), nil
}

// mkdirs returns the directory with that clean name. Those that the layer has
// no entry for yet are made, marked Implicit.
func (s *scanner) mkdirs(dir string) (*Node, error) {
	if dir == "" {
		return s.root, nil
	}
	if dir == s.lastDir && s.lastNode != nil {
		return s.lastNode, nil
	}
	n := s.root
	for part := range strings.SplitSeq(dir, "/") {
		c := n.Children[part]
		switch {
		case c == nil || c.Flags&Whiteout != 0:
			if len(part) > nameMax {
				return nil, fmt.Errorf("a part of its name has %d bytes, more than a name can have (%d)", len(part), nameMax)
			}
			if strings.HasPrefix(part, WhiteoutPrefix) {
				return nil, fmt.Errorf("it is below %q, and a whiteout has nothing in it", part)
			}
			fresh := NewDir(0o755)
			if fresh.Flags = Implicit; c != nil {
				fresh.Flags = Opaque // made anew in the place of what the whiteout hides
			}
			if err := s.grow(len(part)); err != nil {
				return nil, err
			}
			n.Children[strings.Clone(part)] = fresh
			c = fresh
		case !c.IsDir():
			return nil, fmt.Errorf("it is below %q, which is no directory in this layer", part)
		}
		n = c
	}
	s.lastDir, s.lastNode = dir, n
	return n, nil
}

// grow accounts for one more inode and the bytes it brings.
func (s *scanner) grow(bytes int) error {
	s.inodes++
	s.heap += int64(bytes)
	if s.inodes > maxInodes {
		return fmt.Errorf("the layer has more than %d files", maxInodes)
	}
	if s.heap > maxHeap {
		return fmt.Errorf("the names and attributes in the layer take more than %d MiB", maxHeap>>20)
	}
	return nil
}

// whiteout hides the name in the layers below, not in this one: an entry with
// that name stays, wherever in the archive it stands. OCI image-spec v1.1
// layer.md, "Whiteouts": "Whiteout files MUST only apply to resources in
// lower/parent layers." Only for a directory does this make a difference: it
// starts anew, like an opaque one.
func (s *scanner) whiteout(parent *Node, name string) error {
	if name == "" || name == "." || name == ".." {
		return errors.New("a whiteout that hides no name")
	}
	if len(name) > nameMax {
		return fmt.Errorf("it hides a name of %d bytes, more than a name can have (%d)", len(name), nameMax)
	}
	switch old := parent.Children[name]; {
	case old == nil:
		if err := s.grow(len(name)); err != nil {
			return err
		}
		parent.Children[strings.Clone(name)] = &Node{Flags: Whiteout}
	case old.IsDir():
		old.Flags = old.Flags&^Implicit | Opaque
	}
	return nil
}

// put enters m under the name, in the place of an earlier entry if there is
// one; a directory that comes again only gets new attributes.
func (s *scanner) put(parent *Node, name string, m *member) error {
	old := parent.Children[name]
	if old != nil && old.IsDir() && m.typ == typeDir {
		return s.set(old, m)
	}
	n := &Node{}
	if m.typ == typeDir {
		n.Children = map[string]*Node{}
		if old != nil {
			n.Flags = Opaque // the first entry has replaced what the layers below have
		}
	}
	if err := s.grow(len(name)); err != nil {
		return err
	}
	if err := s.set(n, m); err != nil {
		return err
	}
	s.enter(parent, name, n)
	return nil
}

func (s *scanner) enter(parent *Node, name string, n *Node) {
	if parent.Children[name] != nil {
		s.lastNode = nil
	}
	parent.Children[strings.Clone(name)] = n
}

// link makes name another name of m.link. If this layer does not have that,
// the layers below must, and union.Merge will look.
func (s *scanner) link(parent *Node, name string, m *member) error {
	target, err := cleanName(m.link)
	if err != nil {
		return fmt.Errorf("hard link to %.300q: %w", m.link, err)
	}
	if len(target) > pathMax {
		return tooLong(target)
	}
	n := s.root
	for part := range strings.SplitSeq(target, "/") {
		if n == nil {
			break // this layer does not have the directory
		}
		if !n.IsDir() {
			return fmt.Errorf("hard link to %.300q, which reaches through something that is no directory", m.link)
		}
		if n = n.Children[part]; n != nil && n.Flags&Whiteout != 0 {
			n = nil
		}
	}
	if target == "" || n != nil && n.IsDir() {
		return fmt.Errorf("hard link to %.300q, which is a directory", m.link)
	}
	if n == nil {
		n = &Node{Flags: HardLink, Target: strings.Clone(target)}
		if err := s.grow(len(target)); err != nil {
			return err
		}
	}
	if err := s.grow(len(name)); err != nil {
		return err
	}
	s.enter(parent, name, n)
	return nil
}

// set gives n the attributes of m.
func (s *scanner) set(n *Node, m *member) error {
	if m.uid < 0 || m.gid < 0 || m.uid > idMax || m.gid > idMax {
		return fmt.Errorf("owner %d:%d is no pair of 32-bit ids", m.uid, m.gid)
	}
	n.Mode = uint32(m.mode) & 0o7777
	n.UID, n.GID = uint32(m.uid), uint32(m.gid)
	n.Mtime, n.Nsec = m.sec, m.nsec
	n.Flags &^= Implicit
	switch m.typ {
	case typeDir:
		n.Mode |= unix.S_IFDIR
	case typeFile:
		n.Mode |= unix.S_IFREG
		n.Size, n.Offset = m.size, m.offset
		if es, sparse := m.extents(); sparse {
			n.Extents, n.Flags = es, n.Flags|Sparse
		} else if m.size == 0 {
			n.Offset = 0
		}
	case typeSymlink:
		n.Mode |= unix.S_IFLNK
		if m.link == "" || len(m.link) > pathMax {
			return fmt.Errorf("the target of the symbolic link has %d bytes, not 1 to %d", len(m.link), pathMax)
		}
		n.Target, n.Size = strings.Clone(m.link), int64(len(m.link))
	case typeFifo:
		n.Mode |= unix.S_IFIFO
	case typeChar, typeBlock:
		kind := uint32(unix.S_IFCHR)
		if m.typ == typeBlock {
			kind = unix.S_IFBLK
		}
		n.Mode |= kind
		if m.major < 0 || m.minor < 0 || m.major >= 1<<12 || m.minor >= 1<<20 {
			return fmt.Errorf("device number %d,%d is beyond Linux' 12 and 20 bits", m.major, m.minor)
		}
		n.Rdev = Mkdev(uint32(m.major), uint32(m.minor))
	default:
		return fmt.Errorf("entries of type %q are not supported", m.typ)
	}
	return s.setXattrs(n, m)
}

func (s *scanner) setXattrs(n *Node, m *member) error {
	n.Xattrs = nil
	bytes := len(n.Target) + 24*len(n.Extents)
	for _, a := range m.xattrs {
		if a.Name == "" || len(a.Name) > nameMax || len(a.Value) > xattrMax || noNUL(a.Name) != nil {
			return fmt.Errorf("extended attribute %.300q of %d bytes exceeds Linux' limits", a.Name, len(a.Value))
		}
		n.Xattrs = append(n.Xattrs, Xattr{strings.Clone(a.Name), strings.Clone(a.Value)})
		bytes += len(a.Name) + len(a.Value)
	}
	slices.SortFunc(n.Xattrs, func(a, b Xattr) int { return strings.Compare(a.Name, b.Name) })
	s.inodes-- // grow counts one; put has already
	return s.grow(bytes)
}

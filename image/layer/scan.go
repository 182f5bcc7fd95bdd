// A tarball becomes a tree in one pass, by the rules of OCI image-spec v1.1 layer.md. What breaks
// them is an error that names the entry.

package layer

import (
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Limits of a layer. They bound the memory that Scan takes whatever it is given: about 100 bytes
// for each inode and its name, and up to three times maxHeap while that grows.
const (
	maxInodes = 1 << 20   // entries, and directories implied by their names
	maxHeap   = 256 << 20 // bytes of names, link targets, attributes and sparse maps
	maxLinks  = 40        // symbolic links on the way to a file, path_resolution(7)
	maxPath   = 16384     // bytes in a path: programs make deeper trees than a system call can name
	pathMax   = 4095      // in the targets of these: PATH_MAX of linux/limits.h, without the NUL
	xattrMax  = 65536     // XATTR_SIZE_MAX
	idMax     = 1<<32 - 2 // -1 means "leave it" to chown(2)

	aufsPrefix = ".wh..wh."
	aufsLinks  = ".wh..wh.plnk"
)

// Scan reads one uncompressed tarball to the end of r and returns the tree in
// it. Offsets are those of the stream; the bytes are not kept. If r has
// bufio's Discard method, data is skipped with it.
//
// The tree is that of the layer alone: whiteouts are in it as names, and what
// it needs of the layers below is marked (see the flags of Inode). The last
// of several entries with one name counts. A leading "/" or "./" of a name is
// dropped, and "a/../b" is "b". A symbolic link of the layer that an entry is
// below, or a hard link's target, is followed as tar does it inside of the
// root: "/" and ".." never lead out of it. Refused, with an error that names
// the entry: a name that leads out of the root, an entry or hard link that
// reaches through a file, and whatever exceeds Linux' limits or those above.
func Scan(r io.Reader) (*Tree, error) {
	s := &scanner{tarReader: tarReader{stream: stream{r: r, buf: make([]byte, 64<<10)}}, t: NewTree(NewDir(0o755))}
	s.t.Mark(0, Implicit, 0, 0)
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
	s.t.FlatSize = s.off
	return s.t, nil
}

type scanner struct {
	tarReader
	t *Tree
	// The directory of the entry before: entries of a directory usually follow
	// one another. Forgotten when a name is replaced.
	lastDir string
	last    uint32
	names   int               // hard links
	aufs    map[string]uint32 // files in AUFS's own directory, which hard links lead to
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
		return s.set(0, m)
	}
	dir, base := path.Split(name)
	dir = strings.TrimSuffix(dir, "/")
	if strings.HasPrefix(base, aufsPrefix) && base != OpaqueName || strings.HasPrefix(dir, aufsPrefix) {
		return s.housekeeping(dir, base, m)
	}
	if len(dir) > maxPath {
		return tooLong(name, maxPath)
	}
	parent, err := s.mkdirs(dir)
	if err != nil {
		return err
	}
	switch hidden, whiteout := strings.CutPrefix(base, WhiteoutPrefix); {
	case len(dir)+1+len(hidden) > maxPath && base != OpaqueName:
		return tooLong(name, maxPath)
	case base == OpaqueName:
		s.mark(parent, Opaque, 0)
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

func (s *scanner) mark(i uint32, set, clear uint16) { s.t.Mark(i, set, clear, 0) }

func tooLong(path string, most int) error {
	return fmt.Errorf("its path has %d bytes, more than %d", len(path), most)
}

// cleanName makes a name relative to the layer's root, without ".", ".." and empty
// parts. The root itself is "".
func cleanName(name string) (string, error) {
	if err := noNUL(name); err != nil {
		return "", fmt.Errorf("its name is unusable: %w", err)
	}
	switch clean := path.Clean(strings.TrimLeft(name, "/")); {
	case clean == ".":
		return "", nil
	case clean == ".." || strings.HasPrefix(clean, "../"):
		return "", fmt.Errorf("the name %.300q contains \"..\", which leads out of the image", name)
	default:
		return clean, nil
	}
}

// housekeeping is what AUFS kept in a layer for itself. It is no part of the image, but for files
// in aufsLinks that hard links of the image lead to.
func (s *scanner) housekeeping(dir, base string, m *member) error {
	if dir != aufsLinks || m.typ != typeFile {
		return nil
	}
	i, err := s.newNode(0)
	if err != nil {
		return err
	}
	if s.aufs == nil {
		s.aufs = map[string]uint32{}
	}
	s.aufs[base] = i
	return s.set(i, m)
}

// mkdirs returns the directory with that clean name. Those that the layer has
// no entry for yet are made, marked Implicit.
func (s *scanner) mkdirs(dir string) (uint32, error) {
	if dir == "" {
		return 0, nil
	}
	if dir == s.lastDir {
		return s.last, nil
	}
	way, err := s.t.follow(dir, s.mkdir)
	if err != nil {
		return 0, fmt.Errorf("it %w", err)
	}
	s.lastDir, s.last = strings.Clone(dir), way[len(way)-1].ino
	return s.last, nil
}

// mkdir makes a directory that is implied by a name.
func (s *scanner) mkdir(parent uint32, name string) (uint32, error) {
	if len(name) > nameMax {
		return 0, fmt.Errorf("is below a part that has %d bytes, more than a name can have (%d)", len(name), nameMax)
	}
	if strings.HasPrefix(name, WhiteoutPrefix) {
		return 0, fmt.Errorf("is below %q, and a whiteout has nothing in it", name)
	}
	flags := Implicit
	if _, hidden := s.t.Lookup(parent, name); hidden {
		flags = Opaque // made anew in the place of what the whiteout hides
	}
	i, err := s.newNode(len(name))
	if err != nil {
		return 0, err
	}
	n := NewDir(0o755)
	n.Flags = flags
	s.t.Set(i, &n)
	s.t.Put(parent, name, i)
	return i, nil
}

// newNode makes an inode, and accounts for it and the bytes it brings.
func (s *scanner) newNode(bytes int) (uint32, error) {
	if s.t.Len() > maxInodes {
		return 0, fmt.Errorf("the layer has more than %d files", maxInodes)
	}
	return s.t.Add(&Node{}), s.grow(bytes)
}

// grow accounts for bytes that are to come.
func (s *scanner) grow(bytes int) error {
	if s.t.Weight()+int64(bytes) > maxHeap {
		return fmt.Errorf("the names and attributes in the layer take more than %d MiB", maxHeap>>20)
	}
	return nil
}

// whiteout hides the name in the layers below, not in this one: an entry with
// that name stays, wherever in the archive it stands. OCI image-spec v1.1
// layer.md, "Whiteouts": "Whiteout files MUST only apply to resources in
// lower/parent layers." Only for a directory does this make a difference: it
// starts anew, like an opaque one.
func (s *scanner) whiteout(parent uint32, name string) error {
	if name == "" || name == "." || name == ".." {
		return errors.New("a whiteout that hides no name")
	}
	if len(name) > nameMax {
		return fmt.Errorf("it hides a name of %d bytes, more than a name can have (%d)", len(name), nameMax)
	}
	switch old, ok := s.t.Lookup(parent, name); {
	case !ok:
		i, err := s.newNode(len(name))
		if err != nil {
			return err
		}
		s.mark(i, Whiteout, 0)
		s.t.Put(parent, name, i)
	case s.t.IsDir(old):
		s.mark(old, Opaque, Implicit)
	}
	return nil
}

// put enters m under the name, in the place of an earlier entry if there is
// one; a directory that comes again only gets new attributes.
func (s *scanner) put(parent uint32, name string, m *member) error {
	old, replaces := s.t.Lookup(parent, name)
	if replaces && m.typ == typeDir && s.t.IsDir(old) {
		return s.set(old, m)
	}
	i, err := s.newNode(len(name))
	if err != nil {
		return err
	}
	if m.typ == typeDir && replaces {
		s.mark(i, Opaque, 0) // the first entry has replaced what the layers below have
	}
	if err := s.set(i, m); err != nil {
		return err
	}
	s.enter(parent, name, i)
	return nil
}

func (s *scanner) enter(parent uint32, name string, i uint32) {
	if _, replaces := s.t.Lookup(parent, name); replaces {
		s.lastDir = ""
	}
	s.t.Put(parent, name, i)
}

// link makes name another name of m.link. If this layer does not have that,
// the layers below must, and union.Merge will look.
func (s *scanner) link(parent uint32, name string, m *member) error {
	target, err := cleanName(m.link)
	if err != nil {
		return fmt.Errorf("hard link to %.300q: %w", m.link, err)
	}
	if len(target) > pathMax {
		return tooLong(target, pathMax)
	}
	i, ok, target, err := s.target(target)
	if err != nil {
		return fmt.Errorf("hard link to %.300q, which %w", m.link, err)
	}
	if !ok {
		if i, err = s.newNode(len(target) + len(name)); err != nil {
			return err
		}
		s.t.Set(i, &Node{Flags: HardLink, Target: target})
	} else if err := s.grow(len(name)); err != nil {
		return err
	}
	if s.names++; s.names > maxInodes {
		return fmt.Errorf("the layer has more than %d hard links", maxInodes)
	}
	s.enter(parent, name, i)
	return nil
}

// target is the inode that a hard link leads to. ok is false if this layer does not have it; then
// name is its path without symbolic links of this layer.
func (s *scanner) target(path string) (i uint32, ok bool, name string, err error) {
	if base, aufs := strings.CutPrefix(path, aufsLinks+"/"); aufs {
		if i, ok = s.aufs[base]; !ok {
			err = errors.New("AUFS's directory does not have")
		}
		return i, ok, "", err
	}
	return s.t.file(path, func(uint32, string) (uint32, error) { return gone, nil })
}

// set gives inode i the attributes of m.
func (s *scanner) set(i uint32, m *member) error {
	if m.uid < 0 || m.gid < 0 || m.uid > idMax || m.gid > idMax {
		return fmt.Errorf("owner %d:%d is no pair of 32-bit ids", m.uid, m.gid)
	}
	n := Node{Mode: uint32(m.mode) & 0o7777, UID: uint32(m.uid), GID: uint32(m.gid), Mtime: m.sec, Nsec: m.nsec,
		Flags: s.t.Flags(i) &^ Implicit}
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
		if n.Offset/blockSize > 1<<32-1 {
			return errors.New("it begins more than 2 TiB after the start of the layer")
		}
	case typeSymlink:
		n.Mode |= unix.S_IFLNK
		if m.link == "" || len(m.link) > pathMax {
			return fmt.Errorf("the target of the symbolic link has %d bytes, not 1 to %d", len(m.link), pathMax)
		}
		n.Target, n.Size = m.link, int64(len(m.link))
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
		n.Rdev = mkdev(uint32(m.major), uint32(m.minor))
	default:
		return fmt.Errorf("entries of type %q are not supported", m.typ)
	}
	bytes := len(n.Target) + 24*len(n.Extents)
	for _, a := range m.xattrs {
		if a.Name == "" || len(a.Name) > nameMax || len(a.Value) > xattrMax || noNUL(a.Name) != nil {
			return fmt.Errorf("extended attribute %.300q of %d bytes exceeds Linux' limits", a.Name, len(a.Value))
		}
		bytes += 16 + len(a.Name) + len(a.Value)
	}
	n.Xattrs = m.xattrs
	slices.SortFunc(n.Xattrs, func(a, b Xattr) int { return strings.Compare(a.Name, b.Name) })
	if err := s.grow(bytes); err != nil {
		return err
	}
	s.t.Set(i, &n)
	return nil
}

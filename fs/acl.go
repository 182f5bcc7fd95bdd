// POSIX access control lists, acl(5). The kernel enforces them (FUSE_POSIX_ACL): it asks for a
// file's list once, when a user who is not its owner opens or changes it, and sends a new list as
// an attribute. The rest is done here: the mode's group bits are the mask, chmod(2) changes both,
// and what is made in a directory inherits its default list.

package fs

import (
	"encoding/binary"
	"syscall"

	"tiffin/image/layer"
)

// The attributes that have them.
const (
	aclAccess  = "system.posix_acl_access"
	aclDefault = "system.posix_acl_default"
)

// An attribute is a version, 4 bytes, and entries of 8 bytes, little-endian: tag 2, permissions 2,
// id 4. struct posix_acl_xattr_entry in linux/posix_acl_xattr.h.
const (
	aclVersion = 2
	aclEntry   = 8 // bytes

	aclUserObj  = 0x01 // the owner
	aclUser     = 0x02 // the user with this id
	aclGroupObj = 0x04 // the owning group
	aclGroup    = 0x08
	aclMask     = 0x10 // the most that users, groups and the owning group have
	aclOther    = 0x20
)

// acl is the value of one of the attributes.
type acl []byte

func (a acl) tag(i int) uint16        { return binary.LittleEndian.Uint16(a[i:]) }
func (a acl) perm(i int) uint32       { return uint32(binary.LittleEndian.Uint16(a[i+2:])) & 7 }
func (a acl) setPerm(i int, p uint32) { binary.LittleEndian.PutUint16(a[i+2:], uint16(p&7)) }
func (a acl) id(i int) uint32         { return binary.LittleEndian.Uint32(a[i+4:]) }

// parseACL checks a value, which may come from an image: acl(5), "VALID ACLs".
func parseACL(v string) (acl, bool) {
	a := acl(v)
	if len(a) < 4 || (len(a)-4)%aclEntry != 0 || binary.LittleEndian.Uint32(a) != aclVersion {
		return nil, false
	}
	n := map[uint16]int{}
	for i := 4; i < len(a); i += aclEntry {
		n[a.tag(i)]++
	}
	named := n[aclUser] + n[aclGroup]
	known := n[aclUserObj] + n[aclGroupObj] + n[aclOther] + n[aclMask] + named
	return a, n[aclUserObj] == 1 && n[aclGroupObj] == 1 && n[aclOther] == 1 && n[aclMask] <= 1 && (named == 0 || n[aclMask] == 1) &&
		known == (len(a)-4)/aclEntry
}

// classes calls set with the number of the lowest bit in the mode of each entry that is one of its
// three classes: acl(5), "CORRESPONDENCE BETWEEN ACL ENTRIES AND FILE PERMISSION BITS".
func (a acl) classes(set func(i, shift int)) (extended bool) {
	group := 0
	for i := 4; i < len(a); i += aclEntry {
		switch a.tag(i) {
		case aclUserObj:
			set(i, 6)
		case aclMask:
			group, extended = i, true
		case aclGroupObj:
			if group == 0 {
				group = i
			}
		case aclOther:
			set(i, 0)
		default:
			extended = true
		}
	}
	set(group, 3)
	return extended
}

// mode is the mode that a file with access list a has; extended says that the list says more.
func (a acl) mode(mode uint32) (m uint32, extended bool) {
	m = mode &^ 0o777
	extended = a.classes(func(i, shift int) { m |= a.perm(i) << shift })
	return m, extended
}

// chmod makes a the access list of a file of that mode: chmod(2).
func (a acl) chmod(mode uint32) { a.classes(func(i, shift int) { a.setPerm(i, mode>>shift) }) }

// inherit is what a file gets that is made with mode in a directory with default list a:
// acl(5), "OBJECT CREATION AND DEFAULT ACLs". The umask does not count then.
func (a acl) inherit(mode uint32) (access acl, m uint32) {
	access = append(acl(nil), a...)
	access.classes(func(i, shift int) { access.setPerm(i, access.perm(i)&(mode>>shift)) })
	m, _ = access.mode(mode)
	return access, m
}

// showACL is the value as the container sees it. Users and groups without a mapping in its user
// namespace are left out: no process there can be one, and the kernel takes no list that names them
// (posix_acl_from_xattr in fs/posix_acl.c). "": there is no list, or no valid one.
func (f *FS) showACL(v string) string {
	a, ok := parseACL(v)
	if !ok {
		return ""
	}
	shown := a[:4:4]
	for i := 4; i < len(a); i += aclEntry {
		if t := a.tag(i); t == aclUser && f.showUID(a.id(i)) != a.id(i) || t == aclGroup && f.showGID(a.id(i)) != a.id(i) {
			continue
		}
		shown = append(shown, a[i:i+aclEntry]...)
	}
	return string(shown)
}

// setACL makes value the access list of n. A list that says no more than a mode only sets the mode.
// n.mu locked.
func (n *node) setACL(fd int, value []byte, s layer.Stat) error {
	a, ok := parseACL(string(value))
	if !ok {
		return syscall.EINVAL
	}
	var extended bool
	if s.Mode, extended = a.mode(s.Mode); extended {
		if err := n.setAttr(fd, layer.StoreXattr(aclAccess), a, 0); err != nil {
			return err
		}
		n.xattrs = true
	} else if err := n.removeAttr(fd, layer.StoreXattr(aclAccess)); err != nil && err != syscall.ENODATA {
		return err
	}
	return n.putStat(fd, s)
}

// chmodACL changes the access list of n, if it has one, as chmod(2) does. n.mu locked.
func (n *node) chmodACL(fd int, mode uint32) error {
	a, err := n.storedACL(fd, aclAccess)
	if a == nil || err != nil {
		return err
	}
	a.chmod(mode)
	return n.setAttr(fd, layer.StoreXattr(aclAccess), a, 0)
}

// storedACL reads a list of upper file fd; nil if it has none.
func (n *node) storedACL(fd int, name string) (acl, error) {
	if !n.xattrs {
		return nil, nil
	}
	v, err := n.getAttr(fd, layer.StoreXattr(name))
	if err == syscall.ENODATA {
		return nil, nil
	}
	a, ok := parseACL(v)
	if !ok {
		a = nil
	}
	return a, err
}

// inherited completes s, what a new file in directory d is shown as, and returns the attributes
// that it inherits from d: acl(5), "OBJECT CREATION AND DEFAULT ACLs".
func (f *FS) inherited(d *node, s *layer.Stat, umask uint32) (attrs []layer.Xattr, err error) {
	var def acl
	if d.hasXattrs() {
		err = f.in(d, func(fd int) error {
			var err error
			def, err = d.storedACL(fd, aclDefault)
			return err
		})
	}
	switch {
	case err != nil || s.Mode&syscall.S_IFMT == syscall.S_IFLNK:
		return nil, err
	case def == nil:
		s.Mode &^= umask & 0o777
		return nil, nil
	}
	access, mode := def.inherit(s.Mode)
	s.Mode = mode
	if _, extended := access.mode(0); extended {
		attrs = append(attrs, layer.Xattr{Name: aclAccess, Value: string(access)})
	}
	if s.Mode&syscall.S_IFMT == syscall.S_IFDIR {
		attrs = append(attrs, layer.Xattr{Name: aclDefault, Value: string(def)})
	}
	return attrs, nil
}

// Names and attributes in the upper directory: what a real file there stands for.

package layer

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Names in the upper directory. Its rules are in appendix A of the book
// (tutorial/book/a-formats.md).
const (
	// XattrOverride has the owner, mode and type that the file is shown with, see Stat.
	XattrOverride = "user.containers.override_stat"
	// XattrOrigin has the decimal number of the lower inode that the file continues.
	XattrOrigin = "user.tiffin.origin"
	// XattrMetacopy marks a file whose data is still that of its origin, all of it ("") or its
	// head.
	XattrMetacopy = "user.tiffin.metacopy"
	// XattrCtime has the ctime that the file is shown with, and when that was written down, both in
	// seconds since 1970: "SEC.NSEC SEC". If the real ctime is later, the file has changed since.
	XattrCtime = "user.tiffin.ctime"
	// xattrPrefix begins the names of all other attributes but plain user.*.
	xattrPrefix = "user.tiffin.xattr."

	// MetacopyHead is the value of XattrMetacopy when the file has a tail.
	MetacopyHead = "head"

	// WhiteoutPrefix and OpaqueName are those of OCI image-spec v1.1 layer.md.
	WhiteoutPrefix = ".wh."
	OpaqueName     = ".wh..wh..opq"
	// longWhiteout begins the name of a whiteout whose own name would exceed
	// NAME_MAX (255 bytes); the file's content is the deleted name.
	longWhiteout = ".wh..wh.long."
	nameMax      = 255
)

// Stat is the owner, mode and device number that an upper file is shown with.
type Stat struct {
	UID, GID uint32
	Mode     uint32 // type and permission bits
	Rdev     uint32 // as in Inode
}

// typeNames is the vocabulary of the containers ecosystem for TYPE.
var typeNames = map[uint32]string{
	unix.S_IFREG: "file", unix.S_IFDIR: "dir", unix.S_IFLNK: "symlink", unix.S_IFIFO: "pipe",
	unix.S_IFSOCK: "socket", unix.S_IFBLK: "block", unix.S_IFCHR: "char",
}

// String is the value of the override_stat attribute.
func (s Stat) String() string {
	t := typeNames[s.Mode&unix.S_IFMT]
	if k := s.Mode & unix.S_IFMT; k == unix.S_IFBLK || k == unix.S_IFCHR {
		t = fmt.Sprintf("%s-%d-%d", t, Major(s.Rdev), Minor(s.Rdev))
	}
	return fmt.Sprintf("%d:%d:0%o:%s", s.UID, s.GID, s.Mode&0o7777, t)
}

// ParseStat reads the value of an override_stat attribute. Without a TYPE it
// takes the type from realMode, the st_mode of the file that carries it.
func ParseStat(v string, realMode uint32) (Stat, error) {
	f := strings.Split(v, ":")
	if len(f) != 3 && len(f) != 4 {
		return Stat{}, fmt.Errorf("attribute %s is %q, not UID:GID:MODE[:TYPE]", XattrOverride, v)
	}
	var n [3]uint64
	for i, base := range []int{10, 10, 8} {
		var err error
		if n[i], err = strconv.ParseUint(f[i], base, 32); err != nil {
			return Stat{}, fmt.Errorf("attribute %s is %q: %q is no number", XattrOverride, v, f[i])
		}
	}
	s := Stat{UID: uint32(n[0]), GID: uint32(n[1]), Mode: uint32(n[2]) & 0o7777}
	if len(f) == 3 {
		s.Mode |= realMode & unix.S_IFMT
		return s, nil
	}
	name, dev, _ := strings.Cut(f[3], "-")
	for k, t := range typeNames {
		if t != name {
			continue
		}
		s.Mode |= k
		if k == unix.S_IFBLK || k == unix.S_IFCHR {
			var major, minor uint32
			if _, err := fmt.Sscanf(dev, "%d-%d", &major, &minor); err != nil {
				return Stat{}, fmt.Errorf("attribute %s is %q: no device number", XattrOverride, v)
			}
			s.Rdev = mkdev(major, minor)
		}
		return s, nil
	}
	return Stat{}, fmt.Errorf("attribute %s is %q: unknown type %q", XattrOverride, v, f[3])
}

// mkdev packs a device number as struct fuse_attr does (new_encode_dev in the
// kernel's kdev_t.h): 12 bits of major, 20 bits of minor.
func mkdev(major, minor uint32) uint32 { return minor&0xff | major<<8 | (minor&^0xff)<<12 }

// Major and Minor take apart what mkdev packed.
func Major(rdev uint32) uint32 { return rdev >> 8 & 0xfff }

// Minor is the other half of Major.
func Minor(rdev uint32) uint32 { return rdev&0xff | rdev>>12&^0xff }

// StoreXattr maps an attribute's name in the container to the one it is
// stored under in the upper; ShowXattr is its inverse, with ok false for
// tiffin's own.
func StoreXattr(name string) string {
	if strings.HasPrefix(name, "user.") && !strings.HasPrefix(name, "user.tiffin.") && !strings.HasPrefix(name, "user.containers.") {
		return name
	}
	return xattrPrefix + name
}

// ShowXattr maps a stored attribute's name to the one the container sees.
func ShowXattr(stored string) (name string, ok bool) {
	if n, found := strings.CutPrefix(stored, xattrPrefix); found {
		return n, true
	}
	return stored, strings.HasPrefix(stored, "user.") && StoreXattr(stored) == stored
}

// WhiteoutFile is the name and content of the file that records in an upper
// directory that name is deleted.
func WhiteoutFile(name string) (file, content string) {
	if len(WhiteoutPrefix)+len(name) <= nameMax {
		return WhiteoutPrefix + name, ""
	}
	sum := sha256.Sum256([]byte(name))
	return longWhiteout + hex.EncodeToString(sum[:]), name
}

// ParseWhiteout is the inverse: given the name of a file in an upper directory
// and a way to read it, the deleted name; ok is false if it is no whiteout.
func ParseWhiteout(file string, content func() (string, error)) (name string, ok bool, err error) {
	if strings.HasPrefix(file, longWhiteout) {
		name, err = content()
		return name, err == nil, err
	}
	name, ok = strings.CutPrefix(file, WhiteoutPrefix)
	return name, ok && name != "", nil
}

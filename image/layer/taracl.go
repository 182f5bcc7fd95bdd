// Access control lists as GNU tar, star and bsdtar write them: as text.

package layer

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// aclAttrs are the attributes that lists become, by their PAX records: tar(1), --acls.
var aclAttrs = map[string]string{
	"SCHILY.acl.access":  "system.posix_acl_access",
	"SCHILY.acl.default": "system.posix_acl_default",
}

// aclTags are those of linux/posix_acl.h for an entry with a qualifier, and without.
var aclTags = map[string][2]uint16{"user": {2, 1}, "group": {8, 4}, "mask": {0, 16}, "other": {0, 32}}

// aclOfMode is the length in bytes of a value that says no more than a mode: a version and three
// entries.
const aclOfMode = 4 + 3*8

// encodeACL makes the value of an attribute, struct posix_acl_xattr_header and its entries in
// linux/posix_acl_xattr.h, of a text such as
// "user::rw-,user:1000:r--,group::r--,mask::r--,other::---".
// The qualifier may be a name, with a number behind the permissions. An entry with a name alone is
// left out: as with the owners of files, only numbers count here.
func encodeACL(text string) (string, error) {
	b := binary.LittleEndian.AppendUint32(nil, 2) // POSIX_ACL_XATTR_VERSION
	for _, e := range strings.FieldsFunc(text, func(c rune) bool { return c == ',' || c == '\n' }) {
		e, _, _ = strings.Cut(e, "#")
		f := strings.Split(strings.TrimPrefix(strings.TrimSpace(e), "default:"), ":")
		if len(f) == 1 && f[0] == "" {
			continue
		}
		tags, ok := aclTags[f[0]]
		if !ok || len(f) < 3 || len(f) > 4 {
			return "", fmt.Errorf("its access control list has an entry %.40q", e)
		}
		tag, id := tags[1], ^uint64(0)
		if f[1] != "" {
			var err error
			if id, err = strconv.ParseUint(f[len(f)-1], 10, 32); err != nil || len(f) == 3 {
				id, err = strconv.ParseUint(f[1], 10, 32)
			}
			if tag = tags[0]; tag == 0 {
				return "", fmt.Errorf("its access control list has an entry %.40q", e)
			}
			if err != nil {
				continue
			}
		}
		var perm uint16
		for i, c := range "rwx" {
			if strings.ContainsRune(f[2], c) {
				perm |= 4 >> i
			}
		}
		b = binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(b, tag), perm)
		b = binary.LittleEndian.AppendUint32(b, uint32(id))
	}
	return string(b), nil
}

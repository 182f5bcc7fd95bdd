package layer

import (
	"encoding/hex"
	"testing"

	tt "tiffin/internal/test/tartest"
)

// TestTextListsAreTheAttributesThatTheyStandFor: as setfacl(1) and `tar --acls` (also with
// --numeric-owner) and star write them.
func TestTextListsAreTheAttributesThatTheyStandFor(t *testing.T) {
	const want = "02000000" + "01000600ffffffff" + "02000400e8030000" + "04000400ffffffff" + "10000400ffffffff" + "20000000ffffffff"
	for _, text := range []string{
		"user::rw-,user:1000:r--,group::r--,mask::r--,other::---",
		"user::rw-\nuser:lab:r--:1000\ngroup::r--\nmask::r--\nother::---\n",
		"user::rw-,user:1000:r--,user:nobody-here:rwx,group::r--,mask::r--,other::--- #none",
	} {
		tree := scan(t, tt.Of(t, tt.File("f", "", tt.Pax("SCHILY.acl.access", text))))
		x, err := Decode(tree.Encode())
		if err != nil {
			t.Fatal(err)
		}
		i, _ := x.Lookup(0, "f")
		if a := x.Xattrs(i); len(a) != 1 || a[0].Name != "system.posix_acl_access" || hex.EncodeToString([]byte(a[0].Value)) != want {
			t.Errorf("%q: %q", text, a)
		}
	}
	tree := scan(t, tt.Of(t, tt.File("f", "", tt.Pax("SCHILY.acl.access", "user::rw-,group::r--,other::---"))))
	if x, err := Decode(tree.Encode()); err != nil || x.HasXattrs(1) {
		t.Errorf("a list that is a mode is an attribute, %v", err)
	}
	for _, text := range []string{"nonsense", "user:rw-", "mask:7:rwx", "user:::::"} {
		if v, err := encodeACL(text); err == nil {
			t.Errorf("%q is %x", text, v)
		}
	}
}

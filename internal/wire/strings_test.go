package wire

import (
	"encoding/json"
	"slices"
	"testing"
)

// TestStringsKeepTheirBytes through JSON; those that are UTF-8 are plain strings there.
func TestStringsKeepTheirBytes(t *testing.T) {
	for _, want := range []Strings{nil, {}, {"a", "", "é", "\ufffd"}, {"a\xffb", "plain", "\xc3"}} {
		b, err := json.Marshal(struct{ S Strings }{want})
		if err != nil {
			t.Fatal(err)
		}
		var got struct{ S Strings }
		if err := json.Unmarshal(b, &got); err != nil || !slices.Equal(got.S, want) || (got.S == nil) != (want == nil) {
			t.Errorf("%q is %s, and then %q: %v", want, b, got.S, err)
		}
		var plain struct{ S []string }
		if err := json.Unmarshal(b, &plain); (err == nil) != want.UTF8() {
			t.Errorf("%s is read as plain strings: %v", b, err)
		}
	}
	var s Strings
	for _, bad := range []string{`[1]`, `[{"bytes":1}]`, `{}`, `["a"`} {
		if json.Unmarshal([]byte(bad), &s) == nil {
			t.Errorf("%s is read as %q", bad, s)
		}
	}
}

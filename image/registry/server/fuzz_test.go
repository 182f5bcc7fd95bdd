package server

import (
	"slices"
	"strings"
	"testing"

	"tiffin/image/reference"
)

// FuzzParse: what a path, a range or a page is taken for can do no harm.
func FuzzParse(f *testing.F) {
	for _, s := range [][3]string{
		{"/v2/", "0-1", "2"}, {"/v2/a/b/manifests/v1", "5-4", "0"}, {"/v2/a/blobs/uploads/x", "0-99999999999999999999", "-1"},
		{"/v2/../x/blobs/sha256:00", "bytes 0-1", "+1"}, {"/v2/blobs/uploads/manifests/tags/list", "0-0", "9999999999999999999"}, {"/v2/a//b/tags/list", "", ""},
	} {
		f.Add(s[0], s[1], s[2])
	}
	all := []string{"a", "b", "c"}
	f.Fuzz(func(t *testing.T, path, contentRange, n string) {
		r, err := parsePath(path)
		if err == nil && r.kind > kindCatalog {
			if !strings.HasPrefix(path, "/v2/"+r.name+"/") || r.repo.Path == "" || strings.Contains("/"+r.name+"/", "/../") || strings.Contains("/"+r.name+"/", "//") {
				t.Errorf("%q: %+v", path, r)
			}
			if back, err := reference.Parse(r.repo.Name() + ":x"); err != nil || back.Name() != r.repo.Name() {
				t.Errorf("%q: %q is no name: %v", path, r.repo.Name(), err)
			}
		}
		if strings.ContainsRune(r.arg, '/') {
			t.Errorf("%q: argument %q", path, r.arg)
		}
		if first, last, ok := parseContentRange(contentRange); ok && (first < 0 || last < first) {
			t.Errorf("%q: %d-%d", contentRange, first, last)
		}
		if part, more, ok := page(all, n, path); ok && (more && len(part) == 0 || slices.ContainsFunc(part, func(s string) bool { return s <= path })) {
			t.Errorf("n=%q last=%q: %q %v", n, path, part, more)
		}
	})
}

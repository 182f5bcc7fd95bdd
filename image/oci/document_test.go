package oci

import "testing"

// TestADocumentIsManifestOrIndex: what could be taken for either is two images under one digest.
// CVE-2021-41190.
func TestADocumentIsManifestOrIndex(t *testing.T) {
	const config = `"config":{"digest":"sha256:` + "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" + `"}`
	for _, c := range []struct {
		json, is string // "" is refused
	}{
		{`{"schemaVersion":2,` + config + `,"layers":[]}`, "application/vnd.oci.image.manifest.v1+json"},
		{`{"schemaVersion":2,"manifests":[]}`, "application/vnd.oci.image.index.v1+json"},
		{`{"schemaVersion":2,"manifests":[],"layers":[]}`, ""},
		{`{"schemaVersion":2,"manifests":[],` + config + `}`, ""},
		{`{"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],` + config + `,"layers":[]}`, ""},
	} {
		d, err := ParseDocument([]byte(c.json))
		switch {
		case c.is == "" && err == nil:
			t.Errorf("%s is taken for %q", c.json, d.Type())
		case c.is != "" && (err != nil || d.Type() != c.is):
			t.Errorf("%s: %v, %v; it is %s", c.json, d, err, c.is)
		}
	}
}

package oci

import (
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/internal/test/must"
)

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

// TestThePlatformOfAProcessor: of what runs here the best is taken, what does not run never, and
// what nobody knows is passed over. containerd/platforms, "amd64 variants".
func TestThePlatformOfAProcessor(t *testing.T) {
	index := func(variants ...string) (ds []ocispec.Descriptor) {
		for _, v := range variants {
			d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Platform: &ocispec.Platform{OS: "linux", Architecture: "amd64", Variant: v}}
			if v == "other" {
				d.MediaType, d.Platform.Variant = "application/vnd.example.v9+json", ""
			}
			ds = append(ds, d)
		}
		return ds
	}
	for _, c := range []struct {
		asked string
		index []ocispec.Descriptor
		want  string // "none" for an error
	}{
		{"v3", index("v4", "", "v2"), "v2"},
		{"v3", index("v4", "v2", "v3"), "v3"},
		{"v1", index("v2", ""), ""},
		{"v1", index("v2"), "none"},
		{"v4", index("other", "v9", ""), ""},
		{"v2", index("other"), "none"},
	} {
		d, err := Platform{OS: "linux", Architecture: "amd64", Variant: c.asked}.Choose(c.index)
		got := "none"
		if err == nil {
			got = d.Platform.Variant
		}
		if got != c.want || d.MediaType == "application/vnd.example.v9+json" {
			t.Errorf("for %s of %d: %q instead of %q (%v)", c.asked, len(c.index), got, c.want, err)
		}
	}
	if runtime.GOARCH == "amd64" {
		// ld.so(8) knows as well: glibc ≥ 2.33 lists the levels that it searches.
		out, err := exec.Command("/lib64/ld-linux-x86-64.so.2", "--help").Output()
		if err != nil || !strings.Contains(string(out), "x86-64-v4") {
			must.Skip(t, "", "ld.so does not tell: %v", err)
		}
		for _, v := range []string{"v2", "v3", "v4"} {
			theirs := regexp.MustCompile("x86-64-" + v + ` \(supported`).Match(out)
			if ours := ThisMachine().Runs(ocispec.Platform{OS: "linux", Architecture: "amd64", Variant: v}); ours != theirs {
				t.Errorf("%s runs here: %v, ld.so says %v", v, ours, theirs)
			}
		}
	}
}

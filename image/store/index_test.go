package store

import (
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestNamesAsOthersWriteThem: docker and containerd write the tag beside the whole name, umoci and
// skopeo write one name, and what umoci has copied of another descriptor is not it.
func TestNamesAsOthersWriteThem(t *testing.T) {
	for _, c := range []struct{ containerd, ref, name string }{
		{"docker.io/library/debian:12", "12", "debian:12"}, // docker save
		{"docker.io/library/debian:12", "debian:12", "debian:12"},
		{"docker.io/library/debian:12", "docker.io/library/debian:12", "debian:12"},
		{"docker.io/library/debian:12", "", "debian:12"},
		{"docker.io/library/debian:12", "mine", "mine:latest"}, // umoci tag
		{"docker.io/library/debian:12", "lab/one:2", "lab/one:2"},
		{"docker.io/library/debian:12", "Big", ""}, // a tag of umoci's that is no name
		{"", "latest", "latest:latest"},            // skopeo copy … oci:DIR:latest
		{"No Name", "debian", "debian:latest"},
		{"", "", ""},
	} {
		d := ocispec.Descriptor{Annotations: map[string]string{annotationRef: c.ref, annotationContainerd: c.containerd}}
		r, ok := NameOf(d)
		if got := r.Familiar(); ok != (c.name != "") || ok && got != c.name {
			t.Errorf("%q and %q: %q, %v", c.containerd, c.ref, got, ok)
		}
	}
}

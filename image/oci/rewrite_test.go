package oci

import (
	"strings"
	"testing"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestWithLayers: what is not about the layers stays, byte for byte but for the order of names.
func TestWithLayers(t *testing.T) {
	m, err := ParseDocument([]byte(`{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","more":[1e400],` +
		`"LAYERS":[],"config":{"mediaType":"application/vnd.docker.container.image.v1+json","digest":"sha256:0","size":1,"data":"eA==","annotations":{"a":"b"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	layers := []ocispec.Descriptor{{MediaType: "application/vnd.docker.image.rootfs.diff.tar.gzip", Digest: "sha256:1", Size: 7}}
	manifest, config, err := WithLayers(m, []byte(`{"rootfs":{"type":"layers","diff_ids":["sha256:2"]},"RootFS":null,"Other":{"b":1.50,"a":2}}`), layers, []digest.Digest{"sha256:3"})
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"Other":{"b":1.50,"a":2},"rootfs":{"type":"layers","diff_ids":["sha256:3"]}}`; string(config) != want {
		t.Errorf("config %s, not %s", config, want)
	}
	want := `{"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"` + digest.FromBytes(config).String() + `","size":77,"annotations":{"a":"b"}},` +
		`"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:1","size":7}],` +
		`"mediaType":"application/vnd.oci.image.manifest.v1+json","more":[1e400],"schemaVersion":2}`
	if string(manifest) != want {
		t.Errorf("manifest %s, not %s", manifest, want)
	}
	if layers[0].MediaType == ocispec.MediaTypeImageLayerGzip {
		t.Error("the caller's layers have changed")
	}
	for _, config := range []string{"null", "[]", "7", "", "{", strings.Repeat("[", 100)} {
		if _, _, err := WithLayers(m, []byte(config), layers, nil); err == nil {
			t.Errorf("%.9q is a config", config)
		}
	}
}

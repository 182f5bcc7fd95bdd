package transfer

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"testing"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image/oci"
	"tiffin/image/reference"
)

// memory is a source in memory that has every blob which is not in it, empty.
type memory map[string][]byte

func (m memory) has(string) bool { return true }
func (m memory) Close() error    { return nil }
func (m memory) open(name string) (io.ReadCloser, int64, error) {
	return io.NopCloser(bytes.NewReader(m[name])), int64(len(m[name])), nil
}

// FuzzManifest parses anything as manifest and config. What is accepted names
// only files inside the store.
func FuzzManifest(f *testing.F) {
	sum := digest.FromString("a layer")
	config := fmt.Appendf(nil, `{"os":"linux","architecture":%q,"rootfs":{"type":"layers","diff_ids":[%q]}}`, oci.ThisMachine().Architecture, sum)
	f.Add(fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":%d},"layers":[{"mediaType":%q,"digest":%q,"size":7}]}`,
		ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageConfig, digest.FromBytes(config), len(config), ocispec.MediaTypeImageLayerGzip, sum), config)
	f.Add([]byte(`{"manifests":[{"digest":"sha256:../x"}]}`), []byte(`{"rootfs":{"diff_ids":["sha256:x"]}}`))
	f.Fuzz(func(t *testing.T, manifest, config []byte) {
		d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(manifest), Size: int64(len(manifest))}
		src := memory{blobName(d.Digest): manifest}
		var m struct {
			Config struct{ Digest digest.Digest }
		}
		if oci.Unmarshal(manifest, &m) == nil && reference.ValidDigest(m.Config.Digest) {
			src[blobName(m.Config.Digest)] = config
		}
		img, err := find(context.Background(), layout(src), "", d, oci.ThisMachine().Choose)
		if err != nil {
			return
		}
		for _, l := range img.Layers {
			if !reference.ValidDigest(l.Digest) || !reference.ValidDigest(l.DiffID) {
				t.Errorf("accepted layer %q of %q", l.Digest, l.DiffID)
			}
		}
	})
}

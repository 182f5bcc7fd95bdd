package transfer

import (
	"bytes"
	"context"
	"testing"

	digest "github.com/opencontainers/go-digest"

	"tiffin/image/oci"
	"tiffin/image/reference"
	"tiffin/internal/test/tartest"
)

// FuzzArchive gives Load anything: it must not panic, and where it succeeds
// the store must be sound.
func FuzzArchive(f *testing.F) {
	// Small, since each try goes to the disk and back.
	fx := newFixture(f, gz, []string{"x"}, tartest.Of(f, tartest.File("a", "b")))
	f.Add(archive(f, fx.layout(f)))
	f.Add(archive(f, fx.docker(f)))
	f.Add(gz(f, archive(f, fx.docker(f))))
	f.Add([]byte("\x28\xb5\x2f\xfd"))
	f.Fuzz(func(t *testing.T, b []byte) {
		t.Setenv("TIFFIN_INFLATE_LIMIT", "16MiB")
		s := newStore(t)
		if _, err := Load(context.Background(), s, "", bytes.NewReader(b), nil); err == nil {
			sound(t, s)
		}
	})
}

// FuzzManifest parses anything as manifest and config. What is accepted names
// only files inside the store.
func FuzzManifest(f *testing.F) {
	fx := newFixture(f, gz, []string{"x"}, layerTar(f, "one"))
	f.Add(fx.manifest(f), fx.config)
	f.Add([]byte(`{"manifests":[{"digest":"sha256:../x"}]}`), []byte(`{"rootfs":{"diff_ids":["sha256:x"]}}`))
	f.Fuzz(func(t *testing.T, manifest, config []byte) {
		src := memory{"blobs/sha256/" + digest.FromBytes(manifest).Encoded(): manifest}
		var m struct {
			Config struct{ Digest digest.Digest }
		}
		if oci.Unmarshal(manifest, &m) == nil && reference.ValidDigest(m.Config.Digest) {
			src[blobName(m.Config.Digest)] = config
		}
		d := fx.descriptor(manifest)
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

package transfer

import (
	"bytes"
	"context"
	"io"
	"testing"

	digest "github.com/opencontainers/go-digest"

	"tiffin/image/ingest"
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

// FuzzSniff decompresses anything, within bounds.
func FuzzSniff(f *testing.F) {
	for _, p := range packings {
		f.Add(p.pack(f, []byte("some content, some content, some content")))
	}
	f.Add([]byte("\x50\x2a\x4d\x18\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		kind, err := ingest.Sniff(b)
		if err != nil {
			return
		}
		r, done, err := ingest.Decompress(bytes.NewReader(b), kind)
		if err != nil {
			return
		}
		defer done()
		g := &ingest.BombGuard{R: r, In: func() int64 { return int64(len(b)) }, Maximum: 1 << 20}
		n, err := io.Copy(io.Discard, g)
		if err == nil && n > max(1<<20, int64(len(b))*ingest.BombRatio) {
			t.Errorf("%d bytes became %d", len(b), n)
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
		img, err := Find(context.Background(), layout(src), "", d, oci.ThisMachine().Choose)
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

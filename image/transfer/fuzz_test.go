package transfer_test

import (
	"bytes"
	"context"
	"testing"

	"tiffin/image/transfer"
	"tiffin/internal/test/imagetest"
	"tiffin/internal/test/tartest"
)

// FuzzArchive gives Load anything: it must not panic, and where it succeeds
// the store must be sound.
func FuzzArchive(f *testing.F) {
	// Small, since each try goes to the disk and back.
	fx := imagetest.New(f, imagetest.Gzip, []string{"x"}, tartest.Of(f, tartest.File("a", "b")))
	f.Add(imagetest.Archive(f, fx.Layout(f)))
	f.Add(imagetest.Archive(f, fx.Docker(f)))
	f.Add(imagetest.Gzip(f, imagetest.Archive(f, fx.Docker(f))))
	f.Add([]byte("\x28\xb5\x2f\xfd"))
	f.Fuzz(func(t *testing.T, b []byte) {
		t.Setenv("TIFFIN_INFLATE_LIMIT", "16MiB")
		s := imagetest.NewStore(t)
		if _, err := transfer.Load(context.Background(), s, "", bytes.NewReader(b), nil); err == nil {
			imagetest.Sound(t, s)
		}
	})
}

package layer

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// flatFile is a tarball of size bytes, and the codes of its blocks, where a store has them.
func flatFile(t *testing.T, size int) (tar, codes string, content []byte) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "layers", "HEX")
	tar, codes, content = filepath.Join(dir, "flat.tar"), filepath.Join(dir, "blocks"), make([]byte, size)
	for i := range content {
		content[i] = byte(rand.Uint32())
	}
	b := NewBlocks()
	for rest := content; len(rest) > 0; {
		n := min(len(rest), 1+rand.IntN(3*BlockSize))
		b.Write(rest[:n])
		rest = rest[n:]
	}
	err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(tar, content, 0o600), os.WriteFile(codes, b.Encode(codes), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	return tar, codes, content
}

// TestFlatReadsWhatWasWrittenOrNothing changes bytes, lengths and blocks of the tarball and bytes
// of the codes, before the file is opened and while it is read: no read returns another byte.
func TestFlatReadsWhatWasWrittenOrNothing(t *testing.T) {
	for _, size := range []int{1, 511, BlockSize, BlockSize + 1, 5*BlockSize + 777} {
		tar, codes, want := flatFile(t, size)
		if st, err := os.Stat(codes); err != nil || st.Size() != BlocksSize(int64(size)) {
			t.Fatalf("%d bytes: %v, %v", size, st, err)
		}
		all, err := OpenFlat(tar, codes)
		if err != nil {
			t.Fatal(err)
		}
		defer all.Close()
		good, _ := os.ReadFile(codes)
		wrong := 0
		for range 100 {
			file, was := tar, want
			if rand.IntN(4) == 0 {
				file, was = codes, good
			}
			f, err := OpenFlat(tar, codes) // one that has read nothing yet
			if err != nil {
				t.Fatal(err)
			}
			b := bytes.Clone(was)
			switch rand.IntN(4) {
			case 0:
				b = b[:rand.IntN(len(b))]
			case 1:
				copy(b[rand.IntN(len(b)):], b[rand.IntN(len(b)):])
			case 2: // nothing
			default:
				b[rand.IntN(len(b))] ^= 1 << rand.IntN(8)
			}
			if err := overwrite(file, b); err != nil {
				t.Fatal(err)
			}
			if again, err := OpenFlat(tar, codes); err == nil {
				again.Close()
			} else if !errors.Is(err, ErrChanged) && !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			got := make([]byte, 1+rand.IntN(size+BlockSize))
			off := rand.Int64N(int64(size))
			n, err := f.ReadAt(got, off)
			if !bytes.Equal(got[:n], want[off:off+int64(n)]) {
				t.Fatalf("%d bytes from %d of %d: another content", n, off, size)
			}
			switch {
			case errors.Is(err, ErrChanged) || errors.Is(err, ErrCorrupt):
				wrong++
			case err != nil && err != io.EOF || n < len(got) && err == nil:
				t.Fatalf("%d of %d bytes: %v", n, len(got), err)
			}
			f.Close()
			if err := overwrite(file, was); err != nil {
				t.Fatal(err)
			}
		}
		if wrong == 0 {
			t.Errorf("%d bytes: no change was found", size)
		}
		if n, err := all.ReadAt(make([]byte, size), 0); n != size || err != nil {
			t.Errorf("with all as it was: %d bytes, %v", n, err)
		}
	}
}

func overwrite(file string, b []byte) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.Write(b)
	return err
}

// TestOpenStoredOpensFilesOfTheStoreOnly: what another user may have put there.
func TestOpenStoredOpensFilesOfTheStoreOnly(t *testing.T) {
	root, secret := t.TempDir(), filepath.Join(t.TempDir(), "secret")
	err := errors.Join(os.WriteFile(secret, []byte("mine"), 0o600), os.WriteFile(filepath.Join(root, "file"), nil, 0o600),
		os.Symlink(secret, filepath.Join(root, "link")), os.Symlink(filepath.Dir(secret), filepath.Join(root, "dir")),
		unix.Mkfifo(filepath.Join(root, "fifo"), 0o600), os.Mkdir(filepath.Join(root, "sub"), 0o700))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"link", "dir/secret", "fifo", "sub", "../" + filepath.Base(filepath.Dir(secret)) + "/secret", secret} {
		if f, err := OpenStored(root, name); err == nil {
			t.Errorf("%s: opened %s", name, f.Name())
		}
	}
	if f, err := OpenStored(root, "file"); err != nil {
		t.Error(err)
	} else {
		f.Close()
	}
}

package cache_test

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/image"
	"tiffin/image/cache"
	"tiffin/image/layer"
	"tiffin/internal/test/imagetest"
)

// TestHostileAdditionalStore changes all files of an additional store before and while an image of
// it is found, prepared and read: a read gives what was in the image or an error, nothing hangs or
// panics, and no file of this user's is shown or written.
//
//	TIFFIN_MUTATIONS   how many changes
func TestHostileAdditionalStore(t *testing.T) {
	want := 800
	if v := os.Getenv("TIFFIN_MUTATIONS"); v != "" {
		want, _ = strconv.Atoi(v)
	}
	theirs, _, img := imagetest.StoreWith(t, imagetest.Gzip, "course/lab:1")
	imagetest.Paths(t, theirs, img)
	h := &foreign{root: theirs.Root(), content: map[string][]byte{}, canary: filepath.Join(t.TempDir(), "canary")}
	h.save(t)
	t.Setenv("TIFFIN_IMAGE_PATH", h.root)
	truth, err := h.read(t, func() {})
	if err != nil || !strings.Contains(truth, "/bin/tool-two twotwo") {
		t.Fatalf("the truth is %.80q, %v", truth, err)
	}
	right, wrong := 0, 0
	for seed := uint64(1); h.changes < want; seed++ {
		watchdog := time.AfterFunc(2*time.Minute, func() { panic(fmt.Sprintf("round %d hangs", seed)) })
		h.rnd = rand.New(rand.NewPCG(seed, 41))
		h.restore(t)
		for range h.rnd.IntN(4) {
			h.change()
		}
		during := h.rnd.IntN(3)
		got, err := h.read(t, func() {
			for range during {
				h.change()
			}
		})
		watchdog.Stop()
		switch {
		case err != nil:
			wrong++
		case got == truth:
			right++
		default:
			t.Fatalf("round %d: it has %.200q", seed, got)
		}
		if b, err := os.ReadFile(h.canary); string(b) != "my own" {
			t.Fatalf("round %d: the file beside the store is %.40q, %v", seed, b, err)
		}
	}
	t.Logf("%d changes; %d times right, %d times an error", h.changes, right, wrong)
	if right == 0 || wrong == 0 {
		t.Error("a kind of outcome has not occurred")
	}
}

// foreign is the store of somebody who changes it.
type foreign struct {
	root, canary string
	names        []string
	content      map[string][]byte
	rnd          *rand.Rand
	changes      int
}

// save remembers all files.
func (h *foreign) save(t *testing.T) {
	err := filepath.WalkDir(h.root, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() && !strings.Contains(path, "/programs/") {
			h.content[path], err = os.ReadFile(path)
			h.names = append(h.names, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// restore makes all files again that have been changed.
func (h *foreign) restore(t *testing.T) {
	for path, want := range h.content {
		st, err := os.Lstat(path)
		if err == nil && st.Mode().IsRegular() {
			if got, err := os.ReadFile(path); err == nil && bytes.Equal(got, want) {
				continue
			}
		}
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, want, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(h.canary, []byte("my own"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// change makes one change of a file, most often of a byte of it.
func (h *foreign) change() {
	h.changes++
	path := h.names[h.rnd.IntN(len(h.names))]
	other := h.names[h.rnd.IntN(len(h.names))]
	switch h.rnd.IntN(12) {
	case 0, 1:
		_ = unix.Renameat2(unix.AT_FDCWD, path, unix.AT_FDCWD, other, unix.RENAME_EXCHANGE)
	case 2:
		_ = os.Remove(path)
	case 3:
		_ = os.Remove(path)
		_ = os.Symlink([]string{h.canary, other, "/dev/zero"}[h.rnd.IntN(3)], path)
	case 4:
		_ = os.Remove(path)
		_ = unix.Mkfifo(path, 0o600)
	case 5:
		_ = os.Remove(path)
		_ = os.Mkdir(path, 0o700)
	default:
		// A link or a fifo that is there by now is left alone.
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return
		}
		defer unix.Close(fd)
		n := len(h.content[path])
		if at := h.rnd.IntN(n + 1); at == n {
			_ = unix.Ftruncate(fd, int64(h.rnd.IntN(1+2*n)))
		} else {
			_, _ = unix.Pwrite(fd, []byte{h.content[path][at] ^ 1<<h.rnd.IntN(8)}, int64(at))
		}
	}
}

// read finds the image from an empty store, and reads all of it: path and content of each file.
func (h *foreign) read(t *testing.T, between func()) (string, error) {
	own, err := image.Open(filepath.Join(t.TempDir(), "own"))
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(own.Root())
	between()
	img, err := own.Resolve("course/lab:1")
	if err != nil {
		return "", err
	}
	between()
	m, err := own.Mountable(img)
	if err != nil {
		return "", err
	}
	between()
	stack, err := cache.OpenStack(m)
	if err != nil {
		return "", err
	}
	flats, err := layer.OpenFlats(m.FlatPaths, m.BlockPaths)
	if err != nil {
		return "", err
	}
	readers := make([]io.ReaderAt, len(flats))
	for i, f := range flats {
		defer f.Close()
		readers[i] = f
	}
	var all []string
	for i := range stack.Merged.Len() {
		between()
		b, err := io.ReadAll(stack.Merged.Reader(uint32(i), readers))
		if err != nil {
			return "", err
		}
		for _, n := range stack.Merged.Names(uint32(i)) {
			all = append(all, fmt.Sprintf("%s/%s %s", strings.TrimSuffix(stack.Merged.Path(n.Dir), "/"), n.Name, b))
		}
	}
	slices.Sort(all)
	return strings.Join(all, "\n"), nil
}

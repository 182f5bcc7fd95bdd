package layer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	tt "tiffin/internal/test/tartest"
	"tiffin/internal/wire"
)

const lazyID = "abababababababababababababababababababababababababababababababab"

// lazyLayer is a store with a layer of two files, of which nothing is here.
type lazyLayer struct {
	root, dir string
	files     [2]string
	asked     atomic.Int64
	answer    func(n int) (ChunkState, string) // what the program that fetches says
}

func newLazyLayer(t *testing.T) *lazyLayer {
	t.Helper()
	l := &lazyLayer{root: t.TempDir(), files: [2]string{strings.Repeat("rice ", 400), strings.Repeat("dal", 100)}}
	l.dir = filepath.Join(l.root, "lazy", strings.Repeat("cd", 32), lazyID)
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	c := NewContents(1000, 1<<20)
	add := func(m Member, chunks ...Chunk) {
		if err := c.Add(&m, chunks); err != nil {
			t.Fatal(err)
		}
	}
	// Not in the order in which the tarball below has them: inodes do not depend on it.
	add(Member{Name: "b", Type: '0', Mode: 0o644, Size: 2000}, Chunk{}, Chunk{Off: 700, From: 100}, Chunk{Off: 1500, From: 200})
	add(Member{Name: "a", Type: '0', Mode: 0o644, Size: 300}, Chunk{From: 300, Digest: sha256.Sum256([]byte(l.files[1]))})
	if err := c.Write(l.dir); err != nil {
		t.Fatal(err)
	}
	return l
}

// impatient makes who reads wait for a moment only, for what does not come.
func impatient(t *testing.T, f func()) {
	t.Helper()
	defer func(d time.Duration) { Patience = d }(Patience)
	Patience = 300 * time.Millisecond
	f()
}

func (l *lazyLayer) open(t *testing.T) (*Index, *Flat) {
	t.Helper()
	x, err := OpenIndex(filepath.Join(l.dir, "index"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := OpenFlat(filepath.Join(l.dir, "flat.tar"), filepath.Join(l.dir, "blocks"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if !f.Partial() || f.Size() != 2048+512 {
		t.Errorf("a layer of %d bytes that is not all here: %v", f.Size(), f.Partial())
	}
	return x, f
}

// serve is the program that fetches.
func (l *lazyLayer) serve(t *testing.T) (stop func()) {
	t.Helper()
	dir, err := os.Open(filepath.Dir(l.dir))
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	s, err := wire.Listen(dir, SocketName)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			sock, err := s.AcceptUnix()
			if err != nil {
				return
			}
			conn, err := wire.New(sock)
			var r ChunkRequest
			if err == nil {
				err = conn.Receive(&r)
			}
			if err != nil || r.DiffID != lazyID {
				t.Errorf("asked for layer %s, %v", r.DiffID, err)
			}
			l.asked.Add(1)
			state, why := l.answer(r.Chunk)
			conn.Send(&ChunkAnswer{State: state, Why: why})
			conn.Close()
		}
	}()
	return func() { s.Close() }
}

// put writes a chunk, as the program that fetches does before it answers.
func (l *lazyLayer) put(t *testing.T, n int) {
	t.Helper()
	all, _, err := ReadChunks(filepath.Join(l.dir, "blocks"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(l.dir, "flat.tar"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	k, file := all[n], l.files[0]
	if k.At >= 2048 {
		file = l.files[1]
	}
	if _, err := f.WriteAt([]byte(file[k.Off:k.Off+k.Len]), k.At); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, x *Index, f *Flat, name string, off, n int64) (string, error) {
	t.Helper()
	i, ok := x.Find(name)
	if !ok {
		t.Fatalf("there is no %s", name)
	}
	b := make([]byte, n)
	k, err := x.ReadAt(i, []io.ReaderAt{f}, b, off)
	if err == io.EOF {
		err = nil
	}
	return string(b[:k]), err
}

// TestAChunkIsAskedForOnce, and only if it is read.
func TestAChunkIsAskedForOnce(t *testing.T) {
	l := newLazyLayer(t)
	l.answer = func(n int) (ChunkState, string) { l.put(t, n); return ChunkHere, "" }
	defer l.serve(t)()
	x, f := l.open(t)
	for range 2 {
		if s, err := read(t, x, f, "b", 690, 20); err != nil || s != l.files[0][690:710] { // two chunks
			t.Errorf("%q, %v", s, err)
		}
	}
	if n := l.asked.Load(); n != 2 {
		t.Errorf("asked %d times", n)
	}
	if s, err := read(t, x, f, "a", 0, 1000); err != nil || s != l.files[1] {
		t.Errorf("%q, %v", s, err)
	}
	if s, err := read(t, x, f, "b", 0, 3000); err != nil || s != l.files[0] || l.asked.Load() != 4 {
		t.Errorf("%q, %v after %d questions", s, err, l.asked.Load())
	}
}

// TestWhoReadsWaits until it is here, but not for ever, and not for what will never be.
func TestWhoReadsWaits(t *testing.T) {
	l := newLazyLayer(t)
	x, f := l.open(t)
	impatient(t, func() {
		if _, err := read(t, x, f, "a", 0, 1); !errors.Is(err, ErrAway) || !strings.Contains(err.Error(), "no program runs") {
			t.Errorf("without a program: %v", err)
		}
	})
	tries := 0
	l.answer = func(n int) (ChunkState, string) {
		if tries++; tries < 3 {
			return ChunkAway, "the wire is cut"
		}
		l.put(t, n)
		return ChunkHere, ""
	}
	stop := l.serve(t)
	if s, err := read(t, x, f, "a", 0, 300); err != nil || s != l.files[1] {
		t.Errorf("%q, %v", s, err)
	}
	l.answer = func(int) (ChunkState, string) { return ChunkAway, "the wire is cut" }
	impatient(t, func() {
		if _, err := read(t, x, f, "b", 0, 1); !errors.Is(err, ErrAway) || !strings.Contains(err.Error(), "the wire is cut") {
			t.Errorf("with the wire cut: %v", err)
		}
	})
	l.answer = func(int) (ChunkState, string) { return LayerWrong, "other bytes" }
	asked := l.asked.Load()
	if _, err := read(t, x, f, "b", 0, 1); err == nil || errors.Is(err, ErrAway) || !strings.Contains(err.Error(), "other bytes") || l.asked.Load() != asked+1 {
		t.Errorf("of other bytes: %v", err)
	}
	stop()
	if err := os.WriteFile(filepath.Join(filepath.Dir(l.dir), failedName), []byte("a lie"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := read(t, x, f, "b", 0, 1); err == nil || errors.Is(err, ErrAway) || !strings.Contains(err.Error(), "a lie") {
		t.Errorf("of a layer that is a lie: %v", err)
	}
}

// TestManyReadersTakeFewDescriptors, and all end when they are told to.
func TestManyReadersTakeFewDescriptors(t *testing.T) {
	l := newLazyLayer(t)
	dir, err := os.Open(filepath.Dir(l.dir))
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	s, err := wire.Listen(dir, SocketName)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var open atomic.Int64
	full := make(chan struct{})
	go func() { // a program that never answers
		for {
			c, err := s.AcceptUnix()
			if err != nil {
				return
			}
			defer c.Close()
			if open.Add(1) == int64(cap(asking)) {
				close(full)
			}
		}
	}()
	_, f := l.open(t)
	ctx, cancel := context.WithCancelCause(context.Background())
	enough := errors.New("enough")
	const readers = 500
	ended := make(chan error, readers)
	for range readers {
		go func() {
			_, err := f.Within(ctx).ReadAt(make([]byte, 10), 0)
			ended <- err
		}()
	}
	<-full
	time.Sleep(50 * time.Millisecond) // for the others
	if n := open.Load(); n != int64(cap(asking)) {
		t.Errorf("%d readers have %d connections", readers, n)
	}
	cancel(enough)
	for range readers {
		if err := <-ended; !errors.Is(err, enough) {
			t.Errorf("it ended with %v", err)
		}
	}
}

// TestTheWholeLayerIsReadWhenItIsHere: by a program that has the sparse one open, and with holes.
func TestTheWholeLayerIsReadWhenItIsHere(t *testing.T) {
	l := newLazyLayer(t)
	l.answer = func(n int) (ChunkState, string) {
		if n == 0 {
			l.put(t, n)
			return ChunkHere, ""
		}
		return LayerWhole, ""
	}
	stop := l.serve(t)
	x, f := l.open(t)
	if s, err := read(t, x, f, "b", 0, 10); err != nil || s != l.files[0][:10] {
		t.Errorf("%q, %v", s, err)
	}
	dir := filepath.Join(l.root, "layers", lazyID)
	piece := []tt.Piece{{Off: 512, Data: l.files[0][512:]}} // what is before it is a hole
	tarball := tt.Of(t, tt.File("a", l.files[1]), tt.SparseOld("b", 2000, piece))
	tree, err := Scan(bytes.NewReader(tarball))
	if err != nil {
		t.Fatal(err)
	}
	codes := NewBlocks()
	codes.Write(tarball)
	err = errors.Join(os.MkdirAll(dir, 0o700), tree.WriteFile(filepath.Join(dir, "index")), os.WriteFile(filepath.Join(dir, "flat.tar"), tarball, 0o600),
		os.WriteFile(filepath.Join(dir, "blocks"), codes.Encode(filepath.Join(dir, "blocks")), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	stop() // it is enough that nobody listens
	if err := os.RemoveAll(filepath.Join(l.root, "lazy")); err != nil {
		t.Fatal(err)
	}
	if s, err := read(t, x, f, "a", 100, 300); err != nil || s != l.files[1][100:] {
		t.Errorf("%q, %v", s, err)
	}
	if s, err := read(t, x, f, "b", 0, 2000); err != nil || s != l.files[0] {
		t.Errorf("%q, %v", s, err) // the first chunk is here, the others come from the tarball
	}
	whole, err := OpenIndex(filepath.Join(dir, "index"))
	if err != nil {
		t.Fatal(err)
	}
	if err := SameTree(x, whole); err != nil { // whatever the order
		t.Error(err)
	}
}

// TestALazyLayerIsTheUsersOwn: the list of chunks leads to a socket, and out of the directory that
// it is in. The store of somebody else may not lead there.
func TestALazyLayerIsTheUsersOwn(t *testing.T) {
	l := newLazyLayer(t)
	open := func(dir string) error {
		f, err := OpenFlat(filepath.Join(dir, "flat.tar"), filepath.Join(dir, "blocks"))
		if err == nil {
			f.Close()
		}
		return err
	}
	if err := open(l.dir); err != nil {
		t.Fatal(err)
	}
	elsewhere := filepath.Join(l.root, "layers", lazyID)
	if err := errors.Join(os.Mkdir(filepath.Dir(elsewhere), 0o700), os.Rename(l.dir, elsewhere)); err != nil {
		t.Fatal(err)
	}
	if err := open(elsewhere); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "own store") {
		t.Errorf("in the place of a whole layer: %v", err)
	}
	if os.Getuid() != 0 {
		return // nobody else's files can be made
	}
	if err := errors.Join(os.Rename(elsewhere, l.dir), os.Chown(filepath.Join(l.dir, "blocks"), 5, 5)); err != nil {
		t.Fatal(err)
	}
	if err := open(l.dir); err == nil {
		t.Error("a list of another user's is believed")
	}
}

// TestAChunkOfNoFile: a list that names a file which the whole layer does not have is damage, and
// no panic.
func TestAChunkOfNoFile(t *testing.T) {
	l := newLazyLayer(t)
	x, f := l.open(t)
	f.lazy.whole.Store(&wholeLayer{x: &Index{}, flat: f})
	if _, err := read(t, x, f, "a", 0, 1); !errors.Is(err, ErrCorrupt) {
		t.Errorf("%v", err)
	}
	f.lazy.whole.Store(nil)
}

// TestSameTreeSeesEachDifference: one attribute at a time.
func TestSameTreeSeesEachDifference(t *testing.T) {
	index := func(es ...tt.Entry) *Index {
		t.Helper()
		tree, err := Scan(bytes.NewReader(tt.Of(t, es...)))
		if err != nil {
			t.Fatal(err)
		}
		x, err := Decode(tree.Encode())
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	file := func(opts ...tt.Option) []tt.Entry {
		return []tt.Entry{tt.Dir("d"), tt.File("d/f", "rice", append([]tt.Option{tt.Mtime(1000, 0)}, opts...)...), tt.Symlink("l", "d")}
	}
	was := index(file()...)
	for name, same := range map[string][]tt.Entry{
		"the same":          file(),
		"another order":     {tt.Symlink("l", "d"), tt.Dir("d"), tt.File("d/f", "rice", tt.Mtime(1000, 0))},
		"other bytes":       {tt.Dir("d"), tt.File("d/f", "dals", tt.Mtime(1000, 0)), tt.Symlink("l", "d")},
		"a rounded time":    file(tt.Mtime(1000, 400_000_000)),
		"rounded from down": file(tt.Mtime(999, 600_000_000)),
	} {
		if err := SameTree(was, index(same...)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, other := range map[string][]tt.Entry{
		"a mode":      file(tt.Mode(0o4755)),
		"an owner":    file(tt.Owner(5, 0)),
		"a time":      file(tt.Mtime(1001, 0)),
		"an attr":     file(tt.Xattr("user.k", "v")),
		"a size":      {tt.Dir("d"), tt.File("d/f", "rice!", tt.Mtime(1000, 0)), tt.Symlink("l", "d")},
		"a name":      {tt.Dir("d"), tt.File("d/g", "rice", tt.Mtime(1000, 0)), tt.Symlink("l", "d")},
		"a target":    {tt.Dir("d"), tt.File("d/f", "rice", tt.Mtime(1000, 0)), tt.Symlink("l", "e")},
		"a type":      {tt.Dir("d"), tt.File("d/f", "rice", tt.Mtime(1000, 0)), tt.Fifo("l")},
		"one more":    append(file(), tt.File("x", "")),
		"a hard link": append(file(), tt.Hardlink("x", "d/f")),
		"no entry":    {tt.File("d/f", "rice", tt.Mtime(1000, 0)), tt.Symlink("l", "d")}, // the directory is implied
	} {
		if SameTree(was, index(other...)) == nil {
			t.Errorf("%s makes no difference", name)
		}
	}
}

// TestWhoWaitsHasNoMemory: the kernel's request names a buffer, and as long as nothing is written
// there it is none.
func TestWhoWaitsHasNoMemory(t *testing.T) {
	l := newLazyLayer(t)
	_, f := l.open(t)
	b := bytes.Repeat([]byte("x"), 2000)
	asked := 0
	l.answer = func(n int) (ChunkState, string) {
		if asked++; bytes.Count(b, []byte("x")) != len(b) {
			t.Errorf("something is written before chunk %d is here", n)
		}
		l.put(t, n)
		return ChunkHere, ""
	}
	defer l.serve(t)()
	if _, err := f.ReadAt(b, 0); err != nil || string(b) != l.files[0] || asked != 3 {
		t.Errorf("%v, asked for %d chunks", err, asked)
	}
}

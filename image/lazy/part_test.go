// Which chunks are fetched, from where, and how often.

package lazy

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sys/unix"

	"tiffin/image"
	"tiffin/image/layer"
	"tiffin/image/transfer"
	"tiffin/internal/wire"
)

// TestBytesThatInflateToOtherOnes are not written.
func TestBytesThatInflateToOtherOnes(t *testing.T) {
	p := begin(t)
	l := p.layers("host/app:v1")[0]
	one, err := openPart(filepath.Join(p.s.LazyDir(p.id), l.DiffID.Encoded()), p.s.Store, p.from, ocispec.Descriptor{Digest: l.Digest, Size: l.Size}, semaphore.NewWeighted(memory))
	if err != nil {
		t.Fatal(err)
	}
	right := one.chunks[0].Digest
	one.chunks[0].Digest[0] ^= 1
	if err := one.want(context.Background(), 0); !errors.Is(err, errChunk) || one.has(0) {
		t.Errorf("error %v", err)
	}
	b := make([]byte, one.chunks[0].Len)
	f, err := os.Open(one.data.Name())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.ReadAt(b, one.chunks[0].At); err != nil || !bytes.Equal(b, make([]byte, len(b))) {
		t.Errorf("%q was written, %v", b, err)
	}
	one.chunks[0].Digest = right
	if err := one.want(context.Background(), 0); err != nil || !one.has(0) {
		t.Errorf("error %v", err)
	}
}

// TestWhatIsHereIsNotFetchedTwice: neither after the program was killed, nor what has come in the
// background. After the machine was, it is.
func TestWhatIsHereIsNotFetchedTwice(t *testing.T) {
	p := begin(t)
	tables := p.from.ranges()
	part := func() *part {
		t.Helper()
		ix, err := p.s.ReadIndex()
		if err != nil {
			t.Fatal(err)
		}
		lz, err := p.s.ReadLazy(ix, p.id)
		if err != nil {
			t.Fatal(err)
		}
		one, err := openPart(filepath.Join(lz.Dir, lz.Image.Layers[0].DiffID.Encoded()), p.s.Store, p.from, lz.Document.Layers[0], semaphore.NewWeighted(memory))
		if err != nil {
			t.Fatal(err)
		}
		return one
	}
	ctx := context.Background()
	first := part()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := first.want(ctx, 0); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := p.from.ranges() - tables; n != 1 {
		t.Errorf("one chunk was asked for %d times: %q", n, p.from.asked)
	}
	if err := part().want(ctx, 0); err != nil || p.from.ranges()-tables != 1 { // as after kill -9
		t.Errorf("it was asked for again: %q, %v", p.from.asked, err)
	}
	have := filepath.Join(filepath.Dir(first.data.Name()), haveName)
	b, err := os.ReadFile(have)
	if err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1 // another kernel
	if err := os.WriteFile(have, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := part().want(ctx, 0); err != nil || p.from.ranges()-tables != 2 {
		t.Errorf("after a crash it was not asked for again: %q, %v", p.from.asked, err)
	}
	// What a partial file has comes from there, unless it is something else.
	blob := p.from.blobs[first.desc.Digest]
	partial := p.s.Path("partial", first.desc.Digest.Encoded())
	for n, c := range []struct {
		b    []byte
		more int
	}{{blob, 0}, {make([]byte, len(blob)), 1}, {blob[:1], 1}} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(partial), 0o700), os.WriteFile(partial, c.b, 0o600), os.Remove(have)); err != nil {
			t.Fatal(err)
		}
		before := p.from.ranges()
		if err := part().want(ctx, 0); err != nil || p.from.ranges()-before != c.more {
			t.Errorf("partial file %d: %q, %v", n, p.from.asked, err)
		}
	}
}

// TestARegistryThatRefuses is left in peace for a while, however many read.
func TestARegistryThatRefuses(t *testing.T) {
	p := begin(t)
	l := p.layers("host/app:v1")[0]
	one, err := openPart(filepath.Join(p.s.LazyDir(p.id), l.DiffID.Encoded()), p.s.Store, p.from, ocispec.Descriptor{Digest: l.Digest, Size: l.Size}, semaphore.NewWeighted(memory))
	if err != nil {
		t.Fatal(err)
	}
	defer func(r time.Duration) { rest = r }(rest)
	rest = time.Hour
	before := p.from.ranges()
	p.from.refuses = transfer.ErrStartOver
	for n := range one.chunks {
		for range 10 {
			if err := one.want(context.Background(), n); !errors.Is(err, transfer.ErrStartOver) {
				t.Errorf("error %v", err)
			}
		}
	}
	if n := p.from.ranges() - before; n != 1 || len(one.chunks) < 2 {
		t.Errorf("asked %d times for %d chunks", n, len(one.chunks))
	}
	p.from.refuses, rest = nil, 0
	if err := one.want(context.Background(), 1); err != nil {
		t.Errorf("error %v", err)
	}
}

// TestAChunkThatComesSlowly is not asked for again by whoever has waited for it in vain.
func TestAChunkThatComesSlowly(t *testing.T) {
	p := begin(t)
	l := p.layers("host/app:v1")[0]
	one, err := openPart(filepath.Join(p.s.LazyDir(p.id), l.DiffID.Encoded()), p.s.Store, p.from, ocispec.Descriptor{Digest: l.Digest, Size: l.Size}, semaphore.NewWeighted(memory))
	if err != nil {
		t.Fatal(err)
	}
	p.from.slow = make(chan struct{})
	before := p.from.ranges()
	for range 3 {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		if err := one.want(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		cancel()
	}
	close(p.from.slow)
	if err := one.want(context.Background(), 1); err != nil || p.from.ranges() != before+1 {
		t.Errorf("error %v after %d requests", err, p.from.ranges()-before)
	}
}

// TestManyChunksInTheSameBytes: whoever wants one does not wait until all have been inflated.
func TestManyChunksInTheSameBytes(t *testing.T) {
	const n = 10_000
	p := &part{have: make([]byte, n/8+1), coming: map[int]*fetching{}}
	for i := range n {
		p.chunks = append(p.chunks, layer.Chunk{At: int64(i), Len: 1, To: 100, Skip: 1 << 20})
		p.order, p.place = append(p.order, i), append(p.place, i)
	}
	work := int64(0)
	for _, k := range p.group(5)[1:] {
		work += p.chunks[k].Skip + p.chunks[k].Len
	}
	if work == 0 || work > aheadWork {
		t.Errorf("%d bytes are inflated for others", work)
	}
}

// TestTooManyReaders: whoever cannot be heard for a moment, since there are as many already as this
// program may have descriptors for, is heard then.
func TestTooManyReaders(t *testing.T) {
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	l, err := wire.Listen(dir, layer.SocketName)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := wire.Dial(dir, layer.SocketName)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	var was, none unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	none.Max = was.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	_, err = l.AcceptUnix() // as serve would be told
	f := &fill{}
	go f.serve(context.Background(), l)
	time.Sleep(2 * busyPause)
	if e := unix.Setrlimit(unix.RLIMIT_NOFILE, &was); e != nil {
		t.Fatal(e)
	}
	if !errors.Is(err, unix.EMFILE) {
		t.Fatalf("accept(2) without descriptors: %v", err)
	}
	var a layer.ChunkAnswer
	if err := conn.Send(&layer.ChunkRequest{DiffID: strings.Repeat("ab", 32)}); err != nil {
		t.Fatal(err)
	}
	if err := conn.Receive(&a); err != nil || a.State != layer.LayerWrong {
		t.Errorf("the answer is %v, %v", a, err)
	}
}

// TestATableWhoseConnectionBreaks is asked for again, and not for ever.
func TestATableWhoseConnectionBreaks(t *testing.T) {
	defer func(d time.Duration) { tablePause = d }(tablePause)
	tablePause = time.Millisecond
	p := begin(t)
	for breaks, want := range map[int]error{tableTries - 1: nil, 2 * tableTries: transfer.ErrInterrupted} {
		p.from.breaks = breaks
		s, err := image.Open(filepath.Join(t.TempDir(), "store"))
		if err != nil {
			t.Fatal(err)
		}
		before := p.from.ranges()
		_, err = Begin(context.Background(), s, p.from, ref(t, "host/app:v1"), nil, false)
		if asked := p.from.ranges() - before; !errors.Is(err, want) || asked < tableTries || asked > 2*tableTries {
			t.Errorf("after %d breaks: %v instead of %v, asked %d times", breaks, err, want, asked)
		}
	}
}

// A layer of which only some bytes are here. It is opened as others are: OpenFlat sees by the file
// `blocks` that it is one. What is read and not here is asked for at a socket, where the program
// listens that fetches the rest, and this program waits.
//
//	lazy/MANIFEST/socket            where that program listens
//	lazy/MANIFEST/DIFFID/flat.tar   the bytes that are here; sparse
//	                     blocks     list of chunks
//	                     index      made of the table of contents
//	layers/DIFFID/…                 the whole layer, when it is here
//
// Chunks are asked for by their number, and checked before they are written: what has been answered
// for is here. Once all is here and has its digest, the program that fetched it goes away, and the
// bytes are read from the whole layer, file by file, because inodes have the same numbers there
// (SameTree has been asked).

package layer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/internal/errs"
	"tiffin/internal/wire"
)

// ChunkRequest is what a program asks for, and ChunkAnswer what it is told when that is here, or
// will not be.
type ChunkRequest struct {
	DiffID string `json:"diffID"` // 64 hexadecimal digits
	Chunk  int    `json:"chunk"`  // its place in the list
	noFiles
}

type ChunkAnswer struct {
	State ChunkState `json:"state"`
	Why   string     `json:"why,omitempty"` // with the last two
	noFiles
}

// ChunkState is how it is with a chunk.
type ChunkState string

const (
	ChunkHere  ChunkState = "here"
	LayerWhole ChunkState = "whole" // all of it is here
	ChunkAway  ChunkState = "away"  // it could not be fetched; it is worth asking again
	LayerWrong ChunkState = "wrong" // it is not what its digest says
)

// noFiles is part of messages that come alone: wire.Message.
type noFiles struct {
	NumFiles int `json:"numFiles,omitempty"`
	files    []*os.File
}

func (n *noFiles) Attached() (*int, *[]*os.File) { return &n.NumFiles, &n.files }

// SocketName is that of the socket in the directory of the layers; failedName is that of the file
// which says why they are not what they should be.
const (
	SocketName = "socket"
	failedName = "failed"
)

// ErrAway is wrapped by errors that say that bytes could not be fetched in time.
var ErrAway = errors.New("it is not here yet, and could not be fetched")

var (
	// Patience is how long a read waits for bytes whose registry does not send them.
	Patience = time.Minute
	// asking is a place for each question that may be under way: a container has as many threads
	// that read as it likes, and this program not as many descriptors.
	asking   = make(chan struct{}, 64)
	firstAsk = 10 * time.Millisecond // between two questions; doubles
	askAgain = 250 * time.Millisecond
)

// lazyFlat is the part of a Flat that is not all here.
type lazyFlat struct {
	dir    string // lazy/MANIFEST/DIFFID
	chunks []Chunk
	here   []atomic.Bool // by the number of the chunk
	whole  atomic.Pointer[wholeLayer]
	open   sync.Mutex // held while that is opened
}

// wholeLayer is what the layer has become.
type wholeLayer struct {
	x    *Index
	flat *Flat
}

// newLazy reads the list of chunks, which is open as f. It has to be in the user's own store, in
// the place for it: who is asked for bytes, and where the whole layer will be, is found from that
// place. Nobody else may say where that is.
func newLazy(f *os.File) (*lazyFlat, int64, error) {
	l := &lazyFlat{dir: filepath.Dir(f.Name())}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, 0, os.NewSyscallError("fstat", err)
	}
	if filepath.Base(filepath.Dir(filepath.Dir(l.dir))) != "lazy" || int(st.Uid) != os.Geteuid() {
		return nil, 0, fmt.Errorf("%s: %w: only the user's own store has layers that are not all there", f.Name(), ErrCorrupt)
	}
	var size int64
	var err error
	if l.chunks, size, err = readChunks(f); err != nil {
		return nil, 0, err
	}
	l.here = make([]atomic.Bool, len(l.chunks))
	return l, size, nil
}

// Partial reports whether some of the layer's bytes may have to be fetched.
func (f *Flat) Partial() bool { return f.lazy != nil }

// Within returns a reader of the same bytes. One that waits for them gives up when ctx ends, with
// the cause of that.
func (f *Flat) Within(ctx context.Context) io.ReaderAt {
	if f.lazy == nil {
		return f
	}
	return within{f, ctx}
}

type within struct {
	*Flat
	ctx context.Context
}

func (w within) ReadAt(b []byte, off int64) (int, error) { return w.readAt(w.ctx, b, off) }

// readLazy is ReadAt, within the size of the tarball.
func (f *Flat) readLazy(ctx context.Context, b []byte, off int64) (int, error) {
	l := f.lazy
	first := sort.Search(len(l.chunks), func(i int) bool { return l.chunks[i].At+l.chunks[i].Len > off })
	end := first
	// Who waits has not touched b yet, which is no memory until then: a container has as many
	// threads that wait as it likes.
	for ; end < len(l.chunks) && l.chunks[end].At < off+int64(len(b)); end++ {
		if err := l.bring(ctx, end); err != nil {
			return 0, err
		}
	}
	clear(b) // what no chunk has
	for n := first; n < end; n++ {
		k := &l.chunks[n]
		from, to := max(k.At, off), min(k.At+k.Len, off+int64(len(b)))
		if err := l.read(f.tar, n, b[from-off:to-off], from-k.At); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

// bring waits until chunk n can be read.
func (l *lazyFlat) bring(ctx context.Context, n int) error {
	if l.here[n].Load() || l.whole.Load() != nil {
		return nil
	}
	if err := l.fetch(ctx, n); err != nil {
		k := &l.chunks[n]
		return fmt.Errorf("bytes %d to %d of layer sha256:%s: %w", k.At, k.At+k.Len, filepath.Base(l.dir), err)
	}
	return nil
}

// read reads from byte in of chunk n on, which has been brought.
func (l *lazyFlat) read(tar *os.File, n int, b []byte, in int64) error {
	k := &l.chunks[n]
	if l.here[n].Load() {
		_, err := whole{tar}.ReadAt(b, k.At+in)
		return err
	}
	w := l.whole.Load()
	if int(k.Inode) >= w.x.Len() {
		return fmt.Errorf("file %d: %w", k.Inode, ErrCorrupt)
	}
	if i := w.x.Inode(k.Inode); i.Mode&unix.S_IFMT != unix.S_IFREG || i.Size < k.Off+k.Len {
		return fmt.Errorf("file %d: %w", k.Inode, ErrCorrupt)
	}
	got, err := w.x.ReadAt(k.Inode, []io.ReaderAt{w.flat}, b, k.Off+in)
	if got == len(b) {
		err = nil
	}
	return err
}

// fetch waits until chunk n is here, or the whole layer. It gives up when nothing has changed for
// as long as Patience, or when ctx ends.
func (l *lazyFlat) fetch(ctx context.Context, n int) error {
	pause := firstAsk
	for end := time.Now().Add(Patience); ; pause = min(2*pause, askAgain) {
		a, err := l.ask(ctx, n)
		why := a.Why
		switch {
		case ctx.Err() != nil && (err != nil || a.State != ChunkHere):
			return context.Cause(ctx)
		case err != nil:
			if l.openWhole() == nil {
				return nil
			}
			if b, e := os.ReadFile(filepath.Join(filepath.Dir(l.dir), failedName)); e == nil {
				return wrong(string(b))
			}
			if why = "no program runs that would fetch it"; errors.Is(err, os.ErrDeadlineExceeded) {
				why = "the registry sends nothing"
			}
		case a.State == ChunkHere:
			l.here[n].Store(true)
			return nil
		case a.State == LayerWhole:
			if e := l.openWhole(); e != nil {
				why = e.Error()
				break
			}
			return nil
		case a.State == LayerWrong:
			return wrong(why)
		}
		if time.Now().After(end) {
			return errs.Hint(fmt.Errorf("%w: %s", ErrAway, why), "whoever reads it again waits for it again; `tiffin pull --lazy` of the image goes on fetching")
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

func wrong(why string) error {
	return errs.Hint(errors.New(why), "`tiffin rmi` and `tiffin pull` the image, to have it as a whole")
}

// ask asks for a chunk, and waits for the answer.
func (l *lazyFlat) ask(ctx context.Context, n int) (a ChunkAnswer, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, Patience, os.ErrDeadlineExceeded)
	defer cancel()
	select {
	case asking <- struct{}{}:
		defer func() { <-asking }()
	case <-ctx.Done():
		return a, context.Cause(ctx)
	}
	dir, err := os.Open(filepath.Dir(l.dir))
	if err != nil {
		return a, err
	}
	defer dir.Close()
	conn, err := wire.Dial(dir, SocketName)
	if err != nil {
		return a, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Now()) })()
	if err = conn.Send(&ChunkRequest{DiffID: filepath.Base(l.dir), Chunk: n}); err == nil {
		err = conn.Receive(&a)
	}
	return a, err
}

// openWhole opens the whole layer, which is beside the directory lazy.
func (l *lazyFlat) openWhole() error {
	l.open.Lock()
	defer l.open.Unlock()
	if l.whole.Load() != nil {
		return nil
	}
	dir := filepath.Join(l.dir, "../../../layers", filepath.Base(l.dir))
	x, err := OpenIndex(filepath.Join(dir, "index"))
	if err != nil {
		return err
	}
	flat, err := OpenFlat(filepath.Join(dir, "flat.tar"), filepath.Join(dir, "blocks"))
	if err != nil {
		return err
	}
	if flat.lazy != nil {
		flat.Close()
		return ErrCorrupt
	}
	l.whole.Store(&wholeLayer{x, flat})
	return nil
}

func (l *lazyFlat) close() {
	if w := l.whole.Load(); w != nil {
		w.flat.Close()
	}
}

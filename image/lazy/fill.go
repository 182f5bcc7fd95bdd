// The program that fetches the rest of an image that is being pulled lazily.

package lazy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sync/semaphore"

	"tiffin/image"
	"tiffin/image/ingest"
	"tiffin/image/layer"
	"tiffin/image/oci"
	"tiffin/image/reference"
	"tiffin/image/store"
	"tiffin/image/transfer"
	"tiffin/internal/wire"
)

const (
	firstPause = time.Second // between two tries to fetch everything; doubles
	mostPause  = time.Minute
	mostTries  = time.Hour // without another byte
	lookAgain  = time.Second
	busyPause  = 50 * time.Millisecond // before another connection is accepted
	chunkTime  = 40 * time.Second      // that an answer may take; layer.Patience is longer
	fetchTime  = 10 * time.Minute      // that a chunk may take
)

// errTable is wrapped by the error that says that a table of contents is not that of its tarball.
var errTable = errors.New("its table of contents is not that of its tarball")

// errSlow says why an answer does not wait any longer. The chunk goes on coming.
var errSlow = errors.New("the registry sends it slowly, or not at all")

// Connect returns where an image is fetched from.
type Connect func(ctx context.Context, r reference.Reference, insecure bool) (transfer.Source, error)

// fill is an image being fetched.
type fill struct {
	s     *image.Store
	lz    *image.Lazy
	from  transfer.Source
	parts map[string]*part // by diff ID, 64 digits
	done  atomic.Bool      // all is here
	wrong atomic.Pointer[string]
	conns sync.WaitGroup
}

// Fill fetches the rest of an image whose lock the caller holds, and answers those who want bytes
// of it. It returns when the image is here as a whole, when nobody wants it any more, or after an
// hour without success.
func Fill(s *image.Store, manifest digest.Digest, connect Connect) error {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	ix, err := s.ReadIndex()
	if err != nil {
		return err
	}
	f := &fill{s: s, parts: map[string]*part{}}
	if f.lz, err = s.ReadLazy(ix, manifest); err != nil {
		return err
	}
	if f.lz.Failed != "" {
		return errors.New(f.lz.Failed)
	}
	r, err := reference.Parse(f.lz.From.Name)
	if err != nil {
		return err
	}
	if f.from, err = connect(ctx, r, f.lz.From.Insecure); err != nil {
		return err
	}
	if err := f.open(ctx); err != nil {
		return err
	}
	dir, err := os.Open(f.lz.Dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	l, err := wire.Listen(dir, layer.SocketName)
	if err != nil {
		return fmt.Errorf("listen for those who want bytes of the image: %w", err)
	}
	go f.serve(ctx, l)
	go f.watch(ctx, cancel)
	err = f.complete(ctx)
	switch {
	case err == nil:
		f.done.Store(true)
		err = f.forget()
	case errors.Is(err, errTable) || errors.Is(err, oci.ErrDamaged) || errors.Is(err, ingest.ErrOtherLayer):
		why := err.Error()
		f.wrong.Store(&why)
		_ = store.WriteFile(filepath.Join(f.lz.Dir, image.LazyFailedName), []byte(why), true)
	}
	l.Close()
	cancel(err)
	f.conns.Wait()
	return err
}

// open opens the layers of which something is missing.
func (f *fill) open(ctx context.Context) error {
	room := semaphore.NewWeighted(memory)
	for i, l := range f.lz.Image.Layers {
		dir := filepath.Join(f.lz.Dir, l.DiffID.Encoded())
		if !store.Readable(dir) {
			continue
		}
		p, err := openPart(dir, f.s.Store, f.from, f.lz.Document.Layers[i], room)
		if err != nil {
			return err
		}
		p.life = ctx
		f.parts[l.DiffID.Encoded()] = p
	}
	return nil
}

// watch ends the work when nobody wants the image any more.
func (f *fill) watch(ctx context.Context, cancel context.CancelCauseFunc) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(lookAgain):
		}
		if _, err := os.Stat(filepath.Join(f.lz.Dir, image.LazyPullName)); errors.Is(err, os.ErrNotExist) && !f.done.Load() {
			cancel(transfer.ErrForgotten)
			return
		}
	}
}

// complete fetches all layers, and tries again if that fails for a while.
func (f *fill) complete(ctx context.Context) error {
	last, since := int64(-1), time.Now()
	for pause := firstPause; ; pause = min(2*pause, mostPause) {
		err := transfer.Complete(ctx, f.s, f.from, f.lz, f.check)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err == nil || errors.Is(err, errTable) || errors.Is(err, transfer.ErrForgotten) ||
			errors.Is(err, oci.ErrDamaged) || errors.Is(err, ingest.ErrOtherLayer) {
			return err
		}
		_ = store.WriteFile(filepath.Join(f.lz.Dir, image.LazyTroubleName), []byte(err.Error()), false)
		if have, _ := f.s.LazyProgress(f.lz.Image); have != last {
			last, since, pause = have, time.Now(), firstPause
		}
		if time.Since(since) > mostTries {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// check compares the indexes that have been made of the tables of contents with those that have
// been made of the tarballs.
func (f *fill) check(index func(digest.Digest) string) error {
	for _, l := range f.lz.Image.Layers {
		if f.parts[l.DiffID.Encoded()] == nil {
			continue
		}
		said, err := layer.OpenIndex(filepath.Join(f.lz.Dir, l.DiffID.Encoded(), store.IndexName))
		if errors.Is(err, os.ErrNotExist) {
			return transfer.ErrForgotten
		}
		if err != nil {
			return err
		}
		is, err := layer.OpenIndex(index(l.DiffID))
		if err != nil {
			return err
		}
		if err := layer.SameTree(said, is); err != nil {
			return fmt.Errorf("layer %s: %w: %w", l.Digest, errTable, err)
		}
	}
	return nil
}

// forget removes the directory of the pull, while no command is about to make a container of it.
func (f *fill) forget() error {
	_, release, err := f.s.LockIndex()
	if err != nil {
		return err
	}
	defer release()
	_, err = f.s.ForgetLazy(f.lz.Dir)
	return err
}

// serve answers those who want chunks.
func (f *fill) serve(ctx context.Context, l *net.UnixListener) {
	for {
		sock, err := l.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // for a moment there are too many of them: accept(2), EMFILE
			time.Sleep(busyPause)
			continue
		}
		f.conns.Go(func() {
			conn, err := wire.New(sock)
			if err != nil {
				sock.Close()
				return
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(layer.Patience))
			// The mode of the socket keeps others away; a connected descriptor could be passed on.
			if uid, err := conn.Peer(); err != nil || uid != os.Geteuid() {
				return
			}
			var r layer.ChunkRequest
			if conn.Receive(&r) == nil {
				_ = conn.Send(f.answer(ctx, r)) // whoever asked may have gone
			}
		})
	}
}

// answer waits until what is asked for is here, or will not be.
func (f *fill) answer(ctx context.Context, r layer.ChunkRequest) *layer.ChunkAnswer {
	p := f.parts[r.DiffID]
	if p == nil || r.Chunk < 0 || r.Chunk >= len(p.chunks) {
		return &layer.ChunkAnswer{State: layer.LayerWrong, Why: "there is no such chunk"}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, chunkTime, errSlow)
	defer cancel()
	err, wrong := p.want(ctx, r.Chunk), f.wrong.Load()
	switch {
	case err == nil:
		return &layer.ChunkAnswer{State: layer.ChunkHere}
	case f.done.Load():
		return &layer.ChunkAnswer{State: layer.LayerWhole}
	case wrong != nil:
		return &layer.ChunkAnswer{State: layer.LayerWrong, Why: *wrong}
	case errors.Is(err, errChunk):
		return &layer.ChunkAnswer{State: layer.LayerWrong, Why: err.Error()}
	}
	return &layer.ChunkAnswer{State: layer.ChunkAway, Why: err.Error()}
}

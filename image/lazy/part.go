// A layer of which only some chunks are here.

package lazy

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/semaphore"

	"tiffin/image/layer"
	"tiffin/image/store"
	"tiffin/image/transfer"
)

const (
	haveName = "have"
	// ahead is how many compressed bytes are asked for at once, if the chunk that is wanted has
	// fewer: those behind it are often wanted next, and a question costs more than the bytes.
	ahead = 256 << 10
	// aheadWork is how many bytes at most are inflated for those.
	aheadWork = 8 << 20
	// memory is what all chunks that are being fetched may take together, in bytes, compressed and
	// inflated; each counts as an eighth at least, and a larger one waits until it is alone.
	memory = 128 << 20
)

// errChunk is wrapped by errors that say that bytes are not what the table of contents says.
var errChunk = errors.New("they are not what its table of contents says")

// part is one layer.
type part struct {
	s      *store.Store
	from   transfer.Source
	desc   ocispec.Descriptor
	chunks []layer.Chunk
	order  []int // their numbers, in the order in which the blob has them
	place  []int // the inverse
	data   *os.File
	bits   *os.File            // which chunks are here, see openPart
	room   *semaphore.Weighted // of memory, for all layers
	life   context.Context     // of the program that fetches

	mu     sync.Mutex
	have   []byte            // a bit for each chunk
	coming map[int]*fetching // by the number of the chunk
	failed error             // what the registry last said to a question, if it did not answer it
	when   time.Time         // that was
}

// rest is how long a registry that does not answer is not asked again: readers ask often.
var rest = time.Second

// openPart opens the layer in dir. Which chunks are here, after this program was killed, is in the
// file `have`: the boot ID of the kernel that has their bytes in memory, until the disk has them,
// and then a bit for each. Under another kernel it counts for nothing, since the bytes may not have
// reached the disk: see package cache.
func openPart(dir string, s *store.Store, from transfer.Source, d ocispec.Descriptor, room *semaphore.Weighted) (*part, error) {
	p := &part{s: s, from: from, desc: d, room: room, coming: map[int]*fetching{}, life: context.Background()}
	var err error
	if p.chunks, _, err = layer.ReadChunks(filepath.Join(dir, store.BlocksName)); err != nil {
		return nil, err
	}
	for n := range p.chunks {
		p.order = append(p.order, n)
	}
	slices.SortFunc(p.order, func(a, b int) int {
		return cmp.Or(cmp.Compare(p.chunks[a].From, p.chunks[b].From), cmp.Compare(p.chunks[a].Skip, p.chunks[b].Skip))
	})
	p.place = make([]int, len(p.order))
	for i, n := range p.order {
		p.place[n] = i
	}
	if p.data, err = os.OpenFile(filepath.Join(dir, store.FlatName), os.O_WRONLY, 0); err != nil {
		return nil, err
	}
	if p.bits, err = os.OpenFile(filepath.Join(dir, haveName), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, err
	}
	boot := []byte(store.BootID())
	b := make([]byte, len(boot)+len(p.chunks)/8+1)
	if _, err := p.bits.ReadAt(b, 0); err != nil || len(boot) == 0 || !bytes.HasPrefix(b, boot) {
		clear(b)
		copy(b, boot)
		if err := p.bits.Truncate(0); err != nil {
			return nil, err
		}
		if _, err := p.bits.WriteAt(b, 0); err != nil {
			return nil, store.DiskError(err)
		}
	}
	p.have = b[len(boot):]
	return p, nil
}

// mark notes that a chunk is here. p.mu is held.
func (p *part) mark(n int) error {
	p.have[n/8] |= 1 << (n % 8)
	_, err := p.bits.WriteAt(p.have[n/8:n/8+1], int64(len(store.BootID())+n/8))
	return err
}

func (p *part) has(n int) bool { return p.have[n/8]&(1<<(n%8)) != 0 }

// want waits until chunk n is here, as long as ctx lets it. Others that are near it may come along.
// What is on its way goes on coming when nobody waits any more: on a slow line whoever asks again
// would wait for the same bytes from the first on.
func (p *part) want(ctx context.Context, n int) error {
	for {
		p.mu.Lock()
		if p.has(n) {
			p.mu.Unlock()
			return nil
		}
		f := p.coming[n]
		if f == nil {
			f = p.begin(n)
		}
		p.mu.Unlock()
		select {
		case <-f.ended:
			if f.first == n {
				return f.err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// fetching is chunks on their way.
type fetching struct {
	first int           // the one that was wanted
	ended chan struct{} // closed when err counts
	err   error         // of the first
}

// begin starts to fetch chunk n. p.mu is held.
func (p *part) begin(n int) *fetching {
	f, group := &fetching{first: n, ended: make(chan struct{})}, p.group(n)
	for _, k := range group {
		p.coming[k] = f
	}
	go func() {
		ctx, cancel := context.WithTimeout(p.life, fetchTime)
		defer cancel()
		f.err = p.fetch(ctx, group)
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, k := range group {
			delete(p.coming, k)
		}
		close(f.ended)
	}()
	return f
}

// group is chunk n and those that are fetched with it: behind it in the blob, not here, and nobody
// else fetches them. For each, all that is before it in its compressed bytes is inflated, and who
// waits for n waits for that: a table may say that two million chunks are in the same bytes.
// p.mu is held.
func (p *part) group(n int) []int {
	group, from, work := []int{n}, p.chunks[n].From, int64(0)
	for _, k := range p.order[p.place[n]+1:] {
		c := &p.chunks[k]
		if work += c.Skip + c.Len; p.has(k) || p.coming[k] != nil || c.To-from > ahead || work > aheadWork {
			break
		}
		group = append(group, k)
	}
	return group
}

// fetch fetches chunks that are near each other, and reports on the first.
func (p *part) fetch(ctx context.Context, group []int) error {
	from, to, size := p.chunks[group[0]].From, int64(0), int64(0)
	for _, k := range group {
		to, size = max(to, p.chunks[k].To), max(size, p.chunks[k].Len)
	}
	weight := min(max(to-from+size, memory/8), memory)
	if err := p.room.Acquire(ctx, weight); err != nil {
		return context.Cause(ctx)
	}
	defer p.room.Release(weight)
	b, local := p.local(from, to)
	if local && p.take(group[0], b, from) == nil {
		for _, k := range group[1:] {
			_ = p.take(k, b, from)
		}
		return nil
	}
	ranger, ok := p.from.(transfer.Ranger)
	if !ok {
		return transfer.ErrStartOver
	}
	if err := p.resting(); err != nil {
		return err
	}
	b, err := readRange(ctx, ranger, p.desc, from, to-from)
	if ctx.Err() == nil {
		p.mu.Lock()
		p.failed, p.when = err, time.Now()
		p.mu.Unlock()
	}
	if err != nil {
		return err
	}
	err = p.take(group[0], b, from)
	for _, k := range group[1:] {
		_ = p.take(k, b, from) // whoever wants it gets the error
	}
	return err
}

// resting is why the registry is not asked just now, or nil.
func (p *part) resting() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.when) > rest {
		return nil
	}
	return p.failed
}

// local reads bytes of the blob that have come in the background.
func (p *part) local(from, to int64) ([]byte, bool) {
	for _, path := range []string{p.s.Path("partial", p.desc.Digest.Encoded()), p.s.BlobPath(p.desc.Digest)} {
		f, err := layer.OpenStored(filepath.Split(path))
		if err != nil {
			continue
		}
		b := make([]byte, to-from)
		_, err = f.ReadAt(b, from)
		f.Close()
		if err == nil {
			return b, true
		}
	}
	return nil, false
}

// take checks a chunk, whose compressed bytes are in b, which begins at byte from of the blob, and
// writes it.
func (p *part) take(n int, b []byte, from int64) error {
	k := &p.chunks[n]
	wrong := func(err error) error {
		return fmt.Errorf("bytes %d to %d of layer %s: %w: %w", k.From, k.To, p.desc.Digest, errChunk, err)
	}
	data, err := inflate(b[k.From-from:k.To-from], k.Skip, k.Len)
	if err != nil {
		return wrong(err)
	}
	if got := sha256.Sum256(data); got != k.Digest {
		return wrong(fmt.Errorf("they have digest %x instead of %x", got, k.Digest))
	}
	if _, err := p.data.WriteAt(data, k.At); err != nil {
		return store.DiskError(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return store.DiskError(p.mark(n))
}

// A layer is written as eStargz.

package stargz

import (
	"archive/tar"
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/klauspost/compress/gzip"
	digest "github.com/opencontainers/go-digest"

	"tiffin/image/layer"
)

// level is what files are compressed with, as commit does: see package ingest. The table of
// contents is read more often than a file, and small: tocLevel.
const (
	level    = 3
	tocLevel = 6
)

// TOCDigest is the annotation of a layer that says which digest its table of contents has.
const TOCDigest = estargz.TOCJSONDigestAnnotation

// Blob is a layer that has been written.
type Blob struct {
	Digest       digest.Digest // of the blob
	Size         int64         // of the blob, bytes
	DiffID       digest.Digest // of the tarball in it, with the table of contents
	Uncompressed int64         // size of the tarball, bytes
	TOC          digest.Digest // of the table of contents, JSON
}

// Annotations are what an engine wants to know of the layer before it fetches any of it.
func (b *Blob) Annotations() map[string]string {
	return map[string]string{
		estargz.TOCJSONDigestAnnotation:         b.TOC.String(),
		estargz.StoreUncompressedSizeAnnotation: fmt.Sprint(b.Uncompressed),
	}
}

// Write writes to w a layer, of which x is the index and flat the tarball; lower is the merged tree
// of the layers below, see layer.WriteLayer. add is told of the bytes of the new tarball, as they
// come. Errors: those of w, flat and ctx; ErrUnfit if the layer cannot
// have this form, and then nothing has been written.
func Write(ctx context.Context, w io.Writer, x *layer.Index, flat io.ReaderAt, lower *layer.Tree, add func(int64)) (*Blob, error) {
	if err := check(x, lower); err != nil {
		return nil, err
	}
	out := &output{w: w, sum: sha256.New()}
	in := newInput(func(w io.Writer) error { return writeTar(&counter{ctx, w, add}, x, flat, lower) })
	packer := &packer{}
	writer := estargz.NewWriterWithCompressor(out, packer)
	toc, err := run(writer, in)
	// The library keeps the text of an error, but not what it wraps.
	if err := cmp.Or(in.end(), out.err, err); err != nil {
		return nil, err
	}
	return &Blob{
		Digest: digest.NewDigest(digest.SHA256, out.sum), Size: out.size,
		DiffID: digest.Digest(writer.DiffID()), Uncompressed: packer.uncompressed, TOC: toc,
	}, nil
}

// run hands the tarball to the library. Its panic is an error: what comes here is a stranger's.
func run(w *estargz.Writer, in io.Reader) (toc digest.Digest, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the eStargz library failed: %v", p)
		}
	}()
	if err := w.AppendTar(in); err != nil {
		return "", fmt.Errorf("write eStargz: %w", err)
	}
	return w.Close()
}

// input is the tarball that the library reads.
type input struct {
	*io.PipeReader
	done sync.WaitGroup
	err  error // of what it is made of
}

func newInput(write func(io.Writer) error) *input {
	r, w := io.Pipe()
	in := &input{PipeReader: r}
	in.done.Go(func() {
		in.err = write(w)
		w.CloseWithError(in.err)
	})
	return in
}

// end waits for the goroutine that makes the tarball.
func (in *input) end() error {
	in.CloseWithError(io.ErrClosedPipe)
	in.done.Wait()
	if errors.Is(in.err, io.ErrClosedPipe) {
		in.err = nil // it is the library that has stopped
	}
	return in.err
}

// writeTar writes the landmark and the layer. That the landmark is first matters: the library takes
// a tarball that begins with a name in the form of gzip's magic number for a compressed one.
func writeTar(w io.Writer, x *layer.Index, flat io.ReaderAt, lower *layer.Tree) error {
	tw := tar.NewWriter(w)
	// The content is fixed: docs/estargz.md, "Prioritized Files and Landmark Files".
	if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: estargz.NoPrefetchLandmark, Size: 1}); err != nil {
		return err
	}
	if _, err := tw.Write([]byte{0xf}); err != nil {
		return err
	}
	if err := x.WriteLayer(tw, flat, lower, reserved); err != nil {
		return err
	}
	return tw.Close()
}

// counter tells how much has been written, and stops when the context ends.
type counter struct {
	ctx context.Context
	w   io.Writer
	add func(int64)
}

func (c *counter) Write(b []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	n, err := c.w.Write(b)
	c.add(int64(n))
	return n, err
}

// output hashes the blob, and remembers the first error.
type output struct {
	w    io.Writer
	sum  hash.Hash
	size int64
	err  error
}

func (o *output) Write(b []byte) (int, error) {
	n, err := o.w.Write(b)
	o.sum.Write(b[:n])
	o.size += int64(n)
	if o.err == nil {
		o.err = err
	}
	return n, err
}

// packer compresses, and counts what it compresses. All members are made by one compressor, whose
// tables would else be made for each file. It implements estargz.Compressor.
type packer struct {
	z            *gzip.Writer
	uncompressed int64 // bytes
}

// Writer begins a member. Its header has no name and no time: RFC 1952, 2.3.1.
func (p *packer) Writer(w io.Writer) (_ estargz.WriteFlushCloser, err error) {
	if p.z == nil {
		p.z, err = gzip.NewWriterLevel(w, level)
	} else {
		p.z.Reset(w)
	}
	return member{p}, err
}

// member is a gzip member on its way.
type member struct{ p *packer }

func (m member) Write(b []byte) (int, error) {
	n, err := m.p.z.Write(b)
	m.p.uncompressed += int64(n)
	return n, err
}

func (m member) Flush() error { return m.p.z.Flush() }
func (m member) Close() error { return m.p.z.Close() }

// WriteTOCAndFooter writes the table of contents, which begins at byte off, as a member of its own
// that ends the tarball, and the footer. The JSON is made twice, since its size comes before it.
// The library's own compressor has several copies of it in memory.
func (p *packer) WriteTOCAndFooter(w io.Writer, off int64, toc *estargz.JTOC, diff hash.Hash) (digest.Digest, error) {
	z, err := gzip.NewWriterLevel(w, tocLevel)
	if err != nil {
		return "", err
	}
	size, whole, sum := sizer{}, sizer{}, sha256.New()
	if err := writeTOC(&size, toc); err != nil {
		return "", err
	}
	tw := tar.NewWriter(io.MultiWriter(z, diff, &whole))
	if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: estargz.TOCTarName, Size: size.n}); err != nil {
		return "", err
	}
	if err := cmp.Or(writeTOC(io.MultiWriter(tw, sum), toc), tw.Close(), z.Close()); err != nil {
		return "", err
	}
	p.uncompressed += whole.n
	_, err = w.Write(estargz.CreateGzipFooter(fmt.Appendf(nil, "SG\x16\x00%016xSTARGZ", off)))
	return digest.NewDigest(digest.SHA256, sum), err
}

// writeTOC writes a table of contents as JSON, entry by entry.
func writeTOC(w io.Writer, toc *estargz.JTOC) error {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, `{"version":%d,"entries":[`, toc.Version)
	for i, e := range toc.Entries {
		if i > 0 {
			out.WriteString(",\n")
		}
		b, err := json.Marshal(e)
		if err != nil {
			return err
		}
		out.Write(b)
	}
	out.WriteString("]}")
	return out.Flush() // and the errors before it
}

// sizer counts bytes.
type sizer struct{ n int64 }

func (s *sizer) Write(b []byte) (int, error) {
	s.n += int64(len(b))
	return len(b), nil
}

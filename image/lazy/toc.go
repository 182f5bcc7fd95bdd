// Tables of contents: where one is in a blob, how it is checked, and what it says. There are two
// forms, which have the same fields.
//
//	eStargz        gzip; stargz-snapshotter, docs/estargz.md. The table is the last file of the
//	               tarball, stargz.index.json, and the last 51 bytes of the blob say where.
//	zstd:chunked   containers/storage, docs/containers-storage-zstd-chunked.md. The table is in a
//	               skippable frame, and an annotation of the layer says where.
//
// The layer's descriptor in the manifest has the digest of the table. The manifest has been checked
// by its own digest when this package sees it, so a table that has that digest is what whoever made
// the image meant. That is no reason to believe what is in it: package layer judges each entry.

package lazy

import (
	"archive/tar"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image/ingest"
	"tiffin/image/layer"
	"tiffin/image/reference"
)

// Annotations of a layer's descriptor.
const (
	estargzDigest = "containerd.io/snapshot/stargz/toc.digest"
	zstdDigest    = ".zstd-chunked.manifest-checksum" // after one of zstdPrefixes, as the next
	zstdPosition  = ".zstd-chunked.manifest-position" // OFFSET:LENGTH:UNCOMPRESSED:TYPE
	zstdType      = 1                                 // of its table
)

// zstdPrefixes begin the annotations of zstd:chunked; the second is that of buildah and skopeo
// before 2023.
var zstdPrefixes = []string{"io.github.containers", "io.containers"}

const (
	// maxTable is the most that a table may have, in bytes.
	maxTable = layer.MaxChunk
	// footerSize is that of eStargz' footer, in bytes.
	footerSize = 51
	tableName  = "stargz.index.json"
	blockSize  = 512 // of a tar archive, bytes
)

// ErrNotLazy is wrapped by errors that say why a layer has to be fetched as a whole.
var ErrNotLazy = errors.New("it has no table of contents, which `tiffin push --estargz` writes")

// readAt reads n bytes of a blob from byte off on.
type readAt func(off, n int64) ([]byte, error)

// contentsOf reads the table of contents of a layer, and checks it against the layer's annotations.
func contentsOf(d ocispec.Descriptor, read readAt) (*layer.Contents, error) {
	for _, prefix := range zstdPrefixes {
		if want := d.Annotations[prefix+zstdDigest]; want != "" {
			return zstdContents(d, digest.Digest(want), d.Annotations[prefix+zstdPosition], read)
		}
	}
	if want := d.Annotations[estargzDigest]; want != "" {
		return estargzContents(d, digest.Digest(want), read)
	}
	return nil, ErrNotLazy
}

// newContents begins a layer whose data is the first data bytes of the blob.
func newContents(data int64) (*layer.Contents, error) {
	limit, err := ingest.BombLimit()
	if err != nil {
		return nil, err
	}
	return layer.NewContents(data, max(limit, data*1000)), nil
}

func zstdContents(d ocispec.Descriptor, want digest.Digest, position string, read readAt) (*layer.Contents, error) {
	if !reference.ValidDigest(want) {
		return nil, fmt.Errorf("its table of contents has the digest %.100q, which is no sha256 digest", want)
	}
	var n [4]int64
	fields := strings.Split(position, ":")
	for i := range n {
		var err error
		if len(fields) == 4 {
			n[i], err = strconv.ParseInt(fields[i], 10, 63)
		}
		if len(fields) != 4 || err != nil || n[i] < 0 {
			return nil, fmt.Errorf("the position of its table of contents is %.100q, not OFFSET:LENGTH:UNCOMPRESSED:TYPE", position)
		}
	}
	off, size, inflated, kind := n[0], n[1], n[2], n[3]
	switch {
	case kind != zstdType:
		return nil, fmt.Errorf("its table of contents is of type %d, which is not known", kind)
	case off > d.Size || size > d.Size-off:
		return nil, errors.New("its table of contents is beyond its end")
	case size > maxTable || inflated > maxTable:
		return nil, fmt.Errorf("its table of contents has more than %d MiB", maxTable>>20)
	}
	b, err := read(off, size)
	if err != nil {
		return nil, err
	}
	if got := digest.FromBytes(b); got != want {
		return nil, fmt.Errorf("its table of contents has digest %s instead of %s", got, want)
	}
	b, err = inflate(b, 0, inflated)
	if err != nil {
		return nil, fmt.Errorf("its table of contents: %w", err)
	}
	c, err := newContents(off)
	if err != nil {
		return nil, err
	}
	return c, parse(b, c)
}

func estargzContents(d ocispec.Descriptor, want digest.Digest, read readAt) (*layer.Contents, error) {
	if !reference.ValidDigest(want) {
		return nil, fmt.Errorf("its table of contents has the digest %.100q, which is no sha256 digest", want)
	}
	if d.Size < footerSize {
		return nil, errors.New("it is too short for a table of contents")
	}
	footer, err := read(d.Size-footerSize, footerSize)
	if err != nil {
		return nil, err
	}
	off, ok := tableOffset(footer)
	if !ok || off > d.Size-footerSize {
		return nil, errors.New("its last bytes do not say where its table of contents is")
	}
	if d.Size-footerSize-off > maxTable {
		return nil, fmt.Errorf("its table of contents has more than %d MiB", maxTable>>20)
	}
	b, err := read(off, d.Size-footerSize-off)
	if err != nil {
		return nil, err
	}
	z, done, err := decompress(b)
	if err != nil {
		return nil, fmt.Errorf("its table of contents: %w", err)
	}
	defer done()
	head := &counted{r: io.LimitReader(z, maxTable)}
	archive := tar.NewReader(head)
	h, err := archive.Next()
	if err == nil && (h.Name != tableName || h.Typeflag != tar.TypeReg) {
		err = fmt.Errorf("there is %.100q instead of %s", h.Name, tableName)
	}
	if err == nil && h.Size > maxTable { // which a file with holes says in a few bytes
		err = fmt.Errorf("it has more than %d MiB", maxTable>>20)
	}
	if err != nil {
		return nil, fmt.Errorf("its table of contents: %w", err)
	}
	skip := head.n
	table, err := io.ReadAll(archive)
	if err == nil && digest.FromBytes(table) != want {
		err = fmt.Errorf("it has digest %s instead of %s", digest.FromBytes(table), want)
	}
	if err != nil {
		return nil, fmt.Errorf("its table of contents: %w", err)
	}
	c, err := newContents(d.Size - footerSize)
	if err == nil {
		err = parse(table, c)
	}
	if err != nil {
		return nil, err
	}
	// The table does not list itself, and is a file of the layer nevertheless.
	self := &layer.Member{Name: h.Name, Type: h.Typeflag, Mode: h.Mode, UID: int64(h.Uid), GID: int64(h.Gid),
		Sec: h.ModTime.Unix(), Nsec: uint32(h.ModTime.Nanosecond()), Size: h.Size}
	return c, c.Add(self, []layer.Chunk{{From: off, Skip: skip, Digest: sum(want)}})
}

// tableOffset reads the footer of eStargz: an empty gzip member whose extra field, RFC 1952
// 2.3.1.1, is "SG", a length of 22, 16 hexadecimal digits and "STARGZ".
func tableOffset(footer []byte) (int64, bool) {
	extra := footer[10:]
	if !bytes.HasPrefix(footer, []byte{0x1f, 0x8b, 8, 4}) || !bytes.HasPrefix(extra, []byte{26, 0, 'S', 'G', 22, 0}) || string(extra[22:28]) != "STARGZ" {
		return 0, false
	}
	n, err := strconv.ParseInt(string(extra[6:22]), 16, 64)
	return n, err == nil && n >= 0
}

// counted counts what is read.
type counted struct {
	r io.Reader
	n int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// decompress inflates bytes of a blob that begin with a gzip member or a zstd frame.
func decompress(b []byte) (io.Reader, func(), error) {
	kind, err := ingest.Sniff(b[:min(len(b), ingest.SniffLen)])
	if err == nil && kind == ingest.Plain {
		err = errors.New("it is not compressed")
	}
	if err != nil {
		return nil, nil, err
	}
	return ingest.Decompress(bytes.NewReader(b), kind)
}

// inflate returns n bytes of what b inflates to, after the first skip.
func inflate(b []byte, skip, n int64) ([]byte, error) {
	z, done, err := decompress(b)
	if err != nil {
		return nil, err
	}
	defer done()
	if _, err := io.CopyN(io.Discard, z, skip); err != nil {
		return nil, cut(err)
	}
	out := make([]byte, n)
	_, err = io.ReadFull(z, out)
	return out, cut(err)
}

func cut(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// entry is one of a table, in either form.
type entry struct {
	Type        string            `json:"type"`
	Name        string            `json:"name"`
	Link        string            `json:"linkName"`
	Mode        int64             `json:"mode"`
	Size        int64             `json:"size"`
	UID         int64             `json:"uid"`
	GID         int64             `json:"gid"`
	ModTime     string            `json:"modtime"` // RFC 3339
	DevMajor    int64             `json:"devMajor"`
	DevMinor    int64             `json:"devMinor"`
	Xattrs      map[string]string `json:"xattrs"` // values in base64
	Digest      digest.Digest     `json:"digest"` // of the file
	Offset      int64             `json:"offset"`
	InnerOffset int64             `json:"innerOffset"`
	ChunkOffset int64             `json:"chunkOffset"`
	ChunkSize   int64             `json:"chunkSize"` // 0: to the end of the file
	ChunkDigest digest.Digest     `json:"chunkDigest"`
}

// types are the typeflags of an entry's type.
var types = map[string]byte{"dir": tar.TypeDir, "reg": tar.TypeReg, "symlink": tar.TypeSymlink, "hardlink": tar.TypeLink,
	"char": tar.TypeChar, "block": tar.TypeBlock, "fifo": tar.TypeFifo}

// parse reads a table into c, one entry at a time.
func parse(table []byte, c *layer.Contents) error {
	dec := json.NewDecoder(bytes.NewReader(table))
	bad := func(err error) error { return fmt.Errorf("its table of contents: %w", cut(err)) }
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return bad(errors.Join(err, errors.New("it is no JSON object")))
	}
	for seen := false; dec.More(); {
		key, err := dec.Token()
		switch {
		case err != nil:
		case key != "entries":
			err = dec.Decode(new(json.RawMessage))
		case seen:
			err = errors.New("it has two lists of entries")
		default:
			seen, err = true, parseEntries(dec, c)
		}
		if err != nil {
			return bad(err)
		}
	}
	_, err := dec.Token() // its end
	if err != nil {
		return bad(err)
	}
	return nil
}

// parseEntries reads the list of entries. A file is followed by entries for its further chunks.
func parseEntries(dec *json.Decoder, c *layer.Contents) error {
	if t, err := dec.Token(); err != nil || t != json.Delim('[') {
		return errors.Join(err, errors.New("its entries are no list"))
	}
	var file []entry // the last one, with its chunks
	for dec.More() {
		var e entry
		if err := dec.Decode(&e); err != nil {
			return err
		}
		if e.Type == "chunk" {
			if len(file) == 0 || file[0].Type != "reg" || file[0].Name != e.Name {
				return fmt.Errorf("a chunk of %.300q does not follow that file", e.Name)
			}
			file = append(file, e)
			continue
		}
		if err := addFile(c, file); err != nil {
			return err
		}
		file = append(file[:0], e)
	}
	if _, err := dec.Token(); err != nil {
		return err
	}
	return addFile(c, file)
}

// addFile adds a file with its chunks to c, or nothing.
func addFile(c *layer.Contents, file []entry) error {
	if len(file) == 0 {
		return nil
	}
	m, err := file[0].member()
	if err != nil {
		return err
	}
	if m.Type != tar.TypeReg || m.Size == 0 && len(file) == 1 {
		return c.Add(m, nil)
	}
	chunks := make([]layer.Chunk, len(file))
	for i, e := range file {
		end := m.Size
		if i+1 < len(file) {
			end = file[i+1].ChunkOffset
		}
		if e.ChunkSize != 0 && e.ChunkSize != end-e.ChunkOffset {
			return fmt.Errorf("entry %.300q: a chunk of %d bytes at %d ends at %d", m.Name, e.ChunkSize, e.ChunkOffset, end)
		}
		d := e.ChunkDigest
		if d == "" && len(file) == 1 {
			d = e.Digest
		}
		if !reference.ValidDigest(d) {
			return fmt.Errorf("entry %.300q: its chunk at %d has no sha256 digest", m.Name, e.ChunkOffset)
		}
		chunks[i] = layer.Chunk{From: e.Offset, Skip: e.InnerOffset, Off: e.ChunkOffset, Digest: sum(d)}
	}
	return c.Add(m, chunks)
}

// member makes of an entry what package layer takes.
func (e *entry) member() (*layer.Member, error) {
	m := &layer.Member{Name: e.Name, Link: e.Link, Mode: e.Mode, UID: e.UID, GID: e.GID, Major: e.DevMajor, Minor: e.DevMinor, Size: e.Size}
	var ok bool
	if m.Type, ok = types[e.Type]; !ok {
		return nil, fmt.Errorf("entry %.300q is of the unknown type %.20q", e.Name, e.Type)
	}
	if e.ModTime != "" {
		t, err := time.Parse(time.RFC3339Nano, e.ModTime)
		if err != nil {
			return nil, fmt.Errorf("entry %.300q has a time that is none: %.50q", e.Name, e.ModTime)
		}
		if !t.IsZero() {
			m.Sec, m.Nsec = t.Unix(), uint32(t.Nanosecond())
		}
	}
	for name, value := range e.Xattrs {
		v, err := base64.StdEncoding.DecodeString(value)
		if err != nil {
			return nil, fmt.Errorf("entry %.300q has an extended attribute that is not base64", e.Name)
		}
		m.Xattrs = append(m.Xattrs, layer.Xattr{Name: name, Value: string(v)})
	}
	return m, nil
}

// sum is a digest's bytes. It must be valid.
func sum(d digest.Digest) (b [32]byte) {
	hex.Decode(b[:], []byte(d.Encoded()))
	return b
}

package lazy

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/klauspost/compress/zstd"
	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image/layer"
	"tiffin/internal/test/tartest"
)

// tarball is a layer with one of each.
func tarball(t testing.TB) []byte {
	long := strings.Repeat("rice ", 3000)
	return tartest.Of(t,
		tartest.Dir("etc/"), tartest.File("etc/menu", "rice\n", tartest.Xattr("user.k", "v")), tartest.Symlink("etc/today", "menu"),
		tartest.Dir("usr/"), tartest.Dir("usr/bin/"), tartest.File("usr/bin/cook", long), tartest.Hardlink("usr/bin/chef", "usr/bin/cook"),
		tartest.File("usr/empty", ""), tartest.Whiteout("var/gone"), tartest.Opaque("opt"), tartest.Char("dev/null", 1, 3), tartest.Fifo("run/p"),
		tartest.File("a/b/c/implicit", "x"))
}

// made is a blob with a table of contents.
type made struct {
	blob []byte
	desc ocispec.Descriptor
}

func (m *made) read(off, n int64) ([]byte, error) {
	if off < 0 || n < 0 || off > int64(len(m.blob)) || n > int64(len(m.blob))-off {
		return nil, io.ErrUnexpectedEOF
	}
	return m.blob[off : off+n], nil
}

// asEstargz has stargz-snapshotter's library make it.
func asEstargz(t testing.TB, tarball []byte, opts ...estargz.Option) *made {
	t.Helper()
	b, err := estargz.Build(io.NewSectionReader(bytes.NewReader(tarball), 0, int64(len(tarball))), opts...)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	blob, err := io.ReadAll(b)
	if err != nil {
		t.Fatal(err)
	}
	return &made{blob, ocispec.Descriptor{Digest: digest.FromBytes(blob), Size: int64(len(blob)),
		Annotations: map[string]string{estargzDigest: b.TOCDigest().String()}}}
}

// asZstd makes zstd:chunked of a tarball of plain files, as containers/storage does: each chunk is
// a frame, and so is what is between them.
func asZstd(t testing.TB, chunk int, files ...[2]string) *made {
	t.Helper()
	var blob bytes.Buffer
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	frame := func(b []byte) { blob.Write(enc.EncodeAll(b, nil)) }
	var table struct {
		Version int              `json:"version"`
		Entries []map[string]any `json:"entries"`
	}
	table.Version = 1
	for _, f := range files {
		one := tartest.Of(t, tartest.File(f[0], f[1]))
		one = one[:512+(len(f[1])+511)/512*512]
		frame(one[:512])
		first := map[string]any{"type": "reg", "name": f[0], "mode": 0o644, "size": len(f[1]), "digest": digest.FromString(f[1]), "offset": blob.Len(),
			"modtime": "1970-01-01T00:00:00Z"}
		table.Entries = append(table.Entries, first)
		for off := 0; off < len(f[1]); off += chunk {
			part := f[1][off:min(off+chunk, len(f[1]))]
			e := first
			if off > 0 {
				e = map[string]any{"type": "chunk", "name": f[0], "offset": blob.Len(), "chunkOffset": off}
				table.Entries = append(table.Entries, e)
			}
			if len(f[1]) > chunk {
				e["chunkSize"], e["chunkDigest"] = len(part), digest.FromString(part)
			}
			frame([]byte(part))
		}
		frame(one[512+len(f[1]):])
	}
	frame(make([]byte, 1024))
	raw, err := json.Marshal(table)
	if err != nil {
		t.Fatal(err)
	}
	return withTable(blob.Bytes(), enc.EncodeAll(raw, nil), len(raw))
}

// older has the annotations that skopeo 1.9 writes.
func older(m *made) *made {
	old := map[string]string{}
	for k, v := range m.desc.Annotations {
		old[zstdPrefixes[1]+strings.TrimPrefix(k, zstdPrefixes[0])] = v
	}
	m.desc.Annotations = old
	return m
}

// withTable puts a compressed table behind the data, in a skippable frame: RFC 8878, 3.1.2.
func withTable(data, packed []byte, size int) *made {
	n := len(packed)
	blob := append(bytes.Clone(data), 0x50, 0x2a, 0x4d, 0x18, byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
	off := len(blob)
	blob = append(blob, packed...)
	return &made{blob, ocispec.Descriptor{Digest: digest.FromBytes(blob), Size: int64(len(blob)), Annotations: map[string]string{
		zstdPrefixes[0] + zstdDigest: digest.FromBytes(packed).String(), zstdPrefixes[0] + zstdPosition: fmt.Sprintf("%d:%d:%d:1", off, n, size)}}}
}

// TestTheTableSaysWhatTheTarballHas: the index of the table is that of the tarball, also the
// numbers of the inodes, and each chunk is found by it.
func TestTheTableSaysWhatTheTarballHas(t *testing.T) {
	long := strings.Repeat("dal ", 5000)
	for name, m := range map[string]*made{
		"estargz":             asEstargz(t, tarball(t)),
		"estargz, chunks":     asEstargz(t, tarball(t), estargz.WithChunkSize(1000)),
		"estargz, joined":     asEstargz(t, tarball(t), estargz.WithMinChunkSize(4000)),
		"estargz, a landmark": asEstargz(t, tarball(t), estargz.WithPrioritizedFiles([]string{"etc/menu"})),
		"zstd:chunked":        asZstd(t, 1<<20, [2]string{"menu", "rice\n"}, [2]string{"pot", long}, [2]string{"none", ""}),
		"zstd:chunked, many":  asZstd(t, 777, [2]string{"menu", "rice\n"}, [2]string{"pot", long}),
		"zstd:chunked, old":   older(asZstd(t, 777, [2]string{"menu", "rice\n"}, [2]string{"pot", long})),
	} {
		t.Run(name, func(t *testing.T) {
			c, err := contentsOf(m.desc, m.read)
			if err != nil {
				t.Fatal(err)
			}
			dir := filepath.Join(t.TempDir(), strings.Repeat("ab", 32))
			said, chunks := written(t, c, dir)
			z, done, err := decompress(m.blob)
			if err != nil {
				t.Fatal(err)
			}
			defer done()
			flat, err := io.ReadAll(z)
			if err != nil {
				t.Fatal(err)
			}
			tree, err := layer.Scan(bytes.NewReader(flat))
			if err != nil {
				t.Fatal(err)
			}
			is, err := layer.Decode(tree.Encode())
			if err != nil {
				t.Fatal(err)
			}
			if err := layer.SameTree(said, is); err != nil {
				t.Error(err)
			}
			bytesOf := map[uint32]int64{}
			for _, k := range chunks {
				b, err := m.read(k.From, k.To-k.From)
				if err != nil {
					t.Fatalf("chunk %+v is beyond the blob", k)
				}
				if b, err = inflate(b, k.Skip, k.Len); err != nil || sha256.Sum256(b) != k.Digest {
					t.Fatalf("chunk %+v of %s: %q, %v", k, said.Path(k.Inode), b, err)
				}
				want := make([]byte, k.Len)
				if _, err := is.ReadAt(k.Inode, []io.ReaderAt{bytes.NewReader(flat)}, want, k.Off); err != nil && err != io.EOF || !bytes.Equal(b, want) {
					t.Fatalf("chunk %+v of %s is not what the tarball has (%v)", k, said.Path(k.Inode), err)
				}
				bytesOf[k.Inode] += k.Len
			}
			for i := range uint32(is.Len()) {
				if n := is.Inode(i); n.Mode&0o170000 == 0o100000 && n.Size != bytesOf[i] {
					t.Errorf("%s has %d bytes, and chunks of %d", is.Path(i), n.Size, bytesOf[i])
				}
			}
		})
	}
}

// written writes the contents to dir.
func written(t testing.TB, c *layer.Contents, dir string) (*layer.Index, []layer.Chunk) {
	t.Helper()
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := c.Write(dir); err != nil {
		t.Fatal(err)
	}
	x, err := layer.OpenIndex(filepath.Join(dir, "index"))
	if err != nil {
		t.Fatal(err)
	}
	chunks, size, err := layer.ReadChunks(filepath.Join(dir, "blocks"))
	if err != nil || size != c.Size() {
		t.Fatalf("%d bytes instead of %d, %v", size, c.Size(), err)
	}
	return x, chunks
}

// TestALayerThatIsNotWhatItsAnnotationSays: nothing is made of a table whose digest is another one,
// or of one that is not where it should be.
func TestALayerThatIsNotWhatItsAnnotationSays(t *testing.T) {
	for _, m := range []*made{asEstargz(t, tarball(t)), asZstd(t, 777, [2]string{"menu", "rice\n"})} {
		for key, value := range m.desc.Annotations {
			for _, bad := range []string{digest.FromString("another").String(), "sha256:12", "md5:1234", value + "0", "9:9", "9:9:9:1", "-1:5:5:1", "1:99999999999:5:1",
				"9223372036854775807:9223372036854775807:1:1", "0:1:1:2"} {
				d := m.desc
				d.Annotations = map[string]string{}
				for k, v := range m.desc.Annotations {
					d.Annotations[k] = v
				}
				d.Annotations[key] = bad
				if c, err := contentsOf(d, m.read); err == nil {
					t.Errorf("%s: %q is accepted: %v", key, bad, c)
				}
			}
		}
		for i := len(m.blob) - 1; i > len(m.blob)-200; i-- { // the table, and what says where it is
			spoilt := &made{bytes.Clone(m.blob), m.desc}
			spoilt.blob[i] ^= 1
			c, err := contentsOf(spoilt.desc, spoilt.read)
			if err != nil {
				continue
			}
			// Some bits mean nothing, such as the time in a gzip header.
			x, _ := written(t, c, filepath.Join(t.TempDir(), strings.Repeat("ab", 32)))
			c, _ = contentsOf(m.desc, m.read)
			y, _ := written(t, c, filepath.Join(t.TempDir(), strings.Repeat("ab", 32)))
			if err := layer.SameTree(x, y); err != nil {
				t.Errorf("byte %d: %v", i, err)
			}
		}
	}
}

// TestATableThatIsAHole is not read, however few bytes it takes in the blob.
func TestATableThatIsAHole(t *testing.T) {
	m := asEstargz(t, tarball(t))
	end := len(m.blob) - footerSize
	off, _ := tableOffset(m.blob[end:])
	blob := bytes.NewBuffer(bytes.Clone(m.blob[:off]))
	z := gzip.NewWriter(blob)
	z.Write(tartest.Of(t, tartest.Sparse10(tableName, maxTable+1, nil)))
	z.Close()
	blob.Write(m.blob[end:])
	m.blob, m.desc.Size = blob.Bytes(), int64(blob.Len())
	if _, err := contentsOf(m.desc, m.read); err == nil || !strings.Contains(err.Error(), "it has more than 64 MiB") {
		t.Error(err)
	}
}

// TestHostileTables: what is wrong with an entry is an error that names it.
func TestHostileTables(t *testing.T) {
	sum := digest.FromString("rice\n")
	reg := func(more string) string {
		return `{"type":"reg","name":"menu","size":5,"offset":0,"chunkDigest":"` + sum.String() + `"` + more + `}`
	}
	chunk := func(more string) string {
		return `{"type":"chunk","name":"menu","chunkDigest":"` + sum.String() + `"` + more + `}`
	}
	for _, c := range []struct{ entries, want string }{
		{reg(``), ``},
		{reg(`,"name":"../out"`), `leads out of the image`},
		{reg(`,"name":"menu/x"`) + `,` + `{"type":"symlink","name":"l","linkName":"menu"},` + reg(`,"name":"l/x"`), ``},
		{`{"type":"reg","name":"f"},{"type":"dir","name":"f/x"}`, `no directory`},
		{`{"type":"hardlink","name":"h","linkName":"../../out"}`, `leads out of the image`},
		{`{"type":"hardlink","name":"h","linkName":"nowhere"}`, ``}, // some layer below may have it
		{`{"type":"socket","name":"s"}`, `unknown type "socket"`},
		{`{"type":"reg","name":"menu","size":5,"offset":0}`, `no sha256 digest`},
		{`{"type":"reg","name":"menu","size":5,"offset":0,"chunkDigest":"sha256:12"}`, `no sha256 digest`},
		{reg(`,"size":-5`), `larger than`},
		{reg(`,"size":9223372036854775807`), `larger than`},
		{reg(`,"size":1500000000`) + `,` + reg(`,"size":1500000000`), `more than 64 MiB`},
		{reg(`,"size":0`) + `,` + chunk(``), `chunks, and no bytes`},
		{reg(`,"offset":-1`), `begins at byte -1`},
		{reg(`,"offset":1000`), `begins at byte 1000 of the blob, of which 100 are data`},
		{reg(`,"innerOffset":-1`), `more than 64 MiB`},
		{reg(`,"innerOffset":67108864`), `more than 64 MiB`},
		{reg(`,"innerOffset":9223372036854775807`), `more than 64 MiB`},
		{reg(`,"chunkOffset":1`), `one after the other`},
		{reg(`,"chunkSize":3`), `a chunk of 3 bytes at 0 ends at 5`},
		{reg(``) + `,` + chunk(`,"chunkOffset":5`), `one after the other`},
		{reg(``) + `,` + chunk(`,"chunkOffset":-1`), `one after the other`},
		{reg(``) + `,` + chunk(`,"chunkOffset":3`) + `,` + chunk(`,"chunkOffset":2`), `one after the other`},
		{reg(``) + `,` + chunk(`,"name":"other"`), `does not follow that file`},
		{chunk(``), `does not follow that file`},
		{`{"type":"dir","name":"d"},` + chunk(`,"name":"d"`), `does not follow that file`},
		{`{"type":"dir","name":"d","uid":-1}`, `no pair of 32-bit ids`},
		{`{"type":"char","name":"d","devMajor":4096}`, `beyond Linux`},
		{`{"type":"dir","name":"d","modtime":"yesterday"}`, `time that is none`},
		{`{"type":"dir","name":"d","xattrs":{"user.k":"%"}}`, `not base64`},
		{`{"type":"dir","name":"d","xattrs":{"user.k\u0000":""}}`, `Linux' limits`},
		{`{"type":"symlink","name":"d","linkName":""}`, `symbolic link has 0 bytes`},
		{`{"type":"dir","name":"` + strings.Repeat("n", 256) + `"}`, `more than a name can have`},
		{`7`, `cannot unmarshal`},
		{`{`, `invalid character`},
	} {
		x := layer.NewContents(100, 2<<30)
		err := parse([]byte(`{"version":1,"other":{"entries":[7]},"entries":[`+c.entries+`]}`), x)
		switch {
		case c.want == "" && err != nil && !strings.Contains(c.entries, "menu/x"):
			t.Errorf("%s: %v", c.entries, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%.200s: error %v instead of %q", c.entries, err, c.want)
		}
	}
	for _, table := range []string{``, `[]`, `{"entries":{}}`, `{"entries":[`, `{"entries":[],"entries":[]}`, `{"entries":[]`, strings.Repeat("[", 1<<20)} {
		if err := parse([]byte(table), layer.NewContents(100, 100)); err == nil {
			t.Errorf("%.30q is accepted", table)
		}
	}
}

// FuzzTable: whatever a table says, what is made of it is whole, or there is an error.
func FuzzTable(f *testing.F) {
	for _, m := range []*made{asEstargz(f, tarball(f)), asEstargz(f, tarball(f), estargz.WithChunkSize(1000)), asZstd(f, 777, [2]string{"menu", strings.Repeat("dal ", 900)})} {
		f.Add(table(f, m))
	}
	f.Add([]byte(`{"entries":[{"type":"dir","name":"d","xattrs":{"user.k":"` + base64.StdEncoding.EncodeToString([]byte("v")) + `"}}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := layer.NewContents(1<<20, 1<<20)
		if parse(b, c) != nil {
			return
		}
		x, chunks := written(t, c, filepath.Join(t.TempDir(), strings.Repeat("ab", 32)))
		of := map[uint32]int64{}
		for _, k := range chunks {
			n := x.Inode(k.Inode)
			if k.At != n.Offset+k.Off || k.Off != of[k.Inode] || k.Off+k.Len > n.Size || k.To > 1<<20 || k.Skip+k.Len > layer.MaxChunk {
				t.Fatalf("chunk %+v of inode %d: %+v", k, k.Inode, n)
			}
			of[k.Inode] += k.Len
		}
		for i := range uint32(x.Len()) {
			if n := x.Inode(i); n.Mode&0o170000 == 0o100000 && n.Size != of[i] {
				t.Fatalf("file %s has %d bytes, and chunks of %d", x.Path(i), n.Size, of[i])
			}
		}
	})
}

// table is the table of a blob.
func table(t testing.TB, m *made) []byte {
	if v := m.desc.Annotations[zstdPrefixes[0]+zstdPosition]; v != "" {
		var off, n, size int64
		fmt.Sscanf(v, "%d:%d:%d", &off, &n, &size)
		b, err := inflate(m.blob[off:off+n], 0, size)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	off, _ := tableOffset(m.blob[len(m.blob)-footerSize:])
	z, err := gzip.NewReader(bytes.NewReader(m.blob[off:]))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.TrimRight(b[512:], "\x00")
}

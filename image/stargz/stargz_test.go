package stargz_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/stargz-snapshotter/estargz"
	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"tiffin/image/layer"
	"tiffin/image/stargz"
	tt "tiffin/internal/test/tartest"
)

// index is that of a tarball.
func index(b []byte) (*layer.Index, error) {
	tree, err := layer.Scan(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	return layer.Decode(tree.Encode())
}

// write writes a tarball as eStargz.
func write(t testing.TB, b []byte) ([]byte, *stargz.Blob) {
	t.Helper()
	x, err := index(b)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	blob, err := stargz.Write(context.Background(), &out, x, bytes.NewReader(b), nil, func(int64) {})
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), blob
}

// inflated is what any engine makes of a blob.
func inflated(t testing.TB, b []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	tarball, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return tarball
}

// opened opens a blob as a lazy engine does, and checks the table of contents.
func opened(t testing.TB, b []byte, toc digest.Digest) (*estargz.Reader, estargz.TOCEntryVerifier) {
	t.Helper()
	r, err := estargz.Open(io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b))))
	if err != nil {
		t.Fatal(err)
	}
	v, err := r.VerifyTOC(toc)
	if err != nil {
		t.Fatal(err)
	}
	return r, v
}

// lazily reads a file, by its first name, by its chunks, each of which has to have its digest.
func lazily(t testing.TB, r *estargz.Reader, v estargz.TOCEntryVerifier, name string, size int64) []byte {
	t.Helper()
	f, err := r.OpenFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	for off := int64(0); off < size; {
		chunk, ok := r.ChunkEntryForOffset(name, off)
		if !ok {
			t.Fatalf("%s has no chunk at %d", name, off)
		}
		b := make([]byte, chunk.ChunkSize)
		if _, err := f.ReadAt(b, off); err != nil {
			t.Fatalf("%s at %d: %v", name, off, err)
		}
		sum, err := v.Verifier(chunk)
		if err != nil {
			t.Fatal(err)
		}
		if sum.Write(b); !sum.Verified() {
			t.Errorf("%s: the chunk at %d has not its digest", name, off)
		}
		all, off = append(all, b...), off+chunk.ChunkSize
	}
	return all
}

// letters are those of Linux' file types in a table of contents.
var letters = map[uint32]string{unix.S_IFREG: "reg", unix.S_IFDIR: "dir", unix.S_IFLNK: "symlink", unix.S_IFIFO: "fifo", unix.S_IFCHR: "char", unix.S_IFBLK: "block"}

// sameLazily compares what a lazy engine finds in a blob with the index of the layer.
func sameLazily(t testing.TB, b []byte, blob *stargz.Blob, x *layer.Index, flat []byte) {
	t.Helper()
	r, v := opened(t, b, blob.TOC)
	var dir func(path string, i uint32)
	dir = func(path string, i uint32) {
		for k := range x.DirLen(i) {
			name, j := x.Dirent(i, k)
			n, below := x.Inode(j), strings.TrimPrefix(path+"/"+name, "/")
			if path == "" && slices.Contains([]string{estargz.TOCTarName, estargz.PrefetchLandmark, estargz.NoPrefetchLandmark}, name) {
				continue
			}
			if n.Flags&layer.Whiteout != 0 {
				if _, ok := r.Lookup(strings.TrimPrefix(path+"/.wh."+name, "/")); !ok {
					t.Errorf("the whiteout of %s is not there", below)
				}
				continue
			}
			e, ok := r.Lookup(below)
			if !ok {
				t.Errorf("%s is not there", below)
				continue
			}
			if n.Flags&layer.Implicit == 0 {
				got := fmt.Sprintf("%s %o %d:%d %d,%d %q", e.Type, e.Mode, uint32(e.UID), uint32(e.GID), e.DevMajor, e.DevMinor, e.LinkName)
				want := fmt.Sprintf("%s %o %d:%d %d,%d %q", letters[n.Mode&unix.S_IFMT], n.Mode&0o7777, n.UID, n.GID, layer.Major(n.Rdev), layer.Minor(n.Rdev), x.Target(j))
				if got != want {
					t.Errorf("%s is %s, not %s", below, got, want)
				}
				for _, a := range x.Xattrs(j) {
					if string(e.Xattrs[a.Name]) != a.Value {
						t.Errorf("%s has attribute %s=%q, not %q", below, a.Name, e.Xattrs[a.Name], a.Value)
					}
				}
			}
			if n.IsDir() {
				dir(below, j)
			} else if n.Mode&unix.S_IFMT == unix.S_IFREG {
				want, err := io.ReadAll(x.Reader(j, []io.ReaderAt{bytes.NewReader(flat)}))
				if err != nil {
					t.Fatal(err)
				}
				if got := lazily(t, r, v, e.Name, e.Size); !bytes.Equal(got, want) {
					t.Errorf("%s has %d other bytes than the %d of the layer", below, len(got), len(want))
				}
			}
		}
	}
	dir("", 0)
}

// noise cannot be compressed.
func noise(n int) string {
	var b []byte
	for i := 0; len(b) < n; i++ {
		sum := sha256.Sum256(fmt.Append(nil, i))
		b = append(b, sum[:]...)
	}
	return string(b[:n])
}

// everything is a layer with all that a layer may have, and more than one chunk.
func everything(t testing.TB) []byte {
	return tt.Of(t, tt.Global("comment", "c"), tt.Dir("./"), tt.Dir("d", tt.Mode(0o1777)), tt.File("d/f", "hello", tt.Owner(1, 2), tt.Xattr("user.k", "v\x00\xff"), tt.Mtime(7, 5)),
		tt.File("big", noise(9<<20+1)), tt.Hardlink("d/h", "big"), tt.File("empty", ""), tt.Symlink("l", "d/f"), tt.Char("c", 1, 3),
		tt.Block("b", 8, 300), tt.Fifo("p"), tt.Whiteout("gone"), tt.Opaque("d/"), tt.File("twice", "first"), tt.File("twice", "second"),
		tt.Sparse10("sparse", 5<<20, []tt.Piece{{Off: 4 << 20, Data: "x"}}), tt.File("in/no/entry", "x"), tt.File("ünï", "x"))
}

// TestWrite: a lazy engine and any other see the tree of the layer, and the digests are right.
func TestWrite(t *testing.T) {
	flat := everything(t)
	x, err := index(flat)
	if err != nil {
		t.Fatal(err)
	}
	b, blob := write(t, flat)
	sameLazily(t, b, blob, x, flat)
	tarball := inflated(t, b)
	want := stargz.Blob{Digest: digest.FromBytes(b), Size: int64(len(b)), DiffID: digest.FromBytes(tarball), Uncompressed: int64(len(tarball)), TOC: blob.TOC}
	if *blob != want {
		t.Errorf("%+v, not %+v", *blob, want)
	}
	again, err := index(tarball)
	if err != nil {
		t.Fatal(err)
	}
	if names := stargz.Reserved(again); !slices.Equal(names, []string{estargz.TOCTarName, estargz.NoPrefetchLandmark}) {
		t.Errorf("added: %q", names)
	}
	// Its own form once more: the landmark and the table are not there twice.
	if second, _ := write(t, tarball); !bytes.Equal(second, b) {
		t.Error("written again, it is another layer")
	}
	if err := stargz.Verify(io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b))), blob.TOC); err != nil {
		t.Error(err)
	}
	// Times are in the table to the second, and in the tarball to the nanosecond.
	lines := tt.List(t, tarball)
	if !slices.ContainsFunc(lines, func(s string) bool { return strings.HasSuffix(s, "@7.000000005") }) {
		t.Errorf("the time is not kept: %q", lines)
	}
	r, _ := opened(t, b, blob.TOC)
	if e, _ := r.Lookup("d/f"); !e.ModTime().Equal(time.Unix(7, 0)) {
		t.Errorf("time in the table: %s", e.ModTime())
	}
}

// TestWriteIsTheSame on any number of processors.
func TestWriteIsTheSame(t *testing.T) {
	flat := everything(t)
	before := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(before)
	var all []digest.Digest
	for _, n := range []int{1, 2, 7} {
		runtime.GOMAXPROCS(n)
		_, blob := write(t, flat)
		all = append(all, blob.Digest)
	}
	if all[0] != all[1] || all[1] != all[2] {
		t.Errorf("%s", all)
	}
}

// TestUnfit: what the table of contents cannot say is refused before a byte is written.
func TestUnfit(t *testing.T) {
	for says, entries := range map[string][]tt.Entry{
		`the name "/d/\xff" is not UTF-8`:                {tt.File("d/\xff", "x")},
		`the target of /l, "\xff", is not UTF-8`:         {tt.Symlink("l", "\xff")},
		"/h is a hard link to a file of a layer below":   {tt.Hardlink("h", "lower")},
		"/stargz.index.json is no file":                  {tt.Dir("stargz.index.json"), tt.File("stargz.index.json/f", "x")},
		"/.prefetch.landmark is no file":                 {tt.Symlink(".prefetch.landmark", "x")},
		"/.no.prefetch.landmark is no file":              {tt.File(".no.prefetch.landmark/x", "x")},
		"its table of contents would have more than 256": {tt.Sparse10("s", 1<<42, nil)},
		`the name of attribute "user.\xff" of /f`:        {tt.File("f", "", tt.Xattr("user.\xff", "v"))},
	} {
		b := tt.Of(t, entries...)
		x, err := index(b)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		_, err = stargz.Write(context.Background(), &out, x, bytes.NewReader(b), nil, func(int64) {})
		if !errors.Is(err, stargz.ErrUnfit) || !strings.Contains(err.Error(), says) || out.Len() > 0 {
			t.Errorf("want %q, got %v and %d bytes", says, err, out.Len())
		}
	}
}

// TestReserved: files that have the names of the format are left out, whatever they say.
func TestReserved(t *testing.T) {
	flat := tt.Of(t, tt.File("stargz.index.json", `{"version":1,"entries":[{"name":"x","type":"reg"}]}`), tt.File(".prefetch.landmark", "\x0f"),
		tt.Hardlink("kept", ".prefetch.landmark"), tt.File("sub/stargz.index.json", "mine"))
	b, blob := write(t, flat)
	r, v := opened(t, b, blob.TOC)
	if _, ok := r.Lookup(estargz.PrefetchLandmark); ok {
		t.Error("the landmark of another is in it")
	}
	if got := lazily(t, r, v, "kept", 1); string(got) != "\x0f" {
		t.Errorf("%q", got)
	}
	// The library keeps that name free in the root alone.
	if got := lazily(t, r, v, "sub/stargz.index.json", 4); string(got) != "mine" {
		t.Errorf("%q", got)
	}
}

// broken is a tarball that cannot be read on from some place.
type broken struct {
	io.ReaderAt
	from int64
}

var errBroken = errors.New("the disk has a hole")

func (b broken) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > b.from {
		return 0, errBroken
	}
	return b.ReaderAt.ReadAt(p, off)
}

// slow tells whether somebody is reading.
type slow struct {
	io.ReaderAt
	reading *atomic.Int64
}

func (s slow) ReadAt(p []byte, off int64) (int, error) {
	s.reading.Add(1)
	defer s.reading.Add(-1)
	time.Sleep(5 * time.Millisecond)
	return s.ReaderAt.ReadAt(p, off)
}

type full struct{ left int }

func (f *full) Write(b []byte) (int, error) {
	if f.left -= len(b); f.left < 0 {
		return 0, unix.ENOSPC
	}
	return len(b), nil
}

// TestWriteFails with what has gone wrong, and nobody reads the tarball afterwards.
func TestWriteFails(t *testing.T) {
	flat := everything(t)
	x, err := index(flat)
	if err != nil {
		t.Fatal(err)
	}
	var reading atomic.Int64
	slowly := slow{bytes.NewReader(flat), &reading}
	ctx, cancel := context.WithCancelCause(context.Background())
	why := errors.New("enough")
	cancel(why)
	for _, c := range []struct {
		ctx  context.Context
		w    io.Writer
		flat io.ReaderAt
		want error
	}{
		{context.Background(), io.Discard, broken{bytes.NewReader(flat), 1 << 20}, errBroken},
		{context.Background(), &full{1 << 20}, slowly, unix.ENOSPC},
		{context.Background(), &full{0}, slowly, unix.ENOSPC},
		{ctx, io.Discard, bytes.NewReader(flat), why},
	} {
		if _, err := stargz.Write(c.ctx, c.w, x, c.flat, nil, func(int64) {}); !errors.Is(err, c.want) {
			t.Errorf("want %v, got %v", c.want, err)
		}
		if n := reading.Load(); n > 0 {
			t.Errorf("%v: %d are reading still", c.want, n)
		}
	}
}

// packed is a blob that ends as eStargz, with that table of contents.
func packed(t *testing.T, name, toc string, at func(int) int) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	z.Write(tt.Of(t, tt.File(name, toc)))
	z.Close()
	extra := fmt.Sprintf("SG\x16\x00%016xSTARGZ", at(0))
	return append(out.Bytes(), estargz.CreateGzipFooter([]byte(extra))...)
}

// TestVerify: only a table that has its digest, and digests of all data, counts.
func TestVerify(t *testing.T) {
	start := func(int) int { return 0 }
	table := func(entries string) string { return `{"version":1,"entries":[` + entries + `]}` }
	sum := digest.FromString("x").String()
	good := table(`{"name":"f","type":"reg","size":1,"chunkDigest":"` + sum + `"},{"name":"e","type":"reg"}`)
	for _, c := range []struct {
		name, toc string
		digest    digest.Digest
		at        func(int) int
		says      string
	}{
		{estargz.TOCTarName, good, digest.FromString(good), start, ""},
		{estargz.TOCTarName, good, digest.FromString("other"), start, "instead of"},
		{"other", good, digest.FromString(good), start, "TOC tar entry had name"},
		{estargz.TOCTarName, good, digest.FromString(good), func(int) int { return 1 << 40 }, "begins at byte"},
		{estargz.TOCTarName, good, digest.FromString(good), func(int) int { return 1 }, "gzip"},
		{estargz.TOCTarName, table(`{"name":"f","type":"reg","size":1}`), "", start, `no digest of the data of "f"`},
		{estargz.TOCTarName, table(`{"name":"f","type":"chunk"}`), "", start, `no digest of the data of "f"`},
		{estargz.TOCTarName, table(`null`), "", start, ""},
		{estargz.TOCTarName, table(strings.Repeat(`{},`, 1<<20) + `{}`), "", start, "more than 1048576 entries"},
		{estargz.TOCTarName, strings.Repeat(" ", 256<<20+1), "", start, "more than 256 MiB"},
		{estargz.TOCTarName, table(strings.Repeat(`[`, 1<<20)), "", start, "depth"},
		{estargz.TOCTarName, `7`, "", start, "table of contents"},
	} {
		if c.digest == "" {
			c.digest = digest.FromString(c.toc)
		}
		b := packed(t, c.name, c.toc, c.at)
		err := stargz.Verify(io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b))), c.digest)
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("want %q, got %v", c.says, err)
		}
	}
	for n := range 60 { // too short for a footer, or for what it says
		b := packed(t, estargz.TOCTarName, good, start)
		b = b[len(b)-n:]
		if err := stargz.Verify(io.NewSectionReader(bytes.NewReader(b), 0, int64(n)), digest.FromString(good)); err == nil {
			t.Errorf("%d bytes are a layer", n)
		}
	}
}

// FuzzWrite: whatever tarball Scan takes is written so that all engines see its tree, or is unfit.
func FuzzWrite(f *testing.F) {
	piece := []tt.Piece{{Off: 1024, Data: "x"}}
	for _, es := range [][]tt.Entry{
		{tt.Dir("a"), tt.File("a/f", "hello", tt.Xattr("user.k", "v")), tt.Hardlink("h", "a/f"), tt.Symlink("l", "a")},
		{tt.Whiteout("a/b"), tt.Opaque("a"), tt.Hardlink("x", "lower"), tt.Char("c", 1, 3), tt.Fifo("p")},
		{tt.SparseOld("s", 9000, piece)}, {tt.Sparse00("s", 9000, piece)}, {tt.Sparse10("s", 9000, piece), tt.File("\x1f\x8b\x08", "x")},
		{tt.File(string(bytes.Repeat([]byte("n/"), 100)), "x", tt.GNU()), tt.File("stargz.index.json", "c")},
	} {
		f.Add(tt.Of(f, es...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		b = righted(bytes.Clone(b))
		x, err := index(b)
		if err != nil || stargz.Spread(x) > 1<<20 {
			return
		}
		var out bytes.Buffer
		blob, err := stargz.Write(context.Background(), &out, x, bytes.NewReader(b), nil, func(int64) {})
		if errors.Is(err, stargz.ErrUnfit) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		sameLazily(t, out.Bytes(), blob, x, b)
		if tarball := inflated(t, out.Bytes()); digest.FromBytes(tarball) != blob.DiffID || int64(len(tarball)) != blob.Uncompressed {
			t.Errorf("%+v", blob)
		}
	})
}

// righted gives the headers in b, which the mutator cannot, the checksums that they need.
func righted(b []byte) []byte {
	for i := 0; i+512 <= len(b) && i < 16*512; i += 512 {
		h, sum := b[i:i+512], 0
		if string(h[257:262]) != "ustar" {
			continue
		}
		copy(h[148:156], "        ")
		for _, c := range h {
			sum += int(c)
		}
		copy(h[148:156], fmt.Sprintf("%06o\x00 ", sum))
	}
	return b
}

// TestWriteDeep: a path as long as Scan takes.
func TestWriteDeep(t *testing.T) {
	flat := tt.Of(t, tt.File(strings.Repeat("d/", 8000)+"f", "x"))
	x, err := index(flat)
	if err != nil {
		t.Fatal(err)
	}
	b, blob := write(t, flat)
	sameLazily(t, b, blob, x, flat)
}

package inflate

import (
	"bufio"
	"bytes"
	stdflate "compress/flate"
	stdgzip "compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/gzip"
)

// pack compresses with the standard library.
func pack(t testing.TB, b []byte, level int) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := stdgzip.NewWriterLevel(&out, level)
	if err != nil {
		t.Fatal(err)
	}
	w.Name, w.Comment, w.Extra = "name", "comment", []byte{1, 2, 3}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// samples have long and short copies, runs, and nothing to be compressed.
func samples() map[string][]byte {
	rnd := rand.New(rand.NewSource(1))
	noise := make([]byte, 300_000)
	rnd.Read(noise)
	var text, skewed bytes.Buffer
	for text.Len() < 1_000_000 {
		fmt.Fprintf(&text, "%d bottles of %x on the wall\n", rnd.Intn(1000), rnd.Intn(1<<uint(rnd.Intn(30))+1))
	}
	for skewed.Len() < 500_000 { // codes of all lengths
		skewed.WriteByte(byte(rnd.ExpFloat64() * 12))
	}
	periods := []byte{}
	for p := 1; p < 40; p++ { // overlapping copies of every distance
		periods = append(periods, noise[p*50:p*50+p]...)
		periods = append(periods, bytes.Repeat(noise[p*50:p*50+p], 700/p)...)
	}
	return map[string][]byte{
		"empty": nil, "byte": {7}, "noise": noise, "text": text.Bytes(), "skewed": skewed.Bytes(),
		"periods": periods, "zeros": make([]byte, 700_000),
		"far": append(append(append([]byte{}, noise[:window]...), noise[:window]...), noise[:window/2]...),
	}
}

func TestContent(t *testing.T) {
	for name, want := range samples() {
		for level := stdflate.HuffmanOnly; level <= 9; level++ {
			packed := pack(t, want, level)
			for how, src := range map[string]io.Reader{
				"whole":     bytes.NewReader(packed),
				"halves":    iotest.HalfReader(bytes.NewReader(packed)),
				"data, EOF": iotest.DataErrReader(bytes.NewReader(packed)),
			} {
				got, err := io.ReadAll(NewReader(src))
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s, level %d, %s: %d of %d bytes, %v", name, level, how, len(got), len(want), err)
				}
			}
		}
	}
}

func TestByteByByte(t *testing.T) {
	want := samples()["text"][:100_000]
	got, err := io.ReadAll(iotest.OneByteReader(NewReader(iotest.OneByteReader(bytes.NewReader(pack(t, want, 6))))))
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%d of %d bytes, %v", len(got), len(want), err)
	}
}

// A copy must not reach into the member before.
func TestMembers(t *testing.T) {
	a, b := samples()["text"], samples()["skewed"]
	both := append(pack(t, a, 9), pack(t, b, 1)...)
	got, err := io.ReadAll(NewReader(bytes.NewReader(both)))
	if err != nil || !bytes.Equal(got, append(bytes.Clone(a), b...)) {
		t.Fatalf("%d of %d bytes, %v", len(got), len(a)+len(b), err)
	}
	if _, err := io.ReadAll(NewReader(bytes.NewReader(append(pack(t, a, 9), "garbage!!!"...)))); !errors.Is(err, ErrHeader) {
		t.Errorf("garbage after a member: %v", err)
	}
	// A member whose only symbol copies from 1 before its start: fixed codes,
	// length 3 (0000001), distance 1 (00000), end (0000000).
	var raw bytes.Buffer
	raw.Write(pack(t, []byte("x"), 6))
	raw.Write([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0b00000011, 0b00000010, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0})
	if got, err := io.ReadAll(NewReader(&raw)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a copy from the member before: %q, %v", got, err)
	}
}

// Wherever it is cut off, that is what is said, and nothing wrong is handed out.
func TestCutOff(t *testing.T) {
	want := samples()["text"][:3000]
	for _, level := range []int{stdflate.NoCompression, stdflate.HuffmanOnly, 1, 9} {
		packed := pack(t, want, level)
		for n := range packed {
			got, err := io.ReadAll(NewReader(bytes.NewReader(packed[:n])))
			if !errors.Is(err, io.ErrUnexpectedEOF) || !bytes.HasPrefix(want, got) {
				t.Fatalf("level %d, %d of %d bytes: %v", level, n, len(packed), err)
			}
		}
	}
}

func TestChecksum(t *testing.T) {
	packed := pack(t, samples()["text"], 6)
	for _, at := range []int{len(packed) - 1, len(packed) - 8} {
		wrong := bytes.Clone(packed)
		wrong[at] ^= 1
		if _, err := io.ReadAll(NewReader(bytes.NewReader(wrong))); !errors.Is(err, ErrChecksum) {
			t.Errorf("byte %d changed: %v", at, err)
		}
	}
}

// The error of the source is that of Read.
func TestSourceFails(t *testing.T) {
	broken := errors.New("broken")
	src := io.MultiReader(bytes.NewReader(pack(t, samples()["text"], 6)[:1000]), iotest.ErrReader(broken))
	if _, err := io.ReadAll(NewReader(src)); !errors.Is(err, broken) {
		t.Error(err)
	}
}

// FuzzSame compares with the standard library: the same content, or an error of
// both. The fuzzer is given the deflate stream, as it would hardly find a checksum.
func FuzzSame(f *testing.F) {
	for _, b := range samples() {
		for _, level := range []int{0, 1, 6} {
			packed := pack(f, b[:min(len(b), 5000)], level)
			f.Add(packed[bytes.Index(packed, []byte("comment\x00"))+8 : len(packed)-8])
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		const most = 1 << 20
		in := bytes.NewReader(b)
		want, werr := io.ReadAll(io.LimitReader(stdflate.NewReader(in), most))
		stream := b[:len(b)-in.Len()] // without what follows its end
		whole := slices.Concat([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0}, stream)
		whole = binary.LittleEndian.AppendUint32(whole, crc32.ChecksumIEEE(want))
		whole = binary.LittleEndian.AppendUint32(whole, uint32(len(want)))
		got, gerr := io.ReadAll(io.LimitReader(NewReader(bytes.NewReader(whole)), most))
		switch {
		case len(want) == most:
			if !bytes.Equal(got, want) {
				t.Fatal("other content")
			}
		case werr == nil && (gerr != nil || !bytes.Equal(got, want)):
			t.Fatalf("%d bytes, but here %d and %v", len(want), len(got), gerr)
		case errors.As(werr, new(stdflate.CorruptInputError)) && gerr == nil:
			t.Fatalf("%v, but here %d bytes", werr, len(got))
		}
	})
}

// BenchmarkLayers inflates the layers of the test image.
func BenchmarkLayers(b *testing.B) {
	dir := os.Getenv("TIFFIN_TEST_IMAGE")
	if dir == "" {
		b.Skip("TIFFIN_TEST_IMAGE names no layout")
	}
	layers := gzipBlobs(b, dir)
	for how, open := range map[string]func(io.Reader) (io.Reader, error){
		"tiffin":    func(r io.Reader) (io.Reader, error) { return NewReader(r), nil },
		"klauspost": func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
		"standard":  func(r io.Reader) (io.Reader, error) { return stdgzip.NewReader(r) },
	} {
		b.Run(how, func(b *testing.B) {
			buf := make([]byte, 512<<10)
			for b.Loop() {
				total := int64(0)
				for _, packed := range layers {
					z, err := open(bufio.NewReaderSize(bytes.NewReader(packed), 64<<10))
					if err != nil {
						b.Fatal(err)
					}
					n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{z}, buf)
					if err != nil {
						b.Fatal(err)
					}
					total += n
				}
				b.SetBytes(total)
			}
		})
	}
}

// gzipBlobs reads the layers of a layout.
func gzipBlobs(b *testing.B, dir string) (all [][]byte) {
	names, err := filepath.Glob(filepath.Join(dir, "blobs/sha256/*"))
	if err != nil {
		b.Fatal(err)
	}
	for _, n := range names {
		packed, err := os.ReadFile(n)
		if err != nil {
			b.Fatal(err)
		}
		if len(packed) > 1<<20 {
			all = append(all, packed)
		}
	}
	return all
}

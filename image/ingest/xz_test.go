package ingest

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/ulikunitz/xz"

	"tiffin/internal/test/must"
)

// "text\n" as bzip2(1) 1.0.8 compresses it.
const bzipText = "QlpoOTFBWSZTWcBv4GUAAAHBgAAQAgAEQCAAIYyDNNCI8XckU4UJDAb+BlA="

func xzOf(t testing.TB, content string) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := xz.NewWriter(&b)
	if err == nil {
		_, err = io.WriteString(w, content)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestContentOfWhatNoLayerMayBe(t *testing.T) {
	bz, err := base64.StdEncoding.DecodeString(bzipText)
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("0123456789", 300_000)
	for what, c := range map[string]struct {
		in   []byte
		want string
	}{
		"plain": {[]byte("plain"), "plain"}, "nothing": {nil, ""}, "gzip": {[]byte("\x1f\x8b as it is"), "\x1f\x8b as it is"},
		"bzip2": {bz, "text\n"}, "xz": {xzOf(t, long), long}, "xz of nothing": {xzOf(t, ""), ""},
	} {
		r, err := Content(bytes.NewReader(c.in))
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		if got, err := io.ReadAll(r); err != nil || string(got) != c.want {
			t.Errorf("%s: %d bytes, %v", what, len(got), err)
		}
		if what == "plain" || what == "nothing" || what == "gzip" {
			continue
		}
		if r, err = Content(bytes.NewReader(c.in[:len(c.in)-1])); err == nil {
			_, err = io.ReadAll(r)
		}
		if err == nil || !strings.HasPrefix(err.Error(), strings.Fields(what)[0]+": ") {
			t.Errorf("%s cut short: %v", what, err)
		}
	}
}

func TestContentIsBounded(t *testing.T) {
	t.Setenv("TIFFIN_INFLATE_LIMIT", "1MiB")
	r, err := Content(bytes.NewReader(xzOf(t, strings.Repeat("\x00", 32<<20))))
	if err == nil {
		_, err = io.Copy(io.Discard, r)
	}
	if err == nil || !strings.Contains(err.Error(), "decompression bomb") {
		t.Error(err)
	}
	// No block gets more than another: streams, each with one block, and a block after another.
	greedy := xzOf(t, "x")
	at := bytes.Index(greedy, []byte{0x21, 1})
	greedy[at+2] = 40 // 4 GiB of dictionary
	h := greedy[12 : 12+4*(int(greedy[12])+1)]
	binary.LittleEndian.PutUint32(h[len(h)-4:], crc32.ChecksumIEEE(h[:len(h)-4]))
	first := xzOf(t, "first")
	backward := binary.LittleEndian.Uint32(first[len(first)-8:]) // size of the index, 2.1.2.2
	end := len(first) - 12 - 4*int(backward+1)
	for what, in := range map[string][]byte{
		"alone": greedy, "after another stream": append(bytes.Clone(first), greedy...),
		"after padding": append(append(bytes.Clone(first), 0, 0, 0, 0), greedy...), "after another block": append(bytes.Clone(first[:end]), greedy[12:]...),
	} {
		r, err := Content(bytes.NewReader(in))
		if err == nil {
			_, err = io.ReadAll(r)
		}
		if err == nil || !strings.Contains(err.Error(), "4096 MiB of memory") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestXzOfOthers: what xz(1) writes is read, with each check, several blocks and several streams.
func TestXzOfOthers(t *testing.T) {
	xzTool := must.Tool(t, "xz")
	text := strings.Repeat("0123456789abcdef", 10_000)
	var all []byte
	want := ""
	for _, args := range []string{"-C none", "-C crc32", "-C crc64", "-C sha256", "-0 --block-size=20000", "-9 -T2 --block-size=30000"} {
		cmd := exec.Command(xzTool, append(strings.Fields(args), "-c")...)
		cmd.Stdin = strings.NewReader(text)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		all, want = append(all, out...), want+text
		for i := 6; i < len(out); i += max(1, len(out)/40) { // a wrong bit: not all of them matter
			bad := bytes.Clone(out)
			bad[i] ^= 4
			got, err := readContent(bad)
			if err == nil && string(got) != text && args != "-C none" {
				t.Errorf("%s: bit 2 of byte %d of %d changes the content, and nobody says so", args, i, len(out))
			}
		}
	}
	if got, err := readContent(all); err != nil || string(got) != want {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func readContent(b []byte) ([]byte, error) {
	r, err := Content(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// TestEachFrameOfZstdIsBounded: a window descriptor is 3.1.1.1.2 of RFC 8878.
func TestEachFrameOfZstdIsBounded(t *testing.T) {
	frame := func(window byte) []byte { return []byte{0x28, 0xb5, 0x2f, 0xfd, 0, window << 3, 1, 0, 0} } // an empty last block
	for _, c := range []struct {
		in   []byte
		want string
	}{{slices.Concat(frame(5), frame(17)), ""}, {slices.Concat(frame(5), frame(18)), "window"}} { // 2^(10+17) bytes are 128 MiB
		r, done, err := Decompress(bytes.NewReader(c.in), zstandard)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(io.Discard, r)
		done()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("% x: %v", c.in, err)
		}
	}
}

package ingest

import (
	"bytes"
	"encoding/base64"
	"io"
	"strings"
	"testing"

	"github.com/ulikunitz/xz"
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
	greedy := xzOf(t, "x") // 4 GiB of dictionary
	greedy[bytes.Index(greedy, []byte{0x21, 1})+2] = 40
	if _, err := Content(bytes.NewReader(greedy)); err == nil || !strings.Contains(err.Error(), "4096 MiB of memory") {
		t.Error(err)
	}
}

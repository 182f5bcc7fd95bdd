// A context behind a URL, at a server that may be a stranger's.

package build

import (
	"archive/tar"
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	digest "github.com/opencontainers/go-digest"

	"tiffin/internal/test/imagetest"
)

func TestAContextIsFetched(t *testing.T) {
	var good bytes.Buffer
	w := tar.NewWriter(&good)
	text := "FROM scratch"
	if err := w.WriteHeader(&tar.Header{Name: "Dockerfile", Mode: 0o644, Size: int64(len(text)), ModTime: time.Unix(1, 0)}); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(w, text)
	w.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("/good", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(good.Bytes()) })
	mux.HandleFunc("/page", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") })
	mux.HandleFunc("/cut", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5000")
		_, _ = w.Write(good.Bytes()[:600])
	})
	mux.HandleFunc("/endless", func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(good.Bytes())
		for zeros := make([]byte, 1<<16); r.Context().Err() == nil; {
			if _, err := w.Write(zeros); err != nil {
				return
			}
		}
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	s := imagetest.NewStore(t)
	t.Setenv("TIFFIN_INFLATE_LIMIT", "1MiB")
	right, wrong := digest.FromBytes(good.Bytes()), digest.FromString("x")
	for _, c := range []struct {
		path string
		sum  digest.Digest
		want string // of the error; "" = none
	}{
		{"/good", "", ""}, {"/good", right, ""}, {"/good", wrong, "its checksum is " + right.String()},
		{"/none", "", "the server says 404"}, {"/page", "", "it is no tarball"}, {"/cut", "", "unexpected EOF"},
		{"/endless", "", "it is too big"},
	} {
		c2, err := FetchContext(t.Context(), s, server.URL+c.path, c.sum)
		if err == nil && c.want == "" {
			f, err := c2.File("Dockerfile")
			if err != nil {
				t.Fatal(err)
			}
			if b, _ := io.ReadAll(f); string(b) != text {
				t.Errorf("%s: %q", c.path, b)
			}
			f.Close()
			c2.Close()
			continue
		}
		if err == nil || c.want == "" || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, not %q", c.path, err, c.want)
		}
	}
	if _, err := FetchContext(t.Context(), s, "http://u:secret@127.0.0.1:1/x", ""); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("the error is %v", err)
	}
}

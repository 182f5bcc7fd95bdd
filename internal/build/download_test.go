// Files that ADD names by a URL, from a server that says how to recognize them.

package build

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	digest "github.com/opencontainers/go-digest"

	"tiffin/internal/test/imagetest"
)

// TestAFileIsSentAgainIfItHasChanged, and not otherwise: by its tag, its time, or its checksum.
func TestAFileIsSentAgainIfItHasChanged(t *testing.T) {
	content, sent, asked := "rice", 0, 0
	var validate func(w http.ResponseWriter)
	changed := time.Unix(1e9, 0)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		validate(w)
		http.ServeContent(counting{w, &sent}, r, "", changed, strings.NewReader(content))
	}))
	defer server.Close()
	for name, v := range map[string]func(http.ResponseWriter){
		"tag":  func(w http.ResponseWriter) { w.Header().Set("ETag", fmt.Sprintf("%q", content)) },
		"time": func(http.ResponseWriter) {},
	} {
		t.Run(name, func(t *testing.T) {
			validate, sent = v, 0
			s := imagetest.NewStore(t)
			fetch := func(checksum digest.Digest) string {
				t.Helper()
				f, err := fetchFile(t.Context(), s, server.URL+"/menu", checksum)
				if err != nil {
					return err.Error()
				}
				defer f.data.Close()
				b, err := readAll(f.open(""))
				if sum, _ := f.sum("", nil); err != nil || sum != digest.FromBytes(b).Encoded() || f.f.size != int64(len(b)) {
					t.Errorf("%q has the digest %s, %v", b, sum, err)
				}
				return string(b)
			}
			want := func(content string, times int) {
				t.Helper()
				if got := fetch(""); got != content || sent != times {
					t.Errorf("it is %q, sent %d times; want %q, %d times", got, sent, content, times)
				}
			}
			want("rice", 1)
			want("rice", 1)
			content, changed = "beans", changed.Add(time.Hour)
			want("beans", 2)
			want("beans", 2)
			before := asked
			if got := fetch(digest.FromString("beans")); got != "beans" || asked != before {
				t.Errorf("with its checksum it is %q, and the server was asked %d times", got, asked-before)
			}
			if got := fetch(digest.FromString("rice")); !strings.Contains(got, "its checksum is ") {
				t.Errorf("with another checksum: %s", got)
			}
			kept, _ := filepath.Glob(s.Path("build", "fetched-*"))
			if len(kept) != 1 {
				t.Errorf("kept are %v", kept)
			}
			for _, f := range kept {
				os.Remove(f)
			}
			want("beans", 3)
			content, changed = "rice", changed.Add(time.Hour)
		})
	}
}

// counting counts answers with content.
type counting struct {
	http.ResponseWriter
	sent *int
}

func (c counting) WriteHeader(status int) {
	if status == http.StatusOK {
		*c.sent++
	}
	c.ResponseWriter.WriteHeader(status)
}

// What is fetched: contexts, files and repositories, from a server that may be a stranger's.

package build

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"tiffin/image"
	"tiffin/internal/dockerfile"
	"tiffin/internal/test/imagetest"
	"tiffin/internal/test/must"
)

// tarball is an archive of one file.
func tarball(t *testing.T, name, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text)), ModTime: time.Unix(1, 0)}); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(w, text)
	w.Close()
	return b.Bytes()
}

func TestAContextIsFetched(t *testing.T) {
	text := "FROM scratch"
	good := tarball(t, "Dockerfile", text)
	mux := http.NewServeMux()
	mux.HandleFunc("/good", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(good) })
	mux.HandleFunc("/page", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") })
	mux.HandleFunc("/cut", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5000")
		_, _ = w.Write(good[:600])
	})
	mux.HandleFunc("/endless", func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(good)
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
	right, wrong := digest.FromBytes(good), digest.FromString("x")
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
			if b, err := readAll(c2.File("Dockerfile")); string(b) != text {
				t.Errorf("%s: %q (%v)", c.path, b, err)
			}
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

// added is what an ADD puts into an empty image: of each file its path, what is in it, its mode and
// its time; of a directory the path.
func added(t *testing.T, s *image.Store, c dockerfile.Copy) (string, error) {
	t.Helper()
	b := &builder{Options: Options{Store: s}}
	fetched, done, err := b.fetch(t.Context(), &c)
	defer done()
	if err != nil {
		return "", err
	}
	d := newDelta(treeOf(), s.Path("tmp"))
	defer d.close()
	d.fetched = fetched
	if err := errors.Join(d.owner(&c), d.copy(noContext{}, &dockerfile.Instruction{Name: "add", Copy: &c})); err != nil {
		return "", err
	}
	var all []string
	err = d.each(func(p string, e *entry) error {
		if e.isDir() {
			all = append(all, p+"/")
			return nil
		}
		text := "-> " + e.target
		if e.from != nil && e.is(unix.S_IFREG) {
			b, err := readAll(e.from.open(e.path))
			if err != nil {
				return err
			}
			text = string(b)
		}
		all = append(all, fmt.Sprintf("%s=%s:%o:%s", p, text, e.mode&0o7777, e.mtime.UTC().Format(time.DateOnly)))
		return nil
	})
	return strings.Join(all, " "), err
}

func readAll(f io.ReadCloser, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// addition is an ADD of one line, what it adds, and what its error says; one of both.
type addition struct{ add, want, wrong string }

// check reads the flags that it knows, and compares. times are left out of what is added if they
// are those of a clone.
func (a addition) check(t *testing.T, s *image.Store, times bool) {
	t.Helper()
	words := strings.Fields(a.add)
	c := dockerfile.Copy{Dest: words[len(words)-1]}
	for _, w := range words[:len(words)-1] {
		switch k, v, _ := strings.Cut(w, "="); k {
		case "--chmod":
			c.Chmod = v
		case "--checksum":
			c.Checksum = v
		case "--unpack":
			c.Unpack = new(v == "true")
		default:
			c.Sources = append(c.Sources, w)
		}
	}
	got, err := added(t, s, c)
	if !times {
		got = regexp.MustCompile(`:\d+-\d+-\d+`).ReplaceAllString(got, "")
	}
	switch {
	case a.wrong != "" && (err == nil || !strings.Contains(err.Error(), a.wrong)):
		t.Errorf("ADD %s: %s (%v), not %q", a.add, got, err, a.wrong)
	case a.wrong == "" && (err != nil || got != a.want):
		t.Errorf("ADD %s: %s (%v), want %s", a.add, got, err, a.want)
	}
}

// TestAddOfAURL has the rules of the Dockerfile reference, "Adding files from a URL" and
// "ADD --checksum": the name is that of the path, the mode 600, the time that of the answer.
func TestAddOfAURL(t *testing.T) {
	archive := tarball(t, "in", "rice")
	rice := "rice"
	mux := http.NewServeMux()
	asked := 0
	mux.HandleFunc("/a/menu", func(w http.ResponseWriter, _ *http.Request) {
		asked++
		w.Header().Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
		_, _ = io.WriteString(w, rice)
	})
	mux.HandleFunc("/undated", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "soup") })
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, rice) })
	mux.Handle("/moved", http.RedirectHandler("/a/menu", http.StatusFound))
	mux.Handle("/round", http.RedirectHandler("/round", http.StatusFound))
	mux.Handle("/outside", http.RedirectHandler("file:///etc/passwd", http.StatusFound))
	mux.HandleFunc("/p.tar", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(archive) })
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 2<<20)) })
	mux.HandleFunc("/cut", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5000")
		_, _ = io.WriteString(w, rice)
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	s := imagetest.NewStore(t)
	t.Setenv("TIFFIN_INFLATE_LIMIT", "1MiB")
	t.Setenv("SOURCE_DATE_EPOCH", "1200000000") // 2008-01-10
	sum, other := digest.FromString(rice).String(), digest.FromString("x").String()
	at := server.URL
	for _, a := range []addition{
		{add: at + "/a/menu /x/", want: "x/ x/menu=rice:600:2006-01-02"},
		{add: at + "/a/menu?q=/no#no /x/", want: "x/ x/menu=rice:600:2006-01-02"},
		{add: at + "/a/menu /x", want: "x=rice:600:2006-01-02"},
		{add: "--chmod=755 --checksum=" + sum + " " + at + "/a/menu /x", want: "x=rice:755:2006-01-02"},
		{add: "--checksum=" + sum + " " + at + "/moved /x/", want: "x/ x/moved=rice:600:2006-01-02"},
		{add: at + "/undated /", want: "undated=soup:600:2008-01-10"},
		{add: at + "/a/menu " + at + "/undated /x/", want: "x/ x/menu=rice:600:2006-01-02 x/undated=soup:600:2008-01-10"},
		{add: "--unpack=true " + at + "/p.tar /x/", want: "x/ x/in=rice:644:1970-01-01"},
		{add: "--checksum=" + other + " " + at + "/a/menu /x", wrong: "/a/menu: its checksum is " + sum + ", not " + other},
		{add: "--checksum=sha256:12 " + at + "/a/menu /x", wrong: "--checksum=sha256:12: "},
		{add: at + "/none /x", wrong: "/none: the server says 404"},
		{add: at + "/round /x", wrong: "/round: stopped after 10 redirects"},
		{add: at + "/outside /x", wrong: "unsupported protocol scheme"},
		{add: at + "/large /x", wrong: "it is too big"},
		{add: at + "/cut /x", wrong: "/cut: unexpected EOF"},
		{add: at + "/ /x/", wrong: "the URL has no file name"},
		{add: at + "/a/menu " + at + "/undated /x", wrong: "the destination must be a directory"},
	} {
		a.check(t, s, true)
	}
	was := asked
	rice = "soup"
	addition{add: at + "/a/menu /x", want: "x=soup:600:2006-01-02"}.check(t, s, true)
	if asked == was {
		t.Error("the server was not asked again")
	}
}

// TestAddOfARepository: "Adding files from a Git repository", and a repository as the context.
func TestAddOfARepository(t *testing.T) {
	program := must.Tool(t, "git")
	top := t.TempDir()
	work := filepath.Join(top, "work")
	git := func(args ...string) string {
		t.Helper()
		cmd := exec.Command(program, args...)
		cmd.Env = append(os.Environ(), "HOME="+top, "GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.org",
			"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.org")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %q: %v: %s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	write := func(name, text string, mode os.FileMode) {
		t.Helper()
		name = filepath.Join(work, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), mode)); err != nil {
			t.Fatal(err)
		}
	}
	git("init", "-q", "-b", "main", work)
	write("menu", "rice", 0o600)
	write("d/run", "sh", 0o700)
	write("Dockerfile", "FROM scratch\nCOPY d /", 0o644)
	if err := os.Symlink("..", filepath.Join(work, "up")); err != nil {
		t.Fatal(err)
	}
	git("-C", work, "add", ".")
	git("-C", work, "commit", "-q", "-m", "first")
	git("-C", work, "tag", "v1")
	first := git("-C", work, "rev-parse", "HEAD")
	write("menu", "soup", 0o644)
	git("-C", work, "commit", "-q", "-a", "-m", "second")
	git("clone", "-q", "--bare", work, filepath.Join(top, "a.git"))
	// git-http-backend(1)
	server := httptest.NewServer(&cgi.Handler{Path: program, Args: []string{"http-backend"}, Env: []string{"GIT_PROJECT_ROOT=" + top,
		"GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"}, Logger: log.New(io.Discard, "", 0)})
	defer server.Close()
	s := imagetest.NewStore(t)
	at := server.URL + "/a.git"
	for _, a := range []addition{
		{add: at + " /x", want: "x/ x/Dockerfile=FROM scratch\nCOPY d /:644 x/d/ x/d/run=sh:755 x/menu=soup:644 x/up=-> ..:777"},
		{add: at + "#v1:d /x/", want: "x/ x/run=sh:755"},
		{add: at + "#" + first + ":d /x/", want: "x/ x/run=sh:755"},
		{add: "--checksum=" + first[:12] + " " + at + "#v1:d /", want: "run=sh:755"},
		{add: "--checksum=" + first + " " + at + " /", wrong: "the commit is "},
		{add: at + "#none /", wrong: "couldn't find remote ref none"},
		{add: at + "#v1:none /", wrong: "/none is no directory in it"},
		{add: at + "#v1:up /", wrong: "/up is no directory in it"},
		{add: at + "#v1:../.. /x", want: "x/ x/Dockerfile=FROM scratch\nCOPY d /:644 x/d/ x/d/run=sh:755 x/menu=rice:644 x/up=-> ..:777"},
		{add: at + "#--upload-pack=x /", wrong: "its name begins with a dash"},
		{add: server.URL + "/none.git /", wrong: "not found"},
	} {
		a.check(t, s, false)
	}
	kept := dockerfile.Copy{Sources: []string{at}, Dest: "/", KeepGit: true}
	if got, err := added(t, s, kept); err != nil || !strings.Contains(got, ".git/HEAD=") {
		t.Errorf("--keep-git-dir: %s (%v)", got, err)
	}
	c, err := FetchContext(t.Context(), s, at+"#v1", "")
	if err != nil {
		t.Fatal(err)
	}
	b, err := readAll(c.File("menu"))
	if c.Close(); err != nil || string(b) != "rice" {
		t.Errorf("the context has %q (%v)", b, err)
	}
	if left, _ := filepath.Glob(s.Path("tmp", "*")); len(left) > 0 {
		t.Errorf("there is still %v", left)
	}
}

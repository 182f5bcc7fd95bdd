package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image"
	"tiffin/image/oci"
	"tiffin/internal/test/tartest"
)

// bigFixture is an image whose one layer, 4 MB, does not come in one piece.
func bigFixture(t *testing.T, pack func([]byte) []byte) (*fixture, ocispec.Descriptor) {
	t.Helper()
	f := newFixture(t)
	noise := make([]byte, 4<<20)
	rand.NewChaCha8([32]byte{1}).Read(noise)
	tarball := tartest.Of(t, tartest.File("noise", string(noise)))
	mediaType := ocispec.MediaTypeImageLayer
	layer := f.add(pack(tarball), mediaType)
	cfg := ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: oci.ThisMachine().Architecture}}
	cfg.RootFS.Type, cfg.RootFS.DiffIDs = "layers", []digest.Digest{digest.FromBytes(tarball)}
	f.m.Config, f.m.Layers = f.add(mustJSON(t, cfg), ocispec.MediaTypeImageConfig), []ocispec.Descriptor{layer}
	f.seal(t)
	return f, layer
}

// blobRequests notes what a server is asked for of one blob.
type blobRequests struct {
	mu     sync.Mutex
	ranges []string
}

// note wraps a fault for that blob only; fault has the number of the request,
// from 1 on, and may be nil.
func (a *blobRequests) note(srv *server, d digest.Digest, fault func(n int, w http.ResponseWriter, r *http.Request) bool) {
	srv.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if path.Base(r.URL.Path) != d.String() {
			return false
		}
		a.mu.Lock()
		a.ranges = append(a.ranges, r.Header.Get("Range"))
		n := len(a.ranges)
		a.mu.Unlock()
		return fault != nil && fault(n, w, r)
	}
}

// begin sends the first n bytes of a blob as if all were to come.
func begin(w http.ResponseWriter, f *fixture, d ocispec.Descriptor, n int) {
	w.Header().Set("Content-Length", fmt.Sprint(d.Size))
	w.Header().Set("ETag", fmt.Sprintf("%q", d.Digest.Encoded()[:8]))
	w.Write(f.blobs[d.Digest][:n])
	w.(http.Flusher).Flush()
}

func partialFiles(t *testing.T, s *image.Store) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(s.Root(), "partial", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// whole checks that the pulled image has its layer.
func whole(t *testing.T, s *image.Store, srv *server) {
	t.Helper()
	img, err := s.Resolve(srv.host() + "/team/app:v1")
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.Mountable(img)
	if err != nil {
		t.Fatal(err)
	}
	for i, flat := range m.FlatPaths {
		if b, err := os.ReadFile(flat); err != nil || digest.FromBytes(b) != img.Layers[i].DiffID {
			t.Errorf("layer %d: %v, or it is not what its config names", i, err)
		}
		blob, err := os.ReadFile(filepath.Join(s.Root(), "blobs", "sha256", img.Layers[i].Digest.Encoded()))
		if err != nil || digest.FromBytes(blob) != img.Layers[i].Digest {
			t.Errorf("the blob of layer %d: %v, or it has another digest", i, err)
		}
	}
	if left := partialFiles(t, s); len(left) > 0 {
		t.Errorf("left in the store: %q", left)
	}
}

// TestBrokenConnectionGoesOnWhereItBroke: within one pull no byte is sent twice.
func TestBrokenConnectionGoesOnWhereItBroke(t *testing.T) {
	f, l := bigFixture(t, bytes.Clone)
	srv := serve(t, f)
	var asked blobRequests
	asked.note(srv, l.Digest, func(n int, w http.ResponseWriter, r *http.Request) bool {
		switch n {
		case 1:
			begin(w, f, l, 1<<20)
			panic(http.ErrAbortHandler)
		case 2:
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", 1<<20, l.Size-1, l.Size))
			w.Header().Set("ETag", r.Header.Get("If-Range"))
			w.WriteHeader(http.StatusPartialContent)
			w.Write(f.blobs[l.Digest][1<<20 : 3<<20])
			panic(http.ErrAbortHandler)
		}
		return false
	})
	s, _, err := pull(t, srv.host())
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(asked.ranges, ","); got != ",bytes=1048576-,bytes=3145728-" {
		t.Errorf("asked for %q", got)
	}
	whole(t, s, srv)
}

// interrupted is a store with what a pull had of the layer when it was ended.
func interrupted(t *testing.T, srv *server, l ocispec.Descriptor) *image.Store {
	t.Helper()
	ctx, cancel := context.WithCancelCause(context.Background())
	stop := errors.New("stopped by the test")
	s := newStore(t)
	var asked blobRequests
	asked.note(srv, l.Digest, func(n int, w http.ResponseWriter, r *http.Request) bool {
		begin(w, srv.f, l, 3<<20)
		for { // until the pieces are on the disk
			if st, err := os.Stat(filepath.Join(s.Root(), "partial", l.Digest.Encoded())); err == nil && st.Size() >= 1<<20 {
				break
			}
			time.Sleep(time.Millisecond)
		}
		cancel(stop)
		<-r.Context().Done()
		return true
	})
	_, err := new(Client).Pull(ctx, s, ref(t, srv.host()+"/team/app:v1"), nil, nil)
	if !errors.Is(err, stop) && !errors.Is(err, context.Canceled) {
		t.Fatalf("the interrupted pull: %v", err)
	}
	srv.fault = nil
	return s
}

func pullAgain(t *testing.T, s *image.Store, srv *server) error {
	t.Helper()
	s, err := image.Open(s.Root()) // as another command does, which sweeps
	if err != nil {
		t.Fatal(err)
	}
	_, err = new(Client).Pull(context.Background(), s, ref(t, srv.host()+"/team/app:v1"), nil, nil)
	return err
}

func TestInterruptedPullGoesOnWhereItStopped(t *testing.T) {
	for name, pack := range map[string]func([]byte) []byte{"plain": bytes.Clone, "gzip": gz, "zstd": zst} {
		t.Run(name, func(t *testing.T) {
			f, l := bigFixture(t, pack)
			srv := serve(t, f)
			s := interrupted(t, srv, l)
			var asked blobRequests
			asked.note(srv, l.Digest, func(n int, w http.ResponseWriter, r *http.Request) bool {
				if want := fmt.Sprintf("%q", l.Digest.Encoded()[:8]); r.Header.Get("If-Range") != want {
					t.Errorf("If-Range is %s, not %s", r.Header.Get("If-Range"), want)
				}
				return false
			})
			if err := pullAgain(t, s, srv); err != nil {
				t.Fatal(err)
			}
			var from int
			if _, err := fmt.Sscanf(strings.Join(asked.ranges, ","), "bytes=%d-", &from); err != nil || from < 1<<20 || len(asked.ranges) != 1 {
				t.Errorf("asked for %q", asked.ranges)
			}
			whole(t, s, srv)
		})
	}
}

func TestPruneRemovesWhatAnInterruptedPullHasFetched(t *testing.T) {
	f, l := bigFixture(t, gz)
	s := interrupted(t, serve(t, f), l)
	p, err := s.Prune(false, nil)
	if err != nil || p.Reclaimed < 1<<20 || len(partialFiles(t, s)) > 0 {
		t.Errorf("%v, %d bytes; left: %q", err, p.Reclaimed, partialFiles(t, s))
	}
}

// TestOldPartialFilesGo: nobody has gone on with them for a week.
func TestOldPartialFilesGo(t *testing.T) {
	srv := serve(t, newFixture(t))
	s := newStore(t)
	dir := filepath.Join(s.Root(), "partial")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	old, young := filepath.Join(dir, strings.Repeat("a", 64)), filepath.Join(dir, strings.Repeat("b", 64))
	for _, f := range []string{old, old + ".etag", young, young + ".etag"} {
		writeTestFile(t, f, []byte("x"))
	}
	long := time.Now().Add(-8 * 24 * time.Hour)
	if err := os.Chtimes(old, long, long); err != nil {
		t.Fatal(err)
	}
	if err := pullAgain(t, s, srv); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(partialFiles(t, s), " "); got != young+" "+young+".etag" {
		t.Errorf("there are %s", got)
	}
}

// TestResumeStartsOver: what was fetched before is not trusted: each time the
// pull starts over, and
// gets what the manifest names.
func TestResumeStartsOver(t *testing.T) {
	f, l := bigFixture(t, gz)
	all := f.blobs[l.Digest]
	for _, c := range []struct {
		name   string
		before func(t *testing.T, file string)
		fault  func(n int, w http.ResponseWriter, r *http.Request) bool
		gets   int
	}{
		{"damaged on the disk", func(t *testing.T, file string) {
			b := bytes.Clone(all[:2<<20])
			b[1<<20] ^= 1
			writeTestFile(t, file, b)
		}, nil, 2},
		{"longer than the blob", func(t *testing.T, file string) { writeTestFile(t, file, append(bytes.Clone(all), 1)) }, nil, 1},
		{"a server without ranges", nil, func(n int, w http.ResponseWriter, r *http.Request) bool {
			w.Write(all)
			return true
		}, 2},
		{"a new version", func(t *testing.T, file string) { writeTestFile(t, file+".etag", []byte(`"old"`)) }, nil, 2},
		{"not satisfiable", nil, func(n int, w http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Range") != "" {
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			}
			return r.Header.Get("Range") != ""
		}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := serve(t, f)
			s := interrupted(t, srv, l)
			if c.before != nil {
				c.before(t, filepath.Join(s.Root(), "partial", l.Digest.Encoded()))
			}
			var asked blobRequests
			asked.note(srv, l.Digest, c.fault)
			if err := pullAgain(t, s, srv); err != nil {
				t.Fatal(err)
			}
			if len(asked.ranges) != c.gets || asked.ranges[len(asked.ranges)-1] != "" {
				t.Errorf("asked for %q", asked.ranges)
			}
			whole(t, s, srv)
		})
	}
}

func writeTestFile(t *testing.T, file string, b []byte) {
	t.Helper()
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestLyingAboutTheRest: each is named, and the next pull does not suffer.
func TestLyingAboutTheRest(t *testing.T) {
	f, l := bigFixture(t, gz)
	all := f.blobs[l.Digest]
	part := func(contentRange, etag string, b []byte) func(int, http.ResponseWriter, *http.Request) bool {
		return func(_ int, w http.ResponseWriter, r *http.Request) bool {
			var from int
			fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
			w.Header().Set("Content-Range", strings.ReplaceAll(contentRange, "FROM", fmt.Sprint(from)))
			if etag != "" {
				w.Header().Set("ETag", etag)
			}
			w.WriteHeader(http.StatusPartialContent)
			if b == nil {
				b = all[from:]
			}
			w.Write(b)
			return true
		}
	}
	same, right := fmt.Sprintf("%q", l.Digest.Encoded()[:8]), fmt.Sprintf("bytes FROM-%d/%d", l.Size-1, l.Size)
	for _, c := range []struct {
		name  string
		fault func(int, http.ResponseWriter, *http.Request) bool
		says  string
	}{
		{"another range", part(fmt.Sprintf("bytes 0-%d/%d", l.Size-1, l.Size), same, all), "Content-Range is"},
		{"another length", part(fmt.Sprintf("bytes FROM-%d/%d", l.Size-1, l.Size+5), same, nil), "Content-Range is"},
		{"no range", part("", same, nil), "Content-Range is"},
		{"changed ETag", part(right, `"another"`, nil), `asked to go on with ETag ` + same + `, and goes on with "\"another\""`},
		{"less than it says", part(right, same, all[:100]), "Content-Length is 100"},
		{"other bytes", func(n int, w http.ResponseWriter, r *http.Request) bool {
			var from int64
			if fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); from == 0 {
				w.Write(make([]byte, l.Size))
				return true
			}
			return part(right, same, make([]byte, l.Size-from))(n, w, r)
		}, l.Digest.String()},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := serve(t, f)
			s := interrupted(t, srv, l)
			new(blobRequests).note(srv, l.Digest, c.fault)
			err := pullAgain(t, s, srv)
			wantError(t, err, l.Digest.String(), c.says)
			if left := partialFiles(t, s); len(left) > 0 {
				t.Errorf("kept for the next pull: %q", left)
			}
			srv.fault = nil
			if err := pullAgain(t, s, srv); err != nil {
				t.Fatal(err)
			}
			whole(t, s, srv)
		})
	}
}

// TestTwoPullsOfTheSameBlob: it is fetched once, whether the other pull then succeeds or not.
func TestTwoPullsOfTheSameBlob(t *testing.T) {
	for _, fails := range []bool{false, true} {
		f, l := bigFixture(t, gz)
		srv := serve(t, f)
		var asked blobRequests
		ctx, cancel := context.WithCancel(context.Background())
		comes := make(chan bool)
		asked.note(srv, l.Digest, func(n int, w http.ResponseWriter, r *http.Request) bool {
			if n > 1 {
				return false
			}
			close(comes)
			for srv.count("v1") < 2 { // until the other one has come, too
				time.Sleep(time.Millisecond)
			}
			time.Sleep(100 * time.Millisecond) // for it to wait; if it does not yet, less is tested
			if fails {
				cancel()
			}
			return fails
		})
		s := newStore(t)
		start := func(ctx context.Context) <-chan error {
			err := make(chan error, 1)
			go func() {
				_, e := new(Client).Pull(ctx, s, ref(t, srv.host()+"/team/app:v1"), nil, nil)
				err <- e
			}()
			return err
		}
		first := start(ctx)
		<-comes
		second := start(context.Background())
		if err := <-first; (err != nil) != fails {
			t.Errorf("the first one: %v", err)
		}
		if err := <-second; err != nil {
			t.Error(err)
		}
		cancel()
		if n := srv.count(l.Digest.String()); !fails && n != 1 {
			t.Errorf("it was fetched %d times", n)
		}
		whole(t, s, srv)
		if left, _ := os.ReadDir(s.Path("partial")); len(left) > 0 {
			t.Errorf("left in partial/: %v", left)
		}
	}
}

// TestManyPullsOfSeveralLayers: each is fetched once, and no two pulls wait for what the other has.
func TestManyPullsOfSeveralLayers(t *testing.T) {
	for range 5 {
		f := newFixture(t)
		srv := serve(t, f)
		s := newStore(t)
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				// One that waits for another in vain fetches the layer itself, after 20 seconds.
				if _, err := new(Client).Pull(context.Background(), s, ref(t, srv.host()+"/team/app:v1"), nil, nil); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		for _, l := range f.m.Layers {
			if n := srv.count(l.Digest.String()); n != 1 {
				t.Errorf("%s was fetched %d times", l.Digest, n)
			}
		}
		whole(t, s, srv)
	}
}

func TestStalledServerIsGivenUp(t *testing.T) {
	f, l := bigFixture(t, gz)
	srv := serve(t, f)
	var asked blobRequests
	asked.note(srv, l.Digest, func(n int, w http.ResponseWriter, r *http.Request) bool {
		begin(w, f, l, 1000)
		<-r.Context().Done()
		return true
	})
	c := &Client{stall: 50 * time.Millisecond}
	_, err := c.Pull(context.Background(), newStore(t), ref(t, srv.host()+"/team/app:v1"), nil, nil)
	wantError(t, err, srv.host()+" has sent nothing for 50ms")
	// One that stalls once is asked for the rest.
	asked = blobRequests{}
	asked.note(srv, l.Digest, func(n int, w http.ResponseWriter, r *http.Request) bool {
		if n > 1 {
			return false
		}
		begin(w, f, l, 1000)
		<-r.Context().Done()
		return true
	})
	c.stall = 2 * time.Second
	if _, err := c.Pull(context.Background(), newStore(t), ref(t, srv.host()+"/team/app:v1"), nil, nil); err != nil {
		t.Error(err)
	}
	if got := strings.Join(asked.ranges, ","); !strings.HasPrefix(got, ",bytes=1000-") { // and more, if this machine stalls
		t.Errorf("asked for %q", got)
	}
}

func TestAServerThatStallsInAManifestOrAnErrorIsGivenUp(t *testing.T) {
	f, l := bigFixture(t, gz)
	for what, status := range map[string]int{"/manifests/": 200, "/blobs/" + l.Digest.String(): 500} {
		srv := serve(t, f)
		srv.fault = func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, what) || r.Method != http.MethodGet {
				return false
			}
			w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
			w.Header().Set("Docker-Content-Digest", l.Digest.String())
			w.Header().Set("Content-Length", "1000")
			w.WriteHeader(status)
			w.Write([]byte("{"))
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return true
		}
		c := &Client{stall: 50 * time.Millisecond, pause: time.Millisecond}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		_, err := c.Pull(ctx, newStore(t), ref(t, srv.host()+"/team/app:v1"), nil, nil)
		if err == nil || ctx.Err() != nil {
			t.Errorf("%s: %v", what, err)
		}
		cancel()
	}
}

func TestServerThatDoesNotAnswerIsGivenUp(t *testing.T) {
	srv := serve(t, newFixture(t))
	srv.fault = func(w http.ResponseWriter, r *http.Request) bool {
		<-r.Context().Done()
		return true
	}
	c := &Client{answer: 20 * time.Millisecond, pause: time.Millisecond}
	_, err := c.Pull(context.Background(), newStore(t), ref(t, srv.host()+"/team/app:v1"), nil, nil)
	wantError(t, err, "timeout")
	for end := time.Now().Add(time.Minute); srv.count("v1") < 2 && time.Now().Before(end); {
		time.Sleep(time.Millisecond) // the server may hear of it later than the client gives up
	}
	if n := srv.count("v1"); n != 2 {
		t.Errorf("asked %d times", n)
	}
}

package server

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	digest "github.com/opencontainers/go-digest"

	"tiffin/image"
	"tiffin/internal/test/must"
	"tiffin/internal/test/reexec"
	"tiffin/internal/test/tartest"
)

// alone starts a server for a store in a process of its own, to be killed.
func alone(t *testing.T, root string, size ...string) (*served, *exec.Cmd) {
	t.Helper()
	cmd := reexec.Command("serve", append([]string{root}, size...)...)
	cmd.Stderr = os.Stderr
	if len(size) > 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}, GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}}
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil && len(size) > 0 {
		must.Skip(t, "userns", "there is no user namespace: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	h := start(t, &Server{}) // only for its client
	h.host = strings.TrimSpace(line)
	h.URL = "http://" + h.host
	return h, cmd
}

// TestKilledInTheMiddleOfAPush kills the server in the middle of a blob, after
// blobs have been acknowledged and after the manifest has been.
func TestKilledInTheMiddleOfAPush(t *testing.T) {
	root := filepath.Join(t.TempDir(), "store")
	h, cmd := alone(t, root)
	again := func() {
		t.Helper()
		cmd.Process.Kill()
		cmd.Wait()
		h, cmd = alone(t, root)
	}
	f := newFixture(t, "a", thisArch())
	h.blobs(t, "x", f.blobs[f.m.Layers[0].Digest], f.blobs[f.m.Config.Digest])

	large := noise(t, 8<<20) // of which the server has got the half
	at := h.do(t, "POST", "/v2/x/blobs/uploads/", nil).want(t, 202).Header.Get("Location")
	h.do(t, "PATCH", at, large[:len(large)/2]).want(t, 202)
	r, w := io.Pipe()
	ended := make(chan error)
	go func() {
		req, _ := http.NewRequest("PATCH", h.URL+at, r)
		_, err := h.Client().Do(req)
		ended <- err
	}()
	if _, err := w.Write(large[len(large)/2 : len(large)/2+1000]); err != nil {
		t.Fatal(err)
	}
	again()
	w.CloseWithError(fmt.Errorf("the server is gone"))
	if err := <-ended; err == nil {
		t.Error("the killed server has answered")
	}
	h.do(t, "GET", at, nil).want(t, 404, "BLOB_UPLOAD_UNKNOWN")
	if left, _ := os.ReadDir(filepath.Join(root, "tmp")); len(left) > 0 {
		t.Errorf("left in tmp/: %v", left)
	}

	// What was acknowledged is there, and the push goes on.
	h.do(t, "HEAD", "/v2/x/blobs/"+f.m.Layers[0].Digest.String(), nil).want(t, 200)
	h.blobs(t, "x", f.blobs[f.m.Layers[1].Digest])
	again()
	h.putManifest(t, "x", "v1", f).want(t, 201)
	again()
	got := h.do(t, "GET", "/v2/x/manifests/v1", nil).want(t, 200)
	if got.body != string(f.manifest) {
		t.Error("another manifest")
	}
	for d, b := range f.blobs {
		if r := h.do(t, "GET", "/v2/x/blobs/"+d.String(), nil).want(t, 200); !bytes.Equal([]byte(r.body), b) {
			t.Errorf("%s: other bytes", d)
		}
	}
	s, err := image.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	sound(t, s)
	if img, err := s.Resolve("x:v1"); err != nil || img.Manifest.Digest != digest.FromBytes(f.manifest) {
		t.Errorf("%v: %+v", err, img)
	}
}

// noise is a layer of a size that does not compress.
func noise(t *testing.T, size int) []byte {
	t.Helper()
	b := make([]byte, size)
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return tartest.Of(t, tartest.File("noise", string(b)))
}

func TestAFullDiskIsOneClearAnswer(t *testing.T) {
	h, _ := alone(t, filepath.Join(t.TempDir(), "store"), "6m")
	small, large := newFixture(t, "a", thisArch()), noise(t, 8<<20)
	for range 3 {
		h.do(t, "POST", "/v2/x/blobs/uploads/?digest="+digest.FromBytes(large).String(), large).want(t, 507, "no space left on device", `"code":"DENIED"`)
	}
	h.push(t, "x", "v1", small)
	h.do(t, "GET", "/v2/x/manifests/v1", nil).want(t, 200)
}

func TestUploadsThatNobodySendsToGo(t *testing.T) {
	h := start(t, &Server{})
	last := h.do(t, "POST", "/v2/x/blobs/uploads/", nil).want(t, 202).Header.Get("Location")
	id, _, _ := strings.Cut(last[strings.LastIndexByte(last, '/')+1:], "-")
	h.srv.mu.Lock()
	u := h.srv.uploads[id]
	h.srv.mu.Unlock()
	u.expire.Reset(0)
	for u.gone.Load() == false {
		runtime.Gosched()
	}
	h.srv.drop(u) // waits until the other has done it
	h.do(t, "GET", last, nil).want(t, 404, "BLOB_UPLOAD_UNKNOWN")
}

func TestBlobsWithoutAManifestGoAfterADay(t *testing.T) {
	h, f := start(t, &Server{}), newFixture(t, "a", thisArch())
	h.blobs(t, "x", f.blobs[f.m.Layers[0].Digest], f.blobs[f.m.Config.Digest])
	old := time.Now().Add(-25 * time.Hour)
	dir := filepath.Join(h.store.Root(), "incoming")
	if err := os.Chtimes(filepath.Join(dir, f.m.Layers[0].Digest.Encoded()), old, old); err != nil {
		t.Fatal(err)
	}
	h.blobs(t, "x", f.blobs[f.m.Layers[1].Digest])
	h.do(t, "HEAD", "/v2/x/blobs/"+f.m.Layers[0].Digest.String(), nil).want(t, 404)
	h.do(t, "HEAD", "/v2/x/blobs/"+f.m.Config.Digest.String(), nil).want(t, 200)
	h.blobs(t, "x", f.blobs[f.m.Layers[0].Digest])
	h.putManifest(t, "x", "v1", f).want(t, 201)
}

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
	"strings"
	"testing"

	digest "github.com/opencontainers/go-digest"

	"tiffin/image"
	"tiffin/internal/tartest"
)

// alone starts a server for a store in a process of its own, to be killed.
func alone(t *testing.T, root string) (*served, *exec.Cmd) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env, cmd.Stderr = append(os.Environ(), "TIFFIN_SERVER_TEST_ROOT="+root), os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
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

	// A layer that does not compress, of which the server has got the half.
	noise := make([]byte, 8<<20)
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		noise[i] = byte(rnd.Uint32())
	}
	large := tartest.Of(t, tartest.File("noise", string(noise)))
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

// A registry with an image in eStargz, which sends it slowly, not at all, or wrong.

package cli_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/stargz-snapshotter/estargz"
	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/internal/test/must"
)

const tocDigest = "containerd.io/snapshot/stargz/toc.digest"

// lazyRegistry has one image, lab:1, of one layer in eStargz: tiffin/base, and a file of 16 MiB of
// noise.
type lazyRegistry struct {
	*httptest.Server
	blobs map[string][]byte
	layer string // digest
	table string // digest
	noise []byte

	hold    chan struct{}                 // closed: whole layers are sent
	cut     atomic.Bool                   // connections end in the middle
	stall   atomic.Pointer[chan struct{}] // not nil: until it is closed, no part of a layer of more than 100 KiB is sent
	stalled atomic.Int64                  // how many of these have been asked for
	spoil   atomic.Bool                   // a byte of what is asked for is another one
	ranged  atomic.Int64                  // bytes of the layer that were sent because of a Range
	whole   atomic.Int64                  // bytes of the layer that were sent from its start
}

var rootfs = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	run := func(args ...string) ([]byte, error) {
		cmd := exec.Command(binary, args...)
		cmd.Env = append(os.Environ(), "TIFFIN_ROOT="+dir)
		var said bytes.Buffer
		cmd.Stderr = &said
		out, err := cmd.Output()
		if err != nil {
			err = fmt.Errorf("%q: %w\n%s", args, err, &said)
		}
		return out, err
	}
	if _, err := run("create", "--name", "box", "tiffin/base", "true"); err != nil {
		return nil, err
	}
	return run("export", "box")
})

func newLazyRegistry(t *testing.T) *lazyRegistry {
	t.Helper()
	fuse, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		must.Skip(t, "fuse", "%v", err)
	}
	fuse.Close()
	base, err := rootfs()
	if err != nil {
		t.Fatal(err)
	}
	l := &lazyRegistry{blobs: map[string][]byte{}, hold: make(chan struct{}), noise: make([]byte, 16<<20)}
	rand.NewChaCha8([32]byte{3}).Read(l.noise)
	var all bytes.Buffer
	w := tar.NewWriter(&all)
	for r := tar.NewReader(bytes.NewReader(base)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = w.WriteHeader(h)
		}
		if err == nil {
			_, err = io.Copy(w, r)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.WriteHeader(&tar.Header{Name: "noise", Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(l.noise))}); err != nil {
		t.Fatal(err)
	}
	w.Write(l.noise)
	w.Close()
	packed, err := estargz.Build(io.NewSectionReader(bytes.NewReader(all.Bytes()), 0, int64(all.Len())))
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	blob, err := io.ReadAll(packed)
	if err != nil {
		t.Fatal(err)
	}
	l.table = packed.TOCDigest().String()
	l.image(t, blob, digest.Digest(packed.DiffID()), l.table)
	l.Server = httptest.NewServer(l)
	t.Cleanup(func() {
		l.CloseClientConnections()
		l.Close()
	})
	return l
}

// image makes lab:1 of a layer.
func (l *lazyRegistry) image(t *testing.T, blob []byte, diffID digest.Digest, table string) {
	t.Helper()
	add := func(b []byte, mediaType string) ocispec.Descriptor {
		d := digest.FromBytes(b)
		l.blobs[d.String()] = b
		return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(b))}
	}
	var m ocispec.Manifest
	var c ocispec.Image
	c.OS, c.Architecture, c.RootFS.Type, c.RootFS.DiffIDs = "linux", runtime.GOARCH, "layers", []digest.Digest{diffID}
	c.Config.Env, c.Config.Cmd = []string{"PATH=/usr/local/bin:/bin"}, []string{"sh"}
	m.Layers = []ocispec.Descriptor{add(blob, ocispec.MediaTypeImageLayerGzip)}
	if table != "" {
		m.Layers[0].Annotations = map[string]string{tocDigest: table}
	}
	l.layer = m.Layers[0].Digest.String()
	config, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	m.SchemaVersion, m.MediaType, m.Config = 2, ocispec.MediaTypeImageManifest, add(config, ocispec.MediaTypeImageConfig)
	if l.blobs["1"], err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
}

func (l *lazyRegistry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := path.Base(r.URL.Path)
	b, ok := l.blobs[name]
	if digest.FromBytes(l.blobs["1"]).String() == name {
		b, ok, name = l.blobs["1"], true, "1"
	}
	if !ok {
		http.NotFound(w, r)
		return
	}
	if w.Header().Set("Content-Type", "application/octet-stream"); name == "1" {
		w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
	}
	if name != l.layer {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
		return
	}
	var from, to int
	count := &l.whole
	if n, _ := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &to); n == 2 {
		count = &l.ranged
		if stall := l.stall.Load(); stall != nil && to-from > 100<<10 {
			l.stalled.Add(1)
			select {
			case <-*stall:
			case <-r.Context().Done():
				return
			}
		}
		if l.spoil.Load() {
			b = bytes.Clone(b)
			b[(from+to)/2] ^= 1
		}
	} else {
		select {
		case <-l.hold:
		case <-r.Context().Done():
			return
		}
	}
	http.ServeContent(&sending{w, l, count}, r, "", time.Time{}, bytes.NewReader(b))
}

// sending counts what is sent of a layer, and may break off.
type sending struct {
	http.ResponseWriter
	l *lazyRegistry
	n *atomic.Int64
}

func (c *sending) Write(b []byte) (int, error) {
	if c.l.cut.Load() {
		c.ResponseWriter.Write(b[:len(b)/2])
		panic(http.ErrAbortHandler)
	}
	c.n.Add(int64(len(b)))
	return c.ResponseWriter.Write(b)
}

func (l *lazyRegistry) name() string { return strings.TrimPrefix(l.URL, "http://") + "/lab:1" }

// lie makes of the registry's layer one whose table has another mode for /noise.
func lie(t *testing.T, reg *lazyRegistry) (blob []byte, diffID digest.Digest, table string) {
	t.Helper()
	blob = reg.blobs[reg.layer]
	end := len(blob) - 51 // the footer, see package lazy
	off, err := strconv.ParseInt(string(blob[end+16:end+32]), 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(blob[off:end]))
	if err != nil {
		t.Fatal(err)
	}
	r := tar.NewReader(z)
	h, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	var contents map[string]any
	if err := json.NewDecoder(r).Decode(&contents); err != nil {
		t.Fatal(err)
	}
	for _, e := range contents["entries"].([]any) {
		if e := e.(map[string]any); e["name"] == "noise" {
			e["mode"] = 0o4755
		}
	}
	b, err := json.Marshal(contents)
	if err != nil {
		t.Fatal(err)
	}
	out := bytes.NewBuffer(bytes.Clone(blob[:off]))
	pack := gzip.NewWriter(out)
	w := tar.NewWriter(pack)
	h.Size = int64(len(b))
	if err := w.WriteHeader(h); err != nil {
		t.Fatal(err)
	}
	w.Write(b)
	w.Close()
	pack.Close()
	out.Write(blob[end:])
	if z, err = gzip.NewReader(bytes.NewReader(out.Bytes())); err != nil {
		t.Fatal(err)
	}
	if diffID, err = digest.FromReader(z); err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), diffID, digest.FromBytes(b).String()
}

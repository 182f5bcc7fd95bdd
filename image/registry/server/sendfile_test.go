package server

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	digest "github.com/opencontainers/go-digest"
)

// watched is a connection that counts what the server copies, and what it leaves to the kernel:
// net.TCPConn.ReadFrom uses sendfile(2) for an *os.File, or for an *io.LimitedReader of one.
type watched struct {
	*net.TCPConn
	copied, sent *atomic.Int64
}

func (w watched) Write(b []byte) (int, error) {
	w.copied.Add(int64(len(b)))
	return w.TCPConn.Write(b)
}

func (w watched) ReadFrom(r io.Reader) (int64, error) {
	part, _ := r.(*io.LimitedReader)
	if part == nil {
		return io.Copy(struct{ io.Writer }{w}, r)
	}
	if _, ok := part.R.(*os.File); !ok {
		return io.Copy(struct{ io.Writer }{w}, r)
	}
	n, err := w.TCPConn.ReadFrom(r)
	w.sent.Add(n)
	return n, err
}

type watchedListener struct {
	net.Listener
	copied, sent atomic.Int64
}

func (l *watchedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return watched{c.(*net.TCPConn), &l.copied, &l.sent}, nil // another type has no sendfile(2)
}

// TestBlobsAreSentByTheKernel: whatever is put around a connection, an answer or a file later,
// the bytes of a blob go from the page cache to the network, and not through this process.
func TestBlobsAreSentByTheKernel(t *testing.T) {
	h := start(t, &Server{})
	blob := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB
	h.blobs(t, "a", blob)
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &watchedListener{Listener: l}
	web := h.srv.HTTP(nil)
	go web.Serve(w)
	defer web.Close()
	for _, c := range []struct {
		span       string
		first, end int
	}{{"", 0, len(blob)}, {"bytes=1000-999999", 1000, 1_000_000}} {
		copied, sent := w.copied.Load(), w.sent.Load()
		req, err := http.NewRequest("GET", "http://"+l.Addr().String()+"/v2/a/blobs/"+digest.FromBytes(blob).String(), strings.NewReader(""))
		if err != nil {
			t.Fatal(err)
		}
		if c.span != "" {
			req.Header.Set("Range", c.span)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || !bytes.Equal(got, blob[c.first:c.end]) {
			t.Fatalf("%q: %d bytes: %v", c.span, len(got), err)
		}
		// Copied are the head of the answer and 512 bytes, which net/http looks at.
		size := int64(c.end - c.first)
		for end := time.Now().Add(time.Minute); w.sent.Load()-sent < size-512 && time.Now().Before(end); {
			time.Sleep(time.Millisecond) // the server counts when it has sent all, and the client may be quicker
		}
		copied, sent = w.copied.Load()-copied, w.sent.Load()-sent
		if sent != size-512 || copied > 2048 {
			t.Errorf("%q: of %d bytes the kernel sent %d, %d were copied", c.span, size, sent, copied)
		}
	}
}

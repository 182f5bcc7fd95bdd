package wire

import (
	"bytes"
	"errors"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// note is a message.
type note struct {
	NumFiles int    `json:"files,omitempty"`
	Text     string `json:"text,omitempty"`
	files    []*os.File
}

func (n *note) Attached() (*int, *[]*os.File) { return &n.NumFiles, &n.files }

// openFiles counts the descriptors of this process.
func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// hostile sends raw bytes in pieces, each with some descriptors, and hangs up. It returns what the
// other end makes of them.
func hostile(t *testing.T, data []byte, piece, files int) (messages int, err error) {
	t.Helper()
	c, theirs, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer theirs.Close()
		defer null.Close()
		var rights []byte
		if files > 0 {
			fds := make([]int, files)
			for i := range fds {
				fds[i] = int(null.Fd())
			}
			rights = unix.UnixRights(fds...)
		}
		for len(data) > 0 {
			n := min(piece, len(data))
			if unix.Sendmsg(int(theirs.Fd()), data[:n], rights, nil, unix.MSG_NOSIGNAL) != nil {
				return
			}
			data = data[n:]
		}
	}()
	for {
		m := new(note)
		if err := c.Receive(m); err != nil {
			return messages, err
		}
		if len(m.files) != m.NumFiles {
			t.Errorf("%d files, %d announced", len(m.files), m.NumFiles)
		}
		closeAll(m.files)
		messages++
	}
}

// FuzzReceive: whatever comes, in whatever pieces and with whatever descriptors, ends with an error
// before long, and leaves no descriptor open.
func FuzzReceive(f *testing.F) {
	for _, s := range []string{"", "\n", "{}\n", `{"op":"start","files":3,"start":{"dir":"/","flats":[]}}` + "\n", `{"op":"wait"`,
		`{"op":"signal","signal":-1}` + "\n" + `{"op":"exec","exec":{"args":null}}` + "\n", `{"files":-1}` + "\n", `{"files":99999999999}` + "\n",
		`{"op":["x"]}` + "\n", "\x00\xff\n", strings.Repeat(`{"plan":`, 20000) + "\n"} {
		f.Add([]byte(s), uint16(7), uint8(0))
		f.Add([]byte(s), uint16(4096), uint8(3))
		f.Add([]byte(s), uint16(1), uint8(60))
	}
	f.Fuzz(func(t *testing.T, data []byte, piece uint16, files uint8) {
		before := openFiles(t)
		_, err := hostile(t, data, int(piece)+1, int(files)%64)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("it hangs")
		}
		// What is still under way is closed with the sender.
		after := openFiles(t)
		for end := time.Now().Add(time.Minute); after > before && time.Now().Before(end); after = openFiles(t) {
			time.Sleep(time.Millisecond)
		}
		if after > before {
			t.Errorf("%d descriptors before, %d after", before, after)
		}
	})
}

func TestALineWithoutEndIsRefusedBeforeLong(t *testing.T) {
	_, err := hostile(t, bytes.Repeat([]byte("x"), maxLine+1<<20), 1<<16, 0)
	if err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("%v", err)
	}
}

func TestDescriptorsThatNobodyAnnouncedAreFewAndClosed(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // which closes what is forgotten
	before := openFiles(t)
	line := []byte(`{"op":"wait"}` + "\n")
	if n, err := hostile(t, bytes.Repeat(line, 100), len(line), 3); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("%d messages, %v: none was too much", n, err)
	}
	if _, err := hostile(t, line, len(line), maxFiles+1); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("%d descriptors at once: %v", maxFiles+1, err)
	}
	for end := time.Now().Add(time.Minute); openFiles(t) > before && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if after := openFiles(t); after > before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

func TestFilesComeWithTheirLine(t *testing.T) {
	a, theirs, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := Open(theirs)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	go func() {
		_ = a.Send(&note{Text: "a"})
		_ = a.Send(&note{Text: strings.Repeat("x", 1<<20), files: []*os.File{w}})
		_ = a.Send(&note{Text: "b"})
		w.Close()
	}()
	for i, want := range []int{0, 1, 0} {
		m := new(note)
		if err := b.Receive(m); err != nil || len(m.files) != want {
			t.Fatalf("message %d: %d files, %v", i, len(m.files), err)
		}
		for _, f := range m.files {
			_, _ = f.WriteString("it works")
		}
		closeAll(m.files)
	}
	if text, err := io.ReadAll(r); string(text) != "it works" {
		t.Errorf("%q, %v", text, err)
	}
}

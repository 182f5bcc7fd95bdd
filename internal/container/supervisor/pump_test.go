// What a command prints reaches everybody who wants it, and nobody holds up the others for good.

package supervisor

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/internal/container/disk"
)

// pipe makes a pipe for a test.
func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

// pumped is the standard files of a command, whose output the test writes to.
func pumped(t *testing.T, log *disk.LogWriter) (s *stdio, stdout, stderr *os.File) {
	t.Helper()
	s, err := newStdio(true, log)
	if err != nil {
		t.Fatal(err)
	}
	dup := func(f *os.File) *os.File { // of what started closes here
		fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		return os.NewFile(uintptr(fd), "")
	}
	stdout, stderr = dup(s.child[1]), dup(s.child[2])
	t.Cleanup(func() { stdout.Close(); stderr.Close() })
	s.started(nil)
	return s, stdout, stderr
}

func TestOutputGoesToTheLogAndToAllWhoAreThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	s, stdout, stderr := pumped(t, &disk.LogWriter{Path: path})
	r1, w1 := pipe(t)
	r2, w2 := pipe(t)
	s.attach([]*os.File{w1, w1}, false)
	s.attach([]*os.File{w2, w2}, false)
	b := make([]byte, 100)
	for _, e := range []struct {
		from *os.File
		text string
	}{{stdout, "one\n"}, {stderr, "two\n"}} {
		if _, err := e.from.WriteString(e.text); err != nil {
			t.Fatal(err)
		}
		for _, r := range []*os.File{r1, r2} {
			if n, err := r.Read(b); string(b[:n]) != e.text || err != nil {
				t.Errorf("%q, %v; want %q", b[:n], err, e.text)
			}
		}
	}
	s.detach([]*os.File{w1, w1})
	r2.Close() // this one is gone without a word
	_, _ = stdout.WriteString("three\n")
	_, _ = stdout.WriteString("four\n")
	stdout.Close()
	stderr.Close()
	s.drain(0)
	w1.Close()
	if rest, err := io.ReadAll(r1); len(rest) != 0 || err != nil {
		t.Errorf("after it has left it gets %q, %v", rest, err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"one\n","stream":"stdout"`, `"two\n","stream":"stderr"`, `"three\n"`, `"four\n"`} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("no %s in the log:\n%s", want, text)
		}
	}
}

// TestACommandLearnsThatItsReaderIsGone: `tiffin run … | head` ends as without a container.
func TestACommandLearnsThatItsReaderIsGone(t *testing.T) {
	s, stdout, _ := pumped(t, nil)
	r, w := pipe(t)
	s.attach([]*os.File{w, w}, true)
	r.Close()
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		_, err := stdout.WriteString("more\n")
		if errors.Is(err, unix.EPIPE) {
			break
		}
		if err != nil || time.Now().After(end) {
			t.Fatalf("it goes on writing to nobody: %v", err)
		}
	}
}

// TestACommandGoesOnWithoutItsClient: whoever has left, with a file that is closed by now, is no
// reason to end, nor is a reader that goes a moment before its client.
func TestACommandGoesOnWithoutItsClient(t *testing.T) {
	for name, leave := range map[string]func(s *stdio, r, w *os.File){
		"first": func(s *stdio, r, w *os.File) { close(s.left); w.Close() },
		"second": func(s *stdio, r, w *os.File) {
			r.Close()
			time.AfterFunc(50*time.Millisecond, func() { close(s.left) })
		},
	} {
		path := filepath.Join(t.TempDir(), "log")
		s, stdout, stderr := pumped(t, &disk.LogWriter{Path: path})
		s.outlives = true
		r, w := pipe(t)
		s.attach([]*os.File{w, w}, true)
		leave(s, r, w)
		for range 20 {
			if _, err := stdout.WriteString("more\n"); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			time.Sleep(10 * time.Millisecond)
		}
		stdout.Close()
		stderr.Close()
		s.drain(0)
		if text, _ := os.ReadFile(path); strings.Count(string(text), "more") != 20 {
			t.Errorf("%s: the log has %s", name, text)
		}
	}
}

// TestASlowReaderGetsEverything, also through a descriptor that somebody has made non-blocking.
func TestASlowReaderGetsEverything(t *testing.T) {
	s, stdout, stderr := pumped(t, nil)
	r, w := pipe(t)
	if err := unix.SetNonblock(int(w.Fd()), true); err != nil {
		t.Fatal(err)
	}
	s.attach([]*os.File{w, w}, false)
	text := strings.Repeat("0123456789abcde\n", 1<<16) // 1 MiB: 16 pipes full
	go func() {
		_, _ = stdout.WriteString(text)
		stdout.Close()
		stderr.Close()
		s.drain(0)
		w.Close()
	}()
	time.Sleep(50 * time.Millisecond)
	got, err := io.ReadAll(r)
	if err != nil || string(got) != text {
		t.Errorf("%d bytes of %d, %v", len(got), len(text), err)
	}
}

func TestTheEndIsNotWaitedForForEver(t *testing.T) {
	s, stdout, _ := pumped(t, nil)
	begun := time.Now()
	s.drain(50 * time.Millisecond) // a child that was left behind has the output open
	if took := time.Since(begun); took < 50*time.Millisecond || took > time.Minute {
		t.Errorf("it took %v", took)
	}
	_, w := pipe(t) // which nobody reads
	s.attach([]*os.File{w, w}, false)
	go func() { _, _ = stdout.Write(make([]byte, 1<<20)) }()
	time.AfterFunc(50*time.Millisecond, s.abandon)
	done := make(chan struct{})
	go func() {
		s.drain(0)
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("it waits for a reader that is gone")
	}
}

func TestACommandThatDoesNotStartLeavesNoPipes(t *testing.T) {
	before := openFiles(t)
	s, err := newStdio(true, nil)
	if err != nil {
		t.Fatal(err)
	}
	if openFiles(t) <= before {
		t.Fatal("there are none to begin with")
	}
	s.close()
	settled(t, before, "close")
	newTerminal(nil).close()
}

package disk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// logged writes chunks to a log and returns what a reader gets.
func logged(t *testing.T, opt LogRange, chunks ...string) string {
	t.Helper()
	c := &Container{dir: t.TempDir()}
	l := &LogWriter{Path: c.Path("log")}
	for _, s := range chunks {
		l.Write("stdout", []byte(s), time.Now())
	}
	return read(t, c, opt)
}

func TestLogsKeepEveryByte(t *testing.T) {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	r := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 200000)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	for _, s := range []string{"", "\n", "no end", "a\nb\n", "\"\\\t\r\x00\x1f\x7f", "é€😀\n", "\xff\n", "cut \xe2\x82", string(all), string(noise), strings.Repeat("x", 300000)} {
		if got := logged(t, LogRange{Tail: -1}, s); got != s {
			t.Errorf("%.20q of %d bytes came back as %.20q of %d", s, len(s), got, len(got))
		}
	}
}

func TestLogsAreDockersFormat(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	(&LogWriter{Path: path}).Write("stderr", []byte("<é>\n"), time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC))
	b, _ := os.ReadFile(path)
	if want := `{"log":"<é>\n","stream":"stderr","time":"2026-01-02T03:04:05.000006Z"}` + "\n"; string(b) != want {
		t.Errorf("got  %swant %s", b, want)
	}
}

func TestQuotedIsWhatJSONReads(t *testing.T) {
	for _, s := range []string{"a\nb", "\x01\"\\", "bad \xff end", "\u2028"} {
		var v string
		text, _, _ := strings.Cut(string(appendQuoted(nil, []byte(s))), `,"raw"`)
		if err := json.Unmarshal([]byte(text), &v); err != nil || v != strings.ToValidUTF8(s, "\ufffd") {
			t.Errorf("%q: %s is read as %q, %v", s, text, v, err)
		}
	}
}

func TestTailCountsLines(t *testing.T) {
	for n, want := range map[int]string{0: "", 1: "d", 2: "c\nd", 3: "b\nc\nd", 9: "a\nb\nc\nd"} {
		if got := logged(t, LogRange{Tail: n}, "a\nb", "\n", "c\nd"); got != want {
			t.Errorf("tail %d: %q, want %q", n, got, want)
		}
	}
	if got := logged(t, LogRange{Tail: 1}, strings.Repeat("line\n", 5000), "last\n"); got != "last\n" {
		t.Errorf("%q", got)
	}
}

func TestAFullLogIsPutAside(t *testing.T) {
	c := &Container{dir: t.TempDir()}
	l := &LogWriter{Path: c.Path("log")}
	l.Write("stdout", []byte("one\n"), time.Now())
	l.size = maxLog + 1
	l.Write("stdout", []byte("two\n"), time.Now())
	if _, err := os.Stat(c.Path("log.1")); err != nil {
		t.Fatal(err)
	}
	if got := read(t, c, LogRange{Tail: -1}); got != "one\ntwo\n" {
		t.Errorf("%q", got)
	}
}

// TestALogHasAsManyFilesAsItMay: the lines that are left are the last ones, in their order; what
// went is counted; and a writer that was killed between two renames hides nothing.
func TestALogHasAsManyFilesAsItMay(t *testing.T) {
	for files, want := range map[int]string{1: "5\n", 2: "4\n5\n", 3: "3\n4\n5\n", 9: "1\n2\n3\n4\n5\n"} {
		c := &Container{dir: t.TempDir(), Config: Config{Log: LogOptions{MaxSize: 1, MaxFiles: files}}}
		l := &LogWriter{Path: c.Path("log"), LogOptions: c.Log}
		var entry int64
		for n := range 5 {
			l.Write("stdout", fmt.Appendf(nil, "%d\n", n+1), time.Unix(0, 0))
			if n == 0 {
				entry = l.size
			}
		}
		if got := read(t, c, LogRange{Tail: -1}); got != want {
			t.Errorf("%d files: %q, want %q", files, got, want)
		}
		kept := int64(strings.Count(want, "\n"))
		if lost := l.Lost(); lost.Dropped != (5-kept)*entry || lost.Lines != 0 {
			t.Errorf("%d files: %+v lost, want %d bytes", files, lost, (5-kept)*entry)
		}
		if got, two := read(t, c, LogRange{Tail: 2}), want[max(0, len(want)-4):]; got != two {
			t.Errorf("%d files, the last two lines: %q, want %q", files, got, two)
		}
		if files != 3 {
			continue
		}
		if err := os.Rename(c.Path("log.1"), c.Path("log.2")); err != nil {
			t.Fatal(err)
		}
		if got := read(t, c, LogRange{Tail: -1}); got != "4\n5\n" {
			t.Errorf("with a gap: %q", got)
		}
		l.Write("stdout", []byte("6\n"), time.Now())
		if got := read(t, c, LogRange{Tail: -1}); got != "4\n5\n6\n" {
			t.Errorf("after a gap: %q", got)
		}
	}
}

// TestALogOfManyShortRunsIsPutAside: no run writes enough for it by itself.
func TestALogOfManyShortRunsIsPutAside(t *testing.T) {
	c := &Container{dir: t.TempDir(), Config: Config{Log: LogOptions{MaxSize: 1, MaxFiles: 1}}}
	for _, line := range []string{"first\n", "second\n"} {
		(&LogWriter{Path: c.Path("log"), LogOptions: c.Log}).Write("stdout", []byte(line), time.Now())
		if got := read(t, c, LogRange{Tail: -1}); got != line {
			t.Errorf("%q, want %q", got, line)
		}
	}
}

// read is what a reader gets of a log.
func read(t *testing.T, c *Container, opt LogRange) string {
	t.Helper()
	var b bytes.Buffer
	if err := c.Logs(opt, func(e Entry) error { b.Write(e.Text); return nil }); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestTailIsReadFromTheEnd(t *testing.T) {
	c := &Container{dir: t.TempDir()}
	l := &LogWriter{Path: c.Path("log")}
	for range 3 {
		l.Write("stdout", []byte(strings.Repeat("0123456789\n", 10000)), time.Now())
	}
	b, err := os.ReadFile(c.Path("log"))
	if err != nil {
		t.Fatal(err)
	}
	// Whoever reads from the start stumbles here.
	if err := os.WriteFile(c.Path("log"), append([]byte("no entry\n"), b...), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := read(t, c, LogRange{Tail: 2}); got != "0123456789\n0123456789\n" {
		t.Errorf("%q", got)
	}
	if got := read(t, c, LogRange{Tail: 10000}); len(got) != 10000*11 {
		t.Errorf("%d bytes", len(got))
	}
	// The older file has what the newer one lacks.
	if err := os.Rename(c.Path("log"), c.Path("log.1")); err != nil {
		t.Fatal(err)
	}
	(&LogWriter{Path: c.Path("log")}).Write("stdout", []byte("last\n"), time.Now())
	if got := read(t, c, LogRange{Tail: 2}); got != "0123456789\nlast\n" {
		t.Errorf("%q", got)
	}
}

func TestWhatALogLosesIsCounted(t *testing.T) {
	c := &Container{dir: filepath.Join(t.TempDir(), "full")}
	told := 0
	l := &LogWriter{Path: c.Path("log"), Tell: func() { told++ }}
	l.Write("stdout", []byte("a\nb\n"), time.Now()) // there is no such directory yet
	l.Write("stdout", []byte("c\n"), time.Now())
	if err := os.Mkdir(c.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l.Write("stdout", []byte("d\n"), time.Now())
	if got := read(t, c, LogRange{Tail: -1}); got != "d\n" || l.Lost().Lines != 3 || l.Lost().Error == "" || told != 1 {
		t.Errorf("%q, %+v, told %d times", got, l.Lost(), told)
	}
	for range 2 { // the second time, an older file goes
		l.size = maxLog + 1
		l.Write("stdout", []byte("e\n"), time.Now())
	}
	if got := read(t, c, LogRange{Tail: -1}); got != "e\ne\n" || l.Lost().Dropped == 0 || told != 2 {
		t.Errorf("%q, %+v, told %d times", got, l.Lost(), told)
	}
}

func TestHalfAnEntryIsCutOff(t *testing.T) {
	c := &Container{dir: t.TempDir()}
	(&LogWriter{Path: c.Path("log")}).Write("stdout", []byte("a\nb\n"), time.Now())
	b, _ := os.ReadFile(c.Path("log"))
	if err := os.WriteFile(c.Path("log"), b[:len(b)-5], 0o600); err != nil {
		t.Fatal(err)
	}
	l := &LogWriter{Path: c.Path("log")}
	l.Write("stdout", []byte("c\n"), time.Now())
	if got := read(t, c, LogRange{Tail: -1}); got != "a\nc\n" || l.Lost().Lines != 1 {
		t.Errorf("%q, %+v", got, l.Lost())
	}
}

// TestAFollowerMissesNothing of a log that grows and is put aside while it is read, and ends with
// the container.
func TestAFollowerMissesNothing(t *testing.T) {
	c := create(t, newSet(t), "box")
	lock, err := c.Lock()
	if err == nil {
		err = c.WriteState(State{Status: Running})
	}
	if err != nil {
		t.Fatal(err)
	}
	const lines = 3000
	var got bytes.Buffer
	var reader sync.WaitGroup
	reader.Go(func() {
		if err := c.Logs(LogRange{Tail: -1, Follow: true}, func(e Entry) error { got.Write(e.Text); return nil }); err != nil {
			t.Error(err)
		}
	})
	l := &LogWriter{Path: c.Path("log")}
	var want strings.Builder
	for i := range lines {
		if i == lines/2 {
			l.size = maxLog + 1 // once: what is put aside twice within a moment may be missed
		}
		text := fmt.Sprintf("line %d\n", i)
		want.WriteString(text)
		l.Write("stdout", []byte(text), time.Now())
	}
	if err := c.WriteState(State{Status: Exited}); err != nil {
		t.Fatal(err)
	}
	lock.Close()
	reader.Wait()
	if got.String() != want.String() {
		t.Errorf("%d bytes of %d came", got.Len(), want.Len())
	}
}

// TestAFollowerOfAKilledContainerEnds: nothing on disk changes when a supervisor is killed.
func TestAFollowerOfAKilledContainerEnds(t *testing.T) {
	c := create(t, newSet(t), "box")
	lock, err := c.Lock()
	if err == nil {
		err = c.WriteState(State{Status: Running})
	}
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(50*time.Millisecond, func() { lock.Close() })
	ended := make(chan error, 1)
	go func() { ended <- c.Logs(LogRange{Tail: -1, Follow: true}, func(Entry) error { return nil }) }()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("it waits for ever")
	}
}

func TestLogsAreReadBetweenTwoMoments(t *testing.T) {
	c := &Container{dir: t.TempDir()}
	l := &LogWriter{Path: c.Path("log")}
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for i := range 5 {
		l.Write("stdout", fmt.Appendf(nil, "%d", i), noon.Add(time.Duration(i)*time.Minute))
	}
	at := func(n int) time.Time { return noon.Add(time.Duration(n) * time.Minute) }
	for _, e := range []struct {
		opt  LogRange
		want string
	}{
		{LogRange{Tail: -1, Since: at(2)}, "234"},
		{LogRange{Tail: -1, Until: at(2)}, "012"},
		{LogRange{Tail: -1, Since: at(1), Until: at(3)}, "123"},
		{LogRange{Tail: -1, Since: at(9)}, ""},
	} {
		var b strings.Builder
		if err := c.Logs(e.opt, func(e Entry) error { b.Write(e.Text); return nil }); err != nil || b.String() != e.want {
			t.Errorf("%+v: %q, %v, want %q", e.opt, b.String(), err, e.want)
		}
	}
	enough := errors.New("enough")
	if err := c.Logs(LogRange{Tail: -1}, func(Entry) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("who reads it cannot end it: %v", err)
	}
	c.NoLog = true
	if err := c.Logs(LogRange{}, nil); err == nil {
		t.Error("a log that is not kept was read")
	}
}

func TestALogThatIsDamagedIsAnError(t *testing.T) {
	c := &Container{dir: t.TempDir()}
	good := `{"log":"a\n","stream":"stdout","time":"2026-01-02T03:04:05Z"}` + "\n"
	for _, bad := range []string{"{\n", "\x00\n", `{"log":1}` + "\n", `{"raw":"!"}` + "\n"} {
		if err := os.WriteFile(c.Path("log"), []byte(good+bad+good), 0o600); err != nil {
			t.Fatal(err)
		}
		n := 0
		if err := c.Logs(LogRange{Tail: -1}, func(Entry) error { n++; return nil }); err == nil || n != 1 {
			t.Errorf("%q: %d entries, %v", bad, n, err)
		}
	}
	// The end of an entry that is being written is no damage.
	if err := os.WriteFile(c.Path("log"), []byte(good+good[:20]), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Logs(LogRange{Tail: -1}, func(Entry) error { return nil }); err != nil {
		t.Error(err)
	}
}

package disk

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// logged writes chunks to a log and returns what a reader gets.
func logged(t *testing.T, opt LogOptions, chunks ...string) string {
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
		if got := logged(t, LogOptions{Tail: -1}, s); got != s {
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
		if got := logged(t, LogOptions{Tail: n}, "a\nb", "\n", "c\nd"); got != want {
			t.Errorf("tail %d: %q, want %q", n, got, want)
		}
	}
	if got := logged(t, LogOptions{Tail: 1}, strings.Repeat("line\n", 5000), "last\n"); got != "last\n" {
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
	if got := read(t, c, LogOptions{Tail: -1}); got != "one\ntwo\n" {
		t.Errorf("%q", got)
	}
}

// read is what a reader gets of a log.
func read(t *testing.T, c *Container, opt LogOptions) string {
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
	if got := read(t, c, LogOptions{Tail: 2}); got != "0123456789\n0123456789\n" {
		t.Errorf("%q", got)
	}
	if got := read(t, c, LogOptions{Tail: 10000}); len(got) != 10000*11 {
		t.Errorf("%d bytes", len(got))
	}
	// The older file has what the newer one lacks.
	if err := os.Rename(c.Path("log"), c.Path("log.1")); err != nil {
		t.Fatal(err)
	}
	(&LogWriter{Path: c.Path("log")}).Write("stdout", []byte("last\n"), time.Now())
	if got := read(t, c, LogOptions{Tail: 2}); got != "0123456789\nlast\n" {
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
	if got := read(t, c, LogOptions{Tail: -1}); got != "d\n" || l.Lost().Lines != 3 || l.Lost().Error == "" || told != 1 {
		t.Errorf("%q, %+v, told %d times", got, l.Lost(), told)
	}
	for range 2 { // the second time, an older file goes
		l.size = maxLog + 1
		l.Write("stdout", []byte("e\n"), time.Now())
	}
	if got := read(t, c, LogOptions{Tail: -1}); got != "e\ne\n" || l.Lost().Dropped == 0 || told != 2 {
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
	if got := read(t, c, LogOptions{Tail: -1}); got != "a\nc\n" || l.Lost().Lines != 1 {
		t.Errorf("%q, %+v", got, l.Lost())
	}
}

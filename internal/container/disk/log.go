// Writing the log of a container: docker's json-file.

package disk

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"errors"
	"io"
	"math"
	"os"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"
)

// The log is docker's json-file: one JSON object a line, with the text as the
// command wrote it (usually one line with its "\n"), the stream, the time.
//
//	{"log":"hello\n","stream":"stdout","time":"2026-11-21T10:00:00.123456789Z"}
//
// JSON can only carry UTF-8. Docker loses other bytes; here an entry has them in
// base64 as well, in "raw". A reader that does not know that sees U+FFFD.
//
// When the file has grown to its limit it is renamed to log.1, and that to log.2, as far as the
// number of files goes, so a chatty container cannot fill a shared disk. What is lost that way, or
// because the disk is full, is counted in a LogLoss.

// LogOptions is what --log-opt says of a log.
type LogOptions struct {
	MaxSize  int64    `json:"maxSize,omitempty"`  // bytes of a file, 0 = maxLog, negative = no limit
	MaxFiles int      `json:"maxFiles,omitempty"` // with those put aside, 0 = 2
	Labels   []string `json:"labels,omitempty"`   // which labels `logs --details` shows
	Env      []string `json:"env,omitempty"`      // which variables
}

const maxLog = 64 << 20

func (o *LogOptions) maxSize() int64 {
	switch {
	case o.MaxSize < 0:
		return math.MaxInt64
	case o.MaxSize == 0:
		return maxLog
	}
	return o.MaxSize
}

func (o *LogOptions) maxFiles() int { return cmp.Or(o.MaxFiles, 2) }

// aside is the name of the log that was put aside n times.
func aside(path string, n int) string {
	if n == 0 {
		return path
	}
	return path + "." + strconv.Itoa(n)
}

// LogLoss is what a log does not have although the container printed it.
type LogLoss struct {
	Dropped int64  `json:"dropped,omitempty"` // bytes of the oldest entries, which made room
	Lines   int64  `json:"lines,omitempty"`   // entries that could not be written
	Error   string `json:"error,omitempty"`   // why not, the last time
}

// LogWriter appends to a container's log. It opens it with the first entry:
// most short commands have nothing to say.
type LogWriter struct {
	Path string // of the file
	LogOptions
	Loss LogLoss // before the first Write: that of earlier runs; later see Lost
	Tell func()  // called, if not nil, when the log begins to lose something; must not wait

	mu   sync.Mutex
	f    *os.File // nil until needed
	size int64
	buf  []byte
}

// Write adds an entry for each line that came from a stream. Entries that cannot be written are
// counted as lost, and later ones are tried all the same: the container goes on, and the disk may
// have room again.
func (l *LogWriter) Write(stream string, p []byte, now time.Time) {
	if l == nil || len(p) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.Loss
	// The end of every entry of one write is the same.
	tail := append([]byte(`,"stream":"`+stream+`","time":"`), now.UTC().AppendFormat(nil, time.RFC3339Nano)...)
	tail = append(tail, '"', '}', '\n')
	l.buf = l.buf[:0]
	lines := int64(0)
	for ; len(p) > 0; lines++ {
		n := indexNewline(p)
		l.buf = append(l.buf, `{"log":`...)
		l.buf = appendQuoted(l.buf, p[:n])
		l.buf = append(l.buf, tail...)
		p = p[n:]
	}
	if err := l.append(); err != nil {
		l.Loss.Lines, l.Loss.Error = l.Loss.Lines+lines, err.Error()
	}
	if l.Tell != nil && (l.Loss.Dropped > before.Dropped || l.Loss.Lines > 0 && before.Lines == 0) {
		l.Tell()
	}
}

// append writes buf: all of it or, if the disk gets full on the way, nothing.
func (l *LogWriter) append() error {
	if l.f == nil {
		if err := l.open(); err != nil {
			return err
		}
	}
	if l.size > l.maxSize() { // of earlier runs, perhaps
		if err := l.rotate(); err != nil {
			return err
		}
		l.f.Close()
		l.f = nil
		if err := l.open(); err != nil {
			return err
		}
	}
	if _, err := l.f.Write(l.buf); err != nil {
		_ = l.f.Truncate(l.size)
		return err
	}
	l.size += int64(len(l.buf))
	return nil
}

// Lost is what the log has lost until now.
func (l *LogWriter) Lost() LogLoss {
	if l == nil {
		return LogLoss{}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Loss
}

// open opens the log for appending.
func (l *LogWriter) open() error {
	f, err := os.OpenFile(l.Path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if l.size, err = l.repair(f); err != nil {
		f.Close()
		return err
	}
	l.f = f
	return nil
}

// rotate puts the log aside, and gives up the oldest one.
func (l *LogWriter) rotate() error {
	last := l.maxFiles() - 1
	old, gone := os.Stat(aside(l.Path, last))
	for n := last; n > 0; n-- {
		if err := os.Rename(aside(l.Path, n-1), aside(l.Path, n)); err != nil && (n == 1 || !errors.Is(err, os.ErrNotExist)) {
			return err
		}
	}
	if last == 0 {
		if err := os.Remove(l.Path); err != nil {
			return err
		}
	}
	if gone == nil {
		l.Loss.Dropped += old.Size()
	}
	return nil
}

// repair cuts off the half entry that a killed supervisor has left, and returns the file's size in
// bytes.
func (l *LogWriter) repair(f *os.File) (int64, error) {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil || size == 0 {
		return 0, err
	}
	end := make([]byte, min(size, maxEntry))
	if _, err := f.ReadAt(end, size-int64(len(end))); err != nil {
		return 0, err
	}
	half := int64(len(end) - 1 - bytes.LastIndexByte(end, '\n'))
	if half == 0 {
		return size, nil
	}
	l.Loss.Lines, l.Loss.Error = l.Loss.Lines+1, "its supervisor was killed"
	return size - half, f.Truncate(size - half)
}

// maxEntry is more than any entry has, in bytes: what a pipe holds, with each byte escaped, and in
// base64.
const maxEntry = 1 << 20

// indexNewline is the length of the first line of p with its end, or of p.
func indexNewline(p []byte) int {
	if i := bytes.IndexByte(p, '\n'); i >= 0 {
		return i + 1
	}
	return len(p)
}

const hexDigits = "0123456789abcdef"

// appendQuoted appends s as a JSON string, and its bytes in base64 as a second
// member "raw" if they are not UTF-8. encoding/json does the first part at a
// tenth of the speed, and this is on the way of all that a container prints.
func appendQuoted(b, s []byte) []byte {
	b = append(b, '"')
	start, valid := 0, true
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c < utf8.RuneSelf && c != '"' && c != '\\' {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRune(s[i:])
			if r != utf8.RuneError || n != 1 {
				i += n
				continue
			}
			b = append(append(b, s[start:i]...), `\ufffd`...)
			i++
			start, valid = i, false
			continue
		}
		b = append(b, s[start:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	b = append(append(b, s[start:]...), '"')
	if !valid {
		b = append(b, `,"raw":"`...)
		b = base64.StdEncoding.AppendEncode(b, s)
		b = append(b, '"')
	}
	return b
}

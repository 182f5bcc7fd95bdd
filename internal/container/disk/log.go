// The log of a container, as it is written: docker's json-file.

package disk

import (
	"bytes"
	"encoding/base64"
	"os"
	"sync"
	"time"
	"unicode/utf8"
)

// The log is docker's json-file: one JSON object a line, with the text as the
// command wrote it (usually one line with its "\n"), the stream, the time.
//
//	{"log":"hello\n","stream":"stdout","time":"2026-11-21T10:00:00.123456789Z"}
//
// JSON can only carry UTF-8. Where docker loses other bytes, an entry here has
// them in base64 besides, as "raw"; a reader that does not know it sees U+FFFD.
//
// When the file has grown to maxLog bytes it is renamed to log.1, replacing
// the one before, so a chatty container cannot fill a shared disk.
const maxLog = 64 << 20

// LogWriter appends to a container's log. It opens it with the first entry:
// most short commands have nothing to say.
type LogWriter struct {
	Path string // of the file

	mu   sync.Mutex
	f    *os.File // nil until needed
	size int64
	buf  []byte
	err  error // the first failure: the log ends there, the container goes on
}

// write adds what a stream brought, an entry for each line.
func (l *LogWriter) Write(stream string, p []byte, now time.Time) {
	if l == nil || len(p) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return
	}
	if l.f == nil || l.size > maxLog {
		if l.err = l.open(); l.err != nil {
			return
		}
	}
	// The end of every entry of one write is the same.
	tail := append([]byte(`,"stream":"`+stream+`","time":"`), now.UTC().AppendFormat(nil, time.RFC3339Nano)...)
	tail = append(tail, '"', '}', '\n')
	l.buf = l.buf[:0]
	for len(p) > 0 {
		n := indexNewline(p)
		l.buf = append(l.buf, `{"log":`...)
		l.buf = appendQuoted(l.buf, p[:n])
		l.buf = append(l.buf, tail...)
		p = p[n:]
	}
	n, err := l.f.Write(l.buf)
	l.size, l.err = l.size+int64(n), err
}

// open opens the log for appending, and puts a full one aside.
func (l *LogWriter) open() error {
	if l.f != nil {
		l.f.Close()
		if err := os.Rename(l.Path, l.Path+".1"); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(l.Path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	fi, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	l.f, l.size = f, fi.Size()
	return nil
}

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

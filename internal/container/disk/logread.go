// Reading the log of a container: by time, from the end, and on as it grows.

package disk

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/internal/errs"
)

// Entry is one entry of a log: usually a line with its end, otherwise a part
// of one, such as a prompt.
type Entry struct {
	Text   []byte
	Stream string // "stdout" or "stderr"
	Time   time.Time
}

// LogRange says which entries Logs gives.
type LogRange struct {
	Tail         int       // lines from the end; negative: all
	Since, Until time.Time // zero: no limit
	Follow       bool      // go on until the container ends
}

type logLine struct {
	Log    string    `json:"log"`
	Raw    []byte    `json:"raw"`
	Stream string    `json:"stream"`
	Time   time.Time `json:"time"`
}

// Logs calls each with the entries of the container's log, in their order. An
// error of each ends it and is returned.
func (c *Container) Logs(opt LogRange, each func(Entry) error) error {
	if c.NoLog {
		return errs.Hint(fmt.Errorf("container %s keeps no log", c.Name), "that is so with --log-driver none, and with --rm in the foreground unless it has --log-driver json-file")
	}
	// Start to watch before reading, so that nothing falls in between.
	var watch *os.File
	if opt.Follow {
		var err error
		if watch, err = c.watchDir(); err != nil {
			return err
		}
		defer watch.Close()
	}
	r := &logReader{path: c.Path("log"), files: c.Log.maxFiles(), opt: opt, each: each}
	defer r.close()
	if err := r.history(); err != nil {
		return err
	}
	for opt.Follow {
		s, err := c.State()
		ended := err != nil || !s.Alive()
		if err := r.more(); err != nil {
			return err
		}
		if ended || !opt.Until.IsZero() && time.Now().After(opt.Until) {
			return nil
		}
		waitChange(watch)
	}
	return nil
}

// watchDir returns an inotify descriptor for the container's directory: the
// log grows, or state.json is replaced.
func (c *Container) watchDir() (*os.File, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err == nil {
		_, err = unix.InotifyAddWatch(fd, c.dir, unix.IN_MODIFY|unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_DELETE_SELF)
	}
	if err != nil {
		return nil, fmt.Errorf("watch container %s: %w", c.Name, err)
	}
	return os.NewFile(uintptr(fd), "inotify"), nil
}

// waitChange waits for something to happen; a second at most, because a
// supervisor that is killed changes no file.
func waitChange(watch *os.File) {
	var b [4096]byte
	_ = watch.SetReadDeadline(time.Now().Add(time.Second))
	_, _ = watch.Read(b[:])
}

type logReader struct {
	path  string
	files int
	opt   LogRange
	each  func(Entry) error
	f     *os.File
	in    *bufio.Reader
	part  []byte // an entry of which the writer has not written the end
}

func (r *logReader) close() {
	if r.f != nil {
		r.f.Close()
	}
}

// history gives what is in the log now, or its last Tail lines.
func (r *logReader) history() error {
	// The newest file first: if it is put aside now, the next one is this one.
	if err := r.open(); err != nil {
		return err
	}
	older := r.older()
	defer func() {
		for _, f := range older {
			f.Close()
		}
	}()
	if r.opt.Tail < 0 {
		for _, f := range slices.Backward(older) {
			whole := &logReader{in: bufio.NewReaderSize(f, 1<<16)}
			if err := whole.entries(r.give); err != nil {
				return err
			}
		}
		return r.entries(r.give)
	}
	last, err := r.last(r.f, r.opt.Tail)
	for _, f := range older {
		if err != nil || len(tail(last, r.opt.Tail)) < len(last) {
			break
		}
		var before []Entry
		before, err = new(logReader).last(f, r.opt.Tail)
		last = append(before, last...)
	}
	for _, e := range tail(last, r.opt.Tail) {
		if err == nil {
			err = r.give(e)
		}
	}
	return err
}

// older opens the files that were put aside, the newest first.
func (r *logReader) older() (files []*os.File) {
	newer := r.f
	for n := 1; n < r.files; n++ {
		f, err := os.Open(aside(r.path, n))
		if err != nil {
			continue // none yet, or the writer was killed between two of its renames
		}
		if mine, theirs, e := stats(newer, f); e == nil && os.SameFile(mine, theirs) {
			f.Close() // it moved while this was looking
			continue
		}
		files, newer = append(files, f), f
	}
	return files
}

// last reads entries from the end of f: those of its last n lines or more. It reads four times as
// much as before until it has them, so it never reads much more than it needs.
func (r *logReader) last(f *os.File, n int) (es []Entry, err error) {
	if f == nil {
		return nil, nil
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, fmt.Errorf("read the log: %w", err)
	}
	for from := int64(1 << 16); ; from *= 4 {
		start := max(0, size-from)
		if _, err := f.Seek(start, io.SeekStart); err != nil {
			return nil, fmt.Errorf("read the log: %w", err)
		}
		r.in, r.part, es = bufio.NewReaderSize(f, 1<<16), r.part[:0], es[:0]
		if start > 0 { // in the middle of an entry
			for err = bufio.ErrBufferFull; errors.Is(err, bufio.ErrBufferFull); {
				_, err = r.in.ReadSlice('\n')
			}
			if err != nil {
				continue
			}
		}
		if err := r.entries(func(e Entry) error { es = append(es, e); return nil }); err != nil {
			return nil, err
		}
		if start == 0 || len(tail(es, n)) < len(es) {
			return es, nil
		}
	}
}

func stats(a, b *os.File) (x, y os.FileInfo, err error) {
	if a == nil {
		return nil, nil, os.ErrNotExist
	}
	if x, err = a.Stat(); err == nil {
		y, err = b.Stat()
	}
	return x, y, err
}

// tail returns the entries that make up the last n lines.
func tail(es []Entry, n int) []Entry {
	i := len(es)
	for ; i > 0; i-- {
		if t := es[i-1].Text; i == len(es) || len(t) > 0 && t[len(t)-1] == '\n' {
			if n--; n < 0 {
				break
			}
		}
	}
	return es[i:]
}

func (r *logReader) give(e Entry) error {
	if e.Time.Before(r.opt.Since) || !r.opt.Until.IsZero() && e.Time.After(r.opt.Until) {
		return nil
	}
	return r.each(e)
}

// open opens the log, if there is one already.
func (r *logReader) open() error {
	f, err := os.Open(r.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the log: %w", err)
	}
	r.f, r.in = f, bufio.NewReaderSize(f, 1<<16)
	return nil
}

// more gives what has come since. If the log was put aside meanwhile, the
// rest of that one comes first.
func (r *logReader) more() error {
	if r.f == nil {
		if err := r.open(); err != nil || r.f == nil {
			return err
		}
	}
	// Look at the name first: what was written before it moved is complete.
	now, err := os.Stat(r.path)
	if err := r.entries(r.give); err != nil {
		return err
	}
	if mine, e := r.f.Stat(); err == nil && e == nil && !os.SameFile(now, mine) {
		r.close()
		r.f, r.part = nil, nil
		return r.more()
	}
	return nil
}

// entries decodes entries up to the end of the file.
func (r *logReader) entries(give func(Entry) error) error {
	for r.in != nil {
		b, err := r.in.ReadSlice('\n')
		r.part = append(r.part, b...)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the log: %w", err)
		}
		var l logLine
		if err := json.Unmarshal(r.part, &l); err != nil {
			return fmt.Errorf("read the log: %w", err)
		}
		r.part = r.part[:0]
		e := Entry{Text: []byte(l.Log), Stream: l.Stream, Time: l.Time}
		if l.Raw != nil {
			e.Text = l.Raw
		}
		if err := give(e); err != nil {
			return err
		}
	}
	return nil
}

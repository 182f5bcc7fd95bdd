// What an instruction adds to an image: files by their paths, which are collected in any order, and
// then read in that of their paths.

package build

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/moby/patternmatcher"
	mode "github.com/tonistiigi/dchapes-mode"
	"golang.org/x/sys/unix"

	"tiffin/image"
)

// delta is what an instruction adds to an image. However many files these are, it takes a few
// megabytes of memory.
type delta struct {
	image    tree
	uid, gid uint32
	chown    bool      // uid and gid are for all files, not only for directories that are made
	chmod    *mode.Set // of files and directories; nil: they have theirs
	exclude  *patternmatcher.PatternMatcher
	fetched  map[string]*fetched // sources of ADD that are not in the context
	now      time.Time           // of directories that are made
	private  bool                // its user may change all directories
	tmp      string              // directory for files without a name
	opened   []*imageTree

	entries sorter    // entries by their keys, as they came
	trees   []*source // of their content
	made    string    // directory whose entry is there, as those of all above it
	list    *os.File  // once digest has made it: records of the entries that count
	length  int64     // of list
}

func newDelta(t tree, tmp string) *delta {
	return &delta{image: t, now: image.SourceDate(), tmp: tmp, entries: sorter{dir: tmp}}
}

func (d *delta) close() {
	for _, t := range d.opened {
		t.close()
	}
	d.entries.close()
	if d.list != nil {
		d.list.Close()
	}
}

// empty tells whether nothing was added.
func (d *delta) empty() bool { return d.entries.n == 0 }

// from makes a source of a tree.
func (d *delta) from(t tree) *source {
	s := &source{t, uint64(len(d.trees)) + 1}
	d.trees = append(d.trees, s)
	return s
}

// text is a source whose file "" has that content.
type text string

func (t text) stat(string) (*file, error)    { return nil, errNotDirectory }
func (t text) list(string) ([]string, error) { return nil, errNotDirectory }
func (t text) open(string) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(string(t))), nil
}
func (t text) sum(name string, _ *file) (string, error) { return sumOf(t, name) }

// text is a file whose content is given.
func (d *delta) text(content string) entry {
	f := file{mode: unix.S_IFREG | 0o644, size: int64(len(content)), mtime: d.now}
	return entry{file: f, from: d.from(text(content))}
}

// add adds an entry, whatever else is there.
func (d *delta) add(path string, e *entry) error { return d.entries.add(keyOf(path), e.encode(nil)) }

// each gives the entries that count, in the order of their paths: of several with the same one,
// the last that is not implied.
func (d *delta) each(f func(path string, e *entry) error) error {
	var last string
	var winner entry
	any := false
	end := func() error {
		if !any {
			return nil
		}
		return f(last, &winner)
	}
	err := d.entries.each(func(key, value []byte) error {
		var e entry
		if err := e.decode(value, d.trees); err != nil {
			return err
		}
		path := pathOf(key)
		if !any || path != last {
			if err := end(); err != nil {
				return err
			}
			last, winner, any = path, e, true
			return nil
		}
		switch {
		case e.implied && !winner.isDir():
			return fmt.Errorf("%s is no directory", shown(path))
		case e.implied:
			return nil
		case !winner.kept:
			if err := e.replaces(&winner.file, path); err != nil {
				return err
			}
		}
		winner = e
		return nil
	})
	if err != nil {
		return err
	}
	return end()
}

// hardLink is the same for all names of a file.
type hardLink struct {
	from uint64
	inode
}

// digest is that of all that is copied, with owners and modes, but without times. What is said of
// the entries later has been read by it.
func (d *delta) digest() (string, error) {
	var err error
	if d.list, err = temporary(d.tmp); err != nil {
		return "", err
	}
	w, h := bufio.NewWriterSize(d.list, 64<<10), sha256.New()
	var value, record []byte
	links := map[hardLink]int64{} // where in the list the first name is
	err = d.each(func(path string, e *entry) error {
		if !e.kept {
			link := hardLink{inode: e.inode}
			if e.from != nil {
				link.from = e.from.number
			}
			at, again := links[link]
			switch again = again && e.linked; {
			case again:
				if err := w.Flush(); err != nil {
					return err
				}
				first := listing{records: readRecords(d.list, at, d.length)}
				if err := first.next(); err != nil {
					return err
				}
				e.first, e.sum = first.path, first.entry.sum
			case e.linked:
				links[link] = d.length
			}
			if e.is(unix.S_IFREG) && !again && e.from != nil {
				var err error
				if e.sum, err = e.from.sum(e.path, &e.file); err != nil {
					return fmt.Errorf("read %s: %w", shown(e.path), err)
				}
			}
			counts := e.counting()
			value = counts.encode(value[:0])
			record = appendRecord(record[:0], keyOf(path), value)
			h.Write(record)
		}
		value = e.encode(value[:0])
		record = appendRecord(record[:0], keyOf(path), value)
		d.length += int64(len(record))
		_, err := w.Write(record)
		return err
	})
	if err == nil {
		err = w.Flush()
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), err
}

// listing reads a list of entries.
type listing struct {
	*records
	sources []*source
	path    string // of the last entry
	entry   entry
}

// next reads the next entry that is copied, or of a directory that it is in; io.EOF: there is none.
func (l *listing) next() error {
	if err := l.records.next(); err != nil {
		return err
	}
	l.path = pathOf(l.key)
	return l.entry.decode(l.value, l.sources)
}

// read gives the entries that digest has found, in the order of their paths.
func (d *delta) read(f func(path string, e *entry) error) error {
	l := listing{records: readRecords(d.list, 0, d.length), sources: d.trees}
	for {
		if err := l.next(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := f(l.path, &l.entry); err != nil {
			return err
		}
	}
}

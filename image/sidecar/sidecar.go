// The store of attributes: opened, asked, changed.

package sidecar

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Path is where the log of an upper directory is.
func Path(upper string) string { return upper + ".attrs" }

// maxBytes is the most that the names and values of a file's attributes may have together: as
// XATTR_LIST_MAX, xattr(7), for the names alone.
const maxBytes = 64 << 10

// Store has the attributes of all files of an upper directory.
type Store struct {
	mu    sync.Mutex
	log   *os.File // nil: only for reading
	size  int64    // bytes of it
	lines int
	doubt bool  // the last line is in doubt
	err   error // the log and the directory may differ: nothing changes any more
	root  *entry
}

// entry is a name in the upper directory.
type entry struct {
	up     *entry // nil: the root, or removed
	name   string
	kids   map[string]*entry
	file   *File
	logged bool // there is a line about this name or one below
}

// File is what the names of a file have in common: its attributes. One without a name, in the work
// directory or open until it is forgotten, is only in memory.
type File struct {
	s     *Store
	attrs map[string]string
	names []*entry
}

// Create makes the log of a new upper directory, complete or not at all.
func Create(upper string) (*Store, error) {
	s := &Store{root: &entry{}}
	if err := s.rewrite(upper); err != nil {
		return nil, fmt.Errorf("make %s: %w", Path(upper), err)
	}
	return s, nil
}

// Open reads the log of an upper directory, and makes it ready to be changed. The error is
// os.ErrNotExist if there is none.
func Open(upper string) (*Store, error) { return open(upper, os.O_RDWR) }

// Read is Open, but nothing is changed. Nobody may change the directory meanwhile.
func Read(upper string) (*Store, error) { return open(upper, os.O_RDONLY) }

func open(upper string, flags int) (*Store, error) {
	text, err := os.ReadFile(Path(upper))
	if err != nil {
		return nil, err
	}
	fail := func(err error) (*Store, error) { return nil, fmt.Errorf("read %s: %w", Path(upper), err) }
	dir, err := os.OpenFile(upper, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return fail(err)
	}
	defer dir.Close()
	s := &Store{root: &entry{}}
	if s.size, err = s.replay(text, int(dir.Fd())); err != nil {
		return fail(err)
	}
	if flags == os.O_RDONLY {
		return s, nil
	}
	if live := len(s.root.records("", map[*File]string{})); s.lines > 2*live+1000 {
		if err := s.rewrite(upper); err != nil {
			return fail(err)
		}
		return s, nil
	}
	if s.log, err = os.OpenFile(Path(upper), flags, 0); err != nil {
		return fail(err)
	}
	if s.size < int64(len(text)) {
		if err := s.log.Truncate(s.size); err != nil {
			s.log.Close()
			return fail(err)
		}
	}
	return s, nil
}

// rewrite makes a log that says no more than it must, and takes it for the old one.
func (s *Store) rewrite(upper string) error {
	text := (&record{verb: first, n: version}).encode()
	all := s.root.records("", map[*File]string{})
	for i := range all {
		text = append(text, all[i].encode()...)
	}
	f, err := os.OpenFile(Path(upper)+".new", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(text, 0); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(f.Name(), Path(upper))
	}
	if err == nil {
		err = syncDir(filepath.Dir(upper)) // else a power cut could bring the old log back
	}
	if err != nil {
		f.Close()
		return err
	}
	s.log, s.size, s.lines, s.doubt = f, int64(len(text)), len(all)+1, true
	return nil
}

// syncDir makes the names in a directory durable: fsync(2), NOTES.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// records are the lines that make e, which is at path, and what is below it.
func (e *entry) records(path string, seen map[*File]string) (all []record) {
	if f := e.file; f != nil && (len(f.attrs) > 0 || len(f.names) > 1) {
		if p, ok := seen[f]; ok {
			all = append(all, record{verb: Link, p: p, q: path})
		} else {
			seen[f] = path
			all = append(all, record{verb: set, p: path, attrs: f.attrs})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(e.kids)) {
		all = append(all, e.kids[name].records(strings.TrimPrefix(path+"/"+name, "/"), seen)...)
	}
	return all
}

// Close closes the log.
func (s *Store) Close() {
	if s != nil && s.log != nil {
		s.log.Close()
	}
}

// Sync makes durable what was set: fsync(2).
func (s *Store) Sync() error {
	if s == nil {
		return nil
	}
	return unix.Fdatasync(int(s.log.Fd()))
}

// NewFile is a file that has no name yet. A Store that is nil gives nil.
func (s *Store) NewFile() *File {
	if s == nil {
		return nil
	}
	return &File{s: s}
}

// At is the file that has the name path.
func (s *Store) At(path string) *File {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.root.at(path).theFile(s)
}

// Paths lists the names of which something is recorded.
func (s *Store) Paths() (paths []string) {
	for _, r := range s.root.records("", map[*File]string{}) {
		if r.verb == Link {
			r.p = r.q
		}
		paths = append(paths, r.p)
	}
	return paths
}

// Change announces a change of names, lets do make it, and remembers it. f is what becomes of p if
// the verb is New; ino its inode number, if there may already be another file of that name, or for
// Swap that of what is at p.
func (s *Store) Change(verb, p, q string, f *File, ino uint64, do func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &record{verb: verb, n: ino, p: p, q: q}
	if verb == New {
		r.attrs = f.attrs
	}
	size, lines, doubt := s.size, s.lines, s.doubt
	needs := verb == Link || len(r.attrs) > 0 || s.root.knows(p) || s.root.knows(q)
	var err error
	switch {
	case needs:
		err = s.append(r, true)
	case s.doubt:
		err = s.append(&record{verb: done}, true)
	}
	if err != nil {
		return err
	}
	if err := do(); err != nil {
		if needs {
			s.takeBack(size)
			s.lines, s.doubt = lines, doubt
		}
		return err
	}
	s.doubt = needs
	s.apply(r, f)
	return nil
}

// append adds the line of r to the log, all of it or nothing.
func (s *Store) append(r *record, sync bool) error {
	if s.err != nil {
		return s.err
	}
	line := r.encode()
	_, err := s.log.WriteAt(line, s.size)
	if err == nil && sync {
		err = unix.Fdatasync(int(s.log.Fd()))
	}
	if err != nil {
		s.takeBack(s.size)
		var errno syscall.Errno
		if errors.As(err, &errno) {
			return errno
		}
		return err
	}
	s.size, s.lines, s.doubt = s.size+int64(len(line)), s.lines+1, false
	return nil
}

// takeBack cuts the log down to size.
func (s *Store) takeBack(size int64) {
	if err := s.log.Truncate(size); err != nil {
		s.err = syscall.EIO
	}
	s.size = size
}

// apply changes the tree as r says.
func (s *Store) apply(r *record, f *File) {
	switch r.verb {
	case New:
		if f == nil {
			f = &File{s: s, attrs: r.attrs}
		}
		s.root.at(r.p).drop()
		s.root.at(r.p).bind(f)
	case set:
		s.root.at(r.p).theFile(s).attrs = r.attrs
		s.root.at(r.p).note()
	case Link:
		f = s.root.at(r.p).theFile(s)
		s.root.at(r.q).drop()
		s.root.at(r.q).bind(f)
		s.root.at(r.p).note()
		s.root.at(r.q).note()
	case Move:
		e := s.root.at(r.p)
		s.root.at(r.q).drop()
		e.detach()
		e.attach(s.root, r.q)
	case Swap:
		a, b := s.root.at(r.p), s.root.at(r.q)
		a.detach()
		b.detach()
		a.attach(s.root, r.q)
		b.attach(s.root, r.p)
	case Gone:
		s.root.at(r.p).drop()
	}
}

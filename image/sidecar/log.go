// The lines of the log: written, read back, and the last one judged.

package sidecar

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The verbs, see the package comment.
const (
	first = "tiffin"
	New   = "new"
	set   = "set"
	Link  = "link"
	Move  = "move"
	Swap  = "swap"
	Gone  = "gone"
	done  = "done"
)

// version is the number in the first line.
const version = 1

// record is a line.
type record struct {
	verb  string
	n     uint64
	p, q  string
	attrs map[string]string
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encode returns the line of r.
func (r *record) encode() []byte {
	b := fmt.Appendf(nil, "%s %d %s %s", r.verb, r.n, strconv.Quote(r.p), strconv.Quote(r.q))
	for _, name := range slices.Sorted(maps.Keys(r.attrs)) {
		b = fmt.Appendf(b, " %s %s", strconv.Quote(name), strconv.Quote(r.attrs[name]))
	}
	return fmt.Appendf(nil, "%08x %s\n", crc32.Checksum(b, castagnoli), b)
}

// decode is the inverse; line has no newline. ok is false if it is no line.
func decode(line []byte) (r record, ok bool) {
	sum, rest, _ := strings.Cut(string(line), " ")
	if n, err := strconv.ParseUint(sum, 16, 32); err != nil || uint32(n) != crc32.Checksum([]byte(rest), castagnoli) {
		return r, false
	}
	number := ""
	r.verb, rest, _ = strings.Cut(rest, " ")
	number, rest, _ = strings.Cut(rest, " ")
	n, err := strconv.ParseUint(number, 10, 64)
	var words []string
	for err == nil && rest != "" {
		var quoted, word string
		if quoted, err = strconv.QuotedPrefix(rest); err == nil {
			word, err = strconv.Unquote(quoted)
			words, rest = append(words, word), strings.TrimPrefix(rest[len(quoted):], " ")
		}
	}
	if err != nil || len(words) < 2 || len(words)%2 != 0 {
		return r, false
	}
	r.n, r.p, r.q, r.attrs = n, words[0], words[1], map[string]string{}
	for i := 2; i < len(words); i += 2 {
		r.attrs[words[i]] = words[i+1]
	}
	return r, r.sound()
}

// sound tells whether r can be about files of the upper directory: whoever wrote the log may have
// been somebody else, and a directory in itself has no end.
func (r *record) sound() bool {
	within := func(p, q string) bool { return strings.HasPrefix(p, q+"/") }
	switch r.verb {
	case New, Gone:
		return isPath(r.p)
	case Link, Move, Swap:
		return isPath(r.p) && isPath(r.q) && !within(r.p, r.q) && !within(r.q, r.p)
	}
	return r.p == "" || isPath(r.p) // "" is the upper directory itself
}

// isPath tells whether path leads from a directory to something below it.
func isPath(path string) bool {
	for name := range strings.SplitSeq(path, "/") {
		if name == "" || name == "." || name == ".." {
			return false
		}
	}
	return true
}

// replay reads the log text into s. It returns how many bytes of it count: a line that was being
// written when the writer was killed does not, nor one whose change was not made. dir is the upper
// directory.
func (s *Store) replay(text []byte, dir int) (size int64, err error) {
	var last *record
	before := int64(0) // without it
	for at := 0; at < len(text); {
		end := bytes.IndexByte(text[at:], '\n')
		r, ok := record{}, false
		if end >= 0 {
			r, ok = decode(text[at : at+end])
		}
		switch {
		case !ok && whole(text[at:]):
			return 0, fmt.Errorf("line %d is damaged", s.lines+1)
		case !ok:
			at = len(text)
			continue
		case at == 0 && (r.verb != first || r.n != version):
			return 0, fmt.Errorf("it is not of version %d", version)
		}
		if last != nil {
			s.apply(last, nil)
		}
		before, size, last = size, int64(at+end+1), &r
		at, s.lines = at+end+1, s.lines+1
	}
	if last == nil {
		return 0, errors.New("it is empty")
	}
	s.doubt = last.verb != set && last.verb != done
	if made, err := wasMade(dir, last); err != nil || !made {
		return before, err
	}
	s.apply(last, nil)
	return size, nil
}

// whole tells whether there is a line in text after its first: then that was not cut off by a
// crash.
func whole(text []byte) bool {
	for {
		end := bytes.IndexByte(text, '\n')
		if end < 0 {
			return false
		}
		text = text[end+1:]
		if line, _, ended := bytes.Cut(text, []byte("\n")); ended {
			if _, ok := decode(line); ok {
				return true
			}
		}
	}
}

// wasMade tells whether the change that r announces has been made.
func wasMade(dir int, r *record) (bool, error) {
	var ino uint64
	var err error
	switch r.verb {
	case New, Link, Swap:
		path := r.q
		if r.verb == New {
			path = r.p
		}
		ino, err = inode(dir, path)
		return ino != 0 && (r.n == 0 || r.n == ino), err
	case Move, Gone:
		ino, err = inode(dir, r.p)
		return ino == 0, err
	}
	return true, nil
}

// inode is the inode number of path below directory dir, 0 if there is none. It goes from directory
// to directory: a path may be longer than PATH_MAX, and no symbolic link is followed.
func inode(dir int, path string) (uint64, error) {
	at := dir
	defer func() {
		if at != dir {
			unix.Close(at)
		}
	}()
	for {
		name, rest, deeper := strings.Cut(path, "/")
		if !deeper {
			var st unix.Stat_t
			err := unix.Fstatat(at, name, &st, unix.AT_SYMLINK_NOFOLLOW)
			return st.Ino, missing(err)
		}
		next, err := unix.Openat(at, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return 0, missing(err)
		}
		if at != dir {
			unix.Close(at)
		}
		at, path = next, rest
	}
}

// missing is err, unless it says that there is no such file.
func missing(err error) error {
	if err == unix.ENOENT || err == unix.ENOTDIR {
		return nil
	}
	return err
}

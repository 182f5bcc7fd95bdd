// Package tartest is a small language for writing tarballs in tests, and for
// reading them back as lines of text.
//
//	b := tartest.Of(t,
//		tartest.Dir("etc", tartest.Mode(0o700)),
//		tartest.File("etc/passwd", "root:x:0:0::/:/bin/sh\n", tartest.Owner(0, 42)),
//		tartest.Symlink("etc/mtab", "/proc/mounts"),
//		tartest.Whiteout("etc/shadow"), // writes etc/.wh.shadow
//	)
//
// It writes every byte itself, because the point of most tests is a form that
// archive/tar would not write: the four ways to say that a file is sparse, GNU
// long names, old headers, wrong ones. The same entries always give the same
// bytes. By default an entry has mode 0755 (directories) or 0644, owner 0:0
// and the time 1970-01-01, in ustar form with a PAX header only where a value
// does not fit (POSIX.1-2017, pax, "pax Interchange Format").
//
// Of and List take a testing.TB and end the test on a mistake.
package tartest

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"sort"
	"strings"
	"testing"
	"time"
)

// Entry is one member of a tarball.
type Entry struct {
	Name, Link string
	Type       byte // typeflag, archive/tar's constants
	Mode       int64
	UID, GID   int64
	Mtime      time.Time
	Major      int64
	Minor      int64
	Data       string // as stored after the header, unpadded
	Size       int64  // of the header; usually len(Data)

	records [][2]string // PAX, in the order given
	gnu     bool
	oldMap  []Piece // old GNU sparse map, kept in the header
	oldReal int64
	raw     []byte // if set, the entry is these bytes and nothing else
}

// Option changes an entry.
type Option func(*Entry)

// Mode sets the permission bits, with setuid 04000, setgid 02000, sticky 01000.
func Mode(m int64) Option { return func(e *Entry) { e.Mode = m } }

// Owner sets the numeric owner and group.
func Owner(uid, gid int64) Option { return func(e *Entry) { e.UID, e.GID = uid, gid } }

// Mtime sets the modification time; nanoseconds become a PAX record.
func Mtime(sec, nsec int64) Option { return func(e *Entry) { e.Mtime = time.Unix(sec, nsec) } }

// Xattr adds an extended attribute as a SCHILY.xattr record.
func Xattr(name, value string) Option { return Pax("SCHILY.xattr."+name, value) }

// Pax adds any PAX record, also one that contradicts the header.
func Pax(key, value string) Option {
	return func(e *Entry) { e.records = append(e.records, [2]string{key, value}) }
}

// GNU writes the entry in GNU form: magic "ustar  ", long names as ././@LongLink
// entries of type L and K, large numbers in base 256.
func GNU() Option { return func(e *Entry) { e.gnu = true } }

// Type overrides the typeflag.
func Type(c byte) Option { return func(e *Entry) { e.Type = c } }

// Size overrides the size in the header; the data stays as it is.
func Size(n int64) Option { return func(e *Entry) { e.Size = n } }

func entry(e Entry, opts []Option) Entry {
	e.Mtime = time.Unix(0, 0)
	if e.Size == 0 {
		e.Size = int64(len(e.Data))
	}
	for _, o := range opts {
		o(&e)
	}
	return e
}

// Dir is a directory; a slash is added to the name.
func Dir(name string, opts ...Option) Entry {
	return entry(Entry{Name: strings.TrimSuffix(name, "/") + "/", Type: tar.TypeDir, Mode: 0o755}, opts)
}

// File is a regular file.
func File(name, data string, opts ...Option) Entry {
	return entry(Entry{Name: name, Type: tar.TypeReg, Mode: 0o644, Data: data}, opts)
}

// Symlink is a symbolic link.
func Symlink(name, target string, opts ...Option) Entry {
	return entry(Entry{Name: name, Type: tar.TypeSymlink, Mode: 0o777, Link: target}, opts)
}

// Hardlink is another name of target.
func Hardlink(name, target string, opts ...Option) Entry {
	return entry(Entry{Name: name, Type: tar.TypeLink, Mode: 0o644, Link: target}, opts)
}

// Char is a character device.
func Char(name string, major, minor int64, opts ...Option) Entry {
	return entry(Entry{Name: name, Type: tar.TypeChar, Mode: 0o644, Major: major, Minor: minor}, opts)
}

// Block is a block device.
func Block(name string, major, minor int64, opts ...Option) Entry {
	return entry(Entry{Name: name, Type: tar.TypeBlock, Mode: 0o644, Major: major, Minor: minor}, opts)
}

// Fifo is a named pipe.
func Fifo(name string, opts ...Option) Entry {
	return entry(Entry{Name: name, Type: tar.TypeFifo, Mode: 0o644}, opts)
}

// Whiteout hides the name in the layers below: "a/b" becomes "a/.wh.b".
// OCI image-spec v1.1 layer.md, "Whiteouts".
func Whiteout(name string, opts ...Option) Entry {
	i := strings.LastIndexByte(name, '/') + 1
	return File(name[:i]+".wh."+name[i:], "", opts...)
}

// Opaque hides all the layers below have in the directory.
// OCI image-spec v1.1 layer.md, "Opaque Whiteout".
func Opaque(dir string, opts ...Option) Entry {
	dir = strings.Trim(dir, "/")
	if dir != "" {
		dir += "/"
	}
	return File(dir+".wh..wh..opq", "", opts...)
}

// Global is a PAX global header, as git archive writes one.
func Global(key, value string) Entry {
	rec := record(key, value)
	return Entry{Name: "pax_global_header", Type: tar.TypeXGlobalHeader, Mode: 0o644, Mtime: time.Unix(0, 0), Data: rec, Size: int64(len(rec))}
}

// Raw puts bytes into the archive as they are.
func Raw(b []byte) Entry { return Entry{raw: b} }

// Write writes the entries without the two zero blocks at the end.
func Write(w io.Writer, entries ...Entry) error {
	for _, e := range entries {
		b, err := e.bytes()
		if err != nil {
			return fmt.Errorf("tar entry %q: %w", e.Name, err)
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// Of is the tarball that consists of the entries, complete with its end.
func Of(t testing.TB, entries ...Entry) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, entries...); err != nil {
		t.Fatal(err)
	}
	b.Write(make([]byte, 1024)) // two zero blocks: ustar's end of archive
	return b.Bytes()
}

// List reads a tarball with archive/tar and returns a line per entry, in the
// order of the archive, such as
//
//	-rw-r--r-- 0:42 21 etc/passwd user.k="v" = "root…"
//	lrwxrwxrwx 0:0 0 etc/mtab -> /proc/mounts
//	hrw-r--r-- 0:0 0 b -> a
//	crw-r--r-- 0:0 1,3 dev/null
//
// with the time (seconds, and nanoseconds after a dot) at the end as
// "@1234.5" unless it is 0. File content over 40 bytes is left out.
func List(t testing.TB, b []byte) []string {
	t.Helper()
	var lines []string
	r := tar.NewReader(bytes.NewReader(b))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return lines
		}
		if err != nil {
			t.Fatalf("tarball after %q: %v", lines, err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatalf("data of %s: %v", h.Name, err)
		}
		lines = append(lines, line(h, data))
	}
}

var letters = map[byte]string{tar.TypeReg: "-", tar.TypeDir: "d", tar.TypeSymlink: "l", tar.TypeLink: "h",
	tar.TypeChar: "c", tar.TypeBlock: "b", tar.TypeFifo: "p"}

func line(h *tar.Header, data []byte) string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s%s %d:%d ", letters[h.Typeflag], permissions(h.Mode), h.Uid, h.Gid)
	if h.Typeflag == tar.TypeChar || h.Typeflag == tar.TypeBlock {
		fmt.Fprintf(&s, "%d,%d ", h.Devmajor, h.Devminor)
	} else {
		fmt.Fprintf(&s, "%d ", h.Size)
	}
	s.WriteString(h.Name)
	if h.Linkname != "" {
		s.WriteString(" -> " + h.Linkname)
	}
	var keys []string
	for k := range h.PAXRecords {
		if strings.HasPrefix(k, "SCHILY.xattr.") {
			keys = append(keys, k)
		}
	}
	sort.Strings(keys)
	for _, k := range keys {
		fmt.Fprintf(&s, " %s=%q", strings.TrimPrefix(k, "SCHILY.xattr."), h.PAXRecords[k])
	}
	if len(data) > 0 && len(data) <= 40 {
		fmt.Fprintf(&s, " = %q", data)
	}
	if ns := h.ModTime.Nanosecond(); ns != 0 {
		fmt.Fprintf(&s, " @%d.%09d", h.ModTime.Unix(), ns)
	} else if h.ModTime.Unix() != 0 {
		fmt.Fprintf(&s, " @%d", h.ModTime.Unix())
	}
	return s.String()
}

// permissions writes mode bits as ls(1) does, with s and t for setuid,
// setgid and sticky.
func permissions(m int64) string {
	b := []byte("rwxrwxrwx")
	for i := range b {
		if m>>(8-i)&1 == 0 {
			b[i] = '-'
		}
	}
	for i, special := range []int64{0o4000, 0o2000, 0o1000} {
		if m&special == 0 {
			continue
		}
		c := "sst"[i]
		if b[3*i+2] == '-' {
			c -= 'a' - 'A'
		}
		b[3*i+2] = c
	}
	return string(b)
}

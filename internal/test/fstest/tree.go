// A directory tree as text, for comparison.

package fstest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"golang.org/x/sys/unix"
)

// Tree is a directory tree as text: for each path, relative to its root and
// starting with "/", one line about everything a person could see there.
type Tree map[string]string

// Look says what of a tree to put into its lines.
type Look struct {
	// Mtime puts the modification time of a file into its line; nil leaves
	// all times out.
	Mtime func(path string, st *unix.Stat_t) string
	// Xattr says which extended attributes count; nil takes all.
	Xattr func(name string) bool
	// NoDirNlink leaves out the link counts of directories, for file systems
	// that do not count subdirectories.
	NoDirNlink bool
	// NoContent leaves out the hash of the content.
	NoContent bool
}

// ReadTree reads the tree below root. Every file is opened once; nothing is
// followed.
func ReadTree(root string, l Look) (Tree, error) {
	t := Tree{}
	first := map[uint64]string{} // inode with several names → the first of them
	err := filepath.WalkDir(root, func(p string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel := "/" + strings.TrimPrefix(strings.TrimPrefix(p, root), "/")
		line, ino, err := l.line(p, rel)
		if err != nil {
			return err
		}
		if ino != 0 {
			if f, ok := first[ino]; ok {
				line += " same as " + f
			} else {
				first[ino] = rel
			}
		}
		t[rel] = line
		return nil
	})
	return t, err
}

// line describes p; ino is its number if it has other names, else 0.
func (l Look) line(p, rel string) (line string, ino uint64, err error) {
	var st unix.Stat_t
	if err := unix.Lstat(p, &st); err != nil {
		return "", 0, fmt.Errorf("lstat %s: %w", p, err)
	}
	var b strings.Builder
	kind := st.Mode & unix.S_IFMT
	fmt.Fprintf(&b, "%s %04o %d:%d", typeName(kind), st.Mode&0o7777, st.Uid, st.Gid)
	if kind != unix.S_IFDIR || !l.NoDirNlink {
		fmt.Fprintf(&b, " nlink %d", st.Nlink)
	}
	switch kind {
	case unix.S_IFREG:
		fmt.Fprintf(&b, " size %d", st.Size)
		if !l.NoContent {
			sum, err := hash(p)
			if err != nil {
				return "", 0, err
			}
			b.WriteString(" sha256 " + sum)
		}
	case unix.S_IFLNK:
		to, err := os.Readlink(p)
		if err != nil {
			return "", 0, err
		}
		fmt.Fprintf(&b, " size %d -> %q", st.Size, to)
	case unix.S_IFCHR, unix.S_IFBLK:
		fmt.Fprintf(&b, " device %d,%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
	}
	if l.Mtime != nil {
		b.WriteString(l.Mtime(rel, &st))
	}
	xs, err := l.xattrs(p)
	if err != nil {
		return "", 0, err
	}
	b.WriteString(xs)
	if kind != unix.S_IFDIR && st.Nlink > 1 {
		ino = st.Ino
	}
	return b.String(), ino, nil
}

func typeName(kind uint32) string {
	return map[uint32]string{unix.S_IFREG: "file", unix.S_IFDIR: "directory", unix.S_IFLNK: "symlink", unix.S_IFIFO: "fifo",
		unix.S_IFSOCK: "socket", unix.S_IFCHR: "char", unix.S_IFBLK: "block"}[kind]
}

func hash(p string) (string, error) {
	f, err := os.Open(p)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)[:8]), nil
}

func (l Look) xattrs(p string) (string, error) {
	names, err := Listxattr(p)
	if err != nil {
		return "", fmt.Errorf("listxattr %s: %w", p, err)
	}
	s := ""
	for _, n := range names {
		if l.Xattr != nil && !l.Xattr(n) {
			continue
		}
		v := make([]byte, 1<<16)
		size, err := unix.Lgetxattr(p, n, v)
		if err != nil {
			return "", fmt.Errorf("getxattr %s %s: %w", p, n, err)
		}
		s += fmt.Sprintf(" %s=%q", n, v[:size])
	}
	return s, nil
}

// Listxattr returns the names of p's extended attributes, sorted; none if
// they are not supported.
func Listxattr(p string) ([]string, error) {
	b := make([]byte, 1<<16)
	n, err := unix.Llistxattr(p, b)
	if err != nil || n == 0 {
		if err == unix.ENOTSUP {
			err = nil
		}
		return nil, err
	}
	names := strings.Split(strings.TrimSuffix(string(b[:n]), "\x00"), "\x00")
	sort.Strings(names)
	return names, nil
}

// Diff compares two trees and returns what differs, at most limit lines; nil
// if they are equal.
func Diff(want, got Tree, limit int) []string {
	var d []string
	add := func(format string, args ...any) {
		if len(d) < limit {
			d = append(d, fmt.Sprintf(format, args...))
		}
	}
	for _, p := range slices.Sorted(maps.Keys(want)) {
		if g, ok := got[p]; !ok {
			add("%s: is missing, wanted %s", p, want[p])
		} else if g != want[p] {
			add("%s: is     %s\n%*s wanted %s", p, g, len(p)+1, "", want[p])
		}
	}
	for _, p := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[p]; !ok {
			add("%s: is there but should not: %s", p, got[p])
		}
	}
	return d
}

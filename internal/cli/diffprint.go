// The ways in which tiffin diff prints a difference between two images.

package cli

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/diff"
	"golang.org/x/sys/unix"

	"tiffin/image/layer"
	"tiffin/image/union"
)

// diffPrinter prints differences as they are found.
type diffPrinter struct {
	w     *bufio.Writer
	sides [2]*union.Side
	width int // columns of the terminal, 0 if there is none

	counted [2]map[uint32]bool // inodes with several names whose bytes have been counted
	files   map[byte]int       // by kind of difference; directories do not count
	bytes   [2]int64           // removed and added
}

// line is as for a container.
func (p *diffPrinter) line(d union.Difference) error {
	if !d.Below {
		fmt.Fprintf(p.w, "%c %s\n", d.Kind, printable(d.Path))
	}
	return nil
}

// inodes are the old and the new one; one of them may be nil.
func (p *diffPrinter) inodes(d union.Difference) (old, new *layer.Inode) {
	if d.Kind != 'A' {
		old = p.sides[0].Index.Inode(d.Old)
	}
	if d.Kind != 'D' {
		new = p.sides[1].Index.Inode(d.New)
	}
	return old, new
}

// aspects are the names of what differs.
func aspects(what union.Aspect) (names []string) {
	for i, name := range union.Aspects {
		if what&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return names
}

// stat prints how many bytes a difference adds and removes:
//
//	C    +1.2kB     -300B  /etc/passwd (content, owner)
func (p *diffPrinter) stat(d union.Difference) error {
	old, new := p.inodes(d)
	isDir := (old == nil || old.IsDir()) && (new == nil || new.IsDir())
	if d.What == union.Entries || isDir && d.What == 0 {
		return nil // what is in it has lines of its own
	}
	var sum [2]int64
	if d.What == 0 || d.What&(union.Content|union.Type) != 0 {
		for k, n := range []*layer.Inode{old, new} {
			sum[k] = p.size(k, n, []uint32{d.Old, d.New}[k])
			p.bytes[k] += sum[k]
		}
	}
	if p.files == nil {
		p.files = map[byte]int{}
	}
	p.files[d.Kind]++
	path := printable(d.Path)
	if d.What != 0 {
		path += " (" + strings.Join(aspects(d.What), ", ") + ")"
	}
	head := fmt.Sprintf("%c %9s %9s  ", d.Kind, "+"+size(sum[1]), "-"+size(sum[0]))
	if r, room := []rune(path), max(p.width-len(head), 20); p.width > 0 && len(r) > room {
		path = "…" + string(r[len(r)-room+1:])
	}
	fmt.Fprintf(p.w, "%s%s\n", head, path)
	return nil
}

// size is that of a file, which counts under its first name alone.
func (p *diffPrinter) size(side int, n *layer.Inode, ino uint32) int64 {
	if n == nil || n.Mode&unix.S_IFMT != unix.S_IFREG || p.counted[side][ino] {
		return 0
	}
	if n.Nlink > 1 {
		p.counted[side][ino] = true
	}
	return n.Size
}

// sum is the last line of stat.
func (p *diffPrinter) sum() {
	fmt.Fprintf(p.w, "%d added, %d changed, %d deleted: +%s -%s\n", p.files['A'], p.files['C'], p.files['D'], size(p.bytes[1]), size(p.bytes[0]))
}

// maxShown is how long a file may be whose lines are compared, in bytes.
const maxShown = 1 << 20

// content prints a difference, what of the attributes differs in words, and the lines of text
// files, which patch(1) takes.
func (p *diffPrinter) content(d union.Difference) error {
	if d.What == union.Entries {
		return nil
	}
	old, new := p.inodes(d)
	fmt.Fprintf(p.w, "%c %s%s\n", d.Kind, printable(d.Path), p.words(d, old, new))
	names := [2]string{"/dev/null", "/dev/null"}
	var texts [2][]byte
	for k, n := range []*layer.Inode{old, new} {
		if n == nil || n.Mode&unix.S_IFMT != unix.S_IFREG {
			continue
		}
		ino := []uint32{d.Old, d.New}[k]
		names[k] = printable([]string{"a", "b"}[k] + d.Path)
		if d.What != 0 && d.What&(union.Content|union.Type) == 0 {
			return nil
		}
		if n.Size > maxShown {
			fmt.Fprintf(p.w, "%s has %s: the lines of files above 1 MiB are not compared\n", names[k], size(n.Size))
			return nil
		}
		var err error
		if texts[k], err = io.ReadAll(p.sides[k].Index.Reader(ino, p.sides[k].Flats)); err != nil {
			return fmt.Errorf("read %s: %w", printable(d.Path), err)
		}
		if bytes.IndexByte(texts[k], 0) >= 0 { // as git has it
			fmt.Fprintf(p.w, "%s is a binary file of %s\n", names[k], size(n.Size))
			return nil
		}
	}
	_, err := p.w.Write(diff.Diff(names[0], texts[0], names[1], texts[1]))
	return err
}

// words say how attributes differ, and where a symbolic link leads.
func (p *diffPrinter) words(d union.Difference, old, new *layer.Inode) string {
	var all []string
	for _, name := range aspects(d.What) {
		var was, is string
		switch name {
		case "type":
			was, is = strings.TrimSpace(kindOf(old)+" "+p.target(0, old, d.Old)), strings.TrimSpace(kindOf(new)+" "+p.target(1, new, d.New))
		case "mode":
			was, is = fmt.Sprintf("%04o", old.Mode&0o7777), fmt.Sprintf("%04o", new.Mode&0o7777)
		case "owner":
			was, is = fmt.Sprintf("%d:%d", old.UID, old.GID), fmt.Sprintf("%d:%d", new.UID, new.GID)
		case "mtime":
			was, is = mtimeOf(old), mtimeOf(new)
		case "xattrs":
			was, is = attributes(p.sides[0].Index.Xattrs(d.Old)), attributes(p.sides[1].Index.Xattrs(d.New))
		case "content":
			was, is = p.target(0, old, d.Old), p.target(1, new, d.New)
		}
		if was+is != "" {
			name += " " + was + " → " + is
		}
		all = append(all, name)
	}
	switch {
	case d.Kind == 'A' && p.target(1, new, d.New) != "":
		all = append(all, p.target(1, new, d.New))
	case d.Kind == 'D' && p.target(0, old, d.Old) != "":
		all = append(all, p.target(0, old, d.Old))
	}
	if s := strings.Join(all, ", "); s != "" {
		return " (" + printable(s) + ")"
	}
	return ""
}

// target is where a symbolic link leads, or the number of a device, or "".
func (p *diffPrinter) target(side int, n *layer.Inode, ino uint32) string {
	switch n.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		return fmt.Sprintf("%q", p.sides[side].Index.Target(ino))
	case unix.S_IFCHR, unix.S_IFBLK:
		return fmt.Sprintf("%d:%d", layer.Major(n.Rdev), layer.Minor(n.Rdev))
	}
	return ""
}

func mtimeOf(n *layer.Inode) string {
	return time.Unix(n.Mtime, int64(n.Nsec)).UTC().Format(time.RFC3339Nano)
}

// attributes are extended ones as getfattr(1) prints them.
func attributes(all []layer.Xattr) string {
	out := []string{}
	for _, a := range all {
		out = append(out, fmt.Sprintf("%s=%q", a.Name, a.Value))
	}
	return "[" + strings.Join(out, " ") + "]"
}

// diffJSON is a difference as --format json prints it.
type diffJSON struct {
	Path  string    `json:"path"`
	Bytes []byte    `json:"pathBytes,omitempty"` // if it is not UTF-8, in base64
	Kind  string    `json:"kind"`
	What  []string  `json:"what,omitempty"`
	Old   *fileJSON `json:"old,omitempty"`
	New   *fileJSON `json:"new,omitempty"`
}

// fileJSON is a file on one side.
type fileJSON struct {
	Type   string            `json:"type"`
	Mode   string            `json:"mode"` // octal
	UID    uint32            `json:"uid"`
	GID    uint32            `json:"gid"`
	Size   int64             `json:"size"` // bytes
	Mtime  string            `json:"mtime"`
	Layer  uint16            `json:"layer"` // number; 0 is the bottom
	Target string            `json:"target,omitempty"`
	Device string            `json:"device,omitempty"`
	Xattrs map[string][]byte `json:"xattrs,omitempty"` // in base64
}

func (p *diffPrinter) json(d union.Difference) error {
	out := diffJSON{Path: d.Path, Kind: string(d.Kind), What: aspects(d.What)}
	if !utf8.ValidString(d.Path) {
		out.Bytes = []byte(d.Path)
	}
	old, new := p.inodes(d)
	if old != nil {
		out.Old = p.file(0, old, d.Old)
	}
	if new != nil {
		out.New = p.file(1, new, d.New)
	}
	return printJSON(p.w, &out, "")
}

func (p *diffPrinter) file(side int, n *layer.Inode, ino uint32) *fileJSON {
	x := p.sides[side].Index
	f := &fileJSON{Type: kindOf(n), Mode: fmt.Sprintf("%04o", n.Mode&0o7777), UID: n.UID, GID: n.GID, Size: n.Size, Mtime: mtimeOf(n), Layer: n.Layer}
	switch n.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		f.Target = x.Target(ino)
	case unix.S_IFCHR, unix.S_IFBLK:
		f.Device = p.target(side, n, ino)
	}
	for _, a := range x.Xattrs(ino) {
		if f.Xattrs == nil {
			f.Xattrs = map[string][]byte{}
		}
		f.Xattrs[a.Name] = []byte(a.Value)
	}
	return f
}

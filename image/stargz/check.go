// What eStargz cannot say of a layer, and whether a layer has this form already.

package stargz

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/containerd/stargz-snapshotter/estargz"
	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"tiffin/image/layer"
)

// The table of contents is in memory as a whole, several times while it is written or read, here
// and in the engine. Bytes of JSON.
const (
	maxTOC     = 256 << 20
	maxEntries = 1 << 20
	entryCost  = 512     // of an entry without its path and attributes
	chunk      = 4 << 20 // bytes of a file that one entry is about
)

// ErrUnfit is wrapped by errors that say why a layer cannot be written as eStargz.
var ErrUnfit = errors.New("it does not fit into eStargz")

func unfit(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrUnfit, fmt.Errorf(format, args...))
}

// own are the names that the format has for itself, in the root.
var own = []string{estargz.TOCTarName, estargz.PrefetchLandmark, estargz.NoPrefetchLandmark}

func reserved(path string) bool { return slices.Contains(own, path) }

// Reserved are the files of a layer that Write leaves out, because the format has their names for
// itself.
func Reserved(x *layer.Index) (names []string) {
	for _, name := range own {
		if i, ok := x.Lookup(0, name); ok && x.Inode(i).Flags&layer.Whiteout == 0 {
			names = append(names, name)
		}
	}
	return names
}

// Spread is how many bytes the files of a layer have, with their holes.
func Spread(x *layer.Index) (bytes int64) {
	for i := range uint32(x.Len()) {
		if n := x.Inode(i); n.Mode&unix.S_IFMT == unix.S_IFREG {
			bytes += min(n.Size, 1<<40) // 2^20 files at most: no overflow
		}
	}
	return bytes
}

// check finds what the table of contents cannot say of a layer.
func check(x *layer.Index, lower *layer.Tree) error {
	for _, name := range Reserved(x) {
		if i, _ := x.Lookup(0, name); x.Inode(i).Mode&unix.S_IFMT != unix.S_IFREG {
			return unfit("/%s is no file, and eStargz has that name for itself", name)
		}
	}
	c := checker{x: x}
	return c.dir(0, 0, layer.LowerRoot(lower))
}

type checker struct {
	x   *layer.Index
	toc int64 // bytes, about
}

// dir checks directory i, whose path has that many bytes, what is in it, and what the layers below
// say of it.
func (c *checker) dir(i uint32, length int, lower layer.Place) error {
	if err := c.inode(i, length); err != nil {
		return err
	}
	if n, ok := lower.Node(); ok {
		if err := c.xattrs(i, n.Xattrs); err != nil {
			return err
		}
	}
	for k := range c.x.DirLen(i) {
		name, j := c.x.Dirent(i, k)
		if !utf8.ValidString(name) {
			return unfit("the name %q is not UTF-8", c.x.Path(j))
		}
		var err error
		if l := length + 1 + len(name); c.x.Inode(j).IsDir() {
			err = c.dir(j, l, lower.Dir(name))
		} else {
			err = c.inode(j, l)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) inode(i uint32, length int) error {
	n, target := c.x.Inode(i), c.x.Target(i)
	switch {
	case n.Flags&layer.HardLink != 0:
		return unfit("%s is a hard link to a file of a layer below, /%s", c.x.Path(i), target)
	case !utf8.ValidString(target):
		return unfit("the target of %s, %q, is not UTF-8", c.x.Path(i), target)
	}
	// Each chunk names the file again.
	c.toc += (1 + n.Size/chunk) * int64(entryCost+length)
	c.toc += int64(len(target))
	if err := c.xattrs(i, c.x.Xattrs(i)); err != nil {
		return err
	}
	if c.toc > maxTOC || c.toc < 0 {
		return unfit("its table of contents would have more than %d MiB", maxTOC>>20)
	}
	return nil
}

// xattrs checks attributes that inode i will have.
func (c *checker) xattrs(i uint32, all []layer.Xattr) error {
	for _, a := range all {
		if !utf8.ValidString(a.Name) || strings.Contains(a.Name, "=") {
			return unfit("the name of attribute %q of %s is not UTF-8, or has a \"=\"", a.Name, c.x.Path(i))
		}
		c.toc += int64(len(a.Name)) + 2*int64(len(a.Value))
	}
	return nil
}

// Verify tells whether a blob is an eStargz layer whose table of contents has the digest toc and
// digests of all data in the layer. The table is not believed further: nothing is looked up in it.
func Verify(blob *io.SectionReader, toc digest.Digest) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the eStargz library failed: %v", p)
		}
	}()
	at, footer, err := estargz.OpenFooter(blob)
	if err != nil {
		return err
	}
	if at < 0 || at >= blob.Size()-footer {
		return fmt.Errorf("its footer says that the table of contents begins at byte %d of %d", at, blob.Size())
	}
	r, err := new(estargz.GzipDecompressor).DecompressTOC(io.NewSectionReader(blob, at, blob.Size()-footer-at))
	if err != nil {
		return err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, maxTOC+1))
	if err != nil {
		return err
	}
	if len(b) > maxTOC {
		return fmt.Errorf("its table of contents has more than %d MiB", maxTOC>>20)
	}
	if got := digest.FromBytes(b); got != toc {
		return fmt.Errorf("its table of contents has digest %s instead of %s", got, toc)
	}
	return complete(b)
}

// complete tells whether a table of contents has a digest of every piece of data.
func complete(b []byte) error {
	entries := 0
	for _, c := range b {
		if c == '{' { // also in names: there are few
			entries++
		}
	}
	if entries > maxEntries {
		return fmt.Errorf("its table of contents has more than %d entries", maxEntries)
	}
	var t estargz.JTOC
	if err := json.Unmarshal(b, &t); err != nil {
		return fmt.Errorf("its table of contents: %w", err)
	}
	for _, e := range t.Entries {
		if e == nil || e.Type != "chunk" && (e.Type != "reg" || e.Size == 0) {
			continue
		}
		if _, err := digest.Parse(e.ChunkDigest); err != nil {
			return fmt.Errorf("its table of contents has no digest of the data of %.300q: %w", e.Name, err)
		}
	}
	return nil
}

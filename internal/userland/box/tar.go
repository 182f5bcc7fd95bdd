// The command tar makes, lists and unpacks archives. Names cannot lead out of the directory that
// is unpacked into.

package box

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

// tarCmd: make, list and unpack archives. The first argument may be in the old
// style, letters without a dash.
func tarCmd(c *Call) {
	if len(c.args) > 0 && c.args[0] != "" && c.args[0][0] != '-' {
		c.args = oldStyle(c.args)
	}
	c.opts("ctxf:vzjC:pOkhamPT:X:Ns:AZoS:M:W:G:", "create=c", "list=t", "extract=x", "file=f", "verbose=v", "gzip=z", "directory=C",
		"preserve-permissions=p", "to-stdout=O", "keep-old-files=k", "numeric-owner=N", "strip-components=s", "exclude=X",
		"xattrs=A", "zstd=Z", "no-same-owner=o", "sort=S", "mtime=M", "owner=W", "group=G", "dereference=h", "same-owner=a", "absolute-names=P", "touch=m", "files-from=T")
	modes := 0
	for _, m := range []byte("ctx") {
		if c.has(m) {
			modes++
		}
	}
	if modes != 1 {
		c.warn("one of -c, -t, -x must be given")
		c.usage()
	}
	if c.has('c') {
		c.tarCreate()
		return
	}
	c.tarRead()
}

// oldStyle turns "xzf FILE" into "-x -z -f FILE".
func oldStyle(args []string) []string {
	var out []string
	rest := args[1:]
	for _, l := range args[0] {
		out = append(out, "-"+string(l))
		if strings.ContainsRune("fCTX", l) && len(rest) > 0 {
			out = append(out, rest[0])
			rest = rest[1:]
		}
	}
	return append(out, rest...)
}

func (c *Call) tarCreate() {
	var out io.Writer = os.Stdout
	name := c.val('f')
	if name != "" && name != "-" {
		f, err := os.Create(name)
		if err != nil {
			c.die(2, "%s: %s", name, reason(err))
		}
		defer f.Close()
		out = f
	}
	var closers []io.Closer
	switch {
	case c.has('z') || c.has('a') && (strings.HasSuffix(name, "gz")):
		z := gzip.NewWriter(out)
		out, closers = z, append(closers, z)
	case c.has('Z') || c.has('a') && strings.HasSuffix(name, "zst"):
		z, err := zstd.NewWriter(out)
		if err != nil {
			c.die(2, "zstd: %s", err)
		}
		out, closers = z, append(closers, z)
	}
	w := &tarWriter{c: c, tw: tar.NewWriter(out), links: map[[2]uint64]string{}}
	if c.has('C') {
		if err := os.Chdir(c.val('C')); err != nil {
			c.die(2, "%s: %s", c.val('C'), reason(err))
		}
	}
	if c.has('M') {
		t, err := parseDate(c.val('M'))
		if err != nil {
			c.die(2, "%s", err)
		}
		w.mtime = &t
	}
	if len(c.args) == 0 {
		c.die(2, "refusing to make an empty archive")
	}
	for _, root := range c.args {
		w.add(root)
	}
	closers = append([]io.Closer{w.tw}, closers...)
	for _, k := range closers {
		if err := k.Close(); err != nil {
			c.die(2, "write: %s", reason(err))
		}
	}
}

type tarWriter struct {
	c     *Call
	tw    *tar.Writer
	links map[[2]uint64]string // (device, inode) → name in the archive
	mtime *time.Time
}

func (c *Call) excluded(name string) bool {
	for _, pat := range c.flag['X'] {
		if ok, _ := path.Match(pat, name); ok || strings.HasPrefix(name, strings.TrimSuffix(pat, "/")+"/") || name == pat {
			return true
		}
		if ok, _ := path.Match(pat, path.Base(name)); ok {
			return true
		}
	}
	return false
}

func (w *tarWriter) add(root string) {
	filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err == nil && w.c.excluded(p) {
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		if err == nil {
			err = w.entry(p)
		}
		if err != nil {
			w.c.fail(p, err)
			w.c.exit = 2
		}
		return nil
	})
}

func (w *tarWriter) entry(p string) error {
	f, err := stat(p, p, w.c.has('h'))
	if err != nil {
		return err
	}
	if f.st.Mode&syscall.S_IFMT == syscall.S_IFSOCK {
		return fmt.Errorf("socket left out")
	}
	h, err := tar.FileInfoHeader(f.fi, f.link)
	if err != nil {
		return err
	}
	h.Name = strings.TrimLeft(p, "/")
	if h.Name == "" {
		h.Name = "."
	}
	if f.fi.IsDir() && !strings.HasSuffix(h.Name, "/") {
		h.Name += "/"
	}
	h.Uid, h.Gid = int(f.st.Uid), int(f.st.Gid)
	h.Uname, h.Gname = byID(users(), h.Uid), byID(groups(), h.Gid)
	if w.c.has('N') {
		h.Uname, h.Gname = "", ""
	}
	h.AccessTime, h.ChangeTime = time.Time{}, time.Time{}
	if w.mtime != nil {
		h.ModTime = *w.mtime
	}
	if w.c.has('A') {
		h.PAXRecords = map[string]string{}
		for _, name := range listXattrs(p) {
			if v, err := getXattr(p, name); err == nil {
				h.PAXRecords["SCHILY.xattr."+name] = string(v)
			}
		}
	}
	if h.Typeflag == tar.TypeReg && f.st.Nlink > 1 {
		key := [2]uint64{f.st.Dev, f.st.Ino}
		if first, ok := w.links[key]; ok {
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
		}
		w.links[key] = h.Name
	}
	h.ModTime = h.ModTime.Truncate(time.Second)
	if err := w.tw.WriteHeader(h); err != nil {
		return err
	}
	if w.c.has('v') {
		fmt.Fprintln(os.Stderr, h.Name)
	}
	if h.Typeflag != tar.TypeReg {
		return nil
	}
	in, err := os.Open(p)
	if err != nil {
		return err
	}
	defer in.Close()
	_, err = io.CopyN(w.tw, in, h.Size)
	return err
}

// unpacker recognises the compression by the first bytes.
func unpacker(r io.Reader) (io.Reader, error) {
	head := make([]byte, 6)
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && err != io.EOF {
		return nil, err
	}
	r = io.MultiReader(strings.NewReader(string(head[:n])), r)
	switch {
	case n > 1 && head[0] == 0x1f && head[1] == 0x8b:
		return gzip.NewReader(r)
	case n > 3 && string(head[:4]) == "\x28\xb5\x2f\xfd":
		return zstd.NewReader(r)
	case n > 2 && string(head[:3]) == "BZh", n > 5 && string(head[:6]) == "\xfd7zXZ\x00":
		return nil, errors.New("bzip2 and xz are not supported")
	}
	return r, nil
}

func (c *Call) tarRead() {
	var in io.Reader = os.Stdin
	if name := c.val('f'); name != "" && name != "-" {
		f, err := os.Open(name)
		if err != nil {
			c.die(2, "%s: %s", name, reason(err))
		}
		defer f.Close()
		in = f
	}
	r, err := unpacker(in)
	if err != nil {
		c.die(2, "%s: %s", c.val('f'), reason(err))
	}
	if c.has('C') {
		if err := os.Chdir(c.val('C')); err != nil {
			c.die(2, "%s: %s", c.val('C'), reason(err))
		}
	}
	x, err := newExtractor(c)
	if err != nil {
		c.die(2, "%s", err)
	}
	seen := map[string]bool{}
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			c.die(2, "damaged archive: %s", err)
		}
		if !c.tarWanted(h.Name, seen) {
			continue
		}
		switch {
		case c.has('t'):
			c.tarList(h)
		case c.has('O'):
			_, err = io.Copy(c.out, tr)
		default:
			if c.has('v') {
				fmt.Fprintln(c.out, h.Name)
			}
			err = x.extract(h, tr)
		}
		if err != nil {
			c.fail(h.Name, err)
			c.exit = 2
		}
	}
	x.finish()
	for _, a := range c.args {
		if !seen[a] {
			c.warn("%s: not in the archive", a)
			c.exit = 2
		}
	}
}

// tarWanted tells whether an entry was asked for: by its name, or a directory
// above it.
func (c *Call) tarWanted(name string, seen map[string]bool) bool {
	if c.excluded(strings.TrimSuffix(name, "/")) {
		return false
	}
	if len(c.args) == 0 {
		return true
	}
	for _, a := range c.args {
		want := strings.TrimSuffix(a, "/")
		if n := strings.TrimSuffix(name, "/"); n == want || strings.HasPrefix(n, want+"/") {
			seen[a] = true
			return true
		}
	}
	return false
}

// tarList prints an entry as GNU tar's -t and -tv do.
func (c *Call) tarList(h *tar.Header) {
	if !c.has('v') {
		fmt.Fprintln(c.out, h.Name)
		return
	}
	kinds := map[byte]uint32{tar.TypeDir: syscall.S_IFDIR, tar.TypeSymlink: syscall.S_IFLNK, tar.TypeChar: syscall.S_IFCHR,
		tar.TypeBlock: syscall.S_IFBLK, tar.TypeFifo: syscall.S_IFIFO}
	mode := modeString(kinds[h.Typeflag] | uint32(h.Mode)&0o7777)
	if kinds[h.Typeflag] == 0 {
		mode = "-" + mode[1:]
	}
	tail := ""
	switch h.Typeflag {
	case tar.TypeLink:
		mode, tail = "h"+mode[1:], " link to "+h.Linkname
	case tar.TypeSymlink:
		tail = " -> " + h.Linkname
	}
	owner, grp := h.Uname, h.Gname
	if owner == "" || c.has('N') {
		owner = fmt.Sprint(h.Uid)
	}
	if grp == "" || c.has('N') {
		grp = fmt.Sprint(h.Gid)
	}
	size := fmt.Sprint(h.Size)
	if h.Typeflag == tar.TypeChar || h.Typeflag == tar.TypeBlock {
		size = fmt.Sprintf("%d,%d", h.Devmajor, h.Devminor)
	}
	fmt.Fprintf(c.out, "%s %s %*s %s %s%s\n", mode, owner+"/"+grp, max(0, 17-len(owner)-len(grp)), size,
		h.ModTime.Local().Format("2006-01-02 15:04"), h.Name, tail)
}

// An extractor unpacks below the working directory and nowhere else: os.Root
// refuses names that lead out of it, by ".." or through symbolic links.
type extractor struct {
	c     *Call
	root  *os.Root
	mask  uint32
	owner bool
	dirs  []*tar.Header // their times are set when nothing more goes into them
}

func newExtractor(c *Call) (*extractor, error) {
	root, err := os.OpenRoot(".")
	if err != nil {
		return nil, err
	}
	x := &extractor{c: c, root: root, mask: umask(), owner: os.Geteuid() == 0 && !c.has('o')}
	if c.has('p') || os.Geteuid() == 0 {
		x.mask = 0
	}
	return x, nil
}

// inRoot is a name of the archive as a relative path.
func inRoot(name string) string {
	return strings.TrimPrefix(path.Clean("/"+name), "/")
}

func (x *extractor) name(name string) string {
	n := 0
	if x.c.has('s') {
		n = int(x.c.number(x.c.val('s')))
	}
	parts := strings.Split(inRoot(name), "/")
	return strings.Join(parts[min(n, len(parts)):], "/")
}

func (x *extractor) extract(h *tar.Header, r io.Reader) error {
	if slices.Contains(strings.Split(h.Name, "/"), "..") {
		return errors.New("name with .. left out")
	}
	name := x.name(h.Name)
	if name == "" {
		return nil
	}
	if dir := path.Dir(name); dir != "." {
		if err := x.root.MkdirAll(dir, 0o777); err != nil {
			return err
		}
	}
	if h.Typeflag == tar.TypeDir {
		if err := x.root.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		x.dirs = append(x.dirs, h)
		return x.attributes(h, name)
	}
	if x.c.has('k') {
		if _, err := x.root.Lstat(name); err == nil {
			return syscall.EEXIST
		}
	} else if err := x.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := x.node(h, name, r); err != nil {
		return err
	}
	if h.Typeflag == tar.TypeLink {
		return nil
	}
	return x.attributes(h, name)
}

// node makes what the entry describes.
func (x *extractor) node(h *tar.Header, name string, r io.Reader) error {
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse:
		f, err := x.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, r)
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		return err
	case tar.TypeSymlink:
		return x.root.Symlink(h.Linkname, name)
	case tar.TypeLink:
		return x.root.Link(x.name(h.Linkname), name)
	case tar.TypeFifo, tar.TypeChar, tar.TypeBlock:
		kind := map[byte]uint32{tar.TypeFifo: unix.S_IFIFO, tar.TypeChar: unix.S_IFCHR, tar.TypeBlock: unix.S_IFBLK}[h.Typeflag]
		dir, err := x.root.Open(path.Dir(name))
		if err != nil {
			return err
		}
		defer dir.Close()
		return unix.Mknodat(int(dir.Fd()), path.Base(name), kind|0o600, int(unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor))))
	}
	return fmt.Errorf("entry of type %q left out", h.Typeflag)
}

// attributes sets owner, mode, extended attributes and times, in that order:
// chown(2) clears the setuid bit.
func (x *extractor) attributes(h *tar.Header, name string) error {
	if x.owner {
		uid, gid := h.Uid, h.Gid
		if err := x.root.Lchown(name, uid, gid); err != nil {
			x.c.warn("%s: cannot give to %d:%d: %s", h.Name, uid, gid, reason(err))
			x.c.exit = 2
		}
	}
	if h.Typeflag != tar.TypeSymlink {
		if err := x.root.Chmod(name, fileMode(uint32(h.Mode)&0o7777&^x.mask)); err != nil {
			return err
		}
	}
	for key, val := range h.PAXRecords {
		if attr, ok := strings.CutPrefix(key, "SCHILY.xattr."); ok && x.c.has('A') {
			if err := unix.Lsetxattr(name, attr, []byte(val), 0); err != nil {
				x.c.warn("%s: %s: %s", h.Name, attr, reason(err))
			}
		}
	}
	if h.Typeflag == tar.TypeSymlink || x.c.has('m') {
		return nil
	}
	return x.root.Chtimes(name, h.ModTime, h.ModTime)
}

// fileMode is permission bits as Go spells them.
func fileMode(bits uint32) fs.FileMode {
	m := fs.FileMode(bits & 0o777)
	for bit, mode := range map[uint32]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if bits&bit != 0 {
			m |= mode
		}
	}
	return m
}

func (x *extractor) finish() {
	for _, h := range slices.Backward(x.dirs) {
		if name := x.name(h.Name); name != "" && !x.c.has('m') {
			x.root.Chtimes(name, h.ModTime, h.ModTime)
		}
	}
	x.root.Close()
}

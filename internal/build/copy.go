// COPY and ADD: which files go where. The Dockerfile reference, "COPY", has the rules.

package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/moby/patternmatcher"
	"golang.org/x/sys/unix"

	"tiffin/image"
	"tiffin/image/oci"
	"tiffin/image/store"
	"tiffin/internal/dockerfile"
	"tiffin/internal/errs"
)

// copy puts files into the image.
func (b *builder) copy(ctx context.Context, s *state, in *dockerfile.Instruction, step *Step) error {
	from, done, err := b.source(ctx, in.Copy)
	if err != nil {
		return err
	}
	defer done()
	in.Copy.Dest = destination(s, in.Copy.Dest)
	return b.putFiles(ctx, s, in, step, func(d *delta) error {
		if err := d.owner(in.Copy); err != nil {
			return err
		}
		return d.copy(from, in)
	})
}

// destination is absolute, and ends with a slash if it must be a directory.
func destination(s *state, dest string) string {
	p := s.absolute(dest)
	if base := path.Base(dest); strings.HasSuffix(dest, "/") || base == "." || base == ".." {
		p = strings.TrimSuffix(p, "/") + "/"
	}
	return p
}

// source is the tree that an instruction copies from.
func (b *builder) source(ctx context.Context, c *dockerfile.Copy) (t tree, done func(), err error) {
	var s *state
	switch {
	case c.From == "" && b.Context == nil:
		if len(c.Sources) > 0 {
			return nil, nil, errs.Hint(errors.New("there is no context to copy from"), "give a directory to `tiffin build`")
		}
		return nil, func() {}, nil
	case c.From == "":
		return b.Context, func() {}, nil
	case c.Stage >= 0:
		s = b.done[c.Stage]
	default:
		if s, err = b.fromImage(ctx, c.From, ""); err != nil {
			return nil, nil, err
		}
	}
	image, err := openStack(b.Store, s.layers)
	if err != nil {
		return nil, nil, err
	}
	return image, image.close, nil
}

// workdir changes the directory, and makes it if it is missing.
func (b *builder) workdir(ctx context.Context, s *state, in *dockerfile.Instruction, step *Step) error {
	dir := s.absolute(in.Value)
	s.config.Config.WorkingDir = dir
	in.Value = dir
	return b.putFiles(ctx, s, in, step, func(d *delta) error {
		if err := d.owner(&dockerfile.Copy{Chown: s.config.Config.User}); err != nil {
			return err
		}
		where, f, err := follow(d.image, dir)
		if err == nil && !f.isDir() {
			return fmt.Errorf("%s is no directory", dir)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return d.mkdir(where)
		}
		return err
	})
}

// putFiles makes a layer of the files that fill chooses, or finds it.
func (b *builder) putFiles(ctx context.Context, s *state, in *dockerfile.Instruction, step *Step, fill func(*delta) error) error {
	image, err := openStack(b.Store, s.layers)
	if err != nil {
		return err
	}
	defer image.close()
	d := newDelta(image)
	d.tmp = b.Store.Path("tmp")
	defer d.close()
	if err := fill(d); err != nil {
		return err
	}
	if len(d.entries) == 0 && in.Name == "workdir" {
		s.record(describe(s, in))
		return nil
	}
	files, err := d.digest()
	if err != nil {
		return err
	}
	b.journal.keep(files, d)
	parts := b.key(s, in, step, []store.BuildPart{{Name: "below", Value: imageChain(s.layers)}, {Name: "instruction", Value: in.Name}, {Name: "files", Value: files}})
	r, err := b.layer(s, step, parts, func() (*store.BuildRecord, error) {
		return b.Store.AddLayer(ctx, s.layers, parts, describe(s, in), d.write)
	})
	if err != nil {
		return err
	}
	return b.push(s, in, step, r)
}

func imageChain(layers []oci.Layer) string { return image.Chain(layers).String() }

// key completes the parts that the layer of an instruction depends on, and notes them.
func (b *builder) key(s *state, in *dockerfile.Instruction, step *Step, parts []store.BuildPart) []store.BuildPart {
	if e := epoch(); e != "" {
		parts = append(parts, store.BuildPart{Name: "SOURCE_DATE_EPOCH", Value: e})
	}
	b.journal.note(in, step, parts)
	return parts
}

// push puts a layer on the stack.
func (b *builder) push(s *state, in *dockerfile.Instruction, step *Step, r *store.BuildRecord) error {
	step.Layer, step.Bytes = r.Layer.DiffID.String(), r.Layer.Size
	s.layers = append(s.layers, r.Layer)
	s.enter(describe(s, in), r.Made, false)
	if b.Explain {
		return step.Explained.weigh(b.Store, s.layers)
	}
	return nil
}

// delta is what an instruction adds to an image: files by their paths.
type delta struct {
	image    tree
	entries  map[string]*entry
	uid, gid uint32
	chown    bool // uid and gid are for all files, not only for directories that are made
	chmod    uint32
	hasMode  bool
	exclude  *patternmatcher.PatternMatcher
	now      time.Time // of directories that are made
	tmp      string    // directory for archives
	opened   []*imageTree
}

// entry is a file of the layer.
type entry struct {
	file
	from    tree   // with its content; nil: content has it
	path    string // in from
	content string
	sum     string // SHA-256 of the content, once digest has read it
	kept    bool   // a directory of the image's that stays as it is
}

func newDelta(t tree) *delta {
	return &delta{image: t, entries: map[string]*entry{}, now: image.SourceDate()}
}

func (d *delta) close() {
	for _, t := range d.opened {
		t.close()
	}
}

// owner reads --chown, --chmod and --exclude.
func (d *delta) owner(c *dockerfile.Copy) (err error) {
	if c.Chown != "" {
		d.chown = true
		if d.uid, d.gid, err = lookupOwner(d.image, c.Chown); err != nil {
			return err
		}
	}
	if c.Chmod != "" {
		mode, err := strconv.ParseUint(c.Chmod, 8, 32)
		if err != nil || mode > 0o7777 {
			return fmt.Errorf("--chmod=%s is no mode in octal digits, such as 0644", c.Chmod)
		}
		d.chmod, d.hasMode = uint32(mode), true
	}
	if len(c.Exclude) > 0 {
		if d.exclude, err = patternmatcher.New(c.Exclude); err != nil {
			return fmt.Errorf("--exclude: %w", err)
		}
	}
	return nil
}

// copy chooses the files of a COPY or ADD.
func (d *delta) copy(from tree, in *dockerfile.Instruction) error {
	c := in.Copy
	var sources []string
	for _, s := range c.Sources {
		found, err := glob(from, s)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return fmt.Errorf("nothing matches %s%s", s, d.where(c))
		}
		sources = append(sources, found...)
	}
	many := len(sources)+len(c.Contents) > 1
	asDir := strings.HasSuffix(c.Dest, "/")
	if len(c.Sources)+len(c.Contents) > 1 && !asDir {
		return fmt.Errorf("with more than one source, the destination must be a directory and end with a /: %s", strings.TrimSuffix(c.Dest, "/"))
	}
	dest, there, err := follow(d.image, c.Dest)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	asDir = asDir || many || there != nil && there.isDir()
	for _, s := range sources {
		real, f, err := follow(from, s)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("there is no %s%s", shown(s), d.where(c))
		}
		if err != nil {
			return err
		}
		if f.isDir() {
			err = d.copyDir(from, real, "", f, dest, true)
		} else {
			to := dest
			if asDir {
				to = path.Join(dest, path.Base(s))
			}
			err = d.copyFile(from, real, f, dest, to, in.Name == "add")
		}
		if err != nil {
			return err
		}
	}
	for _, text := range c.Contents {
		to := dest
		if asDir {
			to = path.Join(dest, path.Base(text.Name))
		}
		f := file{mode: unix.S_IFREG | 0o644, size: int64(len(text.Data)), mtime: d.now}
		if err := d.put(to, d.own(entry{file: f, content: text.Data})); err != nil {
			return err
		}
	}
	return nil
}

// copyFile copies a file to a path; an archive of ADD is unpacked into dest instead.
func (d *delta) copyFile(from tree, real string, f *file, dest, to string, unpack bool) error {
	if unpack && f.is(unix.S_IFREG) {
		r, err := from.open(real)
		if err != nil {
			return err
		}
		archive, err := openArchive(d.tmp, r)
		r.Close()
		if err != nil {
			return fmt.Errorf("unpack %s: %w", shown(real), err)
		}
		if archive != nil {
			d.opened = append(d.opened, archive)
			root, err := archive.stat("")
			if err != nil {
				return err
			}
			return d.copyDir(archive, "", "", root, dest, true)
		}
	}
	return d.put(to, d.own(entry{file: *f, from: from, path: real}))
}

// where says of what something is missing in.
func (d *delta) where(c *dockerfile.Copy) string {
	if c.From != "" {
		return " in " + c.From
	}
	return " in the context; see .dockerignore, too"
}

// own gives an entry the owner and mode that are asked for.
func (d *delta) own(e entry) *entry {
	if d.chown {
		e.uid, e.gid = d.uid, d.gid
	}
	if d.hasMode && !e.is(unix.S_IFLNK) {
		e.mode = e.mode&unix.S_IFMT | d.chmod
	}
	return &e
}

// copyDir copies what is in a directory of from to dest. rel is its path below the source that is
// named. The directory's own attributes are those of the source, but if the image has the
// destination that is named, that stays as it is.
func (d *delta) copyDir(from tree, dir, rel string, f *file, dest string, top bool) error {
	to, there, err := follow(d.image, dest)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = d.put(to, d.own(entry{file: *f}))
	case err != nil:
	case !there.isDir():
		err = fmt.Errorf("cannot copy a directory to %s, which is none", shown(dest))
	case !top:
		err = d.put(to, d.own(entry{file: *f}))
	}
	if err != nil {
		return err
	}
	names, err := from.list(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		below := path.Join(rel, name)
		if d.exclude != nil {
			if yes, err := d.exclude.MatchesOrParentMatches(below); err != nil || yes {
				if err != nil {
					return fmt.Errorf("--exclude: %w", err)
				}
				continue
			}
		}
		child := path.Join(dir, name)
		cf, err := from.stat(child)
		if err == nil && cf.isDir() {
			err = d.copyDir(from, child, below, cf, path.Join(to, name), false)
		} else if err == nil {
			err = d.put(path.Join(to, name), d.own(entry{file: *cf, from: from, path: child}))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// put puts an entry at a path whose directories lead through no link of the image's.
func (d *delta) put(to string, e *entry) error {
	if base := path.Base(to); strings.HasPrefix(base, ".wh.") {
		return fmt.Errorf("the name %q stands for a deletion in a layer", base)
	}
	was, err := d.image.stat(to)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if other := d.entries[to]; other != nil && !other.kept {
		was = &other.file
	}
	if was != nil && was.isDir() != e.isDir() && (was.isDir() || !was.is(unix.S_IFLNK)) {
		return fmt.Errorf("cannot copy to %s: a directory and a file do not replace each other", shown(to))
	}
	if to != "" {
		if err := d.mkdir(parent(to)); err != nil {
			return err
		}
	}
	d.entries[to] = e
	return nil
}

// mkdir makes a directory that is missing, and those above it. Those that are there are part of the
// layer, too, as they are: programs that unpack a layer by itself would make something up.
func (d *delta) mkdir(dir string) error {
	if d.entries[dir] != nil {
		if !d.entries[dir].isDir() {
			return fmt.Errorf("%s is no directory", shown(dir))
		}
		return nil
	}
	was, err := d.image.stat(dir)
	switch {
	case err == nil && !was.isDir():
		return fmt.Errorf("%s is no directory", shown(dir))
	case err == nil && dir == "":
		return nil
	case err == nil:
		d.entries[dir] = &entry{file: *was, kept: true}
	case errors.Is(err, fs.ErrNotExist):
		d.entries[dir] = &entry{file: file{mode: unix.S_IFDIR | 0o755, uid: d.uid, gid: d.gid, mtime: d.now}}
	default:
		return err
	}
	return d.mkdir(parent(dir))
}

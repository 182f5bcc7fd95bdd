// COPY and ADD: which files go where. The Dockerfile reference, "COPY", has the rules.

package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/moby/patternmatcher"
	mode "github.com/tonistiigi/dchapes-mode"
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
	fetched, done, err := b.fetch(ctx, in.Copy)
	defer done()
	if err != nil {
		return err
	}
	in.Copy.Dest = destination(s, in.Copy.Dest)
	return b.putFiles(ctx, s, in, step, func(d *delta) error {
		if err := d.owner(in.Copy); err != nil {
			return err
		}
		d.fetched = fetched
		err := d.copy(from, in)
		if err == nil && d.empty() {
			b.warn(in, "nothing matches "+strings.Join(in.Copy.Sources, " ")+d.where(in.Copy))
		}
		return err
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
	if c.From == "" {
		if b.Context == nil {
			return noContext{}, func() {}, nil
		}
		return b.Context, func() {}, nil
	}
	return b.other(ctx, c.From, c.Stage)
}

// other is the tree of a stage, or of an image.
func (b *builder) other(ctx context.Context, from string, stage int) (t tree, done func(), err error) {
	s := scratch(b.System)
	switch {
	case stage >= 0:
		s = b.done[stage]
	case from != "scratch":
		if s, err = b.fromImage(ctx, from, ""); err != nil {
			return nil, nil, err
		}
	}
	image, err := openStack(b.Store, s.layers)
	if err != nil {
		return nil, nil, err
	}
	return image, image.close, nil
}

// noContext is the tree where there is no context.
type noContext struct{ tree }

func (noContext) stat(string) (*file, error) {
	return nil, errs.Hint(errors.New("there is no context to copy from"), "give a directory to `tiffin build`")
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
	// The Dockerfile reference, "COPY --link": the layer does not depend on what it is put on.
	linked := in.Copy != nil && in.Copy.Link
	below := s.layers
	if linked {
		below = nil
	}
	onto, err := openStack(b.Store, below)
	if err != nil {
		return err
	}
	defer onto.close()
	d := newDelta(onto, b.Store.Path("tmp"))
	defer d.close()
	if err := fill(d); err != nil {
		return err
	}
	if d.empty() {
		s.record(describe(s, in))
		return nil
	}
	files, err := d.digest()
	if err != nil {
		return err
	}
	b.journal.keep(files, d)
	var parts []store.BuildPart
	if !linked {
		parts = append(parts, store.BuildPart{Name: image.OnStack, Value: imageChain(s.layers)})
	}
	parts = b.key(s, in, step, append(parts, store.BuildPart{Name: "instruction", Value: in.Name}, store.BuildPart{Name: "files", Value: files}))
	r, err := b.layer(ctx, s, step, describe(s, in), parts, func() (*store.BuildRecord, error) {
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
	b.mu.Lock()
	err := b.hold.Hold("", s.layers)
	b.mu.Unlock()
	if err != nil {
		return err
	}
	if b.Explain {
		return step.Explained.weigh(b.Store, s.layers)
	}
	return nil
}

// owner reads --chown, --chmod and --exclude.
func (d *delta) owner(c *dockerfile.Copy) (err error) {
	if c.Chown != "" {
		d.chown = true
		if d.uid, d.gid, err = lookupOwner(d.image, c.Chown); err != nil {
			if c.Link {
				err = fmt.Errorf("%w: with --link, --chown takes numbers", err)
			}
			return err
		}
	}
	if c.Chmod != "" {
		set, err := mode.Parse(c.Chmod)
		if err != nil {
			return fmt.Errorf("--chmod=%s is no mode, such as 0644 or u=rwX,go=rX", c.Chmod)
		}
		d.chmod = &set
	}
	if len(c.Exclude) > 0 {
		if d.exclude, err = patternmatcher.New(c.Exclude); err != nil {
			return fmt.Errorf("--exclude: %w", err)
		}
	}
	return nil
}

// match is something that a source of COPY means.
type match struct {
	path string // in the tree
	from string // directory that it is looked for in: the path before "/./" of --parents
}

// sources finds what the sources of the context mean. As at BuildKit a pattern may match nothing:
// go.sum* is how a Dockerfile names a file that can be missing.
func (d *delta) sources(from tree, c *dockerfile.Copy) (all []match, err error) {
	for _, s := range c.Sources {
		if d.fetched[s] != nil {
			continue
		}
		bases, rest := []string{""}, s
		if before, after, ok := strings.Cut(s, "/./"); ok && c.Parents {
			if bases, err = glob(from, "", before); err != nil {
				return nil, err
			}
			rest = after
		}
		for _, base := range bases {
			found, err := glob(from, base, rest)
			if err != nil {
				return nil, err
			}
			for _, p := range found {
				all = append(all, match{p, base})
			}
		}
	}
	return all, nil
}

// copy chooses the files of a COPY or ADD.
func (d *delta) copy(t tree, in *dockerfile.Instruction) error {
	c, from := in.Copy, d.from(t)
	sources, err := d.sources(from, c)
	if err != nil {
		return err
	}
	asDir := strings.HasSuffix(c.Dest, "/")
	dest, there, err := follow(d.image, c.Dest)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	isDir := there != nil && there.isDir()
	named := len(c.Sources) + len(c.Contents)
	if !asDir && (named > 1 || !isDir && len(sources) > 1 && !c.Parents) {
		return fmt.Errorf("with more than one source, the destination must be a directory and end with a /: %s", c.Dest)
	}
	asDir = asDir || isDir || c.Parents
	unpack := in.Name == "add" && (c.Unpack == nil || *c.Unpack)
	for _, s := range sources {
		if err := d.copySource(from, s, c, dest, asDir, unpack); err != nil {
			return err
		}
	}
	for _, name := range c.Sources {
		if f := d.fetched[name]; f != nil {
			if err := d.copyFetched(f, c, dest, asDir); err != nil {
				return err
			}
		}
	}
	for _, text := range c.Contents {
		to := dest
		if asDir {
			to = path.Join(dest, path.Base(text.Name))
		}
		if err := d.put(to, d.own(d.text(text.Data))); err != nil {
			return err
		}
	}
	return nil
}

// copySource copies what one source means.
func (d *delta) copySource(from *source, s match, c *dockerfile.Copy, dest string, asDir, unpack bool) error {
	if yes, err := d.excluded(s.path, path.Base(s.path)); yes || err != nil {
		return err
	}
	real, f, err := follow(from, s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no %s%s", shown(s.path), d.where(c))
	}
	if err != nil {
		return err
	}
	if c.Parents {
		below := strings.TrimPrefix(strings.TrimPrefix(s.path, s.from), "/")
		if err := d.parents(from, s.from, parent(below), dest); err != nil {
			return err
		}
		to := path.Join(dest, below)
		if f.isDir() {
			return d.copyDir(from, real, "", f, to, to == dest)
		}
		return d.copyFile(from, real, f, to, to, unpack)
	}
	if f.isDir() {
		return d.copyDir(from, real, "", f, dest, true)
	}
	to := dest
	if asDir {
		to = path.Join(dest, path.Base(s.path))
	}
	return d.copyFile(from, real, f, dest, to, unpack)
}

// parents makes the directories that a source is in, as they are in the source: "COPY --parents".
func (d *delta) parents(from *source, base, below, dest string) error {
	if below == "" {
		return nil
	}
	if err := d.parents(from, base, parent(below), dest); err != nil {
		return err
	}
	_, f, err := follow(from, path.Join(base, below))
	if err != nil {
		return err
	}
	to := path.Join(dest, below)
	if _, there, err := follow(d.image, to); err == nil && there.isDir() {
		return nil
	}
	return d.put(to, d.own(entry{file: *f, implied: true}))
}

// excluded tells whether --exclude names a file by one of its paths.
func (d *delta) excluded(paths ...string) (bool, error) {
	if d.exclude == nil {
		return false, nil
	}
	for _, p := range paths {
		if yes, err := d.exclude.MatchesOrParentMatches(p); yes || err != nil {
			if err != nil {
				err = fmt.Errorf("--exclude: %w", err)
			}
			return yes, err
		}
	}
	return false, nil
}

// copyFile copies a file to a path; an archive of ADD is unpacked into dest instead.
func (d *delta) copyFile(from *source, real string, f *file, dest, to string, unpack bool) error {
	if unpack && f.is(unix.S_IFREG) {
		if archive, err := d.unpacked(from, real); archive != nil || err != nil {
			if err != nil {
				return fmt.Errorf("unpack %s: %w", shown(real), err)
			}
			return d.copyAll(archive, dest)
		}
	}
	return d.put(to, d.own(entry{file: *f, from: from, path: real}))
}

// unpacked is the tree of an archive; nil if it is none.
func (d *delta) unpacked(from tree, real string) (*imageTree, error) {
	r, err := from.open(real)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	archive, err := openArchive(d.tmp, r)
	if archive != nil {
		d.opened = append(d.opened, archive)
	}
	return archive, err
}

// copyAll copies all that is in a tree to dest.
func (d *delta) copyAll(t tree, dest string) error {
	root, err := t.stat("")
	if err != nil {
		return err
	}
	return d.copyDir(d.from(t), "", "", root, dest, true)
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
	if d.chmod != nil && !e.is(unix.S_IFLNK) {
		h := e.header("")
		e.mode = e.mode&unix.S_IFMT | bits(d.chmod.Apply(h.FileInfo().Mode()))
	}
	return &e
}

// bits are the permission bits of a mode, inode(7).
func bits(m fs.FileMode) uint32 {
	n := uint32(m.Perm())
	for bit, special := range map[uint32]fs.FileMode{unix.S_ISUID: fs.ModeSetuid, unix.S_ISGID: fs.ModeSetgid, unix.S_ISVTX: fs.ModeSticky} {
		if m&special != 0 {
			n |= bit
		}
	}
	return n
}

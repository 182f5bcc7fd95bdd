// Where the files of a COPY go: into directories of the image, which may be there or not.

package build

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// copyDir copies what is in a directory of from to dest. rel is its path below the source that is
// named. The directory's own attributes are those of the source, but if the image has the
// destination that is named, that stays as it is.
func (d *delta) copyDir(from *source, dir, rel string, f *file, dest string, top bool) error {
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
		below, child := path.Join(rel, name), path.Join(dir, name)
		if yes, err := d.excluded(below); yes || err != nil {
			if err != nil {
				return err
			}
			continue
		}
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
	if was != nil {
		if err := e.replaces(was, to); err != nil {
			return err
		}
	}
	if to != "" {
		if err := d.mkdir(parent(to)); err != nil {
			return err
		}
	}
	if e.isDir() {
		d.made = to
	}
	return d.add(to, e)
}

// mkdir makes a directory that is missing, and those above it. Those that are there are part of the
// layer, too, as they are: programs that unpack a layer by itself would make something up.
func (d *delta) mkdir(dir string) error {
	if dir == d.made || strings.HasPrefix(d.made, dir+"/") {
		return nil
	}
	made := &entry{implied: true}
	was, err := d.image.stat(dir)
	switch {
	case err == nil && !was.isDir():
		return fmt.Errorf("%s is no directory", shown(dir))
	case err == nil && dir == "":
		return nil
	case err == nil:
		made.file, made.kept = *was, true
	case errors.Is(err, fs.ErrNotExist):
		made.file = file{mode: unix.S_IFDIR | 0o755, uid: d.uid, gid: d.gid, mtime: d.now}
	default:
		return err
	}
	if err := d.mkdir(parent(dir)); err != nil {
		return err
	}
	d.made = dir
	return d.add(dir, made)
}

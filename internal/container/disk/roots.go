// Containers on another disk than their images, and what a disk must be able to do for them.

package disk

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"tiffin/internal/errs"
)

// RunRoot is where the containers of images in the store at images are: $TIFFIN_RUN_ROOT, or there.
func RunRoot(images string) (string, error) {
	if dir := os.Getenv("TIFFIN_RUN_ROOT"); dir != "" {
		return filepath.Abs(dir)
	}
	return images, nil
}

// rootsName is a directory in a store: a symbolic link for each other place where its containers
// are, so that no image is removed that one of them needs.
const rootsName = "roots"

// prepare makes the directories of a set that is not in the store of its images, and has the store
// remember it, unless that cannot be changed: then no image can be removed either.
func (s *Set) prepare() error {
	if s.root == s.images {
		return nil
	}
	link := filepath.Join(s.images, rootsName, fmt.Sprintf("%x", sha256.Sum256([]byte(s.root))))
	err := os.MkdirAll(filepath.Dir(link), 0o700)
	if err == nil {
		err = os.Symlink(s.root, link)
	}
	if err != nil && !errors.Is(err, os.ErrExist) && !errors.Is(err, unix.EROFS) && !errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("remember where containers are: %w", err)
	}
	for _, dir := range []string{s.dir, filepath.Join(s.root, "tmp")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return errs.Hint(fmt.Errorf("make a place for containers: %w", err), "set TIFFIN_RUN_ROOT to a directory that you can write to")
		}
	}
	return nil
}

// Uses returns the images that containers need, in this set and in the others of the same images:
// the hook of image.Store.
func (s *Set) Uses() (map[string]bool, error) {
	roots := []string{s.root, s.images}
	links, err := os.ReadDir(filepath.Join(s.images, rootsName))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("look where containers are: %w", err)
	}
	for _, l := range links {
		link := filepath.Join(s.images, rootsName, l.Name())
		root, err := os.Readlink(link)
		if err == nil && root != s.root {
			_, err = os.Stat(filepath.Join(root, "containers"))
			roots = append(roots, root)
		}
		if err != nil {
			return nil, errs.Hint(fmt.Errorf("some are in another place: %w", err),
				"mount the disk that has them, or if they are gone, rm "+link)
		}
	}
	slices.Sort(roots)
	uses := map[string]bool{}
	for _, root := range slices.Compact(roots) {
		if err := In(root).uses(uses); err != nil {
			return nil, err
		}
	}
	return uses, nil
}

// uses adds the images that the containers of this set need.
func (s *Set) uses(uses map[string]bool) error {
	ids, err := s.ids()
	if err != nil {
		return err
	}
	for _, id := range ids {
		// Also one that is not complete yet: its creator counts on the image.
		c, err := Open(filepath.Join(s.dir, id))
		if err == nil {
			uses[c.ImageID] = true
		} else if !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// sweepTmp deletes what Vanish was killed over, where no store does it.
func (s *Set) sweepTmp() {
	ents, _ := os.ReadDir(filepath.Join(s.root, "tmp"))
	for _, e := range ents {
		if validID(e.Name()) {
			_ = (&Container{dir: filepath.Join(s.root, "tmp", e.Name())}).removeFiles(nil)
		}
	}
}

// nameMax is the longest name that a file of an image may have, in bytes: NAME_MAX.
const nameMax = 255

// CheckNames refuses a disk on which a container would lose files: because it takes two names for
// one that differ in case, or none that are long. A file on it is called name, of small letters,
// and is in dir.
func CheckNames(dir, name string) error {
	var a, b unix.Stat_t
	path := filepath.Join(dir, name)
	if err := unix.Lstat(path, &a); err != nil {
		return fmt.Errorf("look at %s: %w", path, err)
	}
	var why string
	var st unix.Statfs_t
	if unix.Lstat(filepath.Join(dir, strings.ToUpper(name)), &b) == nil && a.Ino == b.Ino {
		why = "takes names that differ in case for the same"
	} else if unix.Statfs(path, &st) == nil && st.Namelen < nameMax {
		why = fmt.Sprintf("has names of %d bytes at most, and files of images may have %d", st.Namelen, nameMax)
	}
	if why == "" {
		return nil
	}
	return errs.Hint(fmt.Errorf("the disk of %s %s: a container would lose files there", dir, why),
		"set TIFFIN_RUN_ROOT to a directory on another disk, for containers alone, or TIFFIN_ROOT for all")
}

// The volumes of the store that a container mounts: an empty one is filled with what the image has
// at that place, once.
//
// The files are copied to a directory beside the volume's, which takes its place by rename(2) when
// all are on the disk: a volume is empty or full, whatever is killed meanwhile. So nobody may have
// the empty one mounted. The supervisors of the containers that mount a volume share the lock of
// its directory, flock(2), for as long as they live; who fills it has the lock alone.
//
// Files in a volume are real ones, with set-user-ID as the image or the container has it: nobody
// else may enter its directory.

package supervisor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"tiffin/image/layer"
	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
	"tiffin/internal/treecopy"
	"tiffin/ns"
)

// takeVolumes locks the volumes of the container, and fills those that are empty.
func (s *supervisor) takeVolumes() error {
	for i := range s.c.Volumes {
		if v := &s.c.Volumes[i]; v.Owner != nil {
			if err := s.own(v); err != nil {
				return fmt.Errorf("volume %s: %w", v.Target, err)
			}
		}
		if v := &s.c.Volumes[i]; v.Name != "" && !s.req.Idle {
			if err := s.takeVolume(v); err != nil {
				return errs.Hint(fmt.Errorf("volume %s: %w", v.Name, err), errs.HintOf(err))
			}
		}
	}
	return nil
}

// own gives the source of a volume its owner. With one id all that the container has is that one's,
// and whoever it runs as may use it.
func (s *supervisor) own(v *disk.Volume) error {
	if err := unix.Chmod(v.Source, v.Owner.Mode&0o7777); err != nil {
		return &os.PathError{Op: "chmod", Path: v.Source, Err: err}
	}
	err := unix.Lchown(v.Source, int(v.Owner.UID), int(v.Owner.GID))
	if errors.Is(err, unix.EINVAL) { // chown(2): the id is not mapped
		s.notes = append(s.notes, ns.Note{What: v.Target, Why: fmt.Sprintf("it belongs to root, since there is no id %d:%d here", v.Owner.UID, v.Owner.GID)})
		return nil
	}
	if err != nil {
		return &os.PathError{Op: "chown", Path: v.Source, Err: err}
	}
	return nil
}

func (s *supervisor) takeVolume(v *disk.Volume) error {
	dir, err := os.Open(filepath.Dir(v.Source))
	if errors.Is(err, os.ErrNotExist) {
		return errs.Hint(disk.ErrNoVolume, "`tiffin volume create "+v.Name+"` makes one that is empty")
	}
	if err != nil {
		return err
	}
	s.volumes = append(s.volumes, dir)
	if err := s.closed(dir.Name()); err != nil {
		return err
	}
	if !v.NoCopy {
		if err := s.fillVolume(dir, v); err != nil {
			return err
		}
	}
	return flock(dir, unix.LOCK_SH)
}

// fillVolume copies what the image has at the volume's place, if the volume is empty.
func (s *supervisor) fillVolume(dir *os.File, v *disk.Volume) error {
	alone := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil
	if !alone { // perhaps another container fills it just now
		if err := flock(dir, unix.LOCK_SH); err != nil {
			return err
		}
	}
	if empty, err := isEmpty(v.Source); err != nil || !empty {
		return err
	}
	index, err := layer.OpenIndex(s.req.Union)
	if err != nil {
		return err
	}
	top, _, ok := index.Follow(v.Target)
	if !ok || !index.Inode(top).IsDir() {
		return nil
	}
	if !alone {
		if index.DirLen(top) > 0 {
			s.notes = append(s.notes, ns.Note{What: "volume " + v.Name, Why: "it is empty and another container has it, so it does not get what the image has at " + v.Target})
		}
		return nil
	}
	fill := filepath.Join(dir.Name(), "fill")
	if err := s.unpackPart(fill, "", top); err != nil {
		if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
			err = errs.Hint(err, "it is as empty as before; make room, or leave out what the image has there with -v "+v.Name+":"+v.Target+":nocopy")
		}
		return fmt.Errorf("copy what the image has at %s: %w", v.Target, err)
	}
	if !v.Anonymous || !s.c.AutoRemove {
		// After a power cut, what is there has all its bytes: rename(2) alone promises nothing.
		if err := unix.Syncfs(int(dir.Fd())); err != nil {
			return os.NewSyscallError("syncfs", err)
		}
	}
	if err := unix.Rename(fill, v.Source); err != nil { // over an empty directory: rename(2)
		return errors.Join(err, treecopy.Remove(fill))
	}
	return nil
}

func isEmpty(dir string) (bool, error) {
	f, err := os.Open(dir)
	if err != nil {
		return false, err
	}
	defer f.Close()
	names, _ := f.Readdirnames(1) // io.EOF if there are none
	return len(names) == 0, nil
}

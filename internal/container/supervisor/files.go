// The file system of a container: the image and the container's own directory are opened, served,
// and given up.

package supervisor

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"tiffin/fs"
	"tiffin/image/layer"
	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
	"tiffin/ns"
)

// openFS opens the image and the container's own directory.
func (s *supervisor) openFS() error {
	if s.tree != "" {
		return nil
	}
	index, err := layer.MapIndex(s.req.Union)
	if err != nil {
		return fmt.Errorf("open the image of container %s: %w", s.c.Name, err)
	}
	flats, err := layer.OpenFlats(s.req.Flats, s.req.Blocks)
	if err != nil {
		return fmt.Errorf("serve the image of container %s: %w", s.c.Name, err)
	}
	cfg := fs.Config{
		Index: index, Flats: flats, MapUID: s.mapUID, MapGID: s.mapGID, Uncached: s.req.Trace != nil, Damaged: s.damaged, Broken: s.fsBroken,
		Volatile: s.c.Transient, // what a build has lost is built again
		Killed:   ns.Killed,
	}
	if s.emulator != nil {
		cfg.Creator = s.emulator.Creator
	}
	if s.c.Driver == disk.DriverOverlay {
		err = prepareUpper(s.c.UpperDir(), index, s.ids)
	} else {
		cfg.Upper, cfg.Work = s.c.UpperDir(), s.c.WorkDir()
	}
	if err == nil && s.c.InMemory() {
		err = s.mountMemory()
	}
	if err != nil {
		return err
	}
	s.fs, err = fs.New(cfg)
	if err != nil {
		return fmt.Errorf("serve the image of container %s: %w", s.c.Name, err)
	}
	if s.emulator != nil {
		s.emulator.Files = s.fs
	}
	if s.traceTo != nil {
		return s.traceStart(s.traceTo)
	}
	return nil
}

// mountMemory mounts the tmpfs that has what the container changes: in this process's mount
// namespace, where nobody else sees it.
func (s *supervisor) mountMemory() error {
	options := "mode=700"
	if _, more, ok := strings.Cut(s.c.Upper, ":"); ok {
		options += "," + more
	}
	err := os.MkdirAll(s.c.Memory(), 0o700) // a container of an earlier version has none
	if err == nil {
		err = unix.Mount("tmpfs", s.c.Memory(), "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options)
	}
	for _, dir := range []string{s.c.UpperDir(), s.c.WorkDir()} {
		if err == nil {
			err = os.Mkdir(dir, 0o700)
		}
	}
	if err != nil {
		return errs.Hint(fmt.Errorf("mount a tmpfs (%s) for what the container changes: %w", options, err), "see tmpfs(5) for the options of --upper")
	}
	return nil
}

func (s *supervisor) serve(device *os.File) {
	defer close(s.served)
	fd, err := unix.FcntlInt(device.Fd(), unix.F_DUPFD_CLOEXEC, 0) // Serve owns it
	device.Close()
	if err == nil {
		// An error here is that of a mount that went away at once, or fsBroken has it.
		_ = s.fs.Serve(fd)
	}
}

// fsBroken ends the container with its file system, before anybody in it sees an error.
func (s *supervisor) fsBroken(err error, stack []byte) {
	err = errs.Code(fmt.Errorf("container %s has been ended: %w", s.c.Name, err), 125)
	if file := s.c.Path("panic"); !s.c.AutoRemove && os.WriteFile(file, stack, 0o600) == nil {
		err = errs.Hint(err, "this is an error in tiffin; please report it with what is in "+file)
	}
	s.broken.Store(&err)
	_ = unix.Kill(-1, unix.SIGKILL) // kill(2), pid -1: all but this process 1
}

// reason is why the file system has failed, or else err.
func (s *supervisor) reason(err error) error {
	if b := s.broken.Load(); b != nil {
		return *b
	}
	return err
}

// unread adds to the error of a command that could not be started why the file system has answered
// EIO, if that was it. What init says comes as text: wire.Error.
func (s *supervisor) unread(err error) error {
	why := s.damage.Load()
	if err == nil || why == nil || !strings.HasSuffix(err.Error(), unix.EIO.Error()) {
		return err
	}
	return errs.Hint(fmt.Errorf("%w: %w", err, *why), errs.HintOf(*why))
}

// Containers with one id: whose it is inside, and how root is emulated there.

package supervisor

import (
	"bytes"
	"errors"
	"io"

	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
	"tiffin/internal/wire"
	"tiffin/ns"
	"tiffin/ns/emulation"
)

// openEmulator makes what answers system calls in the kernel's place, if the container wants that.
func (s *supervisor) openEmulator() (err error) {
	if spec := s.c.Plan(s.ids); spec.Process.RootEmulation {
		s.emulator, err = spec.Emulator()
	}
	return err
}

// emulate answers the system calls that a process hands over, of init or of an exec helper.
func (s *supervisor) emulate(e *ns.Emulation) error {
	if s.child == nil { // init's, which is the first
		s.emulator.Proc, s.device = e.Proc, e.Device
	}
	if e.Listener == nil {
		return nil
	}
	e.Device = s.device
	container, spec := s.init, s.c.Plan(s.ids)
	return s.emulator.Serve(e.Listener, e.Becomes, func(config *emulation.Message) (*wire.Conn, error) {
		s.paused.RLock()
		defer s.paused.RUnlock()
		return e.Help(container, spec, config)
	})
}

// renames tells whether the container's ids have other names than the supervisor's: one id can be
// that of any user, and with --userns keep-id it is the user's own.
func (s *supervisor) renames() bool {
	return s.c.KeepID != "" || s.ids.Single() && !s.c.IsRoot() && !s.req.Idle
}

// rename finds out which, before the maps are written. The image says which number a name has: its
// /etc/passwd is read out of the union, which is not mounted yet.
func (s *supervisor) rename() error {
	user := s.c.User
	if !s.ids.Single() {
		user = s.c.KeepID
	}
	open := func(path string) (io.ReadCloser, error) {
		text, err := s.fs.ReadFile(path, ns.UserFileLimit)
		if text == nil || err != nil {
			return nil, err
		}
		return io.NopCloser(bytes.NewReader(text)), nil
	}
	if s.tree != "" {
		open = ns.FilesBelow(s.tree)
	}
	uid, gid, err := ns.LookUpUser(user, open)
	if err == nil && (s.tree != "" || s.c.Driver == disk.DriverOverlay) && !s.ids.Single() {
		err = errs.Hint(errors.New("--userns keep-id: files would belong to your real ids"), "use --driver fuse")
	}
	if err != nil {
		return errs.Code(err, 125)
	}
	s.ids = s.ids.As(uid, gid)
	return nil
}

func (s *supervisor) mapUID(id uint32) uint32 { return s.ids.MapUID(id) }
func (s *supervisor) mapGID(id uint32) uint32 { return s.ids.MapGID(id) }

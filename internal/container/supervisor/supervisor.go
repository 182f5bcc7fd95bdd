// One run of a container from before its first process to after its last. Read supervise from top
// to bottom: it is the life of a container.

package supervisor

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/fs"
	"tiffin/image/layer"
	"tiffin/internal/container/control"
	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
	"tiffin/internal/network/port"
	"tiffin/ns"
	"tiffin/ns/emulation"
)

// supervisor looks after one run of a container, from before its first
// process to after its last.
type supervisor struct {
	c    *disk.Container
	req  *control.Start
	ids  ns.IDMap
	lock *os.File // the container's, for as long as this process lives
	fs   *fs.FS   // nil if the files are unpacked
	tree string   // where to, "" if they are not

	treeLock *os.File // of shared; open for as long as this process lives
	io       *stdio

	broken atomic.Pointer[error] // why the file system has failed, if it has

	emulator *emulation.Server // nil: the kernel answers all system calls
	device   uint64            // st_dev of the union in the container, for the emulator

	starts     starts     // what is remembered of the image; nil: nothing is to be remembered
	rememberIt sync.Once  // remember
	traceTo    *os.File   // where the client wants the trace of req.Trace
	beside     *os.File   // a pidfd: process 1 of the container whose network this one shares, or nil
	network    *os.File   // the network program; nil: the container has only loopback, or the host's, or joined
	joined     []*os.File // connections to the networks of req.Joined
	flows      flows
	layersOnce sync.Once
	layersErr  error // why openLayers failed

	ports     *port.Listeners // nil: none are published
	forwarded chan struct{}   // closed: all that was sent through them has arrived; nil: no ports

	init       *ns.Child     // as soon as it is there, for tell
	child      *ns.Child     // set when started is closed
	started    chan struct{} // closed: the command runs, or could not be started
	failed     error         // why not; valid after started
	notes      []ns.Note     // of unpacked
	mounts     *os.File      // the mount namespace of a container with --rm; nil: finish waits for its end
	served     chan struct{} // closed: the file system is unmounted, all data is in the upper directory
	ended      chan struct{} // closed: exit is valid, state.json says so
	exit       int
	unrecorded error // why state.json does not say that it has ended, for the client; valid after ended
	sessions   sessions
	paused     sync.RWMutex // read-locked by whoever starts a process; guards resume
	resume     func()       // lets a paused container go on; nil: it is not paused

	mu        sync.Mutex
	state     disk.State
	unwritten bool // state.json does not have all of state yet
}

// supervise is the supervisor's main function. It returns the exit status.
func supervise() int {
	// Until everything is up time matters, not memory; see settle.
	debug.SetGCPercent(-1)
	conn, ids, err := ns.Entered()
	if err != nil {
		return 125 // nobody is there to be told
	}
	first := &control.Conn{Conn: conn}
	s := &supervisor{
		ids: ids, started: make(chan struct{}), ended: make(chan struct{}), served: make(chan struct{}),
	}
	m, err := first.Receive()
	if err != nil {
		return 125 // the client has changed its mind, or is gone
	}
	var out []*os.File
	if m.Op != control.OpStart || m.Start == nil || len(m.Files) == 0 {
		err = fmt.Errorf("control connection: %q instead of a start", m.Op)
	} else {
		s.req, s.lock, out = m.Start, m.Files[0], m.Files[1:]
		if n := len(out) - len(s.req.Joined); n >= 0 {
			out, s.joined = out[:n], out[n:]
		}
		for _, f := range []struct {
			given bool
			to    **os.File
		}{{s.req.Network, &s.network}, {s.req.Shares != "", &s.beside}, {s.req.Trace != nil, &s.traceTo}} { // the last one first
			if n := len(out) - 1; f.given && n >= 0 {
				out, *f.to = out[:n], out[n]
			}
		}
		if err = errors.Join(outputs(out), s.forgetStderr()); err == nil {
			err = s.start(first, out)
		}
	}
	s.sessions.enter()
	s.failed = err
	close(s.started)
	if err != nil {
		_ = s.leaveCgroup()
		first.Fail(err)
		return 125
	}
	if s.req.Idle {
		s.lend(first)
		return 0
	}
	go func() {
		defer s.sessions.leave()
		defer first.Close()
		s.converse(first, s.main(out, s.req.Foreground))
	}()
	s.note()
	s.forward()
	go s.settle()
	s.finish()
	s.sessions.finish()
	s.forwardLast()
	return 0
}

// forgetStderr lets go of the client's standard error output, which a container that outlives the
// client must not hold open.
func (s *supervisor) forgetStderr() error {
	if s.req.Foreground {
		return nil
	}
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	return os.NewSyscallError("dup3", unix.Dup3(int(null.Fd()), 2, 0))
}

// start prepares everything and starts the container's first process. out is
// where the client wants its output, and first the connection to it.
func (s *supervisor) start(first *control.Conn, out []*os.File) error {
	var err error
	if s.c, err = disk.Open(s.req.Dir); err != nil {
		return err
	}
	if s.c.Walled() {
		if err := s.shut(); err != nil {
			return err
		}
	}
	if err := s.unpacked(); err != nil {
		return err
	}
	if err := s.openEmulator(); err != nil {
		return err
	}
	if err := s.publish(); err != nil {
		return err
	}
	// The file system is needed when init mounts it, and init first has to come up.
	opened := make(chan error, 1)
	if s.beside != nil {
		if s.ids, err = ns.BesideIDs(s.beside); err != nil {
			return err
		}
	}
	if s.beside == nil && s.renames() {
		err := s.openFS()
		if err == nil {
			err = s.rename()
		}
		if err != nil {
			return err
		}
		opened <- nil
	} else {
		go func() { opened <- s.openFS() }()
	}
	spec, err := s.spec()
	if err != nil {
		return err
	}
	if err := s.openStdio(out); err != nil {
		return err
	}
	var (
		early                     sync.WaitGroup
		recordErr, fsErr, sealErr error
	)
	report, err := s.explain(first, spec)
	if err != nil {
		s.io.close()
		return err
	}
	child, err := (&ns.Start{
		Spec: spec, Beside: s.beside, Stdio: s.io.child, Report: report, Emulate: s.emulate,
		Tap: s.cable,
		// While init prepares its root there is time for paperwork.
		Forked: func(c *ns.Child) {
			s.init = c
			if !s.req.Idle {
				early.Go(func() { recordErr = s.running(c) })
			}
		},
		Mounted: func(fuse *os.File) {
			early.Go(func() {
				if fsErr = <-opened; fsErr != nil {
					fuse.Close() // init's requests fail, and so does init
					return
				}
				go s.serve(fuse)
				if report == nil { // a shell between two steps is to see the container as it is then
					sealErr = s.seal(spec)
				}
			})
		},
	}).Run()
	early.Wait()
	alone := !spec.OwnTree() || s.tree != ""
	if alone { // then nobody is going to ask, and init has not waited
		if fsErr = <-opened; fsErr == nil {
			close(s.served)
		}
	}
	if report != nil || alone {
		sealErr = s.seal(spec)
	}
	if mine := errors.Join(fsErr, recordErr, sealErr); mine != nil {
		if err == nil {
			_ = child.Signal(unix.SIGKILL)
			_, _ = child.Wait()
		}
		err = mine
	}
	if err != nil {
		s.io.close()
		return s.reason(err)
	}
	s.child = child
	s.io.started(child.Console)
	return nil
}

// seal gives up what this process needs no longer.
func (s *supervisor) seal(spec *ns.Spec) error {
	var also uint64
	if s.c.Walled() {
		// What clearWork and Vanish remove is the container's: files of its ids, in directories
		// that the kernel has closed.
		also = 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_FOWNER
	}
	return spec.Seal(also)
}

// openStdio makes the other sides of the command's standard files.
func (s *supervisor) openStdio(out []*os.File) (err error) {
	var log *disk.LogWriter
	before, _ := s.c.ReadState() // none if this is its first run
	s.state.Made, s.state.Log = before.Made, before.Log
	if !s.c.NoLog && !s.req.Idle {
		log = &disk.LogWriter{Path: s.c.Path("log"), Loss: before.Log, Tell: func() { go s.recordLoss() }}
	}
	if s.c.TTY && !s.req.Idle {
		s.io = newTerminal(log)
	} else if s.io, err = newStdio(s.c.Stdin, log); err != nil {
		return err
	}
	s.io.attach(out, s.req.Foreground)
	return nil
}

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
	cfg := fs.Config{Index: index, Flats: flats, MapUID: s.mapUID, MapGID: s.mapGID, Uncached: s.req.Trace != nil, Damaged: s.damaged, Broken: s.fsBroken}
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

// bound adds the limits that each process has where there is no control group.
func (s *supervisor) bound(p *ns.Process) {
	own := p.Rlimits
	p.Bounds = s.req.Bounds
	p.Rlimits = append(own, p.Rlimits...)
}

// spec tells ns what to build for this container.
func (s *supervisor) spec() (*ns.Spec, error) {
	// Init replaces the descriptor.
	source, fstype, data := fs.MountOptions(int(s.ids.MapUID(0)), int(s.ids.MapGID(0)), 0)
	spec := s.c.Plan(s.ids)
	if s.network == nil {
		spec.Interfaces = nil
	}
	for _, a := range s.req.Joined {
		own := a.Addresses
		if len(spec.Interfaces) > 0 { // there is a way out already
			own.Gateway4, own.Gateway6 = netip.Addr{}, netip.Addr{}
		}
		spec.Interfaces = append(spec.Interfaces, own)
	}
	spec.Files = s.c.Files(s.req.Joined)
	spec.Root = ns.Root{Target: s.c.Path("root"), Bind: s.tree}
	if s.tree == "" {
		spec.Root.FUSE = &ns.FUSEMount{Source: source, Type: fstype, Data: data}
	}
	if s.c.Driver == disk.DriverOverlay {
		spec.Root.Overlay = &ns.OverlayMount{Upper: s.c.UpperDir(), Work: s.c.WorkDir()}
	}
	spec.Root.Ahead = s.foresee()
	s.bound(&spec.Process)
	if s.req.Cgroup == "" {
		spec.Cgroup = nil // without one, Bounds have the limits
	} else if spec.Cgroup != nil {
		spec.Cgroup.Dir = s.req.Cgroup
	}
	if s.req.Idle {
		spec.Idle, spec.Without, spec.Process.Terminal = true, nil, false
	}
	spec.Process.Rows, spec.Process.Cols = s.req.Rows, s.req.Cols
	if s.req.Shares != "" {
		other, err := disk.Open(s.req.Shares)
		if err != nil {
			return nil, err
		}
		state, err := other.ReadState()
		if err != nil {
			return nil, err
		}
		spec.Files = other.Files(state.Networks) // whose network it is, knows the names in it
	}
	return spec, nil
}

// damaged records that the container has met a layer which is not what it was: State.Error.
func (s *supervisor) damaged(err error) {
	err = errs.Hint(fmt.Errorf("read a file of container %s: %w", s.c.Name, err),
		"if the tarball is in your store, delete its directory: it is made again when it is needed; otherwise load or pull the image yourself")
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.Error = err.Error(); s.state.Status == disk.Running {
		_ = s.c.WriteState(s.state)
	}
}

// recordLoss records that the log has begun to lose what the container prints.
func (s *supervisor) recordLoss() {
	loss := s.io.loss()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.Status == disk.Running {
		s.state.Log = loss
		_ = s.c.WriteState(s.state) // on a full disk perhaps in vain; finish has room for it
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

func (s *supervisor) serve(device *os.File) {
	defer close(s.served)
	fd, err := unix.FcntlInt(device.Fd(), unix.F_DUPFD_CLOEXEC, 0) // Serve owns it
	device.Close()
	if err == nil {
		// An error here is that of a mount that went away at once, or fsBroken has it.
		_ = s.fs.Serve(fd)
	}
}

// running records that the container runs, and begins to listen.
func (s *supervisor) running(first *ns.Child) error {
	host, err := first.HostPid()
	if err != nil {
		return err
	}
	me, err := os.Readlink("/proc/self") // a number of the /proc that is mounted, as host is
	if err != nil {
		return err
	}
	if s.c.AutoRemove && !s.c.Walled() {
		// To take a mount namespace apart, the kernel waits for RCU grace periods, and the last
		// process in it does not end before. Here it is not the last: what the container has
		// written is of no use to anybody then, so why should its client wait? If this cannot be
		// opened, it does.
		s.mounts, _ = os.Open(fmt.Sprintf("/proc/%d/ns/mnt", host))
	}
	s.mu.Lock()
	s.state = disk.State{Status: disk.Running, Pid: host, PidStart: disk.StartTime(host), Started: time.Now().UTC(), Made: s.state.Made, Log: s.state.Log, Cgroup: s.req.Cgroup, Networks: s.req.Joined, Private: s.network != nil}
	if s.ports != nil {
		s.state.Ports = s.ports.Ports()
	}
	fmt.Sscan(me, &s.state.Supervisor)
	s.state.SupervisorStart = disk.StartTime(s.state.Supervisor)
	err = s.c.WriteState(s.state)
	if err == nil && !s.c.AutoRemove {
		err = s.c.Reserve(s.state)
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return s.listen()
}

// notePeriod is how long what init has found out stays in memory only. To replace
// state.json can take some milliseconds (appendix B of the book), for which a
// short command, and the removal of its container, would have to wait.
const notePeriod = 100 * time.Millisecond

// note records what init could not do, and which paths it had to make. The
// client does not wait for it.
func (s *supervisor) note() {
	s.mu.Lock()
	s.state.Notes = slices.Concat(s.req.Notes, s.notes, s.child.Notes)
	for _, path := range s.child.Created {
		if !slices.Contains(s.state.Made, path) {
			s.state.Made = append(s.state.Made, path)
		}
	}
	s.unwritten = len(s.state.Notes)+len(s.state.Made) > 0
	s.mu.Unlock()
	time.AfterFunc(notePeriod, func() {
		s.writeNotes()
		s.rememberIt.Do(s.remember)
	})
}

// writeNotes lets other processes see what note has collected.
func (s *supervisor) writeNotes() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unwritten && s.state.Status == disk.Running {
		_ = s.c.WriteState(s.state)
	}
	s.unwritten = false
}

// One run of a container from before its first process to after its last. Read supervise from top
// to bottom: it is the life of a container.

package supervisor

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/fs"
	"tiffin/internal/container/control"
	"tiffin/internal/container/disk"
	"tiffin/internal/network"
	"tiffin/internal/network/port"
	"tiffin/ns"
	"tiffin/ns/emulation"
)

// supervisor looks after one run of a container, from before its first
// process to after its last.
type supervisor struct {
	c     *disk.Container
	req   *control.Start
	first *control.Conn // to who asks for the start
	ids   ns.IDMap
	lock  *os.File // the container's, for as long as this process lives
	fs    *fs.FS   // nil if the files are unpacked
	tree  string   // where to, "" if they are not

	treeLock *os.File   // of shared; open for as long as this process lives
	volumes  []*os.File // directories of takeVolumes, which are locked for as long as this process lives
	io       *stdio

	broken atomic.Pointer[error] // why the file system has failed, if it has
	damage atomic.Pointer[error] // why the file system last had no bytes to give, if it had none

	signals chan os.Signal            // from catch to heed
	asked   atomic.Pointer[time.Time] // when a client has last passed SIGTERM to the first process

	emulator *emulation.Server // nil: the kernel answers all system calls
	device   uint64            // st_dev of the union in the container, for the emulator

	starts     starts     // what is remembered of the image; nil: nothing is to be remembered
	rememberIt sync.Once  // remember
	traceTo    *os.File   // where the client wants the trace of req.Trace
	beside     *os.File   // a pidfd: process 1 of the container whose network this one shares, or nil
	network    *os.File   // the network program; nil: the container has only loopback, or the host's
	private    bool       // it has a network of its own, beside those that it has joined
	joined     []*os.File // connections to the networks of req.Joined
	changing   sync.Mutex // held while its networks are changed; no other lock is held then
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

	before    disk.State // of the run before, zero if this is the first
	mu        sync.Mutex
	state     disk.State
	unwritten bool // state.json does not have all of state yet
	members   map[string]*membership
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
		first: first, ids: ids, started: make(chan struct{}), ended: make(chan struct{}), served: make(chan struct{}),
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
		if err = outputs(out); err == nil && !s.req.Foreground {
			err = forgetStderr()
		}
		if err == nil {
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
		cmd := s.main(out, s.req.Tied)
		cmd.first = s.req.Foreground
		s.converse(first, cmd)
	}()
	go s.heed()
	s.note()
	s.forward()
	go s.settle()
	go s.watchHealth()
	s.finish()
	s.sessions.finish()
	s.forwardLast()
	return 0
}

// forgetStderr lets go of the client's standard error output, which a container that outlives the
// client must not hold open.
func forgetStderr() error {
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
	s.before, _ = s.c.ReadState()
	choice, _ := network.ParseChoice(s.c.Network)
	s.private = s.network != nil && (choice.Kind == network.User || choice.Foreign() != nil)
	if s.req.Trace != nil && s.req.Trace.Network {
		if err := s.traceNetworkStart(); err != nil {
			return err
		}
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
	if err := s.takeVolumes(); err != nil {
		return err
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
		Attach: s.lay, Tap: s.cable,
		// While init prepares its root there is time for paperwork.
		Forked: func(c *ns.Child) {
			s.init = c
			early.Go(s.catch)
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
		return s.unread(s.reason(err))
	}
	s.child = child
	s.io.started(child.Console)
	return nil
}

// seal gives up what this process needs no longer.
func (s *supervisor) seal(spec *ns.Spec) error {
	var also uint64
	if s.c.Walled() || s.c.AutoRemove && slices.ContainsFunc(s.c.Volumes, func(v disk.Volume) bool { return v.Anonymous }) {
		// What clearWork, Vanish and Abandon remove is the container's: files of its ids, in
		// directories that the kernel, or the container, has closed.
		also = 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_FOWNER
	}
	return spec.Seal(also)
}

// openStdio makes the other sides of the command's standard files.
func (s *supervisor) openStdio(out []*os.File) (err error) {
	var log *disk.LogWriter
	before := s.before
	s.state.Made, s.state.Log = before.Made, before.Log
	if before.Status == disk.Restarting {
		s.state.Restarts = before.Restarts
	}
	if !s.c.NoLog && !s.req.Idle {
		log = &disk.LogWriter{Path: s.c.Path("log"), LogOptions: s.c.Log, Loss: before.Log, Tell: func() { go s.recordLoss() }}
	}
	if s.c.TTY && !s.req.Idle {
		s.io = newTerminal(log)
	} else if s.io, err = newStdio(s.c.Stdin, log); err != nil {
		return err
	}
	s.io.outlives = !s.req.Tied
	s.io.attach(out, s.req.Foreground)
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
	spec.Process.Env = disk.MergeEnv(spec.Process.Env, s.req.Env)
	if !s.private {
		spec.Interfaces, spec.Foreign = nil, nil
	}
	spec.Interfaces = append(spec.Interfaces, s.interfaces(s.req.Joined)...)
	spec.Files = s.c.Files(s.req.Joined)
	spec.Root = ns.Root{Target: s.c.Path("root"), Bind: s.tree}
	if s.tree == "" {
		spec.Root.FUSE = &ns.FUSEMount{Source: source, Type: fstype, Data: data}
	}
	if s.c.Overlaid() {
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

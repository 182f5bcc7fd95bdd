// What a command writes goes to its log and to all clients that are attached; what they type goes
// to the command.

package supervisor

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"tiffin/internal/container/disk"

	"golang.org/x/sys/unix"
)

// stdio is the supervisor's side of a command's standard files: what the
// command writes goes to the log and to all clients that are attached.
//
// The container never holds a descriptor of the user's: a terminal would let
// it push characters into the user's shell (TIOCSTI, ioctl_tty(2)), a
// directory would let it out, and a file could be opened anew through
// /proc/self/fd with more rights. So a command gets pipes, or a terminal of
// its own.
//
// The clients' descriptors come here instead: the supervisor writes straight
// to the user's standard output, one copy, no other process to wake up.
// Standard input goes the other way: the client gets the pipe (or a descriptor
// of the terminal's master side) and writes to it itself, since reading a
// user's terminal is the business of a process that job control can stop.
type stdio struct {
	child [3]*os.File // the command's ends, until started
	stdin *os.File    // the other end of its standard input, or nil: input
	out   [2]*stream  // standard output and error; [1] is nil with a terminal
	pumps sync.WaitGroup
	once  sync.Once
	lost  chan struct{} // closed by abandon

	outlives bool          // the command outlives the client that it was started by
	left     chan struct{} // closed: that client has gone, with a word or without
	mu       sync.Mutex    // guards that stdin is closed
}

// input is the other end of the command's standard input, nil if there is none, or none any more.
func (s *stdio) input() *os.File {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stdin
}

// closeInput leaves the standard input to those who have it.
func (s *stdio) closeInput() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stdin != nil {
		s.stdin.Close()
	}
	s.stdin = nil
}

// newStdio makes the pipes of a command without a terminal. With input, a client
// may write to its standard input; otherwise that is /dev/null.
func newStdio(input bool, log *disk.LogWriter) (*stdio, error) {
	s := &stdio{lost: make(chan struct{}), left: make(chan struct{})}
	if input {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, fmt.Errorf("make a pipe: %w", err)
		}
		s.child[0], s.stdin = r, w
	}
	for i, name := range []string{"stdout", "stderr"} {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, fmt.Errorf("make a pipe: %w", err)
		}
		s.child[1+i], s.out[i] = w, &stream{name: name, src: r, log: log}
	}
	return s, nil
}

// newTerminal is newStdio for a command with a terminal; its master side is
// known only when the command has been started, see started.
func newTerminal(log *disk.LogWriter) *stdio {
	s := &stdio{lost: make(chan struct{}), left: make(chan struct{})}
	s.out[0] = &stream{name: "stdout", log: log, hangup: s.abandon}
	return s
}

// started closes the command's ends and begins to pass its output on. console
// is the master side of its terminal, or nil.
func (s *stdio) started(console *os.File) {
	s.closeChild()
	if console != nil {
		// The descriptor that a client gets is of the same open file, so leave
		// it blocking; reading costs one thread.
		s.stdin, s.out[0].src = console, console
	}
	for _, o := range s.out {
		if o == nil {
			continue
		}
		s.pumps.Add(1)
		go func() {
			defer s.pumps.Done()
			o.pump(s)
		}()
	}
}

func (s *stdio) closeChild() {
	for i, f := range s.child {
		if f != nil {
			f.Close()
			s.child[i] = nil
		}
	}
}

// close releases what a command that did not start would have used.
func (s *stdio) close() {
	s.closeChild()
	if s.stdin != nil {
		s.stdin.Close()
	}
	for _, o := range s.out {
		if o != nil && o.src != nil {
			o.src.Close()
		}
	}
}

// attach lets the streams also go to out: two files, or none. With own, the command's output is for
// them alone: when the reader of one is gone, the command gets the EPIPE that it would get without
// a container, or is killed if it has a terminal. The same happens when a file cannot be written to
// for another reason, which failure remembers.
func (s *stdio) attach(out []*os.File, own bool) {
	for i, f := range out {
		if s.out[i] != nil {
			s.out[i].add(sink{f, own})
		}
	}
}

func (s *stdio) detach(out []*os.File) {
	for i, f := range out {
		if s.out[i] != nil {
			s.out[i].remove(f)
		}
	}
}

// failure says which of the files out, given to attach, could not be written to, and why.
func (s *stdio) failure(out []*os.File) (err error) {
	for i, f := range out {
		if s.out[i] == nil {
			continue
		}
		if e := s.out[i].failure(f); e != nil {
			err = errors.Join(err, fmt.Errorf("writing to standard %s: %w", [2]string{"output", "error"}[i], e))
		}
	}
	return err
}

// loss is what the log has lost.
func (s *stdio) loss() disk.LogLoss { return s.out[0].log.Lost() }

// abandon says that the client which the output was for is gone: drain does not
// wait for what it has not taken yet.
func (s *stdio) abandon() { s.once.Do(func() { close(s.lost) }) }

// leaving tells whether the client goes, too, whose output cannot be written any more: a terminal
// that is closed ends both, and the rest of what was to read, in any order. err is why the output
// cannot be written.
func (s *stdio) leaving(err error) bool {
	select {
	case <-s.left:
		return true
	default:
	}
	if !s.outlives {
		return false
	}
	if !errors.Is(err, unix.EPIPE) {
		return errors.Is(err, unix.EIO) // the terminal itself was closed
	}
	select {
	case <-s.left:
		return true
	case <-time.After(farewell):
		return false
	}
}

// farewell is how long a client may take to go after the reader of its output.
const farewell = time.Second

// drain waits until all output has been passed on, up to limit if that is not
// 0: a command of exec may have left children behind that keep it open.
func (s *stdio) drain(limit time.Duration) {
	done := make(chan struct{})
	go func() {
		s.pumps.Wait()
		close(done)
	}()
	var timeout <-chan time.Time
	if limit != 0 {
		timeout = time.After(limit)
	}
	select {
	case <-done:
	case <-s.lost:
	case <-timeout:
	}
}

type sink struct {
	f   *os.File
	own bool
}

// stream is standard output or error on its way.
type stream struct {
	name string
	src  *os.File
	log  *disk.LogWriter

	hangup func() // of a terminal: there is no end of it that could be closed for a command's EPIPE

	line []byte // the unfinished line that the log waits for; pump's own

	mu     sync.Mutex
	sinks  []sink             // replaced, never changed in place
	failed map[*os.File]error // why a former sink could not be written to
}

func (o *stream) add(k sink) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sinks = append(slices.Clone(o.sinks), k)
}

func (o *stream) remove(f *os.File) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sinks = slices.DeleteFunc(slices.Clone(o.sinks), func(k sink) bool { return k.f == f })
}

// fail removes a sink that could not be written to. EPIPE is not remembered: the reader knows that
// it has stopped reading.
func (o *stream) fail(f *os.File, err error) {
	o.remove(f)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failed == nil {
		o.failed = map[*os.File]error{}
	}
	if !errors.Is(err, unix.EPIPE) {
		o.failed[f] = err
	}
}

func (o *stream) failure(f *os.File) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.failed[f]
}

func (o *stream) current() []sink {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.sinks
}

// pumpSize is how much is read at once, in bytes: the capacity of a pipe.
const pumpSize = 64 << 10

// maxLine is how much of an unfinished line waits for its end, in bytes:
// docker's number.
const maxLine = 16 << 10

// record logs what the stream brought, by whole lines: many commands write a
// line in pieces, and one entry of the log is to be one line.
func (o *stream) record(p []byte, end bool) {
	if o.log == nil {
		return
	}
	if len(o.line) > 0 {
		p = append(o.line, p...)
	}
	n := bytes.LastIndexByte(p, '\n') + 1
	if end || len(p)-n > maxLine {
		n = len(p)
	}
	o.log.Write(o.name, p[:n], time.Now())
	o.line = append(o.line[:0], p[n:]...)
}

// pump passes everything on until the end of the stream.
func (o *stream) pump(s *stdio) {
	defer o.record(nil, true)
	b := make([]byte, pumpSize)
	for {
		n, err := o.src.Read(b)
		if n > 0 {
			o.record(b[:n], false)
			for _, k := range o.current() {
				err := writeAll(k.f, b[:n])
				if err == nil {
					continue
				}
				o.fail(k.f, err)
				if !k.own || s.leaving(err) {
					continue
				}
				if o.hangup != nil {
					o.hangup()
				} else {
					o.src.Close()
					return
				}
			}
		}
		// The master of a terminal answers EIO when nobody has the other side
		// open any more.
		if err != nil {
			return
		}
	}
}

// writeAll writes p to a descriptor of another process, which may have made it
// non-blocking.
func writeAll(f *os.File, p []byte) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		for len(p) > 0 {
			n, err := unix.Write(int(fd), p)
			switch {
			case err == nil:
				p = p[n:]
			case err == unix.EINTR:
			case err == unix.EAGAIN:
				_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, -1)
			default:
				failed = err
				return
			}
		}
	})
	if failed != nil {
		return failed
	}
	return err
}

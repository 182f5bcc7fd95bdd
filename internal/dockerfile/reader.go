// The client's side: the program is started, and asked.

package dockerfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/internal/programs"
	"tiffin/internal/wire"
)

// Reader is a program that has been started. It belongs to one goroutine at a time.
type Reader struct {
	name string // of the file, for messages
	conn *wire.Conn
	cmd  *exec.Cmd
	said bytes.Buffer // by the Go runtime, if it ends the program
	// Warn is told of each thing that BuildKit's checks find. May be nil.
	Warn func(*Note)
}

// patience is how long an answer may take. The largest Dockerfile takes a fraction of a second.
const patience = 30 * time.Second

// Open starts the program for the Dockerfile of that name, for messages; root is that of the store.
// The caller closes it.
func Open(root, name string) (*Reader, error) {
	p, err := programs.Find(programs.Dockerfile)
	if err != nil {
		return nil, fmt.Errorf("read a Dockerfile: %w", err)
	}
	f, err := p.Open(root)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	conn, theirs, err := wire.Pair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	// It inherits its connection as wire.FD, and itself: it may be in memory only.
	cmd := exec.Command("/proc/self/fd/4")
	cmd.Args, cmd.Env, cmd.Dir, cmd.ExtraFiles = []string{"tiffin-dockerfile"}, []string{}, "/", []*os.File{theirs, f}
	r := &Reader{name: name, conn: conn, cmd: cmd}
	cmd.Stderr = &r.said
	if err := cmd.Start(); err != nil {
		conn.Close()
		return nil, fmt.Errorf("start the reader of Dockerfiles: %w", err)
	}
	return r, nil
}

// Close ends the program.
func (r *Reader) Close() {
	r.conn.Close()
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait()
}

// Parse reads the text, and says what of it is needed. The error is a *Note for what the text has
// wrong, or what cannot be built.
func (r *Reader) Parse(p Parse) (*File, error) {
	if len(p.Text) > MaxText {
		return nil, fmt.Errorf("%s has %d bytes; a Dockerfile may have %d", r.name, len(p.Text), MaxText)
	}
	a, err := r.ask(Request{Parse: &p})
	if err == nil && a.File == nil {
		err = errNoAnswer
	}
	if err != nil {
		return nil, err
	}
	return a.File, nil
}

// Instructions are those of a stage on its base.
func (r *Reader) Instructions(b Base) ([]Instruction, error) {
	a, err := r.ask(Request{Stage: &b})
	if err != nil {
		return nil, err
	}
	return a.Instructions, nil
}

var errNoAnswer = errors.New("the reader of Dockerfiles has no answer")

func (r *Reader) ask(q Request) (*Answer, error) {
	r.conn.SetDeadline(time.Now().Add(patience))
	var a Answer
	err := r.conn.Send(&q)
	if err == nil {
		err = r.conn.Receive(&a)
	}
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, unix.EPIPE):
		end := r.cmd.Wait()
		first, _, _ := strings.Cut(r.said.String(), "\n")
		return nil, fmt.Errorf("%w: %w: %s", errNoAnswer, end, first)
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", r.name, err)
	}
	for i := range a.Warnings {
		if a.Warnings[i].File = r.name; r.Warn != nil {
			r.Warn(&a.Warnings[i])
		}
	}
	if a.Error != nil {
		a.Error.File = r.name
		return nil, a.Error
	}
	return &a, nil
}

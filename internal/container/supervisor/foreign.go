// A program of others makes the container's interface, and carries its packets: network.Foreign.

package supervisor

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/ns"
)

// layTime is how long such a program may take until it is ready.
const layTime = 10 * time.Second

// lay starts the program, and returns when the interface is there. It has to be early: the
// rights by which the program locks itself up are those that Seal takes away. So there is no second
// one when it has ended.
func (s *supervisor) lay(first *ns.Child) error {
	f := s.c.Plan(s.ids).Foreign
	failed := func(why error) error { return fmt.Errorf("network %s: %w", f.Name, why) }
	pid, err := first.HostPid()
	if err != nil {
		return failed(err)
	}
	var files [4]*os.File // two pipes: its standard output, and its standard error
	for i := 0; i < len(files) && err == nil; i += 2 {
		files[i], files[i+1], err = os.Pipe()
	}
	if err != nil {
		return failed(err)
	}
	out, said := files[0], files[2]
	program, err := ns.Foreign(s.network, f.Args(strconv.Itoa(pid)), [3]*os.File{nil, files[1], files[3]})
	files[1].Close()
	files[3].Close()
	if err != nil {
		return failed(err)
	}
	end := func() error {
		status, _ := program.Wait()
		program.Close()
		return errors.New(endOf(status))
	}
	_ = out.SetReadDeadline(time.Now().Add(layTime))
	if _, err = out.Read(make([]byte, 64)); err != nil {
		_ = program.Signal(unix.SIGKILL)
		words, _ := io.ReadAll(io.LimitReader(said, 64<<10))
		if why := end(); errors.Is(err, os.ErrDeadlineExceeded) {
			err = fmt.Errorf("it is not ready after %v", layTime)
		} else if lines := strings.TrimSpace(strings.ToValidUTF8(string(words), "?")); lines == "" {
			err = why
		} else {
			err = errors.New(lines[strings.LastIndex(lines, "\n")+1:])
		}
		return failed(err)
	}
	_ = out.SetReadDeadline(time.Time{})
	go func() {
		_, _ = io.Copy(io.Discard, out)
		_, _ = io.Copy(io.Discard, said)
		s.noteEnd("network "+f.Name, "nothing leaves the container until that is started again", end())
	}()
	return nil
}

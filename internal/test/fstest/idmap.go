// The ids of the test's user namespace, one or a range.

package fstest

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"syscall"
)

// idMap gives the new user namespace its ids. One id, ours as 0, any user may
// map. More need privilege, which root has and everyone else borrows from
// newuidmap(1); user_namespaces(7), "Defining user and group ID mappings".
type idMap struct {
	n      uint32
	helper bool     // newuidmap has to do it
	pipe   *os.File // closed when it has
}

func newIDMap(n uint32) *idMap { return &idMap{n: max(n, 1), helper: n > 1 && os.Geteuid() != 0} }

func (m *idMap) attr() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if !m.helper {
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: int(m.n)}}
		a.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: int(m.n)}}
		a.GidMappingsEnableSetgroups = m.n > 1
	}
	return a
}

// gate is the file on which the anchor waits for its ids: end-of-file opens it.
func (m *idMap) gate() *os.File {
	r, w, err := os.Pipe()
	if err != nil {
		panic(err) // only for want of descriptors or memory
	}
	m.pipe = w
	return r
}

// write maps the ids of process pid, if the kernel has not been told already.
func (m *idMap) write(pid int) error {
	defer m.pipe.Close()
	if !m.helper {
		return nil
	}
	u, err := user.Current()
	if err != nil {
		return err
	}
	for _, h := range []struct {
		tool, file, own string
	}{{"newuidmap", "/etc/subuid", u.Uid}, {"newgidmap", "/etc/subgid", u.Gid}} {
		first, err := subordinate(h.file, u, m.n-1)
		if err != nil {
			return err
		}
		out, err := exec.Command(h.tool, strconv.Itoa(pid), "0", h.own, "1", "1", first, fmt.Sprint(m.n-1)).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w: %s", h.tool, err, out)
		}
	}
	return nil
}

// subordinate finds the user's first range of at least n ids, subuid(5).
func subordinate(file string, u *user.User, n uint32) (first string, err error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		e := strings.Split(sc.Text(), ":")
		if len(e) != 3 || e[0] != u.Username && e[0] != u.Uid {
			continue
		}
		if size, err := strconv.ParseUint(e[2], 10, 32); err == nil && size >= uint64(n) {
			return e[1], nil
		}
	}
	return "", fmt.Errorf("%s has no range of %d ids for %s", file, n, u.Username)
}

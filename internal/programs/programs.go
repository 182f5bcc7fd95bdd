// Package programs knows the programs that a tiffin carries, and finds them a place to be executed
// from.
//
// tiffin is one file to install, but several programs. The one that a person types links the
// registry client, the flags and the progress bars, which would only slow down those that start
// with each container. So scripts/setup builds these separately and embeds them:
//
//	runtime    supervisor, init and the helpers of a container: package supervisor
//	network    carries the packets of containers: package network/stack
//	userland   shell and commands of tiffin/base: the module in internal/userland
//	compose    reads compose files and those of Kubernetes: the packages named parser
//	dockerfile reads Dockerfiles: package dockerfile
//
// A bare `go build .` embeds none. Then tiffin itself stands in for the runtime, whose functions it
// has as well, and there is neither tiffin/base nor `tiffin compose`, `tiffin play kube` nor
// `tiffin build`, and no network but none and host.
//
// # Where they are executed from
//
// The kernel executes files, so an embedded program becomes one: ROOT/programs/DIGEST in the store,
// written when it is first needed and then left alone. DIGEST is the SHA-256 of the program, so
// that several versions of tiffin share a store without knowing of each other. The file is complete
// or absent (written under another name, synced, renamed). Where the store cannot be written, is
// full or is mounted noexec, the program is copied into memory instead, where seals keep it as it
// is (memfd_create(2), "File sealing"), at each start. Where that does not work either, the running
// program stands in.
//
// # What is believed
//
// A start cannot afford to hash megabytes, so the bytes are checked once, when they are written.
// Later the file is believed if it is a regular file of this user's with mode 0500, in a directory
// of this user's that nobody else may write to, and has the size and the modification time that it
// was given: a constant, which a write(2) would have replaced. Only this user (or root) can make
// another file look like that, and could as well replace tiffin itself. An accident, such as a half
// restored backup, shows in size or time. A file that is not believed is replaced by a new one.
//
// Root of a container is this user, and may find the file as /proc/PID/exe of a process that comes
// up there. If it could write to the file, that would run outside at the next start (runc's
// CVE-2019-5736). Mode 0500 is no wall against the owner. Package ns builds the wall: it executes
// every process that a container can see from a read-only clone of the mount (ns/exe.go). The
// supervisor itself is in a pid namespace above all of them.
package programs

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/internal/errs"
)

// Names of programs.
const (
	Runtime    = "runtime"
	Userland   = "userland"
	Compose    = "compose"
	Network    = "network"
	Dockerfile = "dockerfile"
)

// Program is an embedded program: an executable file that needs no other.
type Program struct {
	Name   string
	Digest string // SHA-256, 64 hexadecimal digits
	Size   int64  // bytes
	data   string // all of it: where the executable of tiffin has it
}

// ErrNotEmbedded is the error for a program that this tiffin was built without.
var ErrNotEmbedded = errors.New("not built into this tiffin")

// Find returns the program of that name; the error is ErrNotEmbedded with a hint.
func Find(name string) (Program, error) {
	for _, p := range Embedded() {
		if p.Name == name {
			return p, nil
		}
	}
	return Program{}, errs.Hint(fmt.Errorf("the program %s is %w", name, ErrNotEmbedded),
		"a bare `go build` leaves it out: scripts/setup builds all of tiffin")
}

// written is the modification time of a program that is laid out: a constant, so that any other
// time shows that the file was written to.
var written = time.Unix(1767225600, 0) // 2026-01-01 00:00:00 UTC

// Open opens the program for execution, read-only: laid out in the store at root if possible,
// else in memory.
func (p Program) Open(root string) (*os.File, error) {
	dir := filepath.Join(root, "programs")
	f, err := p.laidOut(dir)
	if err == nil {
		return f, nil
	}
	if err = p.layOut(dir); err == nil {
		f, err = p.laidOut(dir)
	}
	if err == nil {
		return f, nil
	}
	f, inMemory := p.memory()
	if inMemory != nil {
		return nil, fmt.Errorf("lay out the program %s: %w; copy it into memory: %w", p.Name, err, inMemory)
	}
	return f, nil
}

// Open opens a program for execution, laid out in the store at root; the running program stands in
// for it if that fails.
func Open(root, name string) (*os.File, error) {
	if p, err := Find(name); err == nil {
		if f, err := p.Open(root); err == nil {
			return f, nil
		}
	}
	return os.Open("/proc/self/exe")
}

// WriteTo writes the program to w: io.WriterTo.
func (p Program) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, p.data)
	return int64(n), err
}

// laidOut opens the file in dir if it can be believed and executed.
func (p Program) laidOut(dir string) (*os.File, error) {
	fd, err := unix.Open(filepath.Join(dir, p.Digest), unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	err = errors.Join(ownDirectory(dir), unix.Fstat(fd, &st))
	switch {
	case err != nil:
	case st.Uid != uint32(os.Geteuid()) || st.Mode != unix.S_IFREG|0o500 || st.Size != p.Size || st.Mtim.Nano() != written.UnixNano():
		err = errors.New("the file has been changed")
	default:
		// access(2), EACCES: nobody may execute anything on a file system that is mounted noexec.
		err = unix.Access("/proc/self/fd/"+strconv.Itoa(fd), unix.X_OK)
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), p.Name), nil
}

// ownDirectory checks that dir is a directory that nobody but this user can write to.
func ownDirectory(dir string) error {
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return err
	}
	if st.Uid != uint32(os.Geteuid()) || st.Mode&unix.S_IFMT != unix.S_IFDIR || st.Mode&0o022 != 0 {
		return fmt.Errorf("%s is not a directory of this user's alone", dir)
	}
	return nil
}

// layOut writes the program into dir: complete or not at all, also if several do it at once.
func (p Program) layOut(dir string) (err error) {
	if err := p.check(); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil { // the store may be new
		return err
	}
	if err := ownDirectory(dir); err != nil {
		return err
	}
	// execve(2), ETXTBSY: a file is not executed while anybody has it open for writing, and a child
	// that another goroutine forks meanwhile would have, until its own execve. So none is forked.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	tmp, err := os.CreateTemp(dir, "new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(tmp.Name())
		}
	}()
	_, err = io.WriteString(tmp, p.data)
	if err == nil {
		err = tmp.Chmod(0o500)
	}
	if err == nil {
		err = os.Chtimes(tmp.Name(), written, written)
	}
	// Synced before it has its name: after a crash of the machine a name could lead to blocks that
	// were never written, behind the right size and time (rename(2) promises an order of names, not
	// of data).
	if err == nil {
		err = tmp.Sync()
	}
	err = errors.Join(err, tmp.Close())
	if err != nil {
		return err
	}
	return os.Rename(tmp.Name(), filepath.Join(dir, p.Digest))
}

// check compares the program with its digest: a tiffin that was damaged on its way here must not
// leave a file in the store under a wrong digest.
func (p Program) check() error {
	h := sha256.New()
	io.WriteString(h, p.data)
	if hex.EncodeToString(h.Sum(nil)) != p.Digest {
		return fmt.Errorf("this tiffin is damaged: the program %s has not the digest %s", p.Name, p.Digest)
	}
	return nil
}

// memory makes a copy in memory that nobody can write: memfd_create(2), "File sealing".
func (p Program) memory() (*os.File, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate("tiffin-"+p.Name, flags|unix.MFD_EXEC)
	if err == unix.EINVAL { // before Linux 6.3
		fd, err = unix.MemfdCreate("tiffin-"+p.Name, flags)
	}
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	f := os.NewFile(uintptr(fd), p.Name)
	_, err = io.WriteString(f, p.data)
	if err == nil {
		const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
		_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Clean removes the programs of other versions of tiffin from the store at root, and what an
// interrupted command has left there. It returns how many bytes are free now. A version that is
// still used lays its programs out again; a process that runs one keeps it as long as it needs it.
func Clean(root string) (freed int64, err error) {
	dir := filepath.Join(root, "programs")
	files, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	mine := map[string]bool{}
	for _, p := range Embedded() {
		mine[p.Digest] = true
	}
	for _, f := range files {
		if mine[f.Name()] {
			continue
		}
		info, e := f.Info()
		if e == nil {
			e = os.Remove(filepath.Join(dir, f.Name()))
		}
		if e == nil {
			freed += info.Size()
		} else if !errors.Is(e, os.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return freed, err
}

// The containers of a store: made, found by name or id, listed, and swept of what killed commands
// have left.

package disk

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/image/sidecar"
	"tiffin/internal/errs"
	"tiffin/ns/cgroup"
)

// Set is the containers of a user: the directory ROOT/containers.
type Set struct {
	root, dir string
	images    string // root of the store with their images, often the same
}

// ErrNotFound is wrapped by errors that say there is no such container.
var ErrNotFound = errors.New("no such container")

// In returns the containers of the store at root, an absolute path.
func In(root string) *Set { return At(root, root) }

// At returns the containers in root of images in the store at images: see RunRoot. Both are
// absolute paths.
func At(images, root string) *Set {
	return &Set{root: root, dir: filepath.Join(root, "containers"), images: images}
}

func validID(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}

// validName reports whether s can be the name of a container: docker's rule,
// and nothing that could be taken for a whole ID.
func validName(s string) bool {
	ok := len(s) >= 2 && len(s) <= 128 && !validID(s)
	for i, c := range []byte(s) {
		alnum := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		ok = ok && (alnum || i > 0 && (c == '_' || c == '.' || c == '-'))
	}
	return ok
}

// ValidHostname reports whether a machine can be called that: letters, digits and hyphens, in parts
// of up to 63 bytes with dots between them, RFC 1123 section 2.1, and no more than 64 bytes in all,
// sethostname(2). It becomes part of files and of the environment.
func ValidHostname(s string) bool {
	for part := range strings.SplitSeq(s, ".") {
		if part == "" || len(part) > 63 || part[0] == '-' || part[len(part)-1] == '-' {
			return false
		}
		for _, c := range []byte(part) {
			if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '-' {
				return false
			}
		}
	}
	return len(s) <= 64
}

// Create makes the directory of a new container and gives it an ID, a name if
// cfg has none, and a time. It returns the container together with its lock,
// which the caller closes or passes to Start. Until Start or Commission
// has been called it does not show, and once the lock is dropped it is garbage.
func (s *Set) Create(cfg Config) (*Container, *os.File, error) {
	var id [32]byte
	rand.Read(id[:]) // never fails, crypto/rand
	cfg.ID, cfg.Created = hex.EncodeToString(id[:]), time.Now().UTC()
	c := &Container{Config: cfg, dir: filepath.Join(s.dir, cfg.ID), images: s.images}
	c.Volumes = slices.Clone(cfg.Volumes)
	if err := s.prepare(); err != nil {
		return nil, nil, err
	}
	volumes, err := s.nameVolumes(c)
	if err != nil {
		return nil, nil, err
	}
	fail := func(err error) (*Container, *os.File, error) {
		os.RemoveAll(c.dir)
		volumes.Close() // nil: there is none
		c.Abandon(s, nil)()
		return nil, nil, err
	}
	if err := os.Mkdir(c.dir, 0o700); err != nil {
		err = fmt.Errorf("create container: %w", err)
		if errors.Is(err, unix.EROFS) || errors.Is(err, os.ErrPermission) {
			err = errs.Hint(err, "TIFFIN_RUN_ROOT is a directory for containers alone: set it to one that you can write to")
		}
		return fail(err)
	}
	// It gets its name only when it is held: Sweep of another command, which deletes what has a
	// free lock, may come between open(2) and fcntl(2).
	lock, err := acquire(c.Path("lock.new"), os.O_CREATE|os.O_EXCL)
	if err == nil {
		err = os.Rename(c.Path("lock.new"), c.Path("lock"))
	}
	if err != nil {
		return fail(fmt.Errorf("create container: %w", err))
	}
	if err := s.fill(c); err != nil {
		lock.Close()
		return fail(err)
	}
	volumes.Close()
	return c, lock, nil
}

// fill puts into the new directory what every container has.
func (s *Set) fill(c *Container) error {
	dirs := []string{"root"}
	if c.InMemory() {
		dirs = append(dirs, "memory", "memory/upper", "memory/work")
	} else if !c.Walled() {
		dirs = append(dirs, "upper", "work")
	}
	for _, d := range dirs {
		if err := os.Mkdir(c.Path(d), 0o700); err != nil {
			return fmt.Errorf("create container: %w", err)
		}
	}
	if err := CheckNames(c.dir, "root"); err != nil {
		return err
	}
	if err := s.name(c); err != nil {
		return err
	}
	if c.Hostname == "" {
		c.Hostname = c.Short()
	}
	if err := c.writeConfig(); err != nil {
		os.Remove(filepath.Join(s.dir, c.Name))
		return fmt.Errorf("create container: %w", err)
	}
	return nil
}

// exact looks in JSON for what encoding/json writes for a byte that is not UTF-8: JSON has none,
// RFC 8259, 8.1. A true U+FFFD it writes as it is.
func exact(b []byte) error {
	const lost = `\ufffd`
	for i := 0; ; i += len(lost) {
		n := bytes.Index(b[i:], []byte(lost))
		if n < 0 {
			return nil
		}
		i += n
		if before := b[:i]; (len(before)-len(bytes.TrimRight(before, `\`)))%2 == 0 { // the backslash is not escaped itself
			from, to := bytes.LastIndexByte(before, '"'), bytes.IndexByte(b[i:], '"')
			return fmt.Errorf("%s is not UTF-8, and a container's configuration can have nothing else", b[max(from, 0):i+to+1])
		}
	}
}

// Exact is nil if v can be sent as JSON and arrives as it is.
func Exact(v any) error {
	b, err := json.Marshal(v)
	if err == nil {
		err = exact(b)
	}
	return err
}

// writeConfig writes config.json: whole or not at all, even if this process is killed now.
func (c *Container) writeConfig() error {
	b, err := json.MarshalIndent(c.Config, "", "\t")
	if err == nil {
		err = exact(b)
	}
	if err != nil {
		return err
	}
	if err := os.WriteFile(c.Path("config.json.new"), append(b, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(c.Path("config.json.new"), c.Path("config.json"))
}

// Rename gives the container another name. It has both until config.json has the new one: if this
// process is killed before, the old name stays, and the link of the new one leads to the container
// until that is removed.
func (s *Set) Rename(c *Container, name string) error {
	if !validName(name) {
		return invalidName(name)
	}
	if name == c.Name {
		return errs.Hint(fmt.Errorf("container %.12s is called %s already", c.ID, name), "choose another name")
	}
	if err := s.link(name, c.ID); err != nil {
		return err
	}
	old := c.Name
	c.Name = name
	if err := c.writeConfig(); err != nil {
		os.Remove(filepath.Join(s.dir, name))
		return fmt.Errorf("rename container %s: %w", old, err)
	}
	if id, err := os.Readlink(filepath.Join(s.dir, old)); err == nil && id == c.ID {
		os.Remove(filepath.Join(s.dir, old))
	}
	return nil
}

// SetLimits changes the limits for the next start.
func (c *Container) SetLimits(l cgroup.Limits) error {
	c.Limits = l
	if err := c.writeConfig(); err != nil {
		return fmt.Errorf("update container %s: %w", c.Name, err)
	}
	return nil
}

// SetDriver gives another driver to a container that has never run.
func (c *Container) SetDriver(driver string) error {
	err := errors.Join(os.RemoveAll(c.UpperDir()), os.RemoveAll(c.WorkDir()), os.RemoveAll(sidecar.Path(c.UpperDir())))
	c.Driver = driver
	if err = errors.Join(err, c.writeConfig()); err != nil {
		return fmt.Errorf("give container %s the driver %s: %w", c.Name, driver, err)
	}
	return nil
}

func invalidName(name string) error {
	return errs.Hint(fmt.Errorf("container name %q is not valid", name),
		"use two or more of a-z A-Z 0-9 _ . - and start with a letter or digit")
}

// name makes the symbolic link containers/NAME -> ID: symlink(2) fails if the
// name is there, so two commands cannot give it away twice.
func (s *Set) name(c *Container) error {
	if c.Name != "" {
		if !validName(c.Name) {
			return invalidName(c.Name)
		}
		return s.link(c.Name, c.ID)
	}
	for range 100 {
		c.Name = randomName()
		if err := s.link(c.Name, c.ID); err == nil || !errors.Is(err, errNameTaken) {
			return err
		}
	}
	c.Name = c.Short()
	return s.link(c.Name, c.ID)
}

var errNameTaken = errors.New("name is taken")

func (s *Set) link(name, id string) error {
	path := filepath.Join(s.dir, name)
	err := os.Symlink(id, path)
	if !errors.Is(err, os.ErrExist) {
		return err
	}
	// A command that was killed may have left the name of nothing. Only one
	// process at a time may find that out and take the name over.
	dir, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	if unix.Flock(int(dir.Fd()), unix.LOCK_EX) == nil { // until the close
		owner, err := os.Readlink(path)
		if err == nil && !locked(filepath.Join(s.dir, owner, "lock")) {
			if _, err := os.Stat(filepath.Join(s.dir, owner, "state.json")); errors.Is(err, os.ErrNotExist) {
				os.Remove(path)
				if err := os.Symlink(id, path); !errors.Is(err, os.ErrExist) {
					return err
				} // somebody came between who had not met the old one
			}
		}
	}
	owner, _ := os.Readlink(path)
	return errs.Hint(fmt.Errorf("%w: %q is the name of container %.12s", errNameTaken, name, owner),
		fmt.Sprintf("remove that one with `tiffin rm %s`, or choose another name", name))
}

// Commission makes a created container visible. cause is the error if it could
// not be started, or nil.
func (c *Container) Commission(cause error) error {
	s := State{Status: Created}
	if cause != nil {
		s.Error, s.ExitCode = cause.Error(), errs.CodeOf(cause, 125)
	}
	return c.WriteState(s)
}

// ids returns the ids of all directories that look like containers.
func (s *Set) ids() ([]string, error) {
	ents, err := os.ReadDir(s.dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the containers: %w", err)
	}
	var ids []string
	for _, e := range ents {
		if validID(e.Name()) {
			ids = append(ids, e.Name())
		}
	}
	return ids, nil
}

// All returns the containers, the newest first. One that cannot be read is
// left out; its error is among those joined in err.
func (s *Set) All() (all []*Container, err error) {
	ids, err := s.ids()
	for _, id := range ids {
		c, e := s.get(id)
		switch {
		case e == nil:
			all = append(all, c)
		case !errors.Is(e, os.ErrNotExist):
			err = errors.Join(err, e)
		}
	}
	slices.SortFunc(all, func(a, b *Container) int { return b.Created.Compare(a.Created) })
	return all, err
}

// get opens the container with a whole ID. It is os.ErrNotExist until its
// state has been written.
func (s *Set) get(id string) (*Container, error) {
	dir := filepath.Join(s.dir, id)
	if _, err := os.Stat(filepath.Join(dir, "state.json")); err != nil {
		return nil, err
	}
	c, err := Open(dir)
	if err == nil {
		c.images = s.images
	}
	return c, err
}

// Find returns the container with a name, an ID, or the beginning of one ID only.
func (s *Set) Find(ref string) (*Container, error) {
	missing := errs.Hint(fmt.Errorf("%w: %s", ErrNotFound, ref), "`tiffin ps -a` lists the containers")
	if validName(ref) {
		if id, err := os.Readlink(filepath.Join(s.dir, ref)); err == nil && validID(id) {
			if c, err := s.get(id); err == nil || !errors.Is(err, os.ErrNotExist) {
				return c, err
			}
		}
	}
	if ref == "" || strings.Trim(ref, "0123456789abcdef") != "" {
		return nil, missing
	}
	ids, err := s.ids()
	if err != nil {
		return nil, err
	}
	var found []*Container
	for _, id := range ids {
		if !strings.HasPrefix(id, ref) {
			continue
		}
		c, err := s.get(id)
		if err == nil {
			found = append(found, c)
		} else if !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	switch len(found) {
	case 0:
		return nil, missing
	case 1:
		return found[0], nil
	}
	return nil, errs.Hint(fmt.Errorf("%d containers have an id that begins with %s", len(found), ref), "give more of its digits")
}

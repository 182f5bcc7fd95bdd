package image

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"tiffin/internal/errs"
)

// disk is a directory with an OCI image layout and what is derived from it. It is safe for use by
// several goroutines and several processes at once.
type disk struct {
	root     string
	readOnly bool
}

// Names of a layer's derived files.
const (
	flatName  = "flat.tar"
	indexName = "index"
	// unsyncedName marks a flat.tar that was not yet on the disk when it was
	// published. See derived.go.
	unsyncedName = "unsynced"
)

// ErrReadOnly is wrapped by errors that say the store cannot be changed.
var ErrReadOnly = errors.New("the store is read-only")

// layoutMarker is the file that makes a directory an OCI image layout.
// OCI image-spec v1.1 image-layout.md, "oci-layout file".
const layoutMarker = `{"imageLayoutVersion":"1.0.0"}`

// DefaultRoot is where the store of this user is: $TIFFIN_ROOT, or
// $XDG_DATA_HOME/tiffin, or ~/.local/share/tiffin.
func DefaultRoot() (string, error) {
	if dir := os.Getenv("TIFFIN_ROOT"); dir != "" {
		return filepath.Abs(dir)
	}
	// XDG Base Directory Specification: a relative path is to be ignored.
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "tiffin"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", errs.Hint(fmt.Errorf("find a place for the store: %w", err), "set TIFFIN_ROOT to a directory of your own")
	}
	return filepath.Join(home, ".local", "share", "tiffin"), nil
}

// openDisk opens the store at root, and makes it if it is missing. A store that
// this user may not write to is opened for reading.
func openDisk(root string) (*disk, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	s := &disk{root: root}
	if err := unix.Access(filepath.Join(root, "lock"), unix.W_OK); err != nil {
		if err := s.create(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// openReadOnly opens a store of somebody else's: nothing in it is ever changed.
func openReadOnly(root string) *disk { return &disk{root: root, readOnly: true} }

// create makes the directories of a new store, or finds that an existing one
// is read-only.
func (s *disk) create() error {
	if _, err := os.Stat(s.path("oci-layout")); err == nil && unix.Access(s.root, unix.W_OK) != nil {
		s.readOnly = true
		return nil
	}
	for _, dir := range []string{"", "blobs", "blobs/sha256", "layers", "unions", "containers", "tmp"} {
		// 0700: what is in a container is the business of its owner.
		if err := os.MkdirAll(s.path(dir), 0o700); err != nil {
			return errs.Hint(fmt.Errorf("make the store: %w", err), "set TIFFIN_ROOT to a directory that you can write to")
		}
	}
	for _, f := range []struct{ name, content string }{
		{"oci-layout", layoutMarker}, {"index.json", `{"schemaVersion":2,"manifests":[]}`}, {"lock", ""},
	} {
		if err := s.createFile(f.name, f.content); err != nil {
			return fmt.Errorf("make the store: %w", err)
		}
	}
	return nil
}

// createFile makes a file that appears complete or not at all, and leaves one
// that exists alone: two commands may make the store at once.
func (s *disk) createFile(name, content string) error {
	if _, err := os.Stat(s.path(name)); err == nil {
		return nil
	}
	tmp, err := lockDir(s.path("tmp"), unix.LOCK_SH) // keeps sweep out
	if err != nil {
		return err
	}
	defer tmp.Close()
	f, err := os.CreateTemp(tmp.Name(), "new-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if _, err := f.WriteString(content); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Link(f.Name(), s.path(name)); err != nil && !errors.Is(err, fs.ErrExist) {
		// A file system without hard links: rename replaces equal content.
		return os.Rename(f.Name(), s.path(name))
	}
	return nil
}

// Root is the store's directory, an absolute path.
func (s *disk) Root() string { return s.root }

// ReadOnly reports whether the store cannot be changed.
func (s *disk) ReadOnly() bool { return s.readOnly }

func (s *disk) path(elem ...string) string {
	return filepath.Join(append([]string{s.root}, elem...)...)
}

// blobPath is where the blob with digest d is. d must have passed validDigest.
func (s *disk) blobPath(d digest.Digest) string { return s.path("blobs", "sha256", d.Encoded()) }

func (s *disk) layerDir(diffID digest.Digest) string { return s.path("layers", diffID.Encoded()) }

func (s *disk) unionPath(chain digest.Digest) string { return s.path("unions", chain.Encoded()) }

// lock takes the store's lock, flock(2), with how LOCK_SH or LOCK_EX, and
// waits for it. The kernel drops it when the process ends, however it ends.
func (s *disk) lock(how int) (release func(), err error) {
	if s.readOnly {
		if how == unix.LOCK_SH {
			return func() {}, nil
		}
		return nil, fmt.Errorf("%s: %w", s.root, ErrReadOnly)
	}
	f, err := os.OpenFile(s.path("lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the store: %w", err)
	}
	for {
		err := unix.Flock(int(f.Fd()), how)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock the store: %w", err)
		}
	}
}

// Hold keeps every image in the store until release is called: Remove and
// Prune of other processes wait. A container's directory is made under it, for
// from then on Uses protects the image. Nothing that changes the store may be
// called meanwhile, not even Mountable, which may have to rebuild something: it
// would wait for ever.
func (s *disk) Hold() (release func(), err error) { return s.lock(unix.LOCK_SH) }

func (s *disk) flatPath(diffID digest.Digest) string {
	return filepath.Join(s.layerDir(diffID), flatName)
}

func (s *disk) indexPath(diffID digest.Digest) string {
	return filepath.Join(s.layerDir(diffID), indexName)
}

// bootID names the running kernel. random(4), "/proc interfaces".
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "" // matches nothing: the digest is checked
	}
	return string(bytes.TrimSpace(b))
}

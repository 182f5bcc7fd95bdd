// Package store keeps a directory of blobs: an OCI image layout (OCI image-spec v1.1
// image-layout.md) with its index.json, its locks, and the staging directories in which commands
// prepare what they add. What a blob says is not known here.
//
// Other programs that read OCI layouts, such as skopeo, podman and umoci, read this one as it is.
// There is more in it, which they do not look at: appendix A of the book
// (tutorial/book/a-formats.md) lists all of it. All files belong to the user who owns the store.
//
// # The order of trust
//
// What a command adds it first makes in a staging directory below tmp/ that has the store's own
// layout. When all of it is there and has the digests that were promised, Staging.Publish moves it
// into the store with rename(2), then replaces index.json. A command that fails, is interrupted or
// killed, or finds the disk full has changed nothing.
//
// Content is on the disk (fsync of every blob) before its name (rename, fsync of the directory),
// its name before the index that refers to it (written beside, fsync, rename, fsync of the
// directory), and the index before success is reported. After a power cut the index refers to
// complete blobs only.
//
// # Locks
//
// All are flock(2), which the kernel drops when a process ends. On NFS and SMB those of files hold
// for all machines, those of directories for one: Sweep leaves there what was changed within a day.
// In this order:
//
//	tmp/        shared: while making a staging directory or index.json's successor
//	            exclusive, without waiting: Sweep, while it removes what is dead
//	partial/HEX exclusive: by the pull that fetches the blob, without waiting
//	tmp/add-N   exclusive: by the command that the directory belongs to, for its life
//	lock        exclusive: while index.json changes or blobs are deleted, milliseconds
//	            shared: Hold, while a container is being created
//
// Readers take none: index.json is replaced by rename, and a blob that is read while it is removed
// stays readable. What a command found in the store and counts on, it links into its staging
// directory, where no other command's garbage collection can take it (Staging.Pin).
package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"tiffin/image/oci"
	"tiffin/internal/errs"
)

// Store is a directory with an OCI image layout and what is derived from it. It is safe for use by
// several goroutines and several processes at once.
type Store struct {
	root     string
	readOnly bool
}

// Names of a layer's derived files.
const (
	FlatName   = "flat.tar"
	IndexName  = "index"
	BlocksName = "blocks" // the codes that what is read of flat.tar is checked by, see layer.Flat
	// UnsyncedName marks a flat.tar that was not yet on the disk when it was
	// published. See package cache.
	UnsyncedName = "unsynced"
)

// DerivedNames are all of them, in the order in which they get their place: without the mark,
// flat.tar is taken for written.
var DerivedNames = []string{UnsyncedName, BlocksName, IndexName, FlatName}

// pairName is an empty file among a layer's derived files, which says that the blob with that
// digest inflates to this layer. Neither digest shows that; an image's config only claims it, until
// the blob has been inflated.
func pairName(blob digest.Digest) string { return "from-" + blob.Encoded() }

// Inflates reports whether the blob of a layer is known to inflate to its diff ID. If not, only
// inflating it tells.
func (s *Store) Inflates(l oci.Layer) bool {
	return Readable(filepath.Join(s.LayerDir(l.DiffID), pairName(l.Digest)))
}

// ErrReadOnly is wrapped by errors that say the store cannot be changed.
var ErrReadOnly = errors.New("the store is read-only")

// refuse is the error of what would change a store that is read-only.
func (s *Store) refuse() error {
	return errs.Hint(fmt.Errorf("%s: %w", s.root, ErrReadOnly),
		"TIFFIN_IMAGE_PATH="+s.root+" with a TIFFIN_ROOT that you can write to uses its images")
}

// LayoutMarker is the file that makes a directory an OCI image layout.
// OCI image-spec v1.1 image-layout.md, "oci-layout file".
const LayoutMarker = `{"imageLayoutVersion":"1.0.0"}`

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

// Open opens the store at root, and makes it if it is missing. A store that
// this user may not write to is opened for reading, one of a later Format not
// at all.
func Open(root string) (*Store, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	if err := Owned(root, "TIFFIN_ROOT"); err != nil {
		return nil, err
	}
	if err := CheckFormat(root); err != nil {
		return nil, err
	}
	s := &Store{root: root}
	if err := unix.Access(filepath.Join(root, "lock"), unix.W_OK); err != nil {
		if err := s.create(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Owned refuses a directory of somebody else, who could put anything there, and to whom what is
// written would be a burden, and one where all the others may write (chmod(2)). variable is what
// names another one. One that is not there is nobody's.
func Owned(dir, variable string) error {
	var st unix.Stat_t
	switch {
	case unix.Stat(dir, &st) != nil:
		return nil
	case int(st.Uid) != os.Geteuid():
		hint := "set " + variable + " to a directory of your own"
		if variable == "TIFFIN_ROOT" {
			hint += "; TIFFIN_IMAGE_PATH=" + dir + " uses its images"
		}
		return errs.Hint(fmt.Errorf("%s belongs to another user, %d", dir, st.Uid), hint)
	case st.Mode&0o002 != 0:
		return errs.Hint(fmt.Errorf("everybody may write to %s, and so change what runs", dir), "chmod o-w "+dir)
	}
	return nil
}

// OpenReadOnly opens another user's store: nothing in it is ever changed.
func OpenReadOnly(root string) (*Store, error) {
	return &Store{root: root, readOnly: true}, CheckFormat(root)
}

// create makes the directories of a new store, or finds that an existing one
// is read-only.
func (s *Store) create() error {
	if _, err := os.Stat(s.Path("oci-layout")); err == nil && unix.Access(s.root, unix.W_OK) != nil {
		s.readOnly = true
		return nil
	}
	for _, dir := range []string{"", "blobs", "blobs/sha256", "layers", "unions", "containers", "tmp"} {
		// 0700: what is in a container is the business of its owner.
		if err := os.MkdirAll(s.Path(dir), 0o700); err != nil {
			return errs.Hint(fmt.Errorf("make the store: %w", err), "set TIFFIN_ROOT to a directory that you can write to")
		}
	}
	for _, f := range []struct{ name, content string }{
		{"oci-layout", LayoutMarker}, {"index.json", `{"schemaVersion":2,"manifests":[]}`}, {formatName, fmt.Sprintln(Format)}, {"lock", ""},
	} {
		if err := s.createFile(f.name, f.content); err != nil {
			return fmt.Errorf("make the store: %w", err)
		}
	}
	return nil
}

// createFile makes a file that appears complete or not at all, and leaves one
// that exists alone: two commands may make the store at once.
func (s *Store) createFile(name, content string) error {
	if _, err := os.Stat(s.Path(name)); err == nil {
		return nil
	}
	tmp, err := lockDir(s.Path("tmp"), unix.LOCK_SH) // keeps sweep out
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
	if err := os.Link(f.Name(), s.Path(name)); err != nil && !errors.Is(err, fs.ErrExist) {
		// A file system without hard links: rename replaces equal content.
		return os.Rename(f.Name(), s.Path(name))
	}
	return nil
}

// Root is the store's directory, an absolute path.
func (s *Store) Root() string { return s.root }

// ReadOnly reports whether the store cannot be changed.
func (s *Store) ReadOnly() bool { return s.readOnly }

func (s *Store) Path(elem ...string) string {
	return filepath.Join(append([]string{s.root}, elem...)...)
}

// BlobPath is where the blob with digest d is. d must have passed reference.ValidDigest.
func (s *Store) BlobPath(d digest.Digest) string { return s.Path("blobs", "sha256", d.Encoded()) }

func (s *Store) LayerDir(diffID digest.Digest) string { return s.Path("layers", diffID.Encoded()) }

func (s *Store) UnionPath(chain digest.Digest) string { return s.Path("unions", chain.Encoded()) }

// Lock takes the store's lock, flock(2), with how LOCK_SH or LOCK_EX, and
// waits for it. The kernel drops it when the process ends, however it ends.
func (s *Store) Lock(how int) (release func(), err error) {
	if s.readOnly {
		if how == unix.LOCK_SH {
			return func() {}, nil
		}
		return nil, s.refuse()
	}
	f, err := os.OpenFile(s.Path("lock"), os.O_RDWR|os.O_CREATE, 0o600)
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
			return nil, fmt.Errorf("lock the store: %w", noLocks(err))
		}
	}
}

// noLocks is the error of a flock(2), with advice if the disk has no locks.
func noLocks(err error) error {
	if errors.Is(err, unix.ENOLCK) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EOPNOTSUPP) {
		return errs.Hint(err, "this disk has no locks: set TIFFIN_ROOT to a directory on another one; Lustre has them if mounted with -o flock")
	}
	return err
}

// Hold keeps every image in the store until release is called: Remove and
// Prune of other processes wait. A container's directory is made under it, for
// from then on Uses protects the image. Nothing that changes the store may be
// called meanwhile, not even Mountable, which may have to rebuild something: it
// would wait for ever.
func (s *Store) Hold() (release func(), err error) { return s.Lock(unix.LOCK_SH) }

func (s *Store) FlatPath(diffID digest.Digest) string {
	return filepath.Join(s.LayerDir(diffID), FlatName)
}

func (s *Store) IndexPath(diffID digest.Digest) string {
	return filepath.Join(s.LayerDir(diffID), IndexName)
}

// BlocksPath is where the codes of a layer's blocks are. diffID must be valid.
func (s *Store) BlocksPath(diffID digest.Digest) string {
	return filepath.Join(s.LayerDir(diffID), BlocksName)
}

// BootID names the running kernel. random(4), "/proc interfaces".
func BootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "" // matches nothing: the digest is checked
	}
	return string(bytes.TrimSpace(b))
}

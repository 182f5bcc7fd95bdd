// The volumes of a set of containers: directories that outlive the containers which mount them.
//
//	ROOT/volumes/NAME/volume.json   written once: StoredVolume
//	                  data/         what containers see
//	                  fill/         the image's files, while they are copied: never mounted
//	             .new-…  .gone-…    a volume that is being made, or deleted
//
// A volume appears and goes by one rename(2). The directory volumes/ is locked by flock(2) by
// whoever adds or removes one, and by whoever makes a container that mounts one, until its
// config.json names it: so no volume goes that a container counts on. The directory of each volume
// is locked by the supervisors of the containers that have it mounted: see package supervisor.
//
// With subordinate ids, files in it belong to these, and only a helper can delete them.

package disk

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/image/layer"
	"tiffin/internal/errs"
)

// StoredVolume is volume.json.
type StoredVolume struct {
	Name      string            `json:"name"`
	Created   time.Time         `json:"created"`
	Labels    map[string]string `json:"labels,omitempty"`
	Anonymous bool              `json:"anonymous,omitempty"` // made for a container that gave no name
}

// ErrNoVolume is wrapped by errors that say there is no such volume.
var ErrNoVolume = errors.New("no such volume")

// volumeData is the name of a volume's directory for its files.
const volumeData = "data"

// Stored tells whether it is a volume of the store: it has a name, or gets one.
func (v *Volume) Stored() bool { return v.Name != "" || v.Anonymous }

// Kind is docker's word for it: volume, bind or tmpfs.
func (v *Volume) Kind() string {
	switch {
	case v.Stored():
		return "volume"
	case v.Source == "":
		return "tmpfs"
	}
	return "bind"
}

// VolumesDir is where the volumes are.
func (s *Set) VolumesDir() string { return filepath.Join(s.root, "volumes") }

// VolumeData is the directory with the files of a volume, an absolute path.
func (s *Set) VolumeData(name string) string { return filepath.Join(s.VolumesDir(), name, volumeData) }

// lockDir makes a directory, and lets nobody else change what is in it until it is closed.
func lockDir(path string) (dir *os.File, err error) {
	if err = os.MkdirAll(path, 0o700); err == nil {
		dir, err = os.Open(path)
	}
	if err == nil {
		if err = unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
			dir.Close()
		}
	}
	return dir, err
}

// LockPod keeps others from making the pod of that name until the file is closed. All pods have one
// file, and each a byte of it: fcntl(2), "Open file description locks". A byte of two is no harm.
func (s *Set) LockPod(name string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(s.root, "pods.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock pod %s: %w", name, err)
	}
	sum := sha256.Sum256([]byte(name))
	at := unix.Flock_t{Type: unix.F_WRLCK, Start: int64(binary.BigEndian.Uint32(sum[:])), Len: 1}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &at); err != nil {
		f.Close()
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
			return nil, fmt.Errorf("another tiffin command is making pod %s", name)
		}
		return nil, fmt.Errorf("lock pod %s: %w", name, err)
	}
	return f, nil
}

func (s *Set) lockVolumes() (*os.File, error) {
	dir, err := lockDir(s.VolumesDir())
	if err != nil {
		return nil, fmt.Errorf("lock the volumes: %w", err)
	}
	return dir, nil
}

// CreateVolume makes a volume, unless there is one of that name, and returns it. Without a name it
// is anonymous.
func (s *Set) CreateVolume(name string, labels map[string]string) (*StoredVolume, error) {
	dir, err := s.lockVolumes()
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return s.needVolume(name, labels)
}

// needVolume is CreateVolume under the lock.
func (s *Set) needVolume(name string, labels map[string]string) (*StoredVolume, error) {
	v := &StoredVolume{Name: name, Created: time.Now().UTC(), Labels: labels}
	if name == "" {
		var id [32]byte
		rand.Read(id[:]) // never fails, crypto/rand
		v.Name, v.Anonymous = hex.EncodeToString(id[:]), true
	} else if old, err := s.Volume(name); !errors.Is(err, ErrNoVolume) {
		return old, err
	}
	if !validName(v.Name) && !v.Anonymous {
		return nil, errs.Hint(fmt.Errorf("volume name %q is not valid", name),
			"use two or more of a-z A-Z 0-9 _ . - and start with a letter or digit; a directory of yours is ./NAME, with -v")
	}
	if err := Exact(v); err != nil {
		return nil, err
	}
	if err := s.makeVolume(v); err != nil {
		return nil, fmt.Errorf("create volume %s: %w", v.Name, err)
	}
	return v, nil
}

// makeVolume makes it aside, and gives it its name when all is on the disk.
func (s *Set) makeVolume(v *StoredVolume) error {
	fresh, err := os.MkdirTemp(s.VolumesDir(), ".new-")
	if err != nil {
		return err
	}
	text, err := json.Marshal(v)
	if err == nil {
		err = os.Mkdir(filepath.Join(fresh, volumeData), 0o755)
	}
	if err == nil { // whatever the umask is
		err = os.Chmod(filepath.Join(fresh, volumeData), 0o755)
	}
	if err == nil {
		err = writeDurably(filepath.Join(fresh, "volume.json"), append(text, '\n'))
	}
	if err == nil {
		err = CheckNames(fresh, volumeData)
	}
	if err == nil {
		err = syncDir(fresh)
	}
	if err == nil {
		err = os.Rename(fresh, filepath.Join(s.VolumesDir(), v.Name))
	}
	if err != nil {
		os.RemoveAll(fresh)
		return err
	}
	return syncDir(s.VolumesDir())
}

// writeDurably writes a new file, whose bytes are on the disk when it returns.
func writeDurably(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err = f.Write(b); err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// syncDir has a directory's names on the disk: fsync(2), DESCRIPTION.
func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); !errors.Is(err, unix.EINVAL) { // a file system that has no such thing
		return err
	}
	return nil
}

// Volume finds a volume by its name.
func (s *Set) Volume(name string) (*StoredVolume, error) {
	missing := errs.Hint(fmt.Errorf("%w: %s", ErrNoVolume, name), "`tiffin volume ls` lists the volumes")
	if !validName(name) && !validID(name) {
		return nil, missing
	}
	file := filepath.Join(s.VolumesDir(), name, "volume.json")
	f, err := layer.OpenStored(filepath.Dir(file), filepath.Base(file))
	if errors.Is(err, os.ErrNotExist) {
		return nil, missing
	}
	var text []byte
	if err == nil {
		defer f.Close()
		text, err = io.ReadAll(f)
	}
	v := new(StoredVolume)
	if err == nil {
		err = json.Unmarshal(text, v)
	}
	if err == nil && v.Name != name {
		err = errors.New("it is not that of this volume")
	}
	if err != nil {
		return nil, fmt.Errorf("read volume %s: %s: %w", name, file, err)
	}
	return v, nil
}

// Volumes lists the volumes by name. One that cannot be read is left out; its error is among those
// joined in err.
func (s *Set) Volumes() (all []*StoredVolume, err error) {
	ents, err := os.ReadDir(s.VolumesDir())
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	for _, e := range ents {
		v, e1 := s.Volume(e.Name())
		if e1 == nil {
			all = append(all, v)
		} else if !errors.Is(e1, ErrNoVolume) {
			err = errors.Join(err, e1)
		}
	}
	return all, err
}

// VolumeUsers are the names of the containers that mount each volume, running or not, by its name.
func (s *Set) VolumeUsers() (map[string][]string, error) {
	ids, err := s.ids()
	if err != nil {
		return nil, err
	}
	users := map[string][]string{}
	for _, id := range ids {
		// Also one that is not complete yet: its creator counts on the volume.
		c, err := Open(filepath.Join(s.dir, id))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, v := range c.Volumes {
			if v.Name != "" && !slices.Contains(users[v.Name], c.Name) {
				users[v.Name] = append(users[v.Name], c.Name)
			}
		}
	}
	return users, nil
}

// RemoveVolume deletes a volume that no container mounts.
func (s *Set) RemoveVolume(name string, e Eraser) error {
	gone, err := s.unnameVolume(name)
	if err == nil {
		err = s.eraseVolume(gone, e)
	}
	if err != nil {
		return errs.Hint(fmt.Errorf("remove volume %s: %w", name, err), errs.HintOf(err))
	}
	return nil
}

// ErrVolumeUsed is wrapped by errors that say that a container mounts the volume.
var ErrVolumeUsed = errors.New("in use")

// unnameVolume takes the name away of a volume that no container mounts, and returns the directory
// that is left to delete.
func (s *Set) unnameVolume(name string) (string, error) {
	dir, err := s.lockVolumes()
	if err != nil {
		return "", err
	}
	defer dir.Close()
	if _, err := s.Volume(name); errors.Is(err, ErrNoVolume) { // one that is damaged may go
		return "", err
	}
	users, err := s.VolumeUsers()
	if err != nil {
		return "", err
	}
	if names := users[name]; len(names) > 0 {
		return "", errs.Hint(fmt.Errorf("%w by containers: %s", ErrVolumeUsed, strings.Join(names, " ")), "remove these first: `tiffin rm -f "+strings.Join(names, " ")+"`")
	}
	gone, err := os.MkdirTemp(s.VolumesDir(), ".gone-")
	if err == nil {
		err = unix.Rename(filepath.Join(s.VolumesDir(), name), gone) // over an empty directory: rename(2)
	}
	return gone, err
}

// eraseVolume deletes the directory of what was a volume.
func (s *Set) eraseVolume(gone string, e Eraser) error {
	return (&Container{dir: gone, images: s.images, Config: Config{Name: "of a volume"}}).removeFiles(e)
}

// SweepVolumes deletes what killed commands have left. A volume that is being deleted is deleted
// by both, and gone when both are done.
func (s *Set) SweepVolumes(e Eraser) error {
	dir, err := s.lockVolumes()
	if err != nil {
		return err
	}
	left, _ := filepath.Glob(filepath.Join(s.VolumesDir(), ".new-*")) // nobody makes one: the lock
	gone, _ := filepath.Glob(filepath.Join(s.VolumesDir(), ".gone-*"))
	for _, path := range left {
		err = errors.Join(err, os.RemoveAll(path))
	}
	dir.Close()
	for _, path := range gone {
		err = errors.Join(err, s.eraseVolume(path, e))
	}
	return err
}

// Abandon takes the names of the container's anonymous volumes away, if no other container mounts
// them, and returns what deletes them. The container itself must be gone.
func (c *Container) Abandon(s *Set, e Eraser) (rest func()) {
	var gone []string
	for _, v := range c.Volumes {
		if v.Anonymous {
			if path, err := s.unnameVolume(v.Name); err == nil {
				gone = append(gone, path)
			}
		}
	}
	return func() {
		for _, path := range gone {
			_ = s.eraseVolume(path, e) // `volume prune` meets it again
		}
	}
}

// nameVolumes makes the volumes of a container that are not there, and gives names to anonymous
// ones. Until the lock is closed, which is nil without such volumes, none is removed.
func (s *Set) nameVolumes(c *Container) (lock *os.File, err error) {
	if !slices.ContainsFunc(c.Volumes, func(v Volume) bool { return v.Stored() }) {
		return nil, nil
	}
	if lock, err = s.lockVolumes(); err != nil {
		return nil, err
	}
	for i := range c.Volumes {
		v := &c.Volumes[i]
		if !v.Stored() {
			continue
		}
		stored, err := s.needVolume(v.Name, nil)
		if err != nil {
			lock.Close()
			return nil, err
		}
		v.Name, v.Source = stored.Name, s.VolumeData(stored.Name)
	}
	return lock, nil
}

// ShownLabels are the labels in docker's words, where an anonymous volume has one that says so.
func (v *StoredVolume) ShownLabels() map[string]string {
	if v.Anonymous {
		return map[string]string{"com.docker.volume.anonymous": ""}
	}
	return v.Labels
}

// Builds that go on: what they stand on is not deleted beneath them.
//
// A build holds a staging directory from its beginning to its end. The file in it that is called
// building has a line of JSON for each stack of layers that the build stands on. A build that was
// killed holds nothing: the lock of its directory is free.

package image

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"tiffin/image/cache"
	"tiffin/image/oci"
	"tiffin/image/store"
	"tiffin/internal/errs"
)

const buildingName = "building"

// Building is a build that goes on. It belongs to one goroutine at a time.
type Building struct {
	st   *store.Staging
	list *os.File
}

// stood is a line of the list.
type stood struct {
	Image  digest.Digest `json:"image,omitempty"` // "": it is none
	Layers []oci.Layer   `json:"layers"`
}

// Begin says that a build begins. The caller closes it.
func (s *Store) Begin() (*Building, error) {
	st, err := s.Stage()
	if err != nil {
		return nil, err
	}
	b := &Building{st: st}
	if b.list, err = os.Create(st.Path(buildingName)); err != nil {
		st.Close()
		return nil, store.DiskError(fmt.Errorf("begin the build: %w", err))
	}
	return b, nil
}

// Hold keeps a stack of layers; image is the image's ID that it is, if any.
func (b *Building) Hold(image digest.Digest, layers []oci.Layer) error {
	if err := json.NewEncoder(b.list).Encode(stood{image, layers}); err != nil {
		return store.DiskError(fmt.Errorf("hold what the build stands on: %w", err))
	}
	return nil
}

// Close ends the build.
func (b *Building) Close() {
	b.list.Close()
	b.st.Close()
}

// standing are the stacks of all builds that go on, and whether there is such a build.
func (s *Store) standing() (all []stood, any bool, err error) {
	lists, err := filepath.Glob(s.Path("tmp", "*", buildingName))
	for _, name := range lists {
		dir, e := os.Open(filepath.Dir(name))
		if errors.Is(e, fs.ErrNotExist) {
			continue
		}
		if e == nil {
			e = unix.Flock(int(dir.Fd()), unix.LOCK_SH|unix.LOCK_NB) // flock(2): until the close
			dir.Close()
			if e == nil {
				continue // it has ended
			}
		}
		f, e := os.Open(name)
		if errors.Is(e, fs.ErrNotExist) {
			continue
		}
		if e != nil {
			return nil, true, fmt.Errorf("find out what a build stands on: %w", e)
		}
		any = true
		for in := json.NewDecoder(bufio.NewReader(f)); ; {
			var line stood
			if in.Decode(&line) != nil {
				break // the end, or a line that is being written
			}
			all = append(all, line)
		}
		f.Close()
	}
	return all, any, err
}

// addBuilding adds what builds that go on stand on.
func (n *needs) addBuilding(s *Store) error {
	all, _, err := s.standing()
	for _, b := range all {
		ids := make([]digest.Digest, len(b.Layers))
		for i, l := range b.Layers {
			ids[i] = l.DiffID
			n.blobs[l.Digest.Encoded()], n.layers[l.DiffID.Encoded()] = true, true
			chain := cache.ChainID(ids[:i+1]).Encoded()
			n.unions[chain], n.unions[chain+cache.StartSuffix] = true, true
		}
	}
	return err
}

// NoBuild is an error while a build goes on.
func (s *Store) NoBuild() error {
	_, any, err := s.standing()
	if err == nil && any {
		err = errs.Hint(errors.New("the layers of builds are in use by a build that goes on"), "wait for its end")
	}
	return err
}

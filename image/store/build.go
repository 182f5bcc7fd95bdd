// The records of builds: which layer an instruction of a Dockerfile has made, by the digest of all
// that it depended on.
//
// A record is a file build/KEY.json. Its layer, and the merged index of the stack that the layer
// was put on, are kept as those of an image are, as long as the record is there. It is written
// before the layer is published: a record whose layer is not there counts as none, and a command
// that is killed leaves at most that.

package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	digest "github.com/opencontainers/go-digest"

	"tiffin/image/oci"
	"tiffin/image/reference"
)

// buildDir is the directory with the records of builds.
const buildDir = "build"

// BuildRecord is what is remembered of an instruction that was executed.
type BuildRecord struct {
	Layer oci.Layer     `json:"layer"`
	Chain digest.Digest `json:"chain"` // of the stack with the layer on top
	Parts []BuildPart   `json:"parts"` // what the key is the digest of
	Step  string        `json:"step"`  // the instruction
	Made  time.Time     `json:"made"`
}

// BuildPart is something that the layer depends on, such as the files that COPY has taken.
type BuildPart struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// BuildKey is the digest of all parts.
func BuildKey(parts []BuildPart) digest.Digest {
	b, _ := json.Marshal(parts) // strings alone
	return digest.FromBytes(b)
}

func (s *Store) recordPath(key digest.Digest) string {
	return s.Path(buildDir, key.Encoded()+".json")
}

// ReadBuild returns the record with a key; nil if there is none that can be used.
func (s *Store) ReadBuild(key digest.Digest) *BuildRecord {
	return readRecord(s.recordPath(key))
}

func readRecord(path string) *BuildRecord {
	b, err := oci.ReadFile(path, oci.MaxJSON)
	if err != nil {
		return nil
	}
	r := new(BuildRecord)
	if json.Unmarshal(b, r) != nil || !reference.ValidDigest(r.Layer.DiffID) || !reference.ValidDigest(r.Layer.Digest) || !reference.ValidDigest(r.Chain) {
		return nil
	}
	return r
}

// WriteBuild writes a record, whole or not at all.
func (s *Store) WriteBuild(st *Staging, key digest.Digest, r *BuildRecord) error {
	b, err := json.Marshal(r)
	if err == nil {
		err = makeDir(s.Path(buildDir), 0o700)
	}
	staged := st.Path("record")
	if err == nil {
		err = WriteFile(staged, b, false)
	}
	if err == nil {
		err = os.Rename(staged, s.recordPath(key))
	}
	if err != nil {
		return DiskError(fmt.Errorf("remember the step: %w", err))
	}
	return nil
}

// Builds are all records that can be used.
func (s *Store) Builds() (list []*BuildRecord, err error) {
	files, err := os.ReadDir(s.Path(buildDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".json") {
			continue // what a build remembers of a context
		}
		if r := readRecord(s.Path(buildDir, f.Name())); r != nil {
			list = append(list, r)
		}
	}
	return list, err
}

// ForgetBuilds deletes all records. What only they have kept is not deleted. It returns how many
// bytes of disk are free now.
func (s *Store) ForgetBuilds() (freed int64, err error) {
	freed, err = RemoveTree(filepath.Join(s.root, buildDir))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return freed, err
}

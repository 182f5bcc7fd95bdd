// Packs: labs of somebody's in one gzipped tarball, which travels as an OCI artifact.
//
// A pack is a stranger's. It is read up to a size; names in it are short words; it has files and
// directories, no links and nothing else. Nothing in it is run when it comes.

package tutorial

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

// The types of the artifact and of its one blob.
const (
	PackType     = "application/vnd.tiffin.labs.v1"
	PackBlobType = "application/vnd.tiffin.labs.v1.tar+gzip"
)

// What a pack may have.
const (
	MaxPack     = 16 << 20 // bytes of the blob
	maxUnpacked = 32 << 20 // bytes of all files
	maxPacked   = 4096     // files
)

// packedName is a file of a lab: the lab, then up to four words.
var packedName = pattern(`^[0-9][0-9]-[a-z0-9][a-z0-9-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*){1,4}$`)

// withheld is what packs and rooms for students are without: what passes, and what does not.
var withheld = []string{"solution.sh", "reference", "wrong", "claims.txt"}

// PackLabs packs labs: the same labs give the same bytes. With forStudents the solutions and wrong
// answers are left out.
func PackLabs(labs []*Lab, forStudents bool) ([]byte, error) {
	var out bytes.Buffer
	packed := gzip.NewWriter(&out)
	w := tar.NewWriter(packed)
	for _, l := range labs {
		err := fs.WalkDir(l.files, ".", func(name string, d fs.DirEntry, err error) error {
			switch {
			case err != nil || name == ".":
				return err
			case forStudents && slices.Contains(withheld, firstPart(name)):
				if d.IsDir() {
					return fs.SkipDir
				}
				return nil
			case d.IsDir():
				return nil
			}
			full := path.Join(l.Name, name)
			if !d.Type().IsRegular() || !packedName().MatchString(full) {
				return fmt.Errorf("%s cannot be packed: a pack has files with plain names and nothing else", full)
			}
			b, err := fs.ReadFile(l.files, name)
			if err != nil {
				return err
			}
			if err := w.WriteHeader(&tar.Header{Name: full, Mode: 0o644, Size: int64(len(b)), Format: tar.FormatUSTAR}); err != nil {
				return err
			}
			_, err = w.Write(b)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("pack lab %s: %w", l.Name, err)
		}
	}
	if err := errors.Join(w.Close(), packed.Close()); err != nil {
		return nil, err
	}
	if _, err := unpacked(out.Bytes()); err != nil {
		return nil, err // nobody could add it
	}
	return out.Bytes(), nil
}

// unpacked are the files of a pack, by their names.
func unpacked(b []byte) (map[string][]byte, error) {
	if len(b) > MaxPack {
		return nil, fmt.Errorf("the pack has more than %d bytes", MaxPack)
	}
	plain, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("read the pack: %w", err)
	}
	files, left := map[string][]byte{}, int64(maxUnpacked)
	for r := tar.NewReader(plain); ; {
		h, err := r.Next()
		if err == io.EOF {
			return files, nil
		} else if err != nil {
			return nil, fmt.Errorf("read the pack: %w", err)
		}
		name := strings.TrimSuffix(strings.TrimPrefix(h.Name, "./"), "/")
		_, twice := files[name]
		switch {
		case h.Typeflag == tar.TypeDir:
			continue // those that files are in are made
		case h.Typeflag != tar.TypeReg:
			return nil, fmt.Errorf("the pack has %q, which is no file: links and devices are refused", h.Name)
		case !packedName().MatchString(name) || twice:
			return nil, fmt.Errorf("the pack has a file %q: names are NN-name/word, each once", h.Name)
		}
		if left -= h.Size; left < 0 || len(files) == maxPacked {
			return nil, fmt.Errorf("the pack has more than %d files, or more than %d MiB of them", maxPacked, maxUnpacked>>20)
		}
		if files[name], err = io.ReadAll(r); err != nil {
			return nil, fmt.Errorf("read the pack: %w", err)
		}
	}
}

// unpack writes the files of a pack into a directory, and returns the labs there.
func unpack(b []byte, dir string) ([]*Lab, error) {
	files, err := unpacked(b)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	for name, text := range files {
		if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
			return nil, err
		}
		if err := root.WriteFile(name, text, 0o644); err != nil {
			return nil, err
		}
	}
	return ReadDir(dir)
}

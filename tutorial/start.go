// The start of a lab, as the engine has seen it right after setup.sh: which containers, images and
// files were made. A check compares with this record, not with names, which anybody can give anew.

package tutorial

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Start is what setup.sh has made. Its keys are names: of a container, of an image with its tag,
// and of a file below the work directory.
type Start struct {
	Containers map[string]madeContainer `json:"containers,omitempty"`
	Images     map[string]madeImage     `json:"images,omitempty"`
	Files      map[string]string        `json:"files,omitempty"` // see fileState
}

type madeContainer struct {
	ID      string `json:"id"`
	Started string `json:"started"` // when its process began: one that is started again is another
}

type madeImage struct {
	ID     string   `json:"id"`     // the digest of its config
	Layers []string `json:"layers"` // the diff IDs, the lowest first
}

// baseImage is in every record, but may change: another tiffin has another.
const baseImage = "tiffin/base:latest"

// imageName is a template for a line of `tiffin images`: its name, by which it can be removed. What
// was pushed under a digest alone has no tag.
const imageName = `{{.Repository}}{{if eq .Tag "<none>"}}@{{.Digest}}{{else}}:{{.Tag}}{{end}}`

// look records the present state of what has the lab's names.
func (b *bench) look() (*Start, error) {
	s := &Start{Containers: map[string]madeContainer{}, Images: map[string]madeImage{}, Files: map[string]string{}}
	const container = "{{.Name}} {{.Id}} {{json .State.StartedAt}}"
	err := b.each([]string{"ps", "-a", "--format", "{{.Names}}"}, "container", container, b.lab.prefix()+"-", func(f []string) {
		s.Containers[strings.TrimPrefix(f[0], "/")] = madeContainer{f[1], f[2]}
	})
	if err != nil {
		return nil, err
	}
	const image = "{{.Id}} {{range .RootFS.Layers}}{{.}},{{end}}"
	for _, prefix := range []string{b.lab.imagePrefix(), baseImage} {
		err := b.each([]string{"images", "--format", imageName}, "image", "NAME "+image, prefix, func(f []string) {
			s.Images[f[0]] = madeImage{f[1], strings.Split(strings.TrimSuffix(f[2], ","), ",")}
		})
		if err != nil {
			return nil, err
		}
	}
	return s, b.files(s.Files)
}

// each asks for the names of a list, inspects those with a prefix, and hands on the three words of
// each. NAME in the template is its name.
func (b *bench) each(list []string, kind, template, prefix string, take func([]string)) error {
	names, err := b.tiffin(list...)
	if err != nil {
		return err
	}
	for _, n := range names {
		if !strings.HasPrefix(n, prefix) {
			continue
		}
		lines, err := b.tiffin("inspect", "--type", kind, "-f", strings.Replace(template, "NAME", n, 1), n)
		if err != nil {
			return err
		}
		if f := strings.Fields(strings.Join(lines, " ")); len(f) == 3 {
			take(f)
		}
	}
	return nil
}

// files records the work directory, but for what the student is to change.
func (b *bench) files(into map[string]string) error {
	return filepath.WalkDir(b.work, func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(b.work, path)
		if err != nil || rel == "." {
			return err
		}
		if top := firstPart(rel); slices.Contains(b.lab.Answers, top) || slices.Contains(b.lab.Changes, top) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		into[rel] = fileState(path)
		return nil
	})
}

// fileState says in a word what a file is: the digest of its content, where it leads, or its kind.
func fileState(path string) string {
	st, err := os.Lstat(path)
	switch {
	case err != nil:
		return "gone"
	case st.Mode()&fs.ModeSymlink != 0:
		to, _ := os.Readlink(path)
		return "-> " + to
	case !st.Mode().IsRegular():
		return st.Mode().Type().String()
	}
	f, err := os.Open(path)
	if err != nil {
		return "unreadable"
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "unreadable"
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

// lines are the record as lib.sh reads it: `container NAME ID STARTED`, `image NAME ID LAYERS`.
func (s *Start) lines() []byte {
	var b strings.Builder
	if s != nil {
		for name, c := range s.Containers {
			fmt.Fprintf(&b, "container %s %s %s\n", name, c.ID, c.Started)
		}
		for name, i := range s.Images {
			fmt.Fprintf(&b, "image %s %s %s\n", name, i.ID, strings.Join(i.Layers, ","))
		}
	}
	return []byte(b.String())
}

// missed compares the start with the present state: what was there first and is gone now, or
// another. It is "" if all is there.
func (b *bench) missed() (expected, found string, err error) {
	if b.start == nil {
		return "the record of the start", "no record, or one that was changed by hand", nil
	}
	now, err := b.look()
	if err != nil {
		return "", "", err
	}
	for _, name := range slices.Sorted(maps.Keys(b.start.Containers)) {
		if c, ok := now.Containers[name]; !ok {
			return "the container " + name, "it was removed", nil
		} else if c.ID != b.start.Containers[name].ID {
			return "the container " + name, "another container of that name", nil
		}
	}
	for _, name := range slices.Sorted(maps.Keys(b.start.Images)) {
		if i, ok := now.Images[name]; name == baseImage {
			continue
		} else if !ok {
			return "the image " + name, "it was removed", nil
		} else if i.ID != b.start.Images[name].ID {
			return "the image " + name, "another image of that name", nil
		}
	}
	for _, name := range slices.Sorted(maps.Keys(b.start.Files)) {
		if is := now.Files[name]; is == "" {
			return "the file " + name, "it is gone", nil
		} else if is != b.start.Files[name] {
			return "the file " + name, "it was changed", nil
		}
	}
	return "", "", nil
}

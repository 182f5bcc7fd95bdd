// Labs that do not come with tiffin, as a student's directory remembers them: packs that were
// added, and directories of somebody's own.

package tutorial

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tiffin/internal/errs"
)

// Pack is some labs that were added, the file packs/NAME.json of the student's directory. Those of
// a pack are in packs/NAME, where nobody changes them; those of a directory are read where it is.
type Pack struct {
	Name   string `json:"name"`
	From   string `json:"from"`             // the reference of the artifact, or the directory
	Digest string `json:"digest,omitempty"` // of the artifact's manifest
	Dir    string `json:"dir"`
}

// packName is one word: what a stranger calls a pack becomes no path.
var packName = pattern(`^[a-z0-9][a-z0-9._-]{0,39}$`)

// Packs are those that were added, by name.
func (s *Student) Packs() (all []Pack, err error) {
	files, _ := filepath.Glob(filepath.Join(s.Dir, "packs", "*.json")) // the pattern is a good one
	for _, f := range files {
		var p Pack
		b, e := os.ReadFile(f)
		if e == nil {
			e = json.Unmarshal(b, &p)
		}
		if e == nil && (p.Name+".json" != filepath.Base(f) || !packName().MatchString(p.Name)) {
			e = fmt.Errorf("it is not named %q", p.Name)
		}
		if e != nil {
			err = errors.Join(err, fmt.Errorf("read %s: %w", f, e))
			continue
		}
		all = append(all, p)
	}
	return all, err
}

// Labs are those that come with tiffin, and then those of packs, pack by pack. The error names what
// cannot be read; the others are returned all the same.
func (s *Student) Labs() ([]*Lab, error) {
	all, err := Builtin()
	if err != nil {
		return nil, err
	}
	packs, damaged := s.Packs()
	for _, p := range packs {
		labs, err := ReadDir(p.Dir)
		if err != nil {
			damaged = errors.Join(damaged, errs.Hint(fmt.Errorf("labs of %s: %w", p.Name, err), "tiffin lab remove "+p.Name+" forgets them"))
		}
		for _, l := range labs {
			if err := alone(l, all); err != nil {
				damaged = errors.Join(damaged, fmt.Errorf("labs of %s: %w", p.Name, err))
				continue
			}
			l.Pack = p
			all = append(all, l)
		}
	}
	return all, damaged
}

// alone refuses a lab whose number another has: names of containers begin with it.
func alone(l *Lab, others []*Lab) error {
	i := slices.IndexFunc(others, func(o *Lab) bool { return o.Name[:2] == l.Name[:2] })
	if i < 0 {
		return nil
	}
	o := others[i]
	if o.Pack.Name == "" {
		return fmt.Errorf("%s has the number of tiffin's own %s: those of others begin with 50", l.Name, o.Name)
	}
	return errs.Hint(fmt.Errorf("%s has the number of %s, which is of %s", l.Name, o.Name, o.Pack.Name), "tiffin lab remove "+o.Pack.Name)
}

// AddDir remembers a directory of labs.
func (s *Student) AddDir(dir, name string) (Pack, []*Lab, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Pack{}, nil, err
	}
	labs, err := ReadDir(dir)
	if err != nil {
		return Pack{Dir: dir}, nil, err
	}
	return s.add(Pack{From: dir, Dir: dir}, name, labs, func(string) error { return nil })
}

// AddPack unpacks a pack. from is the reference that it had, digest its manifest's.
func (s *Student) AddPack(b []byte, from, digest, name string) (Pack, []*Lab, error) {
	if err := os.MkdirAll(filepath.Join(s.Dir, "packs"), 0o755); err != nil {
		return Pack{}, nil, fmt.Errorf("add labs: %w", err)
	}
	tmp, err := os.MkdirTemp(filepath.Join(s.Dir, "packs"), ".new-")
	if err != nil {
		return Pack{}, nil, fmt.Errorf("add labs: %w", err)
	}
	defer os.RemoveAll(tmp) // not there any more if all went well
	labs, err := unpack(b, tmp)
	if err != nil {
		return Pack{}, nil, fmt.Errorf("add the labs of %s: %w", from, err)
	}
	return s.add(Pack{From: from, Digest: digest}, name, labs, func(dir string) error {
		return errors.Join(os.RemoveAll(dir), os.Chmod(tmp, 0o755), os.Rename(tmp, dir))
	})
}

// add records a pack, once put has brought its labs where they are read.
func (s *Student) add(p Pack, name string, labs []*Lab, put func(dir string) error) (Pack, []*Lab, error) {
	if p.Name = name; name == "" {
		p.Name = nameFrom(p.From)
	}
	if !packName().MatchString(p.Name) {
		return p, nil, errs.Hint(fmt.Errorf("%q cannot be the name of a pack", p.Name), "--name gives another: letters in lower case, digits, - and _")
	}
	here, _ := s.Labs() // what is damaged there does not keep this one out
	here = slices.DeleteFunc(here, func(l *Lab) bool { return l.Pack.Name == p.Name })
	for _, l := range labs {
		if err := alone(l, here); err != nil {
			return p, nil, err
		}
		l.Pack = p
		here = append(here, l)
	}
	if packs, _ := s.Packs(); slices.ContainsFunc(packs, func(o Pack) bool { return o.Name == p.Name && untagged(o.From) != untagged(p.From) }) {
		return p, nil, errs.Hint(fmt.Errorf("there is another pack %s already", p.Name), "--name gives this one another, tiffin lab remove takes that one away")
	}
	unpacked := filepath.Join(s.Dir, "packs", p.Name)
	if p.Dir == "" {
		p.Dir = unpacked
	}
	text, err := JSON(p)
	if err != nil {
		return p, nil, err
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(unpacked), 0o755), put(unpacked)); err != nil {
		return p, nil, fmt.Errorf("add labs: %w", err)
	}
	return p, labs, writeFile(unpacked+".json", string(text), 0o644)
}

// nameFrom is the last word of a reference or path.
func nameFrom(from string) string {
	return strings.ToLower(strings.ReplaceAll(filepath.Base(untagged(from)), " ", "-"))
}

// untagged is a reference without its tag or digest.
func untagged(from string) string {
	from, _, _ = strings.Cut(from, "@")
	if i := strings.LastIndexByte(from, ':'); i > strings.LastIndexByte(from, '/') {
		from = from[:i]
	}
	return from
}

// Remove forgets a pack. What was done in its labs stays.
func (s *Student) Remove(name string) error {
	file := filepath.Join(s.Dir, "packs", name+".json")
	if !packName().MatchString(name) {
		return fmt.Errorf("%q cannot be the name of a pack", name)
	}
	if err := os.Remove(file); errors.Is(err, fs.ErrNotExist) {
		return errs.Hint(fmt.Errorf("there is no pack %s", name), "`tiffin lab list` shows them")
	} else if err != nil {
		return err
	}
	return removeAll(strings.TrimSuffix(file, ".json"))
}

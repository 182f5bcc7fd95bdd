// Explanations: which part of a step's key has changed since the last build, and what its layer
// adds and hides.

package build

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	digest "github.com/opencontainers/go-digest"

	"tiffin/image"
	"tiffin/image/oci"
	"tiffin/image/store"
	"tiffin/internal/dockerfile"
)

// Explained is what a step with a layer depends on, and what became of it. What has no layer
// depends on nothing but its line, and is done each time.
type Explained struct {
	Key     digest.Digest // of Parts
	Parts   []store.BuildPart
	First   bool     // the last build had no such step
	Changed []string // what differs from the last build, in words
	Differ  []string `json:",omitempty"` // names of the parts that differ

	Files       int   // that are not empty, in the layer
	Bytes       int64 // of these
	HiddenFiles int   // of layers below, that this layer replaces or deletes
	HiddenBytes int64 // of these
}

// compare finds what differs between the parts of two builds. first: the step is the first of its
// stage with a layer.
func (x *Explained) compare(j *journal, in *dockerfile.Instruction, was []store.BuildPart, first bool) {
	before, after := byName(was), byName(x.Parts)
	names := map[string]bool{}
	for k := range before {
		names[k] = true
	}
	for k := range after {
		names[k] = true
	}
	for _, k := range slices.Sorted(maps.Keys(names)) {
		a, b := before[k], after[k]
		if a == b {
			continue
		}
		name, _, _ := strings.Cut(k, "\x00")
		x.Differ = append(x.Differ, name)
		switch name {
		case "below":
			if first {
				x.say("what FROM names has changed")
			} else {
				x.say("the step before has changed")
			}
		case "environment":
			x.environment(in, a, b)
		case "files":
			x.files(j, a, b)
		case "user", "directory", "network", "SOURCE_DATE_EPOCH":
			x.say("%s was %s, is %s", name, orNothing(a), orNothing(b))
		default:
			x.say("the %s has changed", name)
		}
	}
}

func (x *Explained) say(format string, args ...any) {
	x.Changed = append(x.Changed, fmt.Sprintf(format, args...))
}

func orNothing(s string) string {
	if s == "" || s == `""` {
		return "none"
	}
	return s
}

// byName are the values of parts; those that have a name in common are numbered.
func byName(parts []store.BuildPart) map[string]string {
	all := map[string]string{}
	for _, p := range parts {
		name := p.Name
		for n := 2; ; n++ {
			if _, there := all[name]; !there {
				break
			}
			name = fmt.Sprintf("%s\x00%d", p.Name, n)
		}
		all[name] = p.Value
	}
	return all
}

// environment compares two lists of variables.
func (x *Explained) environment(in *dockerfile.Instruction, a, b string) {
	was, is := variables(a), variables(b)
	isArg := map[string]bool{}
	for _, v := range in.Args {
		k, _, _ := strings.Cut(v, "=")
		isArg[k] = true
	}
	both := maps.Clone(was)
	maps.Copy(both, is)
	for _, k := range slices.Sorted(maps.Keys(both)) {
		name := "ENV " + k
		if isArg[k] {
			name = "ARG " + k
		}
		old, had := was[k]
		now, has := is[k]
		switch {
		case !had:
			x.say("%s is new: %s", name, now)
		case !has:
			x.say("%s is gone", k)
		case old != now:
			x.say("%s was %s, is %s", name, old, now)
		}
	}
}

// variables reads a list of VAR=VALUE as it stands in a key.
func variables(text string) map[string]string {
	var list []string
	_ = json.Unmarshal([]byte(text), &list) // of our own making; damaged: all is new
	all := map[string]string{}
	for _, v := range list {
		k, v, _ := strings.Cut(v, "=")
		all[k] = v
	}
	return all
}

// maxListed is how many files an explanation names.
const maxListed = 5

// files compares two lists of files.
func (x *Explained) files(j *journal, before, after string) {
	was, f := j.open(before)
	defer f.Close() // of nil it is an error, and no harm
	is, f := j.open(after)
	defer f.Close()
	if was == nil || is == nil {
		x.say("its files have changed")
		return
	}
	found, more := false, 0
	a, b := was.next(), is.next()
	for a == nil || b == nil {
		old, now := &was.entry, &is.entry
		switch c := bytes.Compare(was.key, is.key); {
		case a != nil || b == nil && c > 0:
			old = nil
		case b != nil || c < 0:
			now = nil
		}
		if text := difference(old, now); text == "" {
		} else if found = true; more > 0 || len(x.Changed) >= maxListed {
			more++
		} else if now != nil {
			x.say("file %s %s", is.name(), text)
		} else {
			x.say("file %s %s", was.name(), text)
		}
		if old != nil {
			a = was.next()
		}
		if now != nil {
			b = is.next()
		}
	}
	switch {
	case a != io.EOF || b != io.EOF:
		x.say("its files have changed")
	case more > 0:
		x.say("and %d more files have changed", more)
	case !found:
		x.say("links, devices or extended attributes of its files have changed")
	}
}

// name is the path in the context if there is one.
func (l *listing) name() string {
	if l.entry.path != "" {
		return l.entry.path
	}
	return shown(l.path)
}

// difference says what has become of a file; "" if it is the same. nil: it is not there, or a
// directory of the image's.
func difference(was, is *entry) string {
	had, has := was != nil && !was.kept, is != nil && !is.kept
	switch {
	case !had && !has:
		return ""
	case !had:
		return "is new"
	case !has:
		return "is gone"
	case was.sum != is.sum || was.target != is.target:
		return "has changed"
	case was.mode != is.mode:
		return fmt.Sprintf("had mode %04o, has %04o", was.mode&0o7777, is.mode&0o7777)
	case was.uid != is.uid || was.gid != is.gid:
		return fmt.Sprintf("was %d:%d's, is %d:%d's", was.uid, was.gid, is.uid, is.gid)
	}
	return ""
}

// weigh counts what the top layer of a stack adds, and what it hides.
func (x *Explained) weigh(s *image.Store, layers []oci.Layer) error {
	top := len(layers) - 1
	without, err := s.Usage(layers[:top])
	if err != nil {
		return err
	}
	with, err := s.Usage(layers)
	if err != nil {
		return err
	}
	x.Files, x.Bytes = with[top].Files, with[top].Bytes
	for i, u := range without {
		x.HiddenFiles += with[i].Hidden - u.Hidden
		x.HiddenBytes += with[i].HiddenBytes - u.HiddenBytes
	}
	return nil
}

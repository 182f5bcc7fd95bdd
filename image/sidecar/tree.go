// The tree of names that the log describes.

package sidecar

import (
	"slices"
	"strings"
)

// at is the entry of path, made if there is none.
func (e *entry) at(path string) *entry {
	for name := range strings.SplitSeq(path, "/") {
		if name == "" {
			continue
		}
		if e.kids == nil {
			e.kids = map[string]*entry{}
		}
		kid := e.kids[name]
		if kid == nil {
			kid = &entry{up: e, name: name}
			e.kids[name] = kid
		}
		e = kid
	}
	return e
}

// knows tells whether there is a line about path or what is below it.
func (e *entry) knows(path string) bool {
	for name := range strings.SplitSeq(path, "/") {
		if e = e.kids[name]; e == nil {
			return false
		}
	}
	return e.logged
}

// note records that there is a line about e.
func (e *entry) note() {
	for ; e != nil && !e.logged; e = e.up {
		e.logged = true
	}
}

// path is the inverse of at.
func (e *entry) path() string {
	if e.up == nil {
		return ""
	}
	return strings.TrimPrefix(e.up.path()+"/"+e.name, "/")
}

// detach takes e, with what is below it, out of its directory.
func (e *entry) detach() {
	if e.up != nil {
		delete(e.up.kids, e.name)
		e.up = nil
	}
}

// attach makes e, which is detached, the entry of path, where there is none.
func (e *entry) attach(root *entry, path string) {
	dir, name := "", path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		dir, name = path[:i], path[i+1:]
	}
	up := root.at(dir)
	if up.kids == nil {
		up.kids = map[string]*entry{}
	}
	e.up, e.name, up.kids[name] = up, name, e
	if e.logged {
		up.note()
	}
}

// drop removes e and what is below it: their files lose a name.
func (e *entry) drop() {
	e.detach()
	for _, kid := range e.kids {
		kid.drop()
	}
	if f := e.file; f != nil {
		f.names = slices.DeleteFunc(f.names, func(o *entry) bool { return o == e })
	}
}

// bind gives f the name e, which has no file yet.
func (e *entry) bind(f *File) {
	e.file, f.names = f, append(f.names, e)
	if len(f.attrs) > 0 {
		e.note()
	}
}

// theFile is the file that has the name e.
func (e *entry) theFile(s *Store) *File {
	if e.file == nil {
		e.bind(&File{s: s})
	}
	return e.file
}

// The attributes of one file: what xattr(7) says of those of the disk.

package sidecar

import (
	"maps"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// Get is fgetxattr(2).
func (f *File) Get(name string) (string, error) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	v, ok := f.attrs[name]
	if !ok {
		return "", syscall.ENODATA
	}
	return v, nil
}

// List is flistxattr(2), in the order of names.
func (f *File) List() []string {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	return slices.Sorted(maps.Keys(f.attrs))
}

// Set is fsetxattr(2).
func (f *File) Set(name, value string, flags int) error {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	was, ok := f.attrs[name]
	switch {
	case ok && flags&unix.XATTR_CREATE != 0:
		return syscall.EEXIST
	case !ok && flags&unix.XATTR_REPLACE != 0:
		return syscall.ENODATA
	case ok && was == value:
		return nil
	}
	attrs := maps.Clone(f.attrs)
	if attrs == nil {
		attrs = map[string]string{}
	}
	attrs[name] = value
	return f.become(attrs)
}

// Remove is fremovexattr(2).
func (f *File) Remove(name string) error {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	if _, ok := f.attrs[name]; !ok {
		return syscall.ENODATA
	}
	attrs := maps.Clone(f.attrs)
	delete(attrs, name)
	return f.become(attrs)
}

// become gives f these attributes.
func (f *File) become(attrs map[string]string) error {
	sum := 0
	for name, value := range attrs {
		sum += len(name) + len(value)
	}
	if sum > maxBytes {
		return syscall.ENOSPC // xattr(7), "the filesystem may impose limits"
	}
	if len(f.names) > 0 {
		if err := f.s.append(&record{verb: set, p: f.names[0].path(), attrs: attrs}, false); err != nil {
			return err
		}
		f.names[0].note()
	}
	f.attrs = attrs
	return nil
}

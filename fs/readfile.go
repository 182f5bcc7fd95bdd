// Reading a file before the kernel does: from the server's own process, while nothing is mounted.

package fs

import (
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// maxLinks is how many symbolic links ReadFile follows, as the kernel does: path_resolution(7).
const maxLinks = 40

// ReadFile reads a regular file of the union, at most limit bytes. Symbolic links, which strangers
// made, lead to where they do in the container. Of a missing file it returns nil and no error.
func (f *FS) ReadFile(path string, limit int) ([]byte, error) {
	way, links := []fuse.EntryOut{{NodeId: rootID}}, 0 // the directories on the way
	way[0].Mode = syscall.S_IFDIR
	for names := strings.Split(path, "/"); len(names) > 0; {
		name := names[0]
		names = names[1:]
		switch {
		case name == "" || name == ".":
			continue
		case name == "..":
			way = way[:max(len(way)-1, 1)]
			continue
		}
		var out fuse.EntryOut
		st := f.Lookup(nil, &fuse.InHeader{NodeId: way[len(way)-1].NodeId}, name, &out)
		switch {
		case st == fuse.ENOENT || st == fuse.ENOTDIR || st.Ok() && out.NodeId == 0:
			return nil, nil
		case !st.Ok():
			return nil, syscall.Errno(st)
		}
		defer f.Forget(out.NodeId, 1)
		if out.Mode&syscall.S_IFMT != syscall.S_IFLNK {
			way = append(way, out)
			continue
		}
		target, st := f.Readlink(nil, &fuse.InHeader{NodeId: out.NodeId})
		if links++; !st.Ok() || links > maxLinks {
			return nil, syscall.ELOOP
		}
		if strings.HasPrefix(string(target), "/") {
			way = way[:1]
		}
		names = append(strings.Split(string(target), "/"), names...)
	}
	file := way[len(way)-1]
	if file.Mode&syscall.S_IFMT != syscall.S_IFREG {
		return nil, syscall.EINVAL
	}
	text := make([]byte, 0, min(file.Size, uint64(limit)))
	for len(text) < cap(text) {
		buf := text[len(text):min(cap(text), len(text)+maxWrite)]
		r, st := f.Read(nil, &fuse.ReadIn{InHeader: fuse.InHeader{NodeId: file.NodeId}, Offset: uint64(len(text)), Size: uint32(len(buf))}, buf)
		if !st.Ok() {
			return nil, syscall.Errno(st)
		}
		part, st := r.Bytes(buf)
		n := copy(buf, part)
		r.Done()
		if !st.Ok() || n == 0 {
			break
		}
		text = text[:len(text)+n]
	}
	return text, nil
}

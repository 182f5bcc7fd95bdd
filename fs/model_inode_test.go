package fs_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// identity says which file of a plain directory it is: the disk gives a number
// to another file as soon as it is free, but not with the same time of birth.
type identity struct {
	ino   uint64
	birth unix.StatxTimestamp
}

// inodes checks the numbers that the union gives its files: one for each,
// the same for as long as the file lives, whatever is copied up, renamed or
// remounted, and the same from stat(2) and readdir(3).
type inodes struct {
	seen map[identity]uint64
}

func (in *inodes) check(plain, union string) string {
	now := map[uint64]identity{}
	problem := ""
	fail := func(format string, args ...any) {
		if problem == "" {
			problem = fmt.Sprintf(format, args...)
		}
	}
	err := filepath.WalkDir(plain, func(p string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel := strings.TrimPrefix(p, plain)
		var sx unix.Statx_t
		if err := unix.Statx(unix.AT_FDCWD, p, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_INO|unix.STATX_BTIME, &sx); err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(union+rel, &st); err != nil {
			return err
		}
		id := identity{sx.Ino, sx.Btime}
		if was, ok := in.seen[id]; ok && was != st.Ino {
			fail("%s had inode number %d and now has %d", rel, was, st.Ino)
		}
		if other, ok := now[st.Ino]; ok && other != id {
			fail("%s has inode number %d, which another file has, too", rel, st.Ino)
		}
		in.seen[id], now[st.Ino] = st.Ino, id
		if e.IsDir() {
			in.entries(union+rel, fail)
		}
		return nil
	})
	if err != nil {
		return err.Error()
	}
	return problem
}

// entries compares d_ino of each entry, getdents(2), with its st_ino.
func (in *inodes) entries(dir string, fail func(string, ...any)) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		fail("%v", err)
		return
	}
	defer unix.Close(fd)
	buf := make([]byte, 1<<16)
	for {
		n, err := unix.Getdents(fd, buf)
		if err != nil {
			fail("getdents %s: %v", dir, err)
		}
		if n <= 0 {
			return
		}
		// struct linux_dirent64: ino 8 bytes, off 8, reclen 2, type 1, name.
		for b := buf[:n]; len(b) > 0; b = b[binary.NativeEndian.Uint16(b[16:]):] {
			name, _, _ := strings.Cut(string(b[19:binary.NativeEndian.Uint16(b[16:])]), "\x00")
			var st unix.Stat_t
			if name == ".." {
				continue // the kernel may have listed the directory before it was moved
			}
			if err := unix.Lstat(filepath.Join(dir, name), &st); err != nil {
				fail("readdir shows %s/%s, but: %v", dir, name, err)
			} else if ino := binary.NativeEndian.Uint64(b); ino != st.Ino {
				fail("%s/%s has inode number %d in readdir and %d in stat", dir, name, ino, st.Ino)
			}
		}
	}
}

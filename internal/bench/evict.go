// Files are put out of the page cache, so that what follows reads them from the disk.

package main

import (
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// evict asks the kernel to forget the content of all regular files below each of dirs:
// posix_fadvise(2), POSIX_FADV_DONTNEED. What is mapped or not yet written stays.
func evict(dirs []string) error {
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return nil // what cannot be entered belongs to somebody else
			}
			f, err := os.Open(path)
			if err != nil {
				return nil
			}
			defer f.Close()
			return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

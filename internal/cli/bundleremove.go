// The command tiffin bundle --rm: a bundle, or what is there of one, is removed, and nothing else.

package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tiffin/internal/container/client"
)

// unfinished is config.json while the rest of a bundle is made.
const unfinished = "config.json.part"

// wholly tells what keeps a directory from being a bundle, as `tiffin bundle` makes it or has begun
// to, and nothing besides.
func wholly(dir string) error {
	st, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("it is not there")
	}
	if err != nil {
		return err
	}
	if !st.IsDir() {
		return errors.New("it is no directory")
	}
	parts, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	has := map[string]bool{} // true: a directory
	for _, p := range parts {
		has[p.Name()] = p.IsDir()
	}
	_, whole := has["config.json"]
	_, part := has[unfinished]
	switch {
	case !has["rootfs"] || !has["etc"]:
		return errors.New("it has not both directories, rootfs and etc")
	case !whole && !part:
		return errors.New("it has no config.json")
	}
	for name := range has {
		if !slices.Contains([]string{"rootfs", "etc", "config.json", unfinished}, name) {
			return fmt.Errorf("it has %s", name)
		}
	}
	return nothingMounted(dir)
}

// nothingMounted tells what is mounted below a directory: that would be removed, too.
func nothingMounted(dir string) error {
	dir, err := filepath.Abs(dir)
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return err
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	// proc(5), /proc/pid/mountinfo: the fifth field is where, with spaces as \040.
	escaped := strings.NewReplacer(`\`, `\134`, " ", `\040`, "\t", `\011`, "\n", `\012`).Replace(dir)
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], escaped+"/") {
			return fmt.Errorf("something is mounted at %s", f[4])
		}
	}
	return nil
}

// removeBundle removes a directory that is a bundle, or has become a part of one. What it is known
// by goes last: whatever interrupts this, it can be done again.
func removeBundle(dir string) error {
	store, err := openStore()
	if err != nil {
		return err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	if err := client.RemoveTree(store.Root(), filepath.Join(dir, "rootfs")); err != nil {
		return err
	}
	return os.RemoveAll(dir) // all of it is the user's
}

// A new lab for an author to begin with.

package tutorial

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"tiffin/internal/errs"
)

// New writes a lab that works into a new directory, for its author to change.
func New(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if name := filepath.Base(dir); !labName().MatchString(name) {
		return errs.Hint(fmt.Errorf("%s cannot be the name of a lab", name), "two digits and a name in lower case: 50-copy-up")
	}
	files, err := fs.Sub(builtin, skeleton)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return fmt.Errorf("make a lab: %w", err)
	}
	switch err := os.Mkdir(dir, 0o755); {
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%s is there already", dir)
	case err != nil:
		return fmt.Errorf("make a lab: %w", err)
	}
	return fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == "." {
			return err
		}
		to := filepath.Join(dir, path)
		if d.IsDir() {
			return os.Mkdir(to, 0o755)
		}
		b, err := fs.ReadFile(files, path)
		if err != nil {
			return err
		}
		return os.WriteFile(to, b, 0o644) // embedded files are 0444, these are to be edited
	})
}

// The version of the store's format. A program that knows less than what wrote a store must not
// read it wrongly, and still less change it.

package store

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"tiffin/image/layer"
	"tiffin/image/oci"
	"tiffin/internal/errs"
)

// Format is the version that this program writes, and the newest that it reads. A change that an
// earlier program would misunderstand raises it. What is derived does not count: indexes have
// versions of their own, and are made again.
const Format = 1

// formatName is a file with the version, a decimal number and a newline. Stores that were made
// before there was one have none, and version 1.
const formatName = "format"

// CheckFormat refuses the store at root if its version is newer than Format, or is no version.
func CheckFormat(root string) error {
	f, err := layer.OpenStored(root, formatName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the version of the store: %w", err)
	}
	defer f.Close()
	b, err := oci.ReadMax(f, 20) // bytes: the largest number, and a newline
	if err != nil {
		return fmt.Errorf("read the version of the store: %s: %w", f.Name(), err)
	}
	text := strings.TrimSuffix(string(b), "\n")
	version, err := strconv.ParseUint(text, 10, 64)
	switch {
	case err != nil || version == 0:
		return errs.Hint(fmt.Errorf("read the version of the store: %s has %q, which is none", f.Name(), text),
			fmt.Sprintf("if no later tiffin has used it: echo %d > %s", Format, filepath.Join(root, formatName)))
	case version > Format:
		return errs.Hint(fmt.Errorf("the store %s was written by a later tiffin: its format is %d, and this one reads up to %d", root, version, Format),
			"install that tiffin again, or set TIFFIN_ROOT to another directory")
	}
	return nil
}

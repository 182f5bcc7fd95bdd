// A check that the binary needs no libraries: the image has none.

package base

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"

	"tiffin/internal/errs"
)

// CheckStatic refuses a binary that names a dynamic loader (PT_INTERP, elf(5)):
// the image has no libraries, so none of its commands would start.
func CheckStatic(self io.ReaderAt) error {
	f, err := elf.NewFile(self)
	if err != nil {
		return fmt.Errorf("read the tiffin binary: %w", err)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return errs.Hint(errors.New("this tiffin cannot be its own base image: it is linked dynamically"),
				"build it without cgo: CGO_ENABLED=0 go build, or scripts/setup")
		}
	}
	return nil
}

// The labs that are in the binary, and those in a directory of somebody's own.

package tutorial

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// builtin holds the labs of tiffin, lib.sh, and what the engine says in other languages.
//
//go:embed lib.sh engine.*.txt all:[0-9][0-9]-*
var builtin embed.FS

// skeleton is the lab that `lab new` copies. It is tested like every other, and never listed.
const skeleton = "00-skeleton"

// Builtin returns the labs that come with this program, by number: those of the class that is
// behind it, or else tiffin's.
func Builtin() ([]*Lab, error) {
	r, err := ThisRoom()
	if err != nil {
		return nil, err
	}
	if r != nil {
		return r.labs()
	}
	return readLabs(builtin, "")
}

// ReadDir returns the labs of an instructor's directory, by number. The error names the labs that
// cannot be read; the others are returned all the same.
func ReadDir(dir string) ([]*Lab, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	labs, err := readLabs(os.DirFS(dir), dir)
	if err == nil && len(labs) == 0 {
		err = fmt.Errorf("there is no lab in %s: a lab is a directory NN-name with a lab.txt", dir)
	}
	return labs, err
}

// readLabs reads the labs of a file system; dir is where it is on disk.
func readLabs(fsys fs.FS, dir string) ([]*Lab, error) {
	names, err := fs.Glob(fsys, "[0-9][0-9]-*/lab.txt")
	if err != nil {
		return nil, err
	}
	var labs []*Lab // in the order of their names, so by number
	var damaged error
	for _, n := range names {
		name := filepath.Dir(n)
		if name == skeleton && dir == "" {
			continue
		}
		lab, err := readLab(fsys, name, dir)
		if err != nil {
			damaged = errors.Join(damaged, err)
			continue
		}
		labs = append(labs, lab)
	}
	return labs, damaged
}

// Read returns the lab in the directory dir.
func Read(dir string) (*Lab, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	parent, name := filepath.Split(dir)
	return readLab(os.DirFS(parent), name, parent)
}

// The context of scripts/bench build: a directory with many files, whose content is text as far as
// a compressor can tell.

package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// makeTree writes count files with mib MiB in all into directories of filesPerDir.
func makeTree(dir string, count, mib int) error {
	rnd := random(7)
	b := make([]byte, mib<<20/count)
	for i := range count {
		rnd.fill(b)
		for k, c := range b {
			b[k] = "etaoinshrdlu wm\n"[c&15] // half the bits
		}
		name := filepath.Join(dir, fmt.Sprintf("%04d", i/filesPerDir), fmt.Sprintf("f%02d", i%filesPerDir))
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			return err
		}
		if err := os.WriteFile(name, b, 0o666); err != nil {
			return err
		}
	}
	return nil
}

// Package binary builds tiffin for tests, as scripts/setup does: with the programs that it carries.
package binary

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Build builds tiffin into dir, for the architecture of this machine, and returns the file.
func Build(dir string) (string, error) {
	mod, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find the checkout: go env GOMOD: %w", err)
	}
	top := filepath.Dir(strings.TrimSpace(string(mod)))
	for { // a module within has a go.mod of its own
		if _, err := os.Stat(filepath.Join(top, "scripts/setup")); err == nil {
			break
		}
		if top == "/" {
			return "", fmt.Errorf("find the checkout: nothing above %s has scripts/setup", mod)
		}
		top = filepath.Dir(top)
	}
	file := filepath.Join(dir, "tiffin")
	if out, err := exec.Command(filepath.Join(top, "scripts/setup"), "--quiet", file).CombinedOutput(); err != nil {
		return "", fmt.Errorf("build tiffin: %w\n%s", err, out)
	}
	return file, nil
}

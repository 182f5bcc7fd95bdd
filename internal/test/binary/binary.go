// Package binary builds tiffin for tests, as scripts/setup does: with the programs that it carries.
package binary

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Main is the body of TestMain where tests run the program: it builds tiffin, tells use where, and
// returns what m does.
func Main(m interface{ Run() int }, use func(file string)) int {
	dir, err := os.MkdirTemp("", "tiffin-test-")
	if err == nil {
		defer os.RemoveAll(dir)
		err = os.Chmod(dir, 0o755) // for every user
	}
	var file string
	if err == nil {
		file, err = build(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	use(file)
	return m.Run()
}

// build builds tiffin into dir, for the architecture of this machine, and returns the file.
func build(dir string) (string, error) {
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

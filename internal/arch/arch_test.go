// Package arch holds the rules about which package may import which.
package arch

import (
	"os/exec"
	"strings"
	"testing"
)

// deps are the packages that pkg depends on, itself included.
func deps(t *testing.T, pkg string) []string {
	t.Helper()
	out, err := exec.Command("go", "list", "-deps", pkg).CombinedOutput()
	if err != nil {
		t.Fatalf("go list -deps %s: %v\n%s", pkg, err, out)
	}
	return strings.Fields(string(out))
}

// TestImportRules keeps the nouns apart: an image is a file, a file system is
// what a process sees, a container is a process. What joins them is in one place.
func TestImportRules(t *testing.T) {
	const fuse = "github.com/hanwen/go-fuse"
	within := func(pkg, dir string) bool { return pkg == dir || strings.HasPrefix(pkg, dir+"/") }
	for pkg, forbidden := range map[string][]string{
		"tiffin/image":                 {"net/http", "tiffin/fs", "tiffin/ns", "tiffin/internal/container", "tiffin/internal/cli", fuse, "github.com/urfave/cli"},
		"tiffin/image/registry":        {"tiffin/fs", "tiffin/ns", "tiffin/internal/container", "tiffin/internal/cli", fuse, "github.com/urfave/cli", "golang.org/x/term"},
		"tiffin/image/registry/server": {"tiffin/fs", "tiffin/ns", "tiffin/internal/container", "tiffin/internal/cli", fuse, "github.com/urfave/cli", "oras.land/oras-go"},
		"tiffin/image/base":            {"tiffin/fs", "tiffin/ns", "tiffin/internal/container", "tiffin/internal/cli", fuse, "github.com/urfave/cli"},
		"tiffin/fs":                    {"tiffin/image", "tiffin/ns", "tiffin/internal/container", "tiffin/internal/cli", "github.com/urfave/cli"},
		"tiffin/fs/layer":              {"tiffin/fs/union", "tiffin/image", "tiffin/ns", "tiffin/internal/container", fuse},
		"tiffin/fs/union":              {"tiffin/image", "tiffin/ns", "tiffin/internal/container", fuse},
		"tiffin/ns":                    {"tiffin/image", "tiffin/fs", "tiffin/internal/container", "tiffin/internal/cli", fuse, "github.com/urfave/cli"},
		"tiffin/ns/probe":              {"tiffin/image", "tiffin/fs", "tiffin/internal/container", "tiffin/internal/cli", fuse},
		"tiffin/tutorial":              {"tiffin/image", "tiffin/fs", "tiffin/internal/container", "tiffin/internal/cli", fuse, "github.com/urfave/cli"},
		"tiffin/internal/container":    {"tiffin/internal/cli", "github.com/urfave/cli", "github.com/vbauerster/mpb", "golang.org/x/term"},
	} {
		for _, d := range deps(t, pkg) {
			for _, f := range forbidden {
				leaf := d == "tiffin/fs/layer" || d == "tiffin/fs/union"
				if within(d, f) && !within(d, pkg) && !(f == "tiffin/fs" && leaf && strings.HasPrefix(pkg, "tiffin/image")) {
					t.Errorf("%s depends on %s", pkg, d)
				}
			}
		}
	}
}

// TestOneImporterOfFUSE: only fs speaks the protocol.
func TestOneImporterOfFUSE(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "tiffin/...").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		pkg, imports, _ := strings.Cut(line, " ")
		if strings.Contains(imports, "github.com/hanwen/go-fuse") && pkg != "tiffin/fs" {
			t.Errorf("%s imports go-fuse", pkg)
		}
	}
}

// TestCgoIsNotNeeded: the binary is static, so it can be /bin/sh of an image.
func TestCgoIsNotNeeded(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "tiffin")
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.Output(); err != nil || strings.Contains(string(out), "runtime/cgo") {
		t.Errorf("tiffin needs cgo: %v", err)
	}
}

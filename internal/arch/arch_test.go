// Package arch holds the rules about which package may import which, and which
// may speak to the user.
package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
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

// speaks are those who may print to the standard streams and end the process,
// besides main.go: whole packages, and functions PACKAGE.[TYPE.]NAME. All others
// return what they have to say, and an error.
var speaks = map[string]string{
	"internal/cli":                 "what the user types",
	"image/base/box":               "the commands of the built-in image: standard output is theirs",
	"image/base/sh":                "the shell, likewise",
	"internal/fsbench":             "a program of its own, for scripts/bench-fs",
	"internal/fstest":              "the main functions of a test binary run again",
	"ns.builder.fail":              "the end of the process that could not become the command",
	"ns.builder.lookAfter":         "the end of --init and of the helper of exec: the status of the command",
	"ns/probe.Main":                "main function of tiffin __probe",
	"internal/container.Supervise": "main function of tiffin __supervisor",
	"internal/container.Copy":      "main function of a helper of the supervisor's",
	"internal/container.Sync":      "likewise",
}

// speech is what prints or exits, in the standard library.
func speech(pkg, name string) bool {
	switch pkg {
	case "os":
		return slices.Contains([]string{"Exit", "Stdout", "Stderr"}, name)
	case "fmt":
		return slices.Contains([]string{"Print", "Printf", "Println"}, name)
	case "log": // but for loggers of one's own
		return !slices.Contains([]string{"New", "Logger", "LstdFlags", "Lmsgprefix"}, name)
	case "log/slog":
		return slices.Contains([]string{"Debug", "Info", "Warn", "Error", "Log", "LogAttrs", "Default"}, strings.TrimSuffix(name, "Context"))
	case "syscall", "golang.org/x/sys/unix":
		return slices.Contains([]string{"Exit", "Stdout", "Stderr"}, name)
	}
	return false
}

// TestOnlyCommandsPrintAndExit: a package that does either cannot be used by
// another program, and a defer that removes a temporary directory does not run.
func TestOnlyCommandsPrintAndExit(t *testing.T) {
	const top = "../.."
	silent := map[string]bool{} // entries of speaks that nothing needs
	for who := range speaks {
		silent[who] = true
	}
	files := token.NewFileSet()
	err := filepath.WalkDir(top, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || d.Name() == ".git") {
			return fs.SkipDir
		}
		rel, _ := filepath.Rel(top, name)
		if d.IsDir() || rel == "main.go" || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(files, name, nil, 0)
		if err != nil {
			return err
		}
		pkg := filepath.Dir(rel)
		for _, decl := range f.Decls {
			who := pkg + "." + declName(decl)
			for _, what := range spoken(f, decl) {
				switch {
				case speaks[pkg] != "":
					delete(silent, pkg)
				case speaks[who] != "":
					delete(silent, who)
				default:
					t.Errorf("%s: %s in %s: return it, or an error", rel, what, who)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for who := range silent {
		t.Errorf("%s neither prints nor exits, though it may: take it off the list", who)
	}
}

// declName is TYPE.NAME of a method, NAME of a function, "" of other declarations.
func declName(decl ast.Decl) string {
	f, ok := decl.(*ast.FuncDecl)
	if !ok {
		return ""
	}
	name := f.Name.Name
	if f.Recv != nil {
		typ := f.Recv.List[0].Type
		if p, ok := typ.(*ast.StarExpr); ok {
			typ = p.X
		}
		if i, ok := typ.(*ast.Ident); ok {
			name = i.Name + "." + name
		}
	}
	return name
}

// spoken lists all that prints or exits in a declaration of file f.
func spoken(f *ast.File, decl ast.Decl) (found []string) {
	imports := map[string]string{} // by the name that the file knows a package by
	for _, i := range f.Imports {
		p, _ := strconv.Unquote(i.Path.Value)
		name := path.Base(p)
		if i.Name != nil {
			name = i.Name.Name
		}
		imports[name] = p
	}
	ast.Inspect(decl, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && speech(imports[x.Name], n.Sel.Name) {
				found = append(found, x.Name+"."+n.Sel.Name)
			}
		case *ast.CallExpr:
			if x, ok := n.Fun.(*ast.Ident); ok && (x.Name == "print" || x.Name == "println") {
				found = append(found, x.Name)
			}
		}
		return true
	})
	return found
}

// Package arch holds the rules about which package may import which, and which
// may speak to the user.
package arch

import (
	"debug/elf"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"iter"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// floors are the packages of the house, from the ground up: each may import only what stands
// on a line above its own here. Packages of one line are neighbours and do not know each other.
// A package that is not named stands nowhere, and the test says so.
var floors = [][]string{
	{"internal/errs", "internal/shell", "internal/treecopy", "ns/seccomp", "image/sidecar", "image/inflate", "tutorial/similar", "tutorial/sandbox", "tutorial/21-mini/reference"},
	{"internal/wire", "ns/cgroup"},
	{"image/layer"},
	{"ns/emulation", "internal/network"},
	{"image/reference", "image/registry/token", "image/stargz", "image/union", "ns", "internal/programs", "internal/network/stack"},
	{"image/oci", "internal/compose", "internal/network/port"},
	{"image/store", "internal/compose/parser", "internal/kube"},
	{"image/ingest", "internal/kube/parser"},
	{"image/cache"},
	{"image", "fs", "ns/probe", "internal/container/disk", "internal/dockerfile", "tutorial/mini"},
	{"image/transfer", "tutorial", "tutorial/book", "internal/container/control", "internal/container/member", "internal/picture"},
	{"image/lazy"},
	{"image/registry", "image/registry/server", "internal/container/supervisor", "internal/container/client", "tutorial/gradebook"},
	{"internal/build", "internal/bundle", "internal/programs/dockerfile"},
	{"internal/cli"},
	{"", "internal/programs/runtime", "internal/programs/network", "internal/programs/compose"}, // main.go, and those of the embedded programs
}

// strangers are programs and test helpers, which nothing in the house imports.
var strangers = []string{"internal/arch", "internal/test"}

func stranger(pkg string) bool {
	return slices.ContainsFunc(strangers, func(s string) bool { return within(pkg, s) })
}

// nouns are the rooms that do not import one another: an image is a file, a file system is what
// a process sees, a container is a process. image/sidecar, image/layer and image/union are the
// ground that image and fs share. What joins the three is in internal/container.
var nouns = []string{"image", "fs", "ns"}

// within tells whether pkg is dir or below it.
func within(pkg, dir string) bool { return pkg == dir || strings.HasPrefix(pkg, dir+"/") }

// imports are the direct imports of each package of the module, by path below the module.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "tiffin/...").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	all := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		pkg := strings.TrimPrefix(strings.TrimPrefix(fields[0], "tiffin"), "/")
		all[pkg] = fields[1:]
	}
	return all
}

// TestImportsPointDown holds the order of the floors.
func TestImportsPointDown(t *testing.T) {
	floor := map[string]int{}
	for n, pkgs := range floors {
		for _, pkg := range pkgs {
			floor[pkg] = n
		}
	}
	all := imports(t)
	for pkg, imported := range all {
		if stranger(pkg) {
			continue
		}
		if _, ok := floor[pkg]; !ok {
			t.Errorf("package %q stands on no floor", pkg)
			continue
		}
		for _, path := range imported {
			other, ours := strings.CutPrefix(path, "tiffin/")
			switch {
			case !ours:
			case stranger(other):
				t.Errorf("%s imports %s, which is for tests", pkg, other)
			case floor[other] >= floor[pkg]:
				t.Errorf("%s (floor %d) imports %s (floor %d)", pkg, floor[pkg], other, floor[other])
			}
		}
	}
	for pkg := range floor {
		if _, ok := all[pkg]; !ok {
			t.Errorf("package %q is on a floor, but there is none", pkg)
		}
	}
}

// TestNounsStayApart: none of the three nouns depends on another.
func TestNounsStayApart(t *testing.T) {
	for pkg, imported := range imports(t) {
		for _, path := range imported {
			other := strings.TrimPrefix(path, "tiffin/")
			if other == "image/sidecar" || other == "image/layer" || other == "image/union" {
				continue
			}
			for _, a := range nouns {
				for _, b := range nouns {
					if a != b && within(pkg, a) && within(other, b) {
						t.Errorf("%s imports %s", pkg, other)
					}
				}
			}
		}
	}
}

// heavy are libraries that only the packages named here link, in order that programs which
// are started often do not pay for them.
var heavy = map[string][]string{
	"github.com/hanwen/go-fuse":          {"fs"},
	"github.com/urfave/cli":              {"internal/cli"},
	"github.com/vbauerster/mpb":          {"internal/cli"},
	"golang.org/x/term":                  {"internal/cli"},
	"oras.land/oras-go":                  {"image/registry"},
	"net/http":                           {"image/registry", "image/registry/server", "internal/build", "internal/cli"},
	"github.com/godbus/dbus":             {"internal/container/client"},
	"mvdan.cc/sh":                        {}, // the module in internal/userland
	"github.com/klauspost/compress":      {"image/ingest", "image/stargz"},
	"github.com/containerd":              {"image/stargz"},
	"github.com/compose-spec/compose-go": {"internal/compose/parser"},
	"github.com/sirupsen/logrus":         {"internal/compose/parser"},
	"go.yaml.in/yaml":                    {"internal/compose/parser", "internal/kube/parser"},
	"gvisor.dev/gvisor":                  {"internal/network/stack"},
	"github.com/moby/buildkit":           {"internal/programs/dockerfile"},
	"github.com/moby/patternmatcher":     {"internal/build"},
}

// TestHeavyLibrariesHaveTheirPlace: a library is linked where it is used, and nowhere else.
func TestHeavyLibrariesHaveTheirPlace(t *testing.T) {
	for pkg, imported := range imports(t) {
		for _, path := range imported {
			for library, users := range heavy {
				if within(path, library) && !slices.Contains(users, pkg) && !stranger(pkg) {
					t.Errorf("%s imports %s, which is for %s", pkg, path, strings.Join(users, ", "))
				}
			}
		}
	}
}

// TestTheRuntimeIsSmall: the programs beside a container link no store of images, no registry and
// no command line, nor a library for them.
func TestTheRuntimeIsSmall(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{.ImportPath}} {{.Standard}}", "tiffin/internal/programs/runtime").Output()
	if err != nil {
		t.Fatal(err)
	}
	libraries := []string{"golang.org/x/sys", "github.com/hanwen/go-fuse"}
	house := []string{"fs", "ns", "image/sidecar", "image/layer", "image/union", "internal"}
	heavy := []string{"net/http", "crypto/tls", "regexp", "text/template"}
	for line := range strings.Lines(string(out)) {
		pkg, standard, _ := strings.Cut(strings.TrimSpace(line), " ")
		own, ours := strings.CutPrefix(pkg, "tiffin/")
		in := func(dirs []string) bool {
			return slices.ContainsFunc(dirs, func(dir string) bool { return within(own, dir) })
		}
		switch {
		case standard == "true":
			if in(heavy) {
				t.Errorf("the programs beside a container link %s", pkg)
			}
		case ours && !in(house), !ours && !in(libraries):
			t.Errorf("the programs beside a container link %s", pkg)
		}
	}
}

// TestProgramsAreStatic: what tiffin is made of starts where there is no C library, and without a
// dynamic loader, which elf(5) calls PT_INTERP. A package that is cgo alone would not build this
// way.
func TestProgramsAreStatic(t *testing.T) {
	dir := t.TempDir()
	for pkg, module := range map[string]string{"tiffin": ".", "tiffin/internal/programs/runtime": ".", "tiffin/internal/programs/compose": ".", "tiffin/internal/programs/dockerfile": ".", "tiffin/userland": "../userland"} {
		file := filepath.Join(dir, path.Base(pkg))
		build := exec.Command("go", "build", "-C", module, "-o", file, pkg)
		build.Env = append(build.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build %s without cgo: %v\n%s", pkg, err, out)
		}
		f, err := elf.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range f.Progs {
			if p.Type == elf.PT_INTERP {
				t.Errorf("%s asks for a dynamic loader", pkg)
			}
		}
		f.Close()
	}
}

// speaks are those who may print to the standard streams and end the process,
// besides main.go: whole packages, and functions PACKAGE.[TYPE.]NAME. All others
// return what they have to say, and an error.
var speaks = map[string]string{
	"internal/cli":               "what the user types",
	"internal/userland/box":      "the commands of the built-in image: standard output is theirs",
	"internal/userland/sh":       "the shell, likewise",
	"tutorial/21-mini/reference": "a program of its own, as a student writes it",
	"internal/bench":             "a program of its own, for scripts/bench-fs",
	"internal/release":           "a program of its own, for scripts/release",
	"internal/test/fstest":       "the main functions of a test binary run again",
	"internal/test/reexec":       "likewise",
	"internal/test/binary":       "what runs around the tests of a package",
	"ns.builder.fail":            "the end of the process that could not become the command",
	"ns.builder.wait":            "the end of --init and of the helper of exec: the status of the command",
	"ns/probe.Main":              "main function of tiffin __probe",
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
	silent := map[string]bool{} // entries of speaks that nothing needs
	for who := range speaks {
		silent[who] = true
	}
	files := token.NewFileSet()
	for rel, err := range walk(top) {
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Base(rel) == "main.go" && !strings.HasPrefix(rel, "internal/bench") || !strings.HasSuffix(rel, ".go") || strings.HasSuffix(rel, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(files, filepath.Join(top, rel), nil, 0)
		if err != nil {
			t.Fatal(err)
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
	}
	for who := range silent {
		t.Errorf("%s neither prints nor exits, though it may: take it off the list", who)
	}
}

// top is the directory of the repository.
const top = "../.."

// walk visits the files below dir, by path below dir, but for test data and git's own.
func walk(dir string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
			rel, _ := filepath.Rel(dir, name)
			switch {
			case err != nil && !yield(rel, err), err == nil && !d.IsDir() && !yield(rel, nil):
				return fs.SkipAll
			case d != nil && d.IsDir() && (d.Name() == "testdata" || d.Name() == ".git"):
				return fs.SkipDir
			}
			return nil
		})
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

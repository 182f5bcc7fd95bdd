// The test of the call paths: blocks marked "calls" in the book and in the README.

package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// source has, for each "pkg.Function", "pkg.Type" and "pkg.Type.Method" of the repository, the
// names that its code uses. Packages of one name share an entry.
type source map[string]map[string]bool

// readSource parses all that is not a test.
func readSource(t *testing.T) source {
	const top = "../.."
	src, set := source{}, token.NewFileSet()
	err := filepath.WalkDir(top, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || d.Name() == ".git"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		f, err := parser.ParseFile(set, name, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range f.Decls {
			src.add(f.Name.Name, decl)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// add notes a function, a type, or a variable: a table of functions uses those that are in it.
func (src source) add(pkg string, decl ast.Decl) {
	switch decl := decl.(type) {
	case *ast.FuncDecl:
		name := pkg + "."
		if decl.Recv != nil {
			name += receiver(decl.Recv.List[0].Type) + "."
		}
		if decl.Body != nil {
			src.note(name+decl.Name.Name, decl.Body)
		}
	case *ast.GenDecl:
		for _, spec := range decl.Specs {
			switch spec := spec.(type) {
			case *ast.ValueSpec:
				for _, name := range spec.Names {
					src.note(pkg+"."+name.Name, spec)
				}
			case *ast.TypeSpec:
				src.note(pkg+"."+spec.Name.Name, spec)
			}
		}
	}
}

// note adds the names that a piece of code uses.
func (src source) note(who string, code ast.Node) {
	if src[who] == nil {
		src[who] = map[string]bool{}
	}
	ast.Inspect(code, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			src[who][id.Name] = true
		}
		return true
	})
}

// receiver is the name of a method's type.
func receiver(typ ast.Expr) string {
	switch typ := typ.(type) {
	case *ast.StarExpr:
		return receiver(typ.X)
	case *ast.IndexExpr:
		return receiver(typ.X)
	case *ast.Ident:
		return typ.Name
	}
	return ""
}

var (
	callsBlock = regexp.MustCompile("(?s)```calls\n(.*?)```")
	callsLine  = regexp.MustCompile(`^( *)(-> |=> |)([a-z]\w*(?:\.\w+){1,2})(?:  +\S.*)?$`)
)

// check reports what is wrong with one block.
func (src source) check(t *testing.T, page, block string) {
	type entry struct {
		indent int
		name   string
	}
	var above []entry
	for line := range strings.Lines(block) {
		line = strings.TrimSuffix(line, "\n")
		m := callsLine.FindStringSubmatch(line)
		if m == nil {
			t.Errorf("%s: not a line of a call path: %q", page, line)
			continue
		}
		here := entry{len(m[1]), m[3]}
		for len(above) > 0 && above[len(above)-1].indent >= here.indent {
			above = above[:len(above)-1]
		}
		if src[here.name] == nil {
			t.Errorf("%s: there is no function %s", page, here.name)
		}
		if (m[2] == "") != (len(above) == 0) {
			t.Errorf("%s: only the first line of a path, and each other one, is without and with an arrow: %q", page, line)
		} else if m[2] == "-> " {
			caller := above[len(above)-1].name
			base := here.name[strings.LastIndexByte(here.name, '.')+1:]
			if src[caller] != nil && !src[caller][base] {
				t.Errorf("%s: %s does not call %s", page, caller, here.name)
			}
		}
		above = append(above, here)
	}
}

// pages are the README, its neighbours, and the book, by path.
func pages(t *testing.T) map[string]string {
	found := map[string]string{}
	for _, pattern := range []string{"../../*.md", "../../tutorial/book/*.md"} {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			t.Fatalf("no pages %s: %v", pattern, err)
		}
		for _, name := range names {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			found[strings.TrimPrefix(name, "../../")] = string(b)
		}
	}
	return found
}

func TestCallPathsAreThoseOfTheSource(t *testing.T) {
	src, blocks := readSource(t), 0
	for page, text := range pages(t) {
		for _, m := range callsBlock.FindAllStringSubmatch(text, -1) {
			blocks++
			src.check(t, page, m[1])
		}
	}
	if blocks < 8 {
		t.Errorf("there are %d call paths; each of eight chapters has one", blocks)
	}
}

// TestFunctionsThatPagesNameExist: `pkg.Function`, `pkg.Type` and `pkg.Type.Method` in backquotes,
// where the first word is a package of ours, and paths of files.
func TestFunctionsThatPagesNameExist(t *testing.T) {
	src := readSource(t)
	pkgs := map[string]bool{}
	for name := range src {
		pkg, _, _ := strings.Cut(name, ".")
		pkgs[pkg] = true
	}
	named := regexp.MustCompile("`([a-z]+)\\.([A-Za-z]\\w*(?:\\.[A-Za-z]\\w*)?)`")
	files := regexp.MustCompile("`((?:fs|image|internal|ns|tutorial|scripts)/[\\w./-]*)`")
	for page, text := range pages(t) {
		text = callsBlock.ReplaceAllString(text, "")
		for _, m := range named.FindAllStringSubmatch(text, -1) {
			name := m[1] + "." + m[2]
			if pkgs[m[1]] && src[name] == nil && !fileName.MatchString(name) {
				t.Errorf("%s names %s, which does not exist", page, name)
			}
		}
		for _, m := range files.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat("../../" + m[1]); err != nil && !strings.Contains(m[1], "NN-") && !strings.Contains(m[1], "NAME") {
				t.Errorf("%s names the file %s, which does not exist", page, m[1])
			}
		}
	}
}

// fileName matches names of files, which look like functions.
var fileName = regexp.MustCompile(`\.(go|md|json|tar|sh|txt|sock)$`)

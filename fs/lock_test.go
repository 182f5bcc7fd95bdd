package fs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// TestLocksAreReleasedByDefer: a panic ends the container, and until it has, whoever waits for a
// lock that nobody gives back cannot be killed.
func TestLocksAreReleasedByDefer(t *testing.T) {
	files := token.NewFileSet()
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	deferred := 0
	locks := func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.DeferStmt:
			deferred++
			return false
		case *ast.FuncDecl:
			return n.Name.Name != "Thaw" // its caller defers it
		case *ast.SelectorExpr:
			if n.Sel.Name == "Unlock" || n.Sel.Name == "RUnlock" {
				t.Errorf("%s: %s without defer", files.Position(n.Pos()), n.Sel.Name)
			}
		}
		return true
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(files, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, locks)
	}
	if deferred < 30 {
		t.Errorf("only %d statements are deferred: is this the package?", deferred)
	}
}

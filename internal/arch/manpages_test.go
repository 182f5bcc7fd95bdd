// Which manual pages are cited, and whether they exist.

package arch

import (
	"go/scanner"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"tiffin/internal/test/must"
)

// pagesElsewhere are cited, and exist, though CI does not install them: pages of packages that
// nothing else needs, and system calls that manual pages describe since 2025 only. Where
// one of the latter is explained to users, an older page is named beside it.
var pagesElsewhere = map[string]string{
	"open_tree(2)": "mount_setattr(2), EXAMPLES", "move_mount(2)": "mount_setattr(2), EXAMPLES",
	"docker-run(1)": "package docker.io", "docker-cp(1)": "package docker.io",
	"docker-diff(1)": "package docker.io", "docker-export(1)": "package docker.io", "docker-network-ls(1)": "package docker.io",
	"htpasswd(1)": "package apache2-utils", "keyctl(1)": "package keyutils", "tar(5)": "package libarchive-dev", "seccomp_rule_add(3)": "package libseccomp-dev",
}

// citation matches NAME(SECTION), but not the call of a method or what follows a variable.
var citation = regexp.MustCompile(`(?:^|[^\w.$/-])([a-z_][\w.+-]*\([1-8]|\w+\([23](?:const|type|head))\)`)

// TestManualPagesExist: each page that code or text cites is there on a machine as CI's, Debian 12.
func TestManualPagesExist(t *testing.T) {
	man := must.Tool(t, "man")
	if exec.Command(man, "-w", "2", "mount").Run() != nil {
		if os.Getenv("TIFFIN_MUST") != "" {
			t.Fatal("there is no mount(2): install manpages-dev")
		}
		t.Skip("the manual pages of system calls are not installed here")
	}
	cited := citations(t)
	if len(cited) < 150 {
		t.Errorf("only %d pages are cited; are they still found?", len(cited))
	}
	for _, page := range slices.Sorted(maps.Keys(cited)) {
		name, section, _ := strings.Cut(strings.TrimSuffix(page, ")"), "(")
		there := exec.Command(man, "-w", "-s", section, name).Run() == nil
		if !there && pagesElsewhere[page] == "" {
			t.Errorf("%s, cited in %s, does not exist", page, cited[page])
		}
	}
	for page := range pagesElsewhere {
		if cited[page] == "" {
			t.Errorf("%s is not cited: take it off the list", page)
		}
	}
}

// citations finds all pages that are cited in comments and strings of Go code, and in other text,
// each with the name of a file.
func citations(t *testing.T) map[string]string {
	const top = "../.."
	cited := map[string]string{}
	err := filepath.WalkDir(top, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(top, name)
		if d.IsDir() {
			if d.Name() == ".git" || d.Name() == "testdata" {
				return fs.SkipDir
			}
			return nil
		}
		b, err := os.ReadFile(name)
		if err != nil || rel == "internal/arch/manpages_test.go" {
			return err
		}
		text := ""
		switch filepath.Ext(name) {
		case ".go":
			text = words(b)
		case ".md", ".txt", ".sh", ".svg":
			text = string(b)
		}
		for _, m := range citation.FindAllStringSubmatch(text, -1) {
			cited[m[1]+")"] = rel
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return cited
}

// words returns the comments and strings of Go code, a line each.
func words(code []byte) string {
	var s scanner.Scanner
	var all strings.Builder
	set := token.NewFileSet()
	s.Init(set.AddFile("", set.Base(), len(code)), code, nil, scanner.ScanComments)
	for {
		switch _, tok, lit := s.Scan(); tok {
		case token.EOF:
			return all.String()
		case token.COMMENT:
			all.WriteString(lit + "\n")
		case token.STRING:
			lit, _ = strconv.Unquote(lit)
			all.WriteString(lit + "\n")
		}
	}
}

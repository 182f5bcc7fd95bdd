package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/u-root/u-root/pkg/core"
	"github.com/u-root/u-root/pkg/core/base64"
	"github.com/u-root/u-root/pkg/core/cat"
	"github.com/u-root/u-root/pkg/core/chmod"
	"github.com/u-root/u-root/pkg/core/cp"
	"github.com/u-root/u-root/pkg/core/find"
	"github.com/u-root/u-root/pkg/core/ls"
	"github.com/u-root/u-root/pkg/core/mkdir"
	"github.com/u-root/u-root/pkg/core/mktemp"
	"github.com/u-root/u-root/pkg/core/mv"
	"github.com/u-root/u-root/pkg/core/rm"
	"github.com/u-root/u-root/pkg/core/shasum"
	"github.com/u-root/u-root/pkg/core/tar"
	"github.com/u-root/u-root/pkg/core/touch"
	"github.com/u-root/u-root/pkg/core/xargs"
)

// A gap is a thing that sameAsSystem or a lesson asks of a command and that
// u-root's command of the name does not do. In the directory are a file f, an
// empty directory d and a file list of one line.
type gap struct {
	name  string
	new   func() core.Command
	needs string // what is missing
	args  string
	right func(out string, err error) bool // nil: no error is all that is asked
}

var gaps = []gap{
	{"base64", base64.New, "-w, and lines of 76 columns", "-w 20 f", nil},
	{"cat", cat.New, "-n", "-n f", nil},
	{"cat", cat.New, "to go on after a file it cannot open", "nope f", func(out string, _ error) bool { return out != "" }},
	{"cat", cat.New, "to say why a read failed", "d", func(_ string, err error) bool { return strings.Contains(err.Error(), "is a directory") }},
	{"chmod", chmod.New, "setuid, setgid and sticky bits", "4755 f", nil},
	{"chmod", chmod.New, "modes in a comma list", "u=rw,g=r f", nil},
	{"chmod", chmod.New, "-R", "-R 755 d", nil},
	{"cp", cp.New, "-a", "-a f g", nil},
	{"cp", cp.New, "-p", "-p f g", nil},
	{"find", find.New, "-exec", ". -exec true ;", func(out string, err error) bool { return err == nil && out == "" }},
	{"find", find.New, "-maxdepth", "-maxdepth 1 .", nil},
	{"ls", ls.New, "-i", "-i f", nil},
	{"ls", ls.New, "-n", "-n f", nil},
	{"ls", ls.New, "-1", "-1 f", nil},
	{"ls", ls.New, "-t", "-t f", nil},
	{"mkdir", mkdir.New, "to fail when it could not make the directory", "d", func(_ string, err error) bool { return err != nil }},
	{"mktemp", mktemp.New, "templates with a directory", "./x.XXXXXX", nil},
	{"mv", mv.New, "-f", "-f f g", nil},
	{"rm", rm.New, "to spare directories without -r", "d", func(_ string, err error) bool { return err != nil }},
	{"rm", rm.New, "to report what is not there with -r", "-r nope", func(_ string, err error) bool { return err != nil }},
	{"shasum", shasum.New, "-c", "-c list", nil},
	{"shasum", shasum.New, "two blanks before the name", "f", func(out string, _ error) bool { return strings.Contains(out, "  f") }},
	{"tar", tar.New, "-z", "-c -z -f a.tgz f", nil},
	{"tar", tar.New, "-C", "-c -f a.tar -C d .", nil},
	{"touch", touch.New, "-r", "-r f d", nil},
	{"touch", touch.New, "-d in the forms of coreutils", "-d @5 f", nil},
	{"xargs", xargs.New, "-I", "-I {} echo {}", nil},
	{"xargs", xargs.New, "-r", "-r echo", nil},
}

// TestURootStillLacksWhatTheImageNeeds keeps the reason for our own commands
// true (appendix B of the book, "The commands of tiffin/base"): when a newer u-root closes the
// gaps of a command, this fails, and ours is to go.
func TestURootStillLacksWhatTheImageNeeds(t *testing.T) {
	left := map[string]int{}
	for _, g := range gaps {
		if !g.closed(t) {
			left[g.name]++
		} else {
			t.Logf("u-root's %s now does have %s", g.name, g.needs)
			left[g.name] += 0
		}
	}
	for name, n := range left {
		if n == 0 {
			t.Errorf("u-root's %s has all that ours was written for: try it in place of ours", name)
		}
	}
}

// closed tries u-root's command.
func (g gap) closed(t *testing.T) bool {
	dir := t.TempDir()
	for _, name := range []string{"f", "list"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("one line of text\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "d"), 0o755); err != nil {
		t.Fatal(err)
	}
	c := g.new()
	var out, errs bytes.Buffer
	c.SetIO(strings.NewReader("word\n"), &out, &errs)
	c.SetWorkingDir(dir)
	c.SetLookupEnv(func(name string) (string, bool) { return dir, name == "TMPDIR" })
	err := c.Run(strings.Fields(g.args)...)
	if g.right == nil {
		return err == nil
	}
	return g.right(out.String(), err)
}

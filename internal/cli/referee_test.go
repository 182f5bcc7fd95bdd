// The referee: what buildah makes of a Dockerfile is what tiffin makes of it, but for what the
// Dockerfile reference decides otherwise. Each file of testdata/referee is about some rules:
//
//	the rules, and for what differs the sentence of the reference that decides, after "differs:"
//	-- Dockerfile --
//	-- setup --     a shell script, run in the context, that makes more of it; may be missing
//	-- flags --     of build and of buildah bud; may be missing
//	-- buildah --   what buildah has made, written by root: `go test -run Referee -update`
//	-- tiffin --    what tiffin makes, where that differs
//
// An answer has a line for each path that differs from the base, and for each field of the config:
//
//	PATH TYPE MODE UID:GID CONTENT     f, d, l, h (a hard link) …; "old": of the context's time
//	PATH gone
//	Config.FIELD JSON
//	refused                            there is no image

package cli_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"tiffin/image"
	"tiffin/internal/build"
	"tiffin/internal/test/must"
)

var update = flag.Bool("update", false, "ask buildah, and write what it answers into testdata/referee")

// asked are the files that buildah is asked about in each run: its answers are not made up.
var asked = []string{"copy-into", "user-workdir", "arg-scope", "stages"}

// contextTime is that of all files of the context, in seconds since 1970.
const contextTime = 981158400

// pantry makes what all have for a context.
const pantry = `mkdir -p ctx/d/sub ctx/e && cd ctx && echo f >f && chmod 640 f && echo 1 >d/one.txt && echo 2 >d/two.txt &&
	echo s >d/sub/s && chmod 711 d/sub && ln -s one.txt d/l && ln -s f l && echo e >e/e`

// arena is where the two build.
type arena struct {
	buildah string // the command, or ""
	store   *image.Store
	base    map[string]string // the answer for the base alone
}

func TestReferee(t *testing.T) {
	need(t, person{"user", os.Getuid(), os.Getgid()})
	dir := t.TempDir()
	t.Setenv("TIFFIN_ROOT", filepath.Join(dir, "store"))
	a := new(arena)
	a.sh(t, dir, "tiffin build -q -t base - <<E\nFROM docker.io/tiffin/base\nE")
	var err error
	if a.store, err = image.Open(filepath.Join(dir, "store")); err != nil {
		t.Fatal(err)
	}
	a.base = a.answer(t, "base")
	if os.Getuid() == 0 && !testing.Short() { // its storage needs root here
		a.buildah = fmt.Sprintf("%s --root %s/r --runroot %s/rr --storage-driver vfs", must.Tool(t, "buildah"), dir, dir)
		a.sh(t, dir, `tiffin copy tiffin/base oci-archive:base.tar:tiffin/base:latest && `+a.buildah+` pull -q oci-archive:base.tar`)
	}
	files, err := filepath.Glob("testdata/referee/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("there are no files", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a.judge(t, file, name)
		})
	}
}

// judge lets tiffin build what a file says, and compares.
func (a *arena) judge(t *testing.T, file, name string) {
	c, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	part := map[string]string{}
	for _, f := range c.Files {
		part[f.Name] = string(f.Data)
	}
	dir := t.TempDir()
	t.Cleanup(func() { _ = exec.Command("chmod", "-R", "u+rwX", dir).Run() }) // so that it can be removed
	a.sh(t, dir, "umask 022; "+pantry+"\n"+part["setup"]+fmt.Sprintf("\ncd %s/ctx; find . -depth -exec touch -h -d @%d {} +", dir, contextTime))
	if err := os.WriteFile(filepath.Join(dir, "D"), []byte(part["Dockerfile"]), 0o644); err != nil {
		t.Fatal(err)
	}
	flags := strings.TrimSpace(part["flags"])
	if a.buildah != "" && (*update || slices.Contains(asked, name)) {
		theirs := a.print(t, dir, "theirs-"+name, strings.ReplaceAll(`BUILDAH bud -q --isolation chroot --format docker -f D -t $name `+flags+` ctx && BUILDAH push -q $name docker-archive:out.tar:$name:latest && tiffin load -q -i out.tar`, "BUILDAH", a.buildah))
		if *update {
			c.Files = slices.DeleteFunc(c.Files, func(f txtar.File) bool { return f.Name == "buildah" })
			c.Files = append(c.Files, txtar.File{Name: "buildah", Data: []byte(theirs)})
			slices.SortStableFunc(c.Files, func(a, b txtar.File) int { return strings.Compare(order(a.Name), order(b.Name)) })
			if err := os.WriteFile(file, txtar.Format(c), 0o644); err != nil {
				t.Fatal(err)
			}
		} else if theirs != part["buildah"] {
			t.Errorf("buildah answers\n%snot what the file has\n%s", theirs, part["buildah"])
		}
		part["buildah"] = theirs
	}
	want, differs := part["tiffin"]
	if !differs {
		want = part["buildah"]
	}
	if differs != strings.Contains(string(c.Comment), "differs: ") {
		t.Error("the reason for what differs is missing, or there is nothing that differs")
	}
	if got := a.print(t, dir, "ours-"+name, `tiffin build -q -t $name -f D `+flags+` ctx`); got != want {
		t.Errorf("%s\n%stiffin\n%sreferee\n%s", c.Comment, part["Dockerfile"], got, want)
	}
}

// order of the parts in a file.
func order(name string) string {
	return fmt.Sprint(slices.Index([]string{"Dockerfile", "setup", "flags", "buildah", "tiffin"}, name))
}

// sh runs a shell script.
func (a *arena) sh(t *testing.T, dir, script string) {
	t.Helper()
	out, err := a.try(dir, script)
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
}

func (a *arena) try(dir, script string) (string, error) {
	cmd := exec.Command("sh", "-ec", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// print is the answer of what a script builds as $name, in lines.
func (a *arena) print(t *testing.T, dir, name, script string) string {
	t.Helper()
	if said, err := a.try(dir, "name="+name+"\n"+script); err != nil {
		if testing.Verbose() {
			t.Log(said)
		}
		return "refused\n"
	}
	now, base := a.answer(t, name), a.base
	if now["bin/sh"] == "" { // it begins with nothing
		base = nil
	}
	var out strings.Builder
	for _, p := range slices.Sorted(maps.Keys(now)) {
		if now[p] != base[p] {
			fmt.Fprintf(&out, "%s %s\n", p, now[p])
		}
	}
	for _, p := range slices.Sorted(maps.Keys(base)) {
		if _, ok := now[p]; !ok {
			fmt.Fprintf(&out, "%s gone\n", p)
		}
	}
	return out.String()
}

// answer is what there is to an image, by path or field.
func (a *arena) answer(t *testing.T, name string) map[string]string {
	t.Helper()
	img, err := a.store.Resolve(name)
	if err != nil {
		t.Fatal(err)
	}
	var files bytes.Buffer
	if err := build.WriteFiles(&files, a.store, img); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for r := tar.NewReader(&files); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if p := strings.Trim(h.Name, "/"); !mounted(p) {
			all[p] = describe(h, content)
		}
	}
	raw, err := a.store.RawConfig(img)
	var config struct{ Config map[string]any }
	if err == nil {
		err = json.Unmarshal(raw, &config)
	}
	if err != nil {
		t.Fatal(err)
	}
	if labels, ok := config.Config["Labels"].(map[string]any); ok {
		delete(labels, "io.buildah.version")
	}
	delete(config.Config, "Hostname") // buildah makes one up
	for k, v := range config.Config {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if s := string(b); !slices.Contains([]string{"null", `""`, "[]", "{}", "false"}, s) {
			all["Config."+k] = s
		}
	}
	return all
}

// describe is a file without its name.
func describe(h *tar.Header, content []byte) string {
	kind := map[byte]string{tar.TypeReg: "f", tar.TypeDir: "d", tar.TypeSymlink: "l", tar.TypeLink: "h", tar.TypeFifo: "p"}[h.Typeflag]
	s := fmt.Sprintf("%s %o %d:%d", kind, h.Mode&0o7777, h.Uid, h.Gid)
	switch {
	case h.Linkname != "":
		s += " " + h.Linkname
	case len(content) > 200:
		s += fmt.Sprintf(" %x", sha256.Sum256(content))
	case len(content) > 0:
		s += fmt.Sprintf(" %q", content)
	}
	if h.ModTime.Unix() == contextTime && kind != "d" { // no rule is about the times of directories
		s += " old"
	}
	return s
}

// mounted are the paths where buildah's chroot leaves what it mounts on.
func mounted(p string) bool {
	top, _, _ := strings.Cut(p, "/")
	return slices.Contains([]string{"", ".", "dev", "proc", "sys", "run"}, top) || slices.Contains([]string{"etc/hosts", "etc/hostname", "etc/resolv.conf"}, p)
}

// What a RUN mounts stays there while it runs, whatever other commands do in the store.

package build

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tiffin/internal/dockerfile"
	"tiffin/internal/test/imagetest"
)

// TestMountsAreNotSweptAway by another command, which removes what killed ones have left; and
// nothing is left of them.
func TestMountsAreNotSweptAway(t *testing.T) {
	s := imagetest.NewStore(t)
	dir := t.TempDir()
	for name, text := range map[string]string{".dockerignore": "secret", "menu": "rice", "secret": "k3y"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "closed"), 0o500); err != nil {
		t.Fatal(err)
	}
	c, err := OpenContext(s, dir)
	if err == nil {
		err = c.Ignore(strings.NewReader("secret"))
	}
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b := &builder{Options: Options{Store: s, Context: c}}
	b.journal = openJournal(&b.Options)
	m, err := b.mounts(t.Context(), &state{}, &dockerfile.Instruction{Script: "#!/bin/cat\n", Mounts: []dockerfile.Mount{{Type: "bind", Target: "/m", Stage: -1}}})
	if err == nil {
		err = m.lay()
	}
	if err != nil {
		t.Fatal(err)
	}
	s.Sweep()
	found := ""
	for _, v := range m.volumes {
		_ = filepath.WalkDir(v.Source, func(p string, _ os.DirEntry, err error) error {
			if rel, _ := filepath.Rel(v.Source, p); err == nil {
				found += " " + v.Target + "/" + rel
			}
			return err
		})
	}
	if want := " /m/. /m/.dockerignore /m/closed /m/menu " + dockerfile.ScriptPath + "/."; found != want {
		t.Errorf("mounted are%s, want%s", found, want)
	}
	m.close()
	if left, err := os.ReadDir(s.Path("tmp")); len(left) > 0 || err != nil {
		t.Errorf("left over: %v, %v", left, err)
	}
}

package tutorial

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestARoomHasNoSolutions: neither among its labs nor in the program before them; after the
// deadline it has those of its labs. It is one file that runs.
func TestARoomHasNoSolutions(t *testing.T) {
	all, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewClass("os1", all[:2])
	if err != nil {
		t.Fatal(err)
	}
	c.From = "/home/teacher"
	r := &Runner{Binary: binary, Limit: DefaultLimit}
	path := filepath.Join(t.TempDir(), "tiffin-os1")
	if _, err := r.PackFile(background, path, c, all, PackOptions{}); err != nil {
		t.Fatal(err)
	}
	room, err := openRoom(path)
	if err != nil || room == nil || room.Class.Name != "os1" || room.Class.From != "" {
		t.Fatalf("%+v, %v", room, err)
	}
	defer room.held.Close()
	labs, err := room.labs()
	if err != nil || len(labs) != 2 {
		t.Fatalf("%v, %v", labs, err)
	}
	for i, l := range labs {
		for _, f := range []string{"lab.txt", "setup.sh", "check.sh", "hints.txt", "solution.sh", "wrong", "claims.txt"} {
			if l.has(f) != (!slices.Contains(withheld, f)) {
				t.Errorf("%s/%s: %v", l.Name, f, l.has(f))
			}
		}
		if l.Lesson != all[i].Lesson {
			t.Errorf("%s is another lab", l.Name)
		}
	}
	packed, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	err = fs.WalkDir(builtin, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.Contains(path, "/solution.sh") && !strings.Contains(path, "/wrong/") && !strings.Contains(path, "/reference/") {
			return err
		}
		n++
		text, err := builtin.ReadFile(path)
		if bytes.Contains(packed, text) {
			t.Errorf("%s is in the room", path)
		}
		return err
	})
	if err != nil || n < 20 {
		t.Errorf("%d files looked for, %v", n, err)
	}
	if err := (&Runner{Binary: path}).Pack(background, &bytes.Buffer{}, c, all, PackOptions{}); err == nil {
		t.Error("a room in a room")
	}
	whole := path + "-whole"
	if _, err := r.PackFile(background, whole, c, all, PackOptions{Solutions: true}); err != nil {
		t.Fatal(err)
	}
	after, err := openRoom(whole)
	if err != nil {
		t.Fatal(err)
	}
	defer after.held.Close()
	if labs, err := after.labs(); err != nil || !labs[0].has("solution.sh") || !labs[0].has("wrong/manifest.sh") {
		t.Errorf("%v", err)
	}
	if room, err := openRoom(binary); room != nil || err != nil {
		t.Errorf("a program without a class: %+v, %v", room, err)
	}
}

// TestSolutionsAreSeenAfterPassing.
func TestSolutionsAreSeenAfterPassing(t *testing.T) {
	l := small(t)
	s := student(t)
	s.mustStart(t, l)
	if _, _, err := s.Solution(l); err == nil || !strings.Contains(err.Error(), "not passed yet") {
		t.Errorf("before: %v", err)
	}
	if err := s.note(l, func(e *Entry) { e.State = Done }); err != nil {
		t.Fatal(err)
	}
	solution, wrongs, err := s.Solution(l)
	if err != nil || !strings.Contains(solution, "$WORD") || len(wrongs) < 3 || wrongs[0].Says == "" || wrongs[0].Text == "" {
		t.Errorf("%q, %v, %v", solution, wrongs, err)
	}
}

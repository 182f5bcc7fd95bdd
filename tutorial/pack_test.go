package tutorial

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// packOf is a pack with these entries, as a stranger may write it.
func packOf(t *testing.T, entries ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, h := range entries {
		if h.Typeflag == tar.TypeReg {
			h.Size = max(h.Size, 1)
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := w.Write(bytes.Repeat([]byte{'x'}, int(h.Size))); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestPacksTravel: a lab that was packed and added is the same lab, and the same bytes each time;
// for students it is without what passes.
func TestPacksTravel(t *testing.T) {
	l := small(t)
	s := &Student{Dir: t.TempDir()}
	b, err := PackLabs([]*Lab{l}, false)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := PackLabs([]*Lab{l}, false); err != nil || !bytes.Equal(b, again) {
		t.Errorf("packed again it is other bytes, %v", err)
	}
	p, labs, err := s.AddPack(b, "host:5000/course/os-labs:2", "sha256:x", "")
	if err != nil || p.Name != "os-labs" || len(labs) != 1 {
		t.Fatalf("%+v, %v, %v", p, labs, err)
	}
	for _, name := range []string{"check.sh", "solution.sh", "lab.txt"} {
		want, _ := os.ReadFile(filepath.Join(l.dir, name))
		if got, err := os.ReadFile(filepath.Join(p.Dir, l.Name, name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	all, err := s.Labs()
	if err != nil {
		t.Fatal(err)
	}
	if i := slices.IndexFunc(all, func(o *Lab) bool { return o.Name == l.Name && o.Pack == p }); i < 0 {
		t.Errorf("it is not among the labs")
	}
	if b, err = PackLabs([]*Lab{l}, true); err != nil {
		t.Fatal(err)
	}
	if p, _, err = s.AddPack(b, "host:5000/course/os-labs:3", "sha256:y", ""); err != nil {
		t.Fatal(err)
	}
	for _, name := range withheld {
		if _, err := os.Stat(filepath.Join(p.Dir, l.Name, name)); err == nil {
			t.Errorf("a student gets %s", name)
		}
	}
	if err := s.Remove("os-labs"); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(filepath.Join(s.Dir, "packs")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// TestPacksOfStrangers: all but plain files of labs is refused, and nothing is left of it.
func TestPacksOfStrangers(t *testing.T) {
	file := func(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeReg} }
	for name, x := range map[string]struct {
		entries []tar.Header
		want    string
	}{
		"a path upwards":        {[]tar.Header{file("50-a/../../../evil")}, "names are NN-name/word"},
		"an absolute path":      {[]tar.Header{file("/50-a/lab.txt")}, "names are NN-name/word"},
		"a file beside labs":    {[]tar.Header{file("evil")}, "names are NN-name/word"},
		"a hidden file":         {[]tar.Header{file("50-a/.git")}, "names are NN-name/word"},
		"a newline":             {[]tar.Header{file("50-a/x\ny")}, "names are NN-name/word"},
		"the same twice":        {[]tar.Header{file("50-a/x"), file("50-a/x")}, "each once"},
		"a symbolic link":       {[]tar.Header{{Name: "50-a/x", Linkname: "/etc", Typeflag: tar.TypeSymlink}, file("50-a/x/y")}, "links and devices are refused"},
		"a hard link":           {[]tar.Header{{Name: "50-a/x", Linkname: "/etc/passwd", Typeflag: tar.TypeLink}}, "links and devices are refused"},
		"a device":              {[]tar.Header{{Name: "50-a/x", Typeflag: tar.TypeChar}}, "links and devices are refused"},
		"much":                  {[]tar.Header{{Name: "50-a/x", Typeflag: tar.TypeReg, Size: maxUnpacked + 1}}, "more than 32 MiB"},
		"a file as a directory": {[]tar.Header{file("50-a/x"), file("50-a/x/y")}, "50-a/x"},
		"no lab":                {[]tar.Header{file("50-a/x")}, "there is no lab"},
		"a lab that is none":    {[]tar.Header{file("50-a/lab.txt")}, "no blank line"},
	} {
		s := &Student{Dir: t.TempDir()}
		if _, _, err := s.AddPack(packOf(t, x.entries...), "somebody/labs", "", ""); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v", name, err)
		}
		if left, _ := os.ReadDir(filepath.Join(s.Dir, "packs")); len(left) > 0 {
			t.Errorf("%s: left %v", name, left)
		}
	}
	if _, err := unpacked([]byte("no gzip")); err == nil {
		t.Error("what is no pack was read")
	}
	l := small(t)
	if err := os.Symlink("/etc/passwd", filepath.Join(l.dir, "passwd")); err != nil {
		t.Fatal(err)
	}
	if _, err := PackLabs([]*Lab{l}, false); err == nil || !strings.Contains(err.Error(), "passwd cannot be packed") {
		t.Errorf("a link was packed: %v", err)
	}
}

// TestPacksDoNotMix: neither the names of two packs nor the numbers of their labs are the same, and
// a name is one word whoever chose it.
func TestPacksDoNotMix(t *testing.T) {
	l := small(t)
	s := &Student{Dir: t.TempDir()}
	b, err := PackLabs([]*Lab{l}, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.AddPack(b, "one.example/labs:1", "", ""); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.AddPack(b, "one.example/labs:2", "", ""); err != nil {
		t.Errorf("a newer one of the same: %v", err)
	}
	for name, x := range map[string]struct{ from, name, want string }{
		"the same numbers":   {"two.example/others:1", "", "has the number of 50-small, which is of labs"},
		"another's name":     {"two.example/labs:1", "", "there is another pack labs already"},
		"a path for a name":  {"two.example/x", "../x", "cannot be the name of a pack"},
		"a hidden name":      {"two.example/x", ".x", "cannot be the name of a pack"},
		"a name of an error": {"/", "", "cannot be the name of a pack"},
	} {
		if _, _, err := s.AddPack(b, x.from, "", x.name); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	own := filepath.Join(t.TempDir(), "own")
	if err := os.CopyFS(filepath.Join(own, "03-mine"), l.files); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.AddDir(own, ""); err == nil || !strings.Contains(err.Error(), "has the number of tiffin's own") {
		t.Errorf("a number of tiffin's: %v", err)
	}
}

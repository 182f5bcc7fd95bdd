package cli_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// allowReading is what the pages tell the owner of a store to do.
const allowReading = "cd /net/course/images && chmod go+rX . && chmod -R go+rX blobs layers format index.json oci-layout"

// TestOpenedToOthersAStoreShowsImagesAlone: what only its owner shall run or read stays closed, and
// a link of an image leads chmod(1) to no file of the owner's.
func TestOpenedToOthersAStoreShowsImagesAlone(t *testing.T) {
	for _, page := range []string{"7-registry.md", "h-cluster.md"} {
		if text, err := os.ReadFile("../../tutorial/book/" + page); err != nil || !strings.Contains(string(text), "    "+allowReading+"\n") {
			t.Errorf("%s says something else: %v", page, err)
		}
	}
	for _, p := range everybody(t) {
		t.Run(p.name, func(t *testing.T) {
			b := newBench(t, p)
			do := func(script string) string {
				cmd := exec.Command("sh", "-ec", script)
				cmd.Dir, cmd.SysProcAttr, cmd.Stderr = b.dir, p.attr(), os.Stderr
				cmd.Env = append(os.Environ(), "HOME="+b.dir, "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"), "TIFFIN_ROOT="+b.dir+"/store")
				out, err := cmd.Output()
				if err != nil {
					t.Fatalf("%s: %v", script, err)
				}
				return string(out)
			}
			do(`umask 077; echo mine > mine; mkdir image; ln -s "$PWD/mine" image/link; echo x > image/run; chmod 4755 image/run
				tar -cf image.tar -C image .; tiffin import -q -c 'CMD ["/run"]' image.tar image; tiffin volume create jar
				tiffin create --name one image; tiffin run --rm --driver unpacked -v jar:/jar image 2> /dev/null || test -d store/trees/*`)
			do(strings.Replace(allowReading, "/net/course/images", "store", 1))
			open := do(`find store mine -type d ! -perm /077 -prune -o ! -type l -perm /077 -print | cut -d / -f 1-2 | sort -u`)
			if want := "store\nstore/blobs\nstore/format\nstore/index.json\nstore/layers\nstore/oci-layout\n"; open != want {
				t.Errorf("open to others:\n%s", open)
			}
			do("tiffin rm one; tiffin rmi image; tiffin volume rm jar")
		})
	}
}

// TestImagesOfAnotherOwner: root's store, as an instructor's, and its users.
func TestImagesOfAnotherOwner(t *testing.T) {
	all := everybody(t)
	if os.Getuid() != 0 {
		t.Skip("it takes root to be two people")
	}
	need(t, all[0])
	dir, err := os.MkdirTemp("", "tiffin-further-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	theirs := filepath.Join(dir, "theirs")
	do := func(t *testing.T, p person, script string) string {
		t.Helper()
		cmd := exec.Command("sh", "-ec", script)
		cmd.Dir, cmd.SysProcAttr = dir, p.attr()
		cmd.Env = append(os.Environ(), "HOME="+dir, "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"), "THEIRS="+theirs,
			"TIFFIN_ROOT="+filepath.Join(dir, p.name, "store"), "TIFFIN_IMAGE_PATH="+theirs)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %s: %v\n%s", p.name, script, err, out)
		}
		return string(out)
	}
	do(t, all[0], `export TIFFIN_ROOT=$THEIRS; tiffin run --name chef tiffin/base sh -c 'echo dinner >/menu'
		tiffin commit chef course/menu; tiffin rm chef; chmod go+rX .
		`+strings.Replace(allowReading, "/net/course/images", "$THEIRS", 1))
	// What comes later can be read as well.
	do(t, all[0], `umask 077; TIFFIN_ROOT=$THEIRS tiffin tag course/menu course/later`)
	list := func() string { return do(t, all[0], `find $THEIRS -printf '%p %s %T@\n' | sort`) }
	before := list()
	for _, p := range all[1:] {
		t.Run(p.name, func(t *testing.T) {
			if err := os.MkdirAll(filepath.Join(dir, p.name), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Chown(filepath.Join(dir, p.name), p.uid, p.gid); err != nil {
				t.Fatal(err)
			}
			out := do(t, p, `tiffin run --name mine course/menu cat /menu; tiffin run --name more course/menu sh -c 'echo more >>/menu'
				tiffin commit more my/menu; tiffin run --rm my/menu cat /menu; tiffin rm mine more; find $TIFFIN_ROOT -name flat.tar | wc -l`)
			if !strings.HasPrefix(out, "dinner\n") || !strings.HasSuffix(out, "dinner\nmore\nmine\nmore\n1\n") {
				t.Errorf("it prints\n%s", out)
			}
			// Derived files that cannot be read are made here.
			do(t, all[0], `chmod go-r $THEIRS/layers/*/index`)
			defer do(t, all[0], `chmod go+r $THEIRS/layers/*/index`)
			if out := do(t, p, `tiffin rmi my/menu >&2; tiffin run --rm course/later cat /menu`); !strings.HasSuffix(out, "dinner\n") {
				t.Errorf("without the derived files it prints\n%s", out)
			}
		})
	}
	if after := list(); after != before {
		t.Errorf("the store has changed:\n%s\n%s", before, after)
	}
}

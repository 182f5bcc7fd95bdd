package fs_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hanwen/go-fuse/v2/posixtest"

	"tiffin/internal/test/fstest"
	"tiffin/internal/test/must"
	"tiffin/internal/test/tartest"
)

// cannotPass lists the cases of go-fuse's posixtest that this file system
// does not pass, with the reason. A case that is listed and passes is an
// error too.
var cannotPass = map[string]string{
	"FcntlFlockLocksFile": "wants a process to meet its own lock, which fcntl(2), \"Record locks\", says it never does; ext4 does not pass either",
}

// small is a lower layer with something of everything.
func small(t *testing.T) []byte {
	return tartest.Of(t,
		tartest.Dir("etc"), tartest.File("etc/hosts", "127.0.0.1 localhost\n"),
		tartest.Dir("bin"), tartest.Symlink("sbin", "bin"),
		tartest.File("a", "one"), tartest.Hardlink("b", "a"), tartest.Fifo("fifo"))
}

// largeAttributes is the case that ext4, with 4 KiB for all attributes of a
// file, cannot hold: it is tried on another upper file system.
const largeAttributes = "XAttrLarge"

func TestPosixSemanticsOfGoFuse(t *testing.T) {
	fstest.Run(t, fstest.Options{Layers: [][]byte{small(t)}}, func(t *testing.T, m *fstest.Mount) {
		for _, name := range slices.Sorted(maps.Keys(posixtest.All)) {
			if name == largeAttributes {
				continue
			}
			dir := filepath.Join(m.Dir, "posix-"+name)
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			why, listed := cannotPass[name]
			if !listed {
				t.Run(name, func(t *testing.T) { noSkip(t, posixtest.All[name], dir) })
			} else if passes(posixtest.All[name], dir) {
				t.Errorf("%s passes, but is listed as unable to: %s", name, why)
			}
		}
	})
}

func TestLargeAttributesOnTmpfs(t *testing.T) {
	fstest.Run(t, fstest.Options{Layers: [][]byte{small(t)}, UpperTmpfs: 16 << 20}, func(t *testing.T, m *fstest.Mount) {
		noSkip(t, posixtest.All[largeAttributes], m.Dir) // user attributes need Linux 6.6
	})
}

// noSkip runs a case, which must not skip where TIFFIN_MUST is set.
func noSkip(t *testing.T, f func(*testing.T, string), dir string) {
	defer func() {
		if t.Skipped() && must.Have("") {
			t.Error("skipped, but TIFFIN_MUST is set")
		}
	}()
	f(t, dir)
}

// passes runs a test whose failure is expected.
func passes(f func(*testing.T, string), dir string) bool {
	return testing.RunTests(func(string, string) (bool, error) { return true, nil },
		[]testing.InternalTest{{Name: "expected to fail", F: func(t *testing.T) { f(t, dir) }}})
}

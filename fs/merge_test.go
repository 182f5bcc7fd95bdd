package fs_test

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/image/layer"
	"tiffin/internal/test/fstest"
	"tiffin/internal/test/must"
	"tiffin/internal/test/tartest"
)

// The merged tree has to be what others make of the same layers: umoci(1),
// which unpacks them one over the other, and the kernel's overlay file system
// over each layer unpacked by tar(1).

// envWant names the file in which T left the tree that the client compares with.
const envWant = "TIFFIN_MERGE_WANT"

// stack is an image whose layers have something nasty about them.
type stack struct {
	name   string
	layers [][]tartest.Entry
	// untimed are directories without an entry in any layer: OCI image-spec
	// does not say which time they have.
	untimed []string
	// noUmoci and noOverlay say why umoci or overlay cannot show the same.
	noUmoci, noOverlay string
}

var then = tartest.Mtime(1_234_567_890, 987_654_321)

// capNetRaw is a version 2 security.capability for cap_net_raw=ep, the one
// that ping has; <linux/capability.h>, struct vfs_cap_data.
const capNetRaw = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

var root = tartest.Dir("./", then)

var stacks = []stack{
	{name: "files of every kind", layers: [][]tartest.Entry{{root,
		tartest.Dir("d", tartest.Mode(0o1777), tartest.Owner(7, 8), then), tartest.File("d/suid", "x", tartest.Mode(0o4755), then),
		tartest.File("d/sgid", "x", tartest.Mode(0o2750), tartest.Owner(1000, 50), then), tartest.File("d/none", "secret", tartest.Mode(0), then),
		tartest.Symlink("d/link", "../nowhere/é", tartest.Owner(5, 6), then), tartest.Fifo("d/fifo", tartest.Mode(0o622), then),
		tartest.Char("d/null", 1, 3, tartest.Mode(0o666), then), tartest.Block("d/disk", 259, 70000, then), tartest.Char("d/zero", 0, 0, then),
		tartest.File("d/attr", "x", tartest.Xattr("user.k", "v\x00w"), then),
		tartest.File("d/ping", "x", tartest.Xattr("security.capability", capNetRaw), then),
		tartest.File("d/\xff\xfe\n", "a name that is no UTF-8", then), tartest.File("d/empty", "", then)}}},
	{name: "long names and targets", layers: [][]tartest.Entry{{root,
		tartest.Dir(strings.Repeat("n", 200), then), tartest.File(strings.Repeat("n", 200)+"/"+strings.Repeat("m", 255), "x", then),
		tartest.Symlink("long", strings.Repeat("t/", 500)+"end", then), tartest.File(strings.Repeat("g", 150), "GNU", tartest.GNU(), then),
		tartest.Symlink("gnulink", strings.Repeat("u", 300), tartest.GNU(), then)}}},
	{name: "sparse files", layers: [][]tartest.Entry{{root, tartest.Sparse00("p00", 1<<20, holes, then),
		tartest.Sparse01("p01", 1<<20, holes, then), tartest.Sparse10("p10", 1<<20, holes, then)}}},
	{name: "old sparse files", noUmoci: "it refuses type S", layers: [][]tartest.Entry{{root, tartest.SparseOld("old", 1<<20, holes, then)}}},
	{name: "an empty attribute", noUmoci: "archive/tar, which it uses, takes the record for none",
		layers: [][]tartest.Entry{{root, tartest.File("f", "x", tartest.Xattr("user.empty", ""), then)}}},
	{name: "whiteouts", layers: [][]tartest.Entry{
		{root, tartest.File("a", "a", then), tartest.Dir("d", then), tartest.File("d/x", "x", then), tartest.Dir("d/e", then), tartest.File("d/e/y", "y", then),
			tartest.Dir("k", then), tartest.File("k/1", "1", then), tartest.File("k/2", "2", then), tartest.File("again", "old", then)},
		{root, tartest.Whiteout("a"), tartest.Dir("d", then), tartest.Whiteout("d/e"), tartest.Dir("k", then), tartest.Whiteout("k/1"),
			tartest.Whiteout("again"), tartest.File("again", "new", then), tartest.Whiteout("never")},
		{root, tartest.Dir("d", then), tartest.Dir("d/e", then), tartest.File("d/e/z", "z", then)}}},
	{name: "opaque directories with the mark first and last", layers: [][]tartest.Entry{
		{root, tartest.Dir("o", then), tartest.File("o/1", "1", then), tartest.Dir("o/s", then), tartest.File("o/s/2", "2", then),
			tartest.Dir("p", then), tartest.File("p/1", "1", then), tartest.File("p/2", "2", then)},
		{root, tartest.Dir("o", tartest.Mode(0o700), then), tartest.Opaque("o"), tartest.File("o/new", "n", then), tartest.Dir("o/s", then),
			tartest.Dir("p", then), tartest.File("p/2", "other", then), tartest.Opaque("p")},
		{root, tartest.Dir("o", then), tartest.File("o/top", "t", then)}}},
	{name: "types that change between layers", layers: [][]tartest.Entry{
		{root, tartest.File("f2d", "f", then), tartest.Dir("d2f", then), tartest.File("d2f/x", "x", then), tartest.Symlink("l2d", "d2l", then),
			tartest.Dir("d2l", then), tartest.File("d2l/x", "x", then), tartest.Fifo("p2f", then), tartest.File("back", "1", then)},
		{root, tartest.Dir("f2d", then), tartest.File("f2d/in", "in", then), tartest.File("d2f", "now a file", then), tartest.Dir("l2d", then),
			tartest.File("l2d/in", "in", then), tartest.Symlink("d2l", "f2d", then), tartest.File("p2f", "f", then), tartest.Dir("back", then), tartest.File("back/x", "x", then)},
		{root, tartest.File("back", "3", then), tartest.Dir("d2l", then), tartest.File("d2l/y", "y", then)}}},
	{name: "hard links in a layer", layers: [][]tartest.Entry{
		{root, tartest.File("a", "shared", then), tartest.Hardlink("b", "a"), tartest.Dir("d", then), tartest.Hardlink("d/c", "a"), tartest.File("z", "z", then)},
		{root, tartest.Dir("d", then), tartest.File("d/n", "n", then), tartest.Hardlink("d/m", "d/n")}}},
	{name: "hard links over layers", noOverlay: "tar(1) cannot link to a file of another layer", layers: [][]tartest.Entry{
		{root, tartest.File("a", "shared", then), tartest.Hardlink("b", "a"), tartest.File("one", "one", then)},
		{root, tartest.Hardlink("c", "a"), tartest.Whiteout("b")},
		{root, tartest.File("a", "replaced", then), tartest.Hardlink("two", "one")}}},
	{name: "names twice in one layer", layers: [][]tartest.Entry{{root,
		tartest.File("f", "first", then), tartest.File("f", "second", tartest.Mode(0o600), then),
		tartest.Dir("d", tartest.Mode(0o700), then), tartest.File("d/x", "x", then), tartest.Dir("d", tartest.Mode(0o711), then),
		tartest.Symlink("l", "a", then), tartest.Symlink("l", "b", then)}}},
	{name: "directories without an entry", untimed: []string{"/", "/i", "/i/j"}, layers: [][]tartest.Entry{
		{tartest.File("i/j/file", "x", then), tartest.Dir("k", tartest.Mode(0o700), tartest.Owner(3, 4), then), tartest.File("k/f", "f", then)},
		{tartest.File("k/g", "g", then), tartest.File("i/j/more", "y", then)}}},
	{name: "an empty layer", untimed: []string{"/"}, layers: [][]tartest.Entry{{tartest.File("a", "a", then)}, {}, {tartest.File("b", "b", then)}}},
}

var holes = []tartest.Piece{{Off: 4096, Data: strings.Repeat("d", 512)}, {Off: 8192, Data: strings.Repeat("e", 1024)}, {Off: 1<<20 - 3, Data: "end"}}

func TestMergedTreeIsWhatOthersMakeOfTheLayers(t *testing.T) {
	needRoot(t)
	for _, s := range stacks {
		t.Run(s.name, func(t *testing.T) {
			var tars [][]byte
			for _, es := range s.layers {
				tars = append(tars, tartest.Of(t, es...))
			}
			im := fstest.Union(t, tars...)
			if s.noUmoci == "" {
				t.Run("umoci", func(t *testing.T) {
					compareMerged(t, im, s.untimed, false, func(dir string) string { return byUmoci(t, writeLayout(t, dir, im.Flats), dir) })
				})
			}
			if s.noOverlay == "" {
				t.Run("overlay", func(t *testing.T) {
					compareMerged(t, im, s.untimed, true, func(dir string) string { return byOverlay(t, im.Flats, dir) })
				})
			}
		})
	}
}

// TestMergedTreeOfARealImage compares the image named debian in the OCI layout
// TIFFIN_TEST_IMAGE, which scripts/testimage makes.
func TestMergedTreeOfARealImage(t *testing.T) {
	layout := os.Getenv("TIFFIN_TEST_IMAGE")
	if layout == "" {
		must.Skip(t, "", "TIFFIN_TEST_IMAGE is not set: make an image with scripts/testimage")
	}
	needRoot(t)
	var im *fstest.Image
	if !fstest.InClient() {
		im = unpackLayers(t, layout)
	}
	t.Run("umoci", func(t *testing.T) {
		compareMerged(t, im, nil, false, func(dir string) string { return byUmoci(t, layout+":debian", dir) })
	})
	t.Run("overlay", func(t *testing.T) {
		compareMerged(t, im, nil, true, func(dir string) string { return byOverlay(t, im.Flats, dir) })
	})
}

// needRoot: to give files to others and to make devices.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 && !fstest.InClient() {
		t.Skip("unpacking layers with their owners and devices needs root")
	}
}

// compareMerged has unpack make the tree in a directory and compares it with
// the union of im, entry by entry.
func compareMerged(t *testing.T, im *fstest.Image, untimed []string, overlay bool, unpack func(dir string) string) {
	look := fstest.Look{NoDirNlink: overlay, Mtime: func(p string, st *unix.Stat_t) string {
		if slices.Contains(untimed, p) {
			return ""
		}
		return fmt.Sprintf(" mtime %d.%09d", st.Mtim.Sec, st.Mtim.Nsec)
	}}
	if !fstest.InClient() {
		dir := t.TempDir()
		want, err := fstest.ReadTree(unpack(dir), look)
		if err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(encodable(want))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "want"), b, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv(envWant, filepath.Join(dir, "want"))
		os.Chmod(filepath.Dir(dir), 0o755)
	}
	fstest.Run(t, fstest.Options{Image: im, ReadOnly: true, IDs: 65536, Timeout: 10 * time.Minute}, func(t *testing.T, m *fstest.Mount) {
		b, err := os.ReadFile(os.Getenv(envWant))
		if err != nil {
			t.Fatal(err)
		}
		want := fstest.Tree{}
		if err := json.Unmarshal(b, &want); err != nil {
			t.Fatal(err)
		}
		got, err := fstest.ReadTree(m.Dir, look)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range fstest.Diff(want, encodable(got), 30) {
			t.Error(d)
		}
		t.Logf("%d entries compared", len(want))
	})
}

// encodable quotes the paths, which JSON can say only if they are UTF-8.
func encodable(t fstest.Tree) fstest.Tree {
	q := fstest.Tree{}
	for p, l := range t {
		q[strings.Trim(fmt.Sprintf("%+q", p), `"`)] = fmt.Sprintf("%+q", l)
	}
	return q
}

// tool runs a program that the comparison needs.
func tool(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(must.Tool(t, name), args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// byUmoci unpacks an image as "layout:tag".
func byUmoci(t *testing.T, image, dir string) string {
	bundle := filepath.Join(dir, "bundle")
	tool(t, "umoci", "unpack", "--image", image, bundle)
	return filepath.Join(bundle, "rootfs")
}

// byOverlay unpacks each layer by itself, turns OCI's whiteouts into overlay's
// and mounts them over each other.
func byOverlay(t *testing.T, flats []string, dir string) string {
	var lower []string
	for i, flat := range flats {
		d := filepath.Join(dir, fmt.Sprint(i))
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
		tool(t, "tar", "--extract", "--file", flat, "--directory", d, "--same-owner", "--same-permissions", "--numeric-owner",
			"--delay-directory-restore", "--xattrs", "--xattrs-include=*")
		if err := errors.Join(overlayWhiteouts(d), adoptImplicit(flat, d, lower)); err != nil {
			t.Fatal(err)
		}
		lower = append([]string{d}, lower...)
	}
	if len(lower) == 1 {
		return lower[0] // overlay wants two
	}
	mnt := filepath.Join(dir, "mnt")
	if err := os.Mkdir(mnt, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("overlay", mnt, "overlay", unix.MS_RDONLY, "lowerdir="+strings.Join(lower, ":")); err != nil {
		t.Fatalf("mount overlay: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(mnt, unix.MNT_DETACH) })
	return mnt
}

// adoptImplicit gives a directory that the layer has no entry for the looks that
// it has in the layers below, the uppermost first: overlay shows those of the
// uppermost directory, and tar made it up.
func adoptImplicit(flat, dir string, lower []string) error {
	f, err := os.Open(flat)
	if err != nil {
		return err
	}
	defer f.Close()
	explicit := map[string]bool{}
	r := tar.NewReader(f)
	for h, err := r.Next(); err != io.EOF; h, err = r.Next() {
		if err != nil {
			return err
		}
		explicit[filepath.Join("/", h.Name)] = true
	}
	return filepath.WalkDir(dir, func(p string, e os.DirEntry, err error) error {
		rel := filepath.Join("/", strings.TrimPrefix(p, dir))
		if err != nil || !e.IsDir() || explicit[rel] {
			return err
		}
		for _, l := range lower {
			var st unix.Stat_t
			if unix.Lstat(filepath.Join(l, rel), &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
				continue
			}
			return errors.Join(os.Lchown(p, int(st.Uid), int(st.Gid)), unix.Chmod(p, st.Mode&0o7777),
				unix.UtimesNanoAt(unix.AT_FDCWD, p, []unix.Timespec{st.Atim, st.Mtim}, 0))
		}
		return nil
	})
}

// overlayWhiteouts turns .wh. files into character devices 0/0 and opaque
// marks into the attribute. Documentation/filesystems/overlayfs.rst,
// "whiteouts and opaque directories".
func overlayWhiteouts(root string) error {
	return filepath.WalkDir(root, func(p string, e os.DirEntry, err error) error {
		name, ok := strings.CutPrefix(filepath.Base(p), layer.WhiteoutPrefix)
		if err != nil || !ok {
			return err
		}
		dir := filepath.Dir(p)
		var st unix.Stat_t
		if err := unix.Lstat(dir, &st); err != nil {
			return err
		}
		if err := os.Remove(p); err != nil {
			return err
		}
		if filepath.Base(p) == layer.OpaqueName {
			err = unix.Lsetxattr(dir, "trusted.overlay.opaque", []byte("y"), 0)
		} else if err = unix.Mknod(filepath.Join(dir, name), unix.S_IFCHR, 0); err == unix.EEXIST {
			err = nil // the layer has a file of that name, too
		}
		if err != nil {
			return err
		}
		return unix.UtimesNanoAt(unix.AT_FDCWD, dir, []unix.Timespec{st.Atim, st.Mtim}, 0)
	})
}

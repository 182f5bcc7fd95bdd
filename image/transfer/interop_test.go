package transfer_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tiffin/image"
	"tiffin/image/transfer"
	"tiffin/internal/test/imagetest"
	"tiffin/internal/test/must"
	"tiffin/internal/test/podmantest"
	"tiffin/internal/test/tartest"
)

// interop is a store with an image that has an odd owner, a whiteout and an
// attribute, and a saved archive of it.
func interop(t *testing.T) (s *image.Store, img *image.Image, saved string) {
	// podman takes the name of what it reads from an OCI layout from the
	// directory, which therefore must be lower case.
	dir, err := os.MkdirTemp("", "interop-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if s, err = image.Open(filepath.Join(dir, "store")); err != nil {
		t.Fatal(err)
	}
	f := imagetest.New(t, imagetest.Gzip, []string{"docker.io/library/thing:v1"}, imagetest.LayerTar(t, "one"),
		tartest.Of(t, tartest.Whiteout("which"), tartest.Dir("d", tartest.Mode(0o1777)), tartest.File("d/owned", "x", tartest.Owner(12, 34), tartest.Mode(0o4750))))
	imagetest.Load(t, s, imagetest.InFile(t, imagetest.Archive(t, f.Layout(t))))
	saved = filepath.Join(dir, "saved.tar")
	out, err := os.Create(saved)
	if err != nil {
		t.Fatal(err)
	}
	if err := transfer.Save(context.Background(), s, out, []string{"thing:v1"}, nil); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return s, imagetest.Resolve(t, s, "thing:v1"), saved
}

func TestSkopeoReadsTheStoreAndTheArchiveWithTheSameDigests(t *testing.T) {
	skopeo := must.Tool(t, "skopeo")
	s, img, saved := interop(t)
	var want []string
	for _, l := range img.Layers {
		want = append(want, l.Digest.String())
	}
	for _, src := range []string{"oci:" + s.Root() + ":thing:v1", "oci-archive:" + saved} {
		var got struct {
			Digest string
			Layers []string
		}
		if err := json.Unmarshal([]byte(output(t, skopeo, "inspect", src)), &got); err != nil {
			t.Fatal(err)
		}
		if got.Digest != img.Manifest.Digest.String() || !slices.Equal(got.Layers, want) {
			t.Errorf("%s: %+v", src, got)
		}
	}
	dir := t.TempDir()
	for i, src := range []string{"oci:" + s.Root() + ":thing:v1", "oci-archive:" + saved, "docker-archive:" + saved + ":docker.io/library/thing:v1"} {
		for _, form := range []string{"oci:", "oci-archive:", "docker-archive:"} {
			dst := filepath.Join(dir, strings.TrimSuffix(form, ":")+string(rune('a'+i)))
			output(t, skopeo, "--insecure-policy", "copy", src, form+dst+":thing:v1")
			back := imagetest.NewStore(t)
			imagetest.Load(t, back, dst)
			if !slices.Equal(imagetest.Paths(t, back, imagetest.Resolve(t, back, "thing:v1")), imagetest.Paths(t, s, img)) {
				t.Errorf("%s by skopeo to %s and back is another tree", src, form)
			}
			imagetest.Sound(t, back)
		}
	}
}

func TestWhatSkopeoWritesIntoTheStoreIsAnImage(t *testing.T) {
	skopeo := must.Tool(t, "skopeo")
	s, img, saved := interop(t)
	output(t, skopeo, "--insecure-policy", "copy", "oci-archive:"+saved, "oci:"+s.Root()+":other:v2")
	got := imagetest.Resolve(t, s, "other:v2")
	if got.Manifest.Digest != img.Manifest.Digest || !slices.Equal(got.Names, []string{"other:v2", "thing:v1"}) {
		t.Errorf("%+v", got)
	}
	imagetest.Remove(t, s, "thing:v1", false)
	imagetest.Sound(t, s)
}

func TestPodmanLoadsTheArchiveAndWhatItSavesLoadsBack(t *testing.T) {
	podman := podmantest.New(t)
	s, img, saved := interop(t)
	if os.Getuid() != 0 && strings.Count(podman.Run("unshare", "cat", "/proc/self/uid_map"), "\n") < 2 {
		must.Skip(t, "subids", "podman has only one id and needs more for the owners in the image, subuid(5)")
	}
	if out := podman.Run("load", "-i", saved); !strings.Contains(out, "docker.io/library/thing:v1") {
		t.Errorf("podman load: %s", out)
	}
	if id := podman.Inspect("thing:v1", "{{.Id}}"); id != img.ID.Encoded() {
		t.Errorf("podman has ID %s, we have %s", id, img.ID)
	}
	for _, format := range []string{"oci-archive", "docker-archive"} {
		out := filepath.Join(t.TempDir(), format)
		podman.Run("save", "--format", format, "-o", out, "thing:v1")
		back := imagetest.NewStore(t)
		if l := imagetest.Load(t, back, out); len(l) != 1 || l[0].Ref != "thing:v1" || l[0].ID != img.ID && format == "docker-archive" {
			t.Errorf("%s by podman: %v", format, l)
		}
		if !slices.Equal(imagetest.Paths(t, back, imagetest.Resolve(t, back, "thing:v1")), imagetest.Paths(t, s, img)) {
			t.Errorf("%s by podman and back is another tree", format)
		}
		imagetest.Sound(t, back)
	}
}

func TestUmociUnpacksTheStore(t *testing.T) {
	umoci := must.Tool(t, "umoci")
	s, img, _ := interop(t)
	dir := filepath.Join(t.TempDir(), "bundle")
	output(t, umoci, "unpack", "--rootless", "--image", s.Root()+":thing:v1", dir)
	var got []string
	err := filepath.WalkDir(filepath.Join(dir, "rootfs"), func(p string, _ os.DirEntry, err error) error {
		if p != filepath.Join(dir, "rootfs") {
			got = append(got, strings.TrimPrefix(p, filepath.Join(dir, "rootfs")))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	if want := imagetest.Paths(t, s, img); !slices.Equal(got, want) {
		t.Errorf("umoci has %q, we have %q", got, want)
	}
	if out := output(t, umoci, "stat", "--image", s.Root()+":thing:v1"); !strings.Contains(out, "step 1") {
		t.Errorf("umoci stat: %s", out)
	}
	output(t, umoci, "tag", "--image", s.Root()+":thing:v1", "other:v2")
	if got := imagetest.Resolve(t, s, "other:v2"); !slices.Equal(got.Names, []string{"other:v2", "thing:v1"}) {
		t.Errorf("umoci gave a tag, and the names are %q", got.Names)
	}
}

// TestSkopeoFindsTheTagInAnArchive: what stands behind the file's name is the same for both, also
// where it is no name of an image.
func TestSkopeoFindsTheTagInAnArchive(t *testing.T) {
	skopeo := must.Tool(t, "skopeo")
	s, img, _ := interop(t)
	for _, tag := range []string{"1", "V1.0", "thing", "thing:v1"} {
		src, err := transfer.FromStore(s, img)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := transfer.WriteArchive(context.Background(), &b, src, tag, nil); err != nil {
			t.Fatal(err)
		}
		file := imagetest.InFile(t, b.Bytes())
		if got := output(t, skopeo, "inspect", "--format", "{{.Digest}}", "oci-archive:"+file+":"+tag); strings.TrimSpace(got) != img.Manifest.Digest.String() {
			t.Errorf("%s: skopeo finds %s", tag, got)
		}
		theirs := filepath.Join(t.TempDir(), "theirs.tar")
		output(t, skopeo, "copy", "-q", "oci-archive:"+file+":"+tag, "oci-archive:"+theirs+":"+tag)
		back, err := transfer.FromFile(context.Background(), s, theirs, tag, nil)
		if err != nil {
			t.Errorf("%s, as skopeo writes it: %v", tag, err)
			continue
		}
		back.Close()
	}
}

// output runs a program and fails the test if that fails.
func output(t testing.TB, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

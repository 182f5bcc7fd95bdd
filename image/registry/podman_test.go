package registry

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	digest "github.com/opencontainers/go-digest"

	"tiffin/image"
	"tiffin/image/transfer"
	"tiffin/internal/test/podmantest"
	"tiffin/internal/test/tartest"
)

// TestPodmanGetsWhatTiffinPushed through Debian's docker-registry, and tiffin
// what podman pushes of it: the same image, and the digests that each reports.
func TestPodmanGetsWhatTiffinPushed(t *testing.T) {
	podman, host := podmantest.New(t), startRegistry(t, "")
	s, f, name := pulledFixture(t)
	ours, theirs := host+"/ours:v1", host+"/theirs:v1"
	if err := s.Tag(name, ours); err != nil {
		t.Fatal(err)
	}
	pushed, err := new(Client).Push(context.Background(), s, ref(t, ours), PushOptions{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	podman.Run("pull", "--tls-verify=false", ours)
	if id := podman.Inspect(ours, "{{.Id}}"); id != f.m.Config.Digest.Encoded() {
		t.Errorf("podman has image %s, not %s", id, f.m.Config.Digest)
	}
	if got := podman.Inspect(ours, "{{.Digest}}"); got != pushed.Digest.String() || pushed.Digest != digest.FromBytes(f.manifest) {
		t.Errorf("podman got manifest %s, tiffin pushed %s", got, pushed.Digest)
	}
	podman.Run("tag", ours, theirs)
	d := podman.Push(theirs)
	back, p := pullFrom(t, theirs)
	if p.Digest.String() != d || p.ID != f.m.Config.Digest {
		t.Errorf("podman pushed %s of image %s, tiffin got %s of %s", d, f.m.Config.Digest, p.Digest, p.ID)
	}
	if got, want := diffIDs(t, back, theirs), diffIDs(t, s, name); !slices.Equal(got, want) {
		t.Errorf("the layers are %s after the way by podman, and were %s", got, want)
	}
}

// TestTiffinGetsWhatPodmanMade and podman what tiffin pushes of it.
func TestTiffinGetsWhatPodmanMade(t *testing.T) {
	podman, host := podmantest.New(t), startRegistry(t, "")
	tarball := filepath.Join(t.TempDir(), "root.tar")
	if err := os.WriteFile(tarball, tartest.Of(t, tartest.Dir("etc"), tartest.File("etc/motd", "made by podman\n")), 0o644); err != nil {
		t.Fatal(err)
	}
	made, again := host+"/made:v1", host+"/again:v1"
	podman.Run("import", "--change", "CMD [\"true\"]", tarball, made)
	id, d := podman.Inspect(made, "{{.Id}}"), podman.Push(made)
	s, p := pullFrom(t, made)
	if p.ID.Encoded() != id || p.Digest.String() != d {
		t.Errorf("tiffin got image %s with manifest %s, podman pushed %s with %s", p.ID, p.Digest, id, d)
	}
	if err := s.Tag(made, again); err != nil {
		t.Fatal(err)
	}
	if _, err := new(Client).Push(context.Background(), s, ref(t, again), PushOptions{}, nil); err != nil {
		t.Fatal(err)
	}
	podman.Run("rmi", made)
	podman.Run("pull", "--tls-verify=false", again)
	if got := podman.Inspect(again, "{{.Id}} {{.Digest}}"); got != id+" "+d {
		t.Errorf("podman pushed %s %s, tiffin pushed it on, and podman got %s", id, d, got)
	}
	if list := podman.Run("images", "--no-trunc", "--quiet"); strings.Count(list, id) != 1 {
		t.Errorf("podman's images: %s", list)
	}
}

func pullFrom(t *testing.T, name string) (*image.Store, *transfer.Pulled) {
	t.Helper()
	s := newStore(t)
	p, err := new(Client).Pull(context.Background(), s, ref(t, name), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s, p
}

func diffIDs(t *testing.T, s *image.Store, name string) []digest.Digest {
	t.Helper()
	img, err := s.Resolve(name)
	if err != nil {
		t.Fatal(err)
	}
	return img.Config.RootFS.DiffIDs
}

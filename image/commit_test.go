package image_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image"
	"tiffin/internal/test/imagetest"
	"tiffin/internal/test/tartest"
)

func write(b []byte) func(io.Writer) error {
	return func(w io.Writer) error { _, err := w.Write(b); return err }
}

func TestCommitPutsALayerOnTop(t *testing.T) {
	s, f, base := imagetest.StoreWith(t, imagetest.Gzip, "base")
	changes := tartest.Of(t, tartest.Whiteout("bin/tool-one"), tartest.File("new", "data"))
	img, err := s.CommitLayer(context.Background(), base, write(changes), image.CommitOptions{
		Ref: "derived:1", Author: "me", Message: "why", CreatedBy: "how",
		Edit: func(c *dockerspec.DockerOCIImageConfig) error {
			c.User, c.Env = "bob", append(c.Env, "B=2")
			return nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	top := img.Layers[2]
	if len(img.Layers) != 3 || !slices.Equal(img.Layers[:2], base.Layers) || top.DiffID != digest.FromBytes(changes) || top.MediaType != ocispec.MediaTypeImageLayerGzip {
		t.Errorf("layers %+v", img.Layers)
	}
	c := img.Config
	if c.Config.User != "bob" || !slices.Equal(c.Config.Env, []string{"A=1", "B=2"}) || c.Config.Cmd[0] != "tool" || c.Author != "me" || c.Created.Unix() != 1700000000 {
		t.Errorf("config %+v", c)
	}
	if h := s.History(img); len(h) != 3 || h[0].Comment != "why" || h[0].CreatedBy != "how" || h[0].ID != img.ID || h[1].ID != "" || h[2].CreatedBy != "step 0" {
		t.Errorf("history %+v", h)
	}
	want := append(imagetest.Paths(t, s, base), "/new")
	want = slices.DeleteFunc(want, func(p string) bool { return p == "/bin/tool-one" })
	slices.Sort(want)
	if got := imagetest.Paths(t, s, img); !slices.Equal(got, want) {
		t.Errorf("tree %q, want %q", got, want)
	}
	if imagetest.Resolve(t, s, "base").ID != f.ID() || imagetest.Resolve(t, s, "derived:1").ID != img.ID {
		t.Error("the names are not right")
	}
	imagetest.Sound(t, s)
	imagetest.Remove(t, s, "base", false)
	imagetest.Sound(t, s) // the layers below are still those of derived
}

func TestTheSameCommitHasTheSameDigests(t *testing.T) {
	var last *image.Image
	for range 3 {
		s, _, base := imagetest.StoreWith(t, imagetest.Gzip, "base")
		img, err := s.CommitLayer(context.Background(), base, func(w io.Writer) error {
			_, err := io.Copy(struct{ io.Writer }{w}, bytes.NewReader(imagetest.LayerTar(t, "new")))
			return err
		}, image.CommitOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if last != nil && (img.ID != last.ID || img.Manifest.Digest != last.Manifest.Digest) {
			t.Errorf("%s %s, then %s %s", last.ID, last.Manifest.Digest, img.ID, img.Manifest.Digest)
		}
		last = img
	}
	s, _, base := imagetest.StoreWith(t, imagetest.Gzip, "base")
	img, err := s.CommitLayer(context.Background(), base, write(imagetest.LayerTar(t, "new")), image.CommitOptions{Created: time.Unix(5, 0)})
	if err != nil || img.Created.Unix() != 5 {
		t.Errorf("%v, %v", img.Created, err)
	}
}

func TestCommitKeepsConfigFieldsItDoesNotKnow(t *testing.T) {
	f := imagetest.New(t, imagetest.Gzip, []string{"x"}, imagetest.LayerTar(t, "one"))
	f.Config = bytes.Replace(f.Config, []byte(`"config":{`), []byte(`"container":"abc","os.features":["f"],"config":{"Healthcheck":{"Test":["NONE"]},"Shell":["/bin/ash"],"User":"old",`), 1)
	s := imagetest.NewStore(t)
	imagetest.Load(t, s, imagetest.InFile(t, imagetest.Archive(t, f.Layout(t))))
	img, err := s.CommitLayer(context.Background(), imagetest.Resolve(t, s, "x"), write(imagetest.LayerTar(t, "new")), image.CommitOptions{
		Edit: func(c *dockerspec.DockerOCIImageConfig) error { c.User = ""; return nil }})
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.ReadBlob(img.ID)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]json.RawMessage
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if cfg := string(got["config"]); !strings.Contains(cfg, "Healthcheck") || !strings.Contains(cfg, "/bin/ash") || strings.Contains(cfg, "User") {
		t.Errorf("config %s", cfg)
	}
	if got["container"] != nil || string(got["os.features"]) != `["f"]` {
		t.Errorf("%s", b)
	}
}

func TestAFailedCommitLeavesNothing(t *testing.T) {
	s, _, base := imagetest.StoreWith(t, imagetest.Gzip, "base")
	before := imagetest.Listing(t, s)
	boom := errors.New("boom")
	for what, f := range map[string]func() error{
		"a writer that fails": func() error {
			_, err := s.CommitLayer(context.Background(), base, func(w io.Writer) error { w.Write(make([]byte, 512)); return boom }, image.CommitOptions{})
			return err
		},
		"no tarball": func() error {
			_, err := s.CommitLayer(context.Background(), base, write(bytes.Repeat([]byte("x"), 5<<20)), image.CommitOptions{})
			return err
		},
		"a wrong name": func() error {
			_, err := s.CommitLayer(context.Background(), base, write(nil), image.CommitOptions{Ref: "No Name"})
			return err
		},
		"a wrong change": func() error {
			_, err := s.CommitLayer(context.Background(), base, write(nil), image.CommitOptions{Edit: func(*dockerspec.DockerOCIImageConfig) error { return boom }})
			return err
		},
		"a base that is gone": func() error {
			gone := *base
			gone.Layers = slices.Clone(base.Layers)
			gone.Layers[0].Digest = digest.FromString("gone")
			_, err := s.CommitLayer(context.Background(), &gone, write(imagetest.LayerTar(t, "new")), image.CommitOptions{})
			return err
		},
	} {
		if err := f(); err == nil {
			t.Errorf("%s: accepted", what)
		} else {
			imagetest.Clear(t, what, err)
		}
		if after := imagetest.Listing(t, s); !slices.Equal(before, after) {
			t.Errorf("%s:\nbefore %q\nafter %q", what, before, after)
		}
	}
}

func TestCommitOnNothingAndWithoutAName(t *testing.T) {
	s := imagetest.NewStore(t)
	img, err := s.CommitLayer(context.Background(), nil, write(imagetest.LayerTar(t, "one")), image.CommitOptions{})
	if err != nil || len(img.Names) != 0 || len(img.Layers) != 1 {
		t.Fatalf("%+v %v", img, err)
	}
	imagetest.Sound(t, s)
}

func TestInspectHasDockersFields(t *testing.T) {
	s, f, img := imagetest.StoreWith(t, imagetest.Gzip, "x:1")
	var got map[string]any
	if err := json.Unmarshal(imagetest.JSON(t, s.Inspect(img)), &got); err != nil {
		t.Fatal(err)
	}
	if got["Id"] != f.ID().String() || got["Os"] != "linux" || got["RepoTags"].([]any)[0] != "x:1" ||
		!strings.HasPrefix(got["RepoDigests"].([]any)[0].(string), "x@sha256:") || got["Config"].(map[string]any)["Cmd"].([]any)[0] != "tool" ||
		len(got["RootFS"].(map[string]any)["Layers"].([]any)) != 2 || got["Size"].(float64) != 2*13312 {
		t.Errorf("%v", got)
	}
}

// Archives and layouts are loaded into the store: all images of one, or none.

package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image"
	"tiffin/image/ingest"
	"tiffin/image/oci"
	"tiffin/image/reference"
	"tiffin/image/store"
	"tiffin/internal/errs"
)

// Loaded is one image that Load added to the store.
type Loaded struct {
	Ref string // familiar form; "" if the archive has no name for it
	ID  digest.Digest
}

// Load adds the images of an archive or directory to the store: what
// `docker save` or `podman save` wrote, an OCI layout as directory or archive,
// or the archive that is both. name is a file or directory; if stdin is not
// nil, it is read instead. Either all images are added or none.
func Load(ctx context.Context, s *image.Store, name string, stdin io.Reader, p ingest.Progress) ([]Loaded, error) {
	fail := func(err error) ([]Loaded, error) {
		if stdin != nil {
			name = "the standard input"
		}
		return nil, fmt.Errorf("load %s: %w", name, unpath(err))
	}
	st, err := s.Stage()
	if err != nil {
		return fail(err)
	}
	defer st.Close()
	src, err := openFiles(ctx, st, name, stdin, p)
	if err != nil {
		return fail(err)
	}
	defer src.Close()
	imgs, err := describe(ctx, src, "")
	if err != nil {
		return fail(err)
	}
	if _, err := (&taking{s: s, st: st, progress: p, whole: true}).layers(ctx, imgs...); err != nil {
		return fail(err)
	}
	loaded, err := Finish(s, st, imgs...)
	if err != nil {
		return fail(err)
	}
	return loaded, nil
}

// unpath takes away the path that an error of package os repeats.
func unpath(err error) error {
	if pe, ok := err.(*fs.PathError); ok && (pe.Op == "open" || pe.Op == "stat") {
		return pe.Err
	}
	return err
}

// describe finds out which images are in an archive or directory; name is the one that is wanted,
// or "". If it is an OCI layout and a
// docker-archive at once, the layout counts: it has the manifests, so that their digests stay the
// same.
func describe(ctx context.Context, in files, name string) ([]*Image, error) {
	switch {
	case in.has("index.json") && in.has("oci-layout"):
		return describeLayout(ctx, in, name)
	case in.has("manifest.json") && in.has("version"):
		return nil, errs.Hint(errors.New("this is what skopeo writes for dir:, skopeo's own kind of directory"), "copy it to an OCI layout first: skopeo copy dir:HERE oci:THERE:TAG; tiffin load -i THERE")
	case in.has("manifest.json"):
		return describeDocker(in)
	case in.has("repositories"):
		return nil, errs.Hint(errors.New("this archive is from a docker before 1.10"), "save the image again with a newer one")
	}
	return nil, errs.Hint(errors.New("this is not an image: it has neither index.json nor manifest.json"),
		"tiffin load wants what docker save, podman save or skopeo copy wrote; tiffin import takes the tarball of a root file system")
}

// layout is the source of what is in an OCI layout.
func layout(in files) Blobs {
	return func(d digest.Digest) (io.ReadCloser, int64, error) {
		r, size, err := in.open(blobName(d))
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("blob %s is not in the archive", d)
		}
		return r, size, err
	}
}

func blobName(d digest.Digest) string { return path.Join("blobs", "sha256", d.Encoded()) }

// describeLayout reads an OCI layout; if it has what is called name, nothing else of it. OCI
// image-spec v1.1 image-layout.md.
func describeLayout(ctx context.Context, in files, name string) ([]*Image, error) {
	var ix ocispec.Index
	if err := readJSON(in, "index.json", &ix); err != nil {
		return nil, err
	}
	if slices.ContainsFunc(ix.Manifests, hasName(name)) {
		ix.Manifests = slices.DeleteFunc(ix.Manifests, func(d ocispec.Descriptor) bool { return !hasName(name)(d) })
	}
	byDigest := map[digest.Digest]*Image{}
	var imgs []*Image
	for _, d := range ix.Manifests {
		if !oci.IsImage(d) {
			continue
		}
		if !oci.ThisMachine().Fits(d) && slices.ContainsFunc(ix.Manifests, oci.ThisMachine().Fits) {
			continue
		}
		img := byDigest[d.Digest]
		if img == nil {
			var err error
			if img, err = find(ctx, layout(in), "", d, oci.ThisMachine().Choose); err != nil {
				return nil, err
			}
			byDigest[d.Digest] = img
			imgs = append(imgs, img)
		}
		img.tags = append(img.tags, d.Annotations[ocispec.AnnotationRefName])
		r, ok := store.NameOf(d)
		if r.Digest != "" && r.Digest != d.Digest {
			ok = false // that of an index, or of something else: nothing here proves it
		}
		if ok && !slices.Contains(img.Names, r) {
			img.Names = append(img.Names, r)
		}
	}
	if len(imgs) == 0 {
		return nil, errors.New("index.json lists no image")
	}
	return imgs, nil
}

// describeDocker reads a docker-archive's manifest.json, and makes the OCI manifests that the
// archive lacks: from what the layers are found to be, so the same archive gives the same ones.
// https://github.com/moby/docker-image-spec, v1.2, "Combined Image JSON + Filesystem Changeset
// Format".
func describeDocker(in files) ([]*Image, error) {
	var list []dockerEntry
	if err := readJSON(in, "manifest.json", &list); err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, errors.New("manifest.json lists no image")
	}
	names := map[digest.Digest]string{} // of the files, by the digests of blobs
	src := Blobs(func(d digest.Digest) (io.ReadCloser, int64, error) { return in.open(names[d]) })
	seen := map[string]oci.Layer{} // by file name and diff ID
	var imgs []*Image
	for _, e := range list {
		name, _ := cleanName(e.Config)
		config, err := readAll(in, name)
		if err != nil {
			return nil, fmt.Errorf("image config: %w", err)
		}
		names[digest.FromBytes(config)] = name
		if len(e.Layers) > oci.MaxLayers {
			return nil, fmt.Errorf("manifest.json lists %d layers, more than the %d allowed", len(e.Layers), oci.MaxLayers)
		}
		cfg, err := oci.ParseConfig(config, len(e.Layers))
		if err != nil {
			return nil, err
		}
		var layers []oci.Layer
		for i, name := range e.Layers {
			key := name + " " + cfg.RootFS.DiffIDs[i].String()
			l, known := seen[key]
			if !known {
				if l, err = dockerLayer(in, name, cfg.RootFS.DiffIDs[i]); err != nil {
					return nil, fmt.Errorf("layer %s: %w", name, err)
				}
				names[l.Digest], _ = cleanName(name)
				seen[key] = l
			}
			layers = append(layers, l)
		}
		img, err := dockerImage(config, layers)
		if err != nil {
			return nil, err
		}
		for _, tag := range e.RepoTags {
			r, err := reference.ParseTag(tag)
			if err != nil {
				return nil, err
			}
			img.Names = append(img.Names, r)
		}
		img.src = src
		imgs = append(imgs, img)
	}
	return imgs, nil
}

// dockerImage is an image of a docker-archive.
func dockerImage(config []byte, layers []oci.Layer) (*Image, error) {
	b, err := oci.NewManifest(config, layers)
	if err != nil {
		return nil, err
	}
	m, err := oci.ParseDocument(b)
	if err != nil {
		return nil, err
	}
	return NewImage(m, config)
}

// dockerLayer finds out what a manifest has to say about a layer of a docker-archive. What is not
// compressed has the digest that the config names, or is refused when it is read.
func dockerLayer(in files, name string, diffID digest.Digest) (l oci.Layer, err error) {
	name, _ = cleanName(name)
	r, size, err := in.open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return l, errors.New("it is not in the archive")
	} else if err != nil {
		return l, err
	}
	defer r.Close()
	var start [ingest.SniffLen]byte
	n, err := ingest.Fill(r, start[:])
	if err != nil && err != io.EOF {
		return l, err
	}
	kind, err := ingest.Sniff(start[:n])
	if err != nil {
		return l, err
	}
	l = oci.Layer{DiffID: diffID, Digest: diffID, Size: size, MediaType: ingest.MediaType(kind)}
	if kind != ingest.Plain {
		l.Digest, err = digest.FromReader(io.MultiReader(bytes.NewReader(start[:n]), r))
	}
	return l, err
}

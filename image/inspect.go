// Inspection of an image, with the field names of docker.

package image

import (
	"strings"
	"time"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image/oci"
	"tiffin/image/reference"
	"tiffin/image/store"
)

// Inspection is what there is to say about an image, with docker's field
// names, so that templates written for docker work.
type Inspection struct {
	ID           string `json:"Id"`
	RepoTags     []string
	RepoDigests  []string
	Parent       string
	Comment      string
	Created      string
	Author       string
	Config       InspectConfig
	Architecture string
	Variant      string `json:",omitempty"`
	Os           string
	Size         int64 // bytes of all layers, uncompressed
	GraphDriver  InspectDriver
	RootFS       InspectRootFS
	Descriptor   ocispec.Descriptor // of the manifest
	Layers       []InspectLayer     // tiffin's own: where each layer is
	Pulled       *InspectPulled     `json:",omitempty"` // tiffin's own: of an image that pull --lazy fetches
}

// InspectPulled is how far a lazy pull is.
type InspectPulled struct {
	Size, Total int64  // bytes of the blobs of layers that are here, and of all
	Trouble     string `json:",omitempty"` // why the last try to fetch the rest ended
}

// InspectConfig is the part of the config that a container inherits.
type InspectConfig struct {
	User         string
	ExposedPorts map[string]struct{} `json:",omitempty"`
	Env          []string
	Cmd          []string
	Volumes      map[string]struct{}
	WorkingDir   string
	Entrypoint   []string
	Labels       map[string]string
	StopSignal   string `json:",omitempty"`
	// What OCI's image specification does not have, and docker's has.
	dockerspec.DockerOCIImageConfigExt
}

// InspectDriver says where the derived files are.
type InspectDriver struct {
	Name string
	Data map[string]string
}

// InspectRootFS lists the layers by the digest of their uncompressed bytes.
type InspectRootFS struct {
	Type   string
	Layers []digest.Digest
}

// InspectLayer is one layer as the store has it.
type InspectLayer struct {
	DiffID    digest.Digest
	Digest    digest.Digest
	MediaType string
	Size      int64  // bytes of the blob
	Blob      string // its file, or "" while pull --lazy fetches it
	Flat      string
}

// dockersConfig is what only docker's config has; nothing if it cannot be read, which whoever runs
// the image is told.
func (s *Store) dockersConfig(img *Image) dockerspec.DockerOCIImageConfigExt {
	var of dockerspec.DockerOCIImage
	if raw, err := s.RawConfig(img); err == nil {
		_ = oci.Unmarshal(raw, &of)
	}
	return of.Config.DockerOCIImageConfigExt
}

// Inspect tells everything about an image.
func (s *Store) Inspect(img *Image) *Inspection {
	c := img.Config.Config
	x := &Inspection{
		ID: img.ID.String(), RepoTags: []string{}, RepoDigests: []string{},
		Author: img.Config.Author, Architecture: img.Config.Architecture, Variant: img.Config.Variant, Os: img.Config.OS, Size: img.Size,
		Config: InspectConfig{User: c.User, ExposedPorts: c.ExposedPorts, Env: c.Env, Cmd: c.Cmd, Volumes: c.Volumes,
			WorkingDir: c.WorkingDir, Entrypoint: c.Entrypoint, Labels: c.Labels, StopSignal: c.StopSignal,
			DockerOCIImageConfigExt: s.dockersConfig(img)},
		RootFS:     InspectRootFS{Type: "layers", Layers: img.Config.RootFS.DiffIDs},
		Descriptor: img.Manifest,
	}
	if !img.Created.IsZero() {
		x.Created = img.Created.Format(time.RFC3339Nano)
	}
	if h := img.Config.History; len(h) > 0 {
		x.Comment = h[len(h)-1].Comment
	}
	seen := map[string]bool{}
	for _, n := range img.Names {
		r, err := reference.Parse(n)
		if err != nil {
			continue
		}
		if r.Tag != "" {
			x.RepoTags = append(x.RepoTags, n)
		}
		if d := r.FamiliarName() + "@" + img.Digests[n].String(); !seen[d] {
			seen[d] = true
			x.RepoDigests = append(x.RepoDigests, d)
		}
	}
	m, _ := s.Paths(img.Layers)
	if lz := img.lazy; lz != nil {
		if lazily, err := s.lazyMountable(img); err == nil {
			m = lazily
		}
		x.Pulled = &InspectPulled{Trouble: lz.trouble()}
		x.Pulled.Size, x.Pulled.Total = s.LazyProgress(img)
	}
	x.GraphDriver = InspectDriver{"tiffin", map[string]string{"Union": m.UnionPath, "LowerLayers": strings.Join(m.FlatPaths, ":")}}
	for i, l := range img.Layers {
		blob := s.FindBlob(l.Digest)
		if img.lazy != nil && !store.Readable(blob) {
			blob = ""
		}
		x.Layers = append(x.Layers, InspectLayer{l.DiffID, l.Digest, l.MediaType, l.Size, blob, m.FlatPaths[i]})
	}
	return x
}

// An image is made of the tarball of a root file system.

package image

import (
	"context"
	"fmt"
	"io"

	"tiffin/image/ingest"
	"tiffin/image/oci"
	"tiffin/image/reference"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
)

// Import makes an image with one layer of the tarball r of a root file system,
// plain or compressed, and gives it opt's name if there is one.
func (s *Store) Import(ctx context.Context, r io.Reader, opt ImportOptions) (*Image, error) {
	var name *reference.Reference
	if opt.Ref != "" {
		n, err := reference.ParseTag(opt.Ref)
		if err != nil {
			return nil, err
		}
		name = &n
	}
	cfg := dockerspec.DockerOCIImage{Image: newConfig()}
	if opt.Edit != nil {
		if err := opt.Edit(&cfg.Config); err != nil {
			return nil, err
		}
	}
	st, err := s.Stage()
	if err != nil {
		return nil, err
	}
	defer st.Close()
	content, err := ingest.Content(r)
	if err != nil {
		return nil, err
	}
	add, done := ingest.Start(opt.Progress, "importing", opt.Total)
	l, err := ingest.Layer(ctx, st, content, oci.Layer{}, ingest.Options{KeepBlob: true, Progress: add})
	done()
	if err != nil {
		return nil, err
	}
	describe(&cfg.Image, l, sourceDate(opt.Created), "", "", opt.Message)
	configJSON, err := encodeConfig(nil, cfg.Image, cfg.Config, allKeys())
	if err != nil {
		return nil, fmt.Errorf("describe the image: %w", err)
	}
	return s.finishImage(st, configJSON, []oci.Layer{l}, nameIt(name))
}

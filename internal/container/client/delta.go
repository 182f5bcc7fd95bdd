// The changes of a container, whichever driver wrote them.

package client

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"tiffin/image/layer"
	"tiffin/internal/container/control"
	"tiffin/internal/container/disk"
)

// delta is what a container has changed in its image.
type delta interface {
	Changes() ([]layer.Change, error)
	WriteDiff(w io.Writer) error
}

// ownDelta is that of tiffin's own file system: every file is the user's.
type ownDelta struct{ u *layer.Upper }

func (d ownDelta) Changes() ([]layer.Change, error) { return layer.Changes(d.u) }
func (d ownDelta) WriteDiff(w io.Writer) error      { return layer.WriteDiff(w, d.u) }

// kernelDelta is that of the kernel's overlayfs.
type kernelDelta struct {
	c   *disk.Container
	req *disk.Upper
}

func (d kernelDelta) Changes() (list []layer.Change, err error) {
	var text bytes.Buffer
	if err := inside(d.c, control.OpDiff, d.req, &text); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text.Bytes(), &list); err != nil {
		return nil, fmt.Errorf("read the changes of container %s: %w", d.c.Name, err)
	}
	return list, nil
}

func (d kernelDelta) WriteDiff(w io.Writer) error { return inside(d.c, control.OpPack, d.req, w) }

// What a container has changed, opened together with the layers below it.

package disk

import (
	"tiffin/image/layer"
)

// Upper is what a container has changed, with what is needed to make sense of it.
type Upper struct {
	Dir    string   `json:"dir"`              // the container's upper directory
	Union  string   `json:"union,omitempty"`  // merged index of the image
	Flats  []string `json:"flats,omitempty"`  // its layers, the bottom one first
	Blocks []string `json:"blocks,omitempty"` // what they are checked by, likewise
	Made   []string `json:"made,omitempty"`   // paths that were made for mounts: State.Made
	Whole  bool     `json:"whole,omitempty"`  // Dir has all files: DriverCopy
}

// Open opens all of it. kernel is nil if tiffin's own file system has written the directory. The
// caller calls closeAll when it is done.
func (u *Upper) Open(kernel *layer.KernelUpper) (opened *layer.Upper, closeAll func(), err error) {
	index, err := layer.OpenIndex(u.Union)
	if err != nil {
		return nil, nil, err
	}
	flats, err := layer.OpenFlats(u.Flats, u.Blocks)
	if err != nil {
		return nil, nil, err
	}
	opened = &layer.Upper{Dir: u.Dir, Lower: index, Skip: u.Skip(), Kernel: kernel}
	for _, f := range flats {
		opened.Flats = append(opened.Flats, f)
	}
	return opened, func() {
		for _, f := range flats {
			f.Close()
		}
	}, nil
}

// Skip is Made as layer.Upper wants it.
func (u *Upper) Skip() func(path string) bool {
	if len(u.Made) == 0 {
		return nil
	}
	set := make(map[string]bool, len(u.Made))
	for _, p := range u.Made {
		set[p] = true
	}
	return func(path string) bool { return set[path] }
}

package cli

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"
)

// A further name of a node goes with it, and one of a file is no further file.
func TestABundleHasNoNameOfADeviceNode(t *testing.T) {
	b := &bundled{write: func(w io.Writer) error {
		tw := tar.NewWriter(w)
		for _, h := range []tar.Header{
			{Typeflag: tar.TypeChar, Name: "null", Devmajor: 1, Devminor: 3},
			{Typeflag: tar.TypeLink, Name: "dev/null", Linkname: "null"},
			{Typeflag: tar.TypeReg, Name: "menu", Uid: 7, Gid: 8},
			{Typeflag: tar.TypeLink, Name: "food", Linkname: "menu", Uid: 7, Gid: 8},
		} {
			if err := tw.WriteHeader(&h); err != nil {
				return err
			}
		}
		return tw.Close()
	}}
	var out bytes.Buffer
	if err := b.withoutDevices(&out); err != nil {
		t.Fatal(err)
	}
	var names []string
	for r := tar.NewReader(&out); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
	}
	if want := []string{"menu", "food"}; !slices.Equal(names, want) {
		t.Errorf("it has %q, not %q", names, want)
	}
	if b.devices != 1 || len(b.owners) != 1 || b.owners[[2]int{7, 8}] != 1 {
		t.Errorf("%d nodes are said to be left out, and files to be of %v", b.devices, b.owners)
	}
}

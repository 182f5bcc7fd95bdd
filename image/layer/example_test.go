package layer_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"log"

	"tiffin/image/layer"
)

// A tarball is scanned once. The index then tells where a file's bytes are, and they are read
// straight out of the tarball.
func Example() {
	var tarball bytes.Buffer
	w := tar.NewWriter(&tarball)
	w.WriteHeader(&tar.Header{Name: "etc/motd", Mode: 0o644, Size: 8})
	io.WriteString(w, "welcome\n")
	if err := w.Close(); err != nil { // also what the calls before have met
		log.Fatal(err)
	}

	tree, err := layer.Scan(bytes.NewReader(tarball.Bytes()))
	if err != nil {
		log.Fatal(err)
	}
	index, err := layer.Decode(tree.Encode()) // OpenIndex reads the same bytes from a file
	if err != nil {
		log.Fatal(err)
	}

	ino, ok := index.Find("etc/motd")
	fmt.Println("found:", ok, "at offset", index.Inode(ino).Offset)
	flats := []io.ReaderAt{bytes.NewReader(tarball.Bytes())}
	content, err := io.ReadAll(index.Reader(ino, flats))
	fmt.Printf("%q %v\n", content, err)
	// Output:
	// found: true at offset 512
	// "welcome\n" <nil>
}

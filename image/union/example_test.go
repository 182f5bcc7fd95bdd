package union_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"log"

	"tiffin/image/layer"
	"tiffin/image/union"
)

// scan makes the tree of a layer that has empty files of these names.
func scan(names ...string) *layer.Tree {
	var tarball bytes.Buffer
	w := tar.NewWriter(&tarball)
	for _, name := range names {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644}); err != nil {
			log.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}
	tree, err := layer.Scan(&tarball)
	if err != nil {
		log.Fatal(err)
	}
	return tree
}

// open makes an index of a tree, as OpenIndex does of a file.
func open(tree *layer.Tree) *layer.Index {
	index, err := layer.Decode(tree.Encode())
	if err != nil {
		log.Fatal(err)
	}
	return index
}

// The upper layer deletes etc/issue, with a whiteout, and brings etc/motd.
func ExampleMerge() {
	lower, err := union.Merge(nil, scan("etc/hosts", "etc/issue"), 0)
	if err != nil {
		log.Fatal(err)
	}
	merged, err := union.Merge(lower, scan("etc/.wh.issue", "etc/motd"), 1)
	if err != nil {
		log.Fatal(err)
	}
	index := open(merged)
	etc, _ := index.Find("etc")
	for k := range index.DirLen(etc) {
		name, ino := index.Dirent(etc, k)
		fmt.Println(name, "from layer", index.Inode(ino).Layer)
	}
	// Output:
	// hosts from layer 0
	// motd from layer 1
}

// Explain tells the reason that a merged index does not have any more.
func ExampleExplain() {
	layers := []*layer.Index{
		open(scan("etc/hosts", "etc/issue")),
		open(scan("etc/.wh.issue", "etc/motd")),
	}
	for _, path := range []string{"/etc/hosts", "/etc/issue"} {
		for _, v := range union.Explain(layers, path) {
			fmt.Printf("%s: layer %d: %v\n", path, v.Layer, v.Answer)
		}
	}
	// Output:
	// /etc/hosts: layer 1: miss
	// /etc/hosts: layer 0: hit
	// /etc/issue: layer 1: whiteout
	// /etc/issue: layer 0: not asked
}

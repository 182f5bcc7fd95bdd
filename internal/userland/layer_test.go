package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"io"
	"slices"
	"testing"
)

func layerOf(t *testing.T, self string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Layer(&b, bytes.NewReader([]byte(self)), int64(len(self))); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestLayerIsTheSameEachTime(t *testing.T) {
	a, b := layerOf(t, "binary"), layerOf(t, "binary")
	if sha256.Sum256(a) != sha256.Sum256(b) {
		t.Error("two calls gave different layers")
	}
	if bytes.Equal(a, layerOf(t, "other!")) {
		t.Error("another binary gave the same layer")
	}
}

func TestLayerHasTheBinaryOnceAndLinksToIt(t *testing.T) {
	tr := tar.NewReader(bytes.NewReader(layerOf(t, "the binary")))
	entries := map[string]*tar.Header{}
	var order []string
	for {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if entries[h.Name] != nil {
			t.Errorf("%s is there twice", h.Name)
		}
		entries[h.Name] = h
		order = append(order, h.Name)
		if !h.ModTime.Equal(Epoch) {
			t.Errorf("%s: time %v, want %v", h.Name, h.ModTime, Epoch)
		}
		if h.Name == "bin/sh" {
			if data, _ := io.ReadAll(tr); string(data) != "the binary" {
				t.Errorf("bin/sh holds %q", data)
			}
		}
	}
	for _, name := range Names() {
		if name == "sh" {
			continue
		}
		h := entries["bin/"+name]
		if h == nil || h.Typeflag != tar.TypeLink || h.Linkname != "bin/sh" {
			t.Errorf("bin/%s is no hard link to bin/sh: %+v", name, h)
		}
	}
	if slices.Index(order, "bin/sh") > slices.Index(order, "bin/cat") {
		t.Error("a hard link comes before its target")
	}
	for name, mode := range map[string]int64{"tmp/": 0o1777, "var/tmp/": 0o1777, "root/": 0o700, "proc/": 0o555, "etc/": 0o755, "etc/passwd": 0o644} {
		if h := entries[name]; h == nil || h.Mode != mode {
			t.Errorf("%s: %+v, want mode %o", name, h, mode)
		}
	}
	for name, target := range map[string]string{"usr/bin": "../bin", "sbin": "bin"} {
		if h := entries[name]; h == nil || h.Linkname != target {
			t.Errorf("%s does not lead to %s", name, target)
		}
	}
}

func TestMainLeavesOtherNamesAlone(t *testing.T) {
	for _, args := range [][]string{{"tiffin", "ls"}, {"/usr/bin/tiffin"}, {"__init"}, {}} {
		if _, ok := run(args); ok {
			t.Errorf("run(%q) took it for a command of the image", args)
		}
	}
}

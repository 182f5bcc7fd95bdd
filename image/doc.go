// Package image does what is done with images that are here: make one out of a container's
// changes or a tarball (commit, import), name, list, inspect, explain and remove them.
//
// Below it each thing has a room of its own, from the ground up:
//
//	layer, union, inflate   a tarball and its index; many layers merged; gzip
//	reference, oci          names of images; the documents that images consist of
//	store                   the directory: blobs, index.json, locks; how something is published
//	ingest                  one pass over a layer that arrives
//	cache                   what is derived from layers, and additional image stores
//	stargz                  layers that can be read before they are fetched
//	transfer                load, save, pull, push and copy
//	registry                the client's side of the protocol; registry/server the other
//
// # What an image is
//
// An image is a stack of tarballs (layers) and a small JSON document, the config, which
// says what to run in them. A manifest names the config and the layers by
// their digests; an index gives manifests names that people can remember. All
// of these are blobs: files whose name is the SHA-256 of their content. So they
// can be checked by anyone, shared by images, and fetched from strangers.
//
//	index.json                 "debian:latest" ─┐
//	blobs/sha256/8efb…  manifest  ◄─────────────┘
//	                      ├── config  sha256:5f59…  ← the image ID
//	                      └── layers  sha256:7c1a… sha256:f3d5… sha256:b058…
//	blobs/sha256/5f59…  config
//	                      └── rootfs.diff_ids  sha256:7fba… sha256:8802… sha256:725d…
//	blobs/sha256/7c1a…  layer 0: a tarball, in gzip here
//
// A layer has two digests: that of the blob as it travels, and the diff ID,
// that of the tarball uncompressed. The manifest has the first, the config the
// second; a program that loads an image has to check both.
//
// # What goes and what stays
//
// A blob whose last image goes is deleted by the same command (remove.go). Blobs without an image
// are left only if a command was killed in the few milliseconds of publishing; the next command, or
// prune, collects them (collect.go). Blobs keep the bytes that came: pulled and pushed again they
// have the same digest. Of an index that was pulled, only the manifest of one platform is kept
// beside it; index.json records the index's digest as that of the name.
//
// Manifests and configs are hashed whenever they are read. Layers are hashed when they come and
// when they leave, and when derived files are made from them; a wrong one is named and refused,
// and loading the image again replaces it.
package image

// Package image keeps images on disk and does what is done with whole images:
// load, import, pull, save, copy, commit, tag, list, remove. What speaks to registries
// is in package registry.
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
// second; who loads an image has to check both.
//
// # The store
//
// The store is an OCI image layout (OCI image-spec v1.1 image-layout.md), which skopeo, podman and
// umoci read as it is, with some more in it that readers of layouts do not look at: appendix A of
// the book (tutorial/book/a-formats.md) lists all of it.
//
// Layers are never unpacked: files are read out of flat.tar. All files belong
// to the user who owns the store; the owners that the image wants are in the
// index.
//
// # The life of a blob
//
// A layer goes through one pass (package ingest), hashed, inflated, hashed again,
// parsed and written by goroutines that share the pieces of the stream. It
// lands in a staging directory under tmp/ that has the store's own layout
// (package store). When all layers of a command are there and have the digests
// that were promised, publish moves them into the store with rename(2), then
// replaces index.json. Nothing of the store changes before that, so a command
// that fails, is interrupted or killed, or finds the disk full has changed
// nothing.
//
// The order is that of trust: content on the disk (fsync of every blob), then
// its name (rename, fsync of the directory), then the index that refers to it
// (written beside, fsync, rename, fsync of the directory), then success is
// reported. After a power cut the index refers to complete blobs only.
//
// A blob whose last image goes is deleted by the same command (remove.go). What
// nothing refers to otherwise — a command was killed in the few milliseconds of
// publish — is collected by the next command, or by prune.
//
// What comes from a registry goes the same way (package transfer), while it arrives. Of an
// index only the manifest of one platform is kept; the index's digest stays in
// the image's name if that is what it was pulled by.
//
// What goes somewhere else (package transfer), to a registry, an archive or a layout, is
// read blob by blob and hashed on the way, without passing through the store.
//
// What is pushed here (package registry/server) comes in pieces, each acknowledged
// by itself: a blob is durable in incoming/ when its sender is told so, and its
// layer's derived files are made by then. The manifest, which comes last, is checked
// against them, linked with them into a staging directory and published. Of two
// claims a pushed config makes nothing is believed: that a blob is here, and that
// it inflates to a diff ID, which is recorded when it does. An index that is pushed
// is kept whole, with the manifests of all machines.
//
// Blobs keep the bytes that came: pulled and pushed again they have the same
// digest. The blob of a layer that came uncompressed and its flat.tar are one
// file with two names.
//
// # Additional image stores
//
// TIFFIN_IMAGE_PATH=/srv/images:/net/course/images lists stores of other people
// whose images are used where they are. They are ordinary stores: an
// instructor sets TIFFIN_ROOT to such a directory, loads or pulls, and then does
// `chmod -R go+rX` of it, once: what comes later can be read by those who may read the
// directory itself. (No containers belong there: they would be shown as well.) What
// holds (package cache):
//
//   - Names are looked up here first, then in each additional store in turn; so are
//     IDs. The own built-in image comes before any of them.
//   - Nothing is ever written there, not even a lock or an access to a file of
//     containers/. It need not be writable, nor on a local disk.
//   - Such a store is believed by digest alone. Blobs and flat.tar are looked for here first,
//     then there; nothing is copied. Blobs are hashed when they are read, flat.tar once: then its
//     index and the codes of its blocks are made here, and every byte that is read later is
//     checked by those. The indexes that are there are not read at all.
//   - A commit on such an image makes an image here whose lower layers stay there;
//     it is saved and pushed whole. A tag copies manifest and config, a few
//     kilobytes. Both need the additional store as long as they are used; what is here
//     can be listed, pruned and removed without it.
//   - rmi removes nothing from there. prune deletes what was made here for images
//     there, unless a container was made from one; the next use makes it again.
//   - Pull and load bring all layers here: they are for a person who does not want to
//     depend on others. `serve` shows the names here only.
//   - A store that cannot be read is a warning, when something is looked for in it.
//   - Other programs that read this store as a layout do not know of it.
//
// Nobody keeps the other's owner from deleting what containers here need: then they do not start,
// and say which blob is missing; those that run may die, as with any program whose file on a file
// server goes. What is read is what its digest says, or an error; index.json alone says which
// image a name stands for, so who can write there decides what a name runs here, as with PATH.
//
// # Damage
//
// Manifests and configs are hashed whenever they are read. Layers are hashed
// when they come and when they leave (Save), and when derived files have to be
// made from them; a wrong one is named and refused, and loading the image again
// replaces it. Derived files are checked by size and, for an index, checksum,
// and are rebuilt without being asked (derived.go).
//
// # Locks
//
// All are flock(2), which the kernel drops when a process ends. In this order:
//
//	tmp/        shared: while making a staging directory or index.json's successor
//	            exclusive, without waiting: sweep, while it removes what is dead
//	partial/HEX exclusive: by the pull that fetches the blob, without waiting
//	tmp/add-N   exclusive: by the command that the directory belongs to, for its life
//	lock        exclusive: while index.json changes or blobs are deleted, milliseconds
//	            shared: Hold, while a container is being created
//
// Readers take none: index.json is replaced by rename, and a blob that is read
// while it is removed stays readable. What a command found in the store and
// counts on, it links into its staging directory, where no other command's
// garbage collection can take it (pin).
//
// # Limits for what comes from outside
//
//	index.json, manifest, config   16 MiB, nested 64 deep
//	layers of an image             1024
//	entries of an image archive    100,000 (of the layers in it: see layer.Scan)
//	memory of a zstd stream        128 MiB, as `zstd --long` may ask for
//	inflated layer or archive      1 GiB, or 1000 times its size if that is more
//
// The last is against decompression bombs; TIFFIN_INFLATE_LIMIT=20GiB in the
// environment replaces the 1 GiB. Archives are not unpacked but looked into, so
// the names in them can do no harm; a directory is opened with os.Root.
package image

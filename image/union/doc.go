// Package union has the rules by which layers become one tree: what is seen,
// what is hidden, and which layer answers. It is pure: trees in, trees out, no
// system calls.
//
// # The rules
//
// OCI image-spec v1.1 layer.md calls a layer a changeset: files added and
// files modified are entries of the tarball, files removed are "whiteouts",
// empty files with a special name. Read from the top layer down, a name is
// decided by the first layer that has something to say about it:
//
//	upper has             lower has    the merged tree shows
//	nothing               anything     the lower's
//	file, link, device    anything     the upper's; a directory goes with all in it
//	directory             directory    the upper's attributes, the entries of both
//	directory             other        the upper's, empty but for its own entries
//	directory, Implicit   directory    the lower's attributes, the entries of both
//	directory, Opaque     directory    as above, but only the upper's entries
//	.wh.NAME              NAME         nothing
//	hard link to PATH     PATH         PATH's file, under one more name
//
// Five consequences are easy to get wrong; each has a test:
//
//   - A whiteout hides what is in the layers below, never what is in its own,
//     even if it comes later in the tarball. So a layer may delete a directory
//     and bring one of that name: Scan marks it Opaque.
//   - A tarball need not have an entry for a directory that it has files in.
//     Such a directory keeps the mode, owner, time and attributes from below.
//   - A directory, a file over it, a directory over that: what was in the
//     bottom layer's directory does not come back.
//   - A hard link may lead to a file of a lower layer that the same layer
//     replaces or deletes. It means the file as it was below.
//   - Replacing one name of a hard-linked file leaves its other names alone, and
//     what they show.
//
// A symbolic link of a layer below is a name like any other: a layer that has
// lib/x where the layer below has a link lib replaces the link by a directory.
// That is what kernel overlayfs does with layers unpacked one by one (docker,
// podman); programs that unpack them on top of one another may follow the link
// instead. A link of the same layer has been followed by Scan, as tar does, and
// a hard link's target is looked for through those of the layers below.
//
// # Merge
//
// Merge builds the tree of an image layer by layer, from the bottom, and changes
// the tree below in place: its cost is that of the upper layer. The tree's
// WriteFile makes the file unions/CHAINID of the store.
//
// # Explain
//
// The merged index knows the answer, not the reason. Explain asks the layers
// one by one as a union file system without an index would, and says for each
// what it answered: for `why PATH`, for events, and for those who learn. The
// same random layers that test Merge check that both agree.
//
// A Stack puts the questions of a whole image: Why, and Usage, which counts what upper layers
// hide. A file of a layer is visible if the merged index has one with its data, from its place in
// flat.tar.
//
// # Differ
//
// Differ walks through two merged trees at once, name by name, and tells what is in one alone or
// not the same in both: for `diff IMAGE IMAGE`.
package union

// Package stargz writes layers as eStargz, the form in which an engine can start a container before
// it has fetched the layers, and tells whether a layer has that form. The format is that of
// github.com/containerd/stargz-snapshotter, docs/estargz.md, whose library writes it.
//
// # What eStargz is
//
// A gzip layer that any engine unpacks, in many gzip members: each file begins one, and each 4 MiB
// of a large file. So a part can be inflated without what stands before it. The last entry of the
// tarball is a table of contents, which says for each file where its members begin and which
// digests they have. The last 51 bytes of the blob say where the table begins:
//
//	┌──────────────┬────────┬──────┬────────┬──────┬─────┬───────────────────┬────────┐
//	│ header of    │ its    │ hdr  │ data   │ data │     │ stargz.index.json │ footer │
//	│ the landmark │ data   │ of f │ of f   │ …    │  …  │ the table         │ 51 B   │
//	└──────────────┴────────┴──────┴────────┴──────┴─────┴───────────────────┴────────┘
//
// An engine asks for the footer, then for the table, and has all names, attributes and sizes. It
// compares the table's digest with that in the manifest, the annotation
// containerd.io/snapshot/stargz/toc.digest, and what it then fetches of a file with the table. The
// landmark, .no.prefetch.landmark, tells it to fetch nothing beforehand.
//
// # What changes
//
// The tarball has two entries more, hence another diff ID: an image whose layers are written so has
// another config, another ID and another digest. The tree that the layers show is the same. It is
// written from the layer's index (layer.WriteLayer), so what a stranger's tarball says in odd ways
// has been judged by layer.Scan before, and never reaches the library. What the table cannot say is
// found beforehand (ErrUnfit): a name that is not UTF-8, for the table is JSON; a hard link to a
// file of a layer below; more than fits into memory.
//
// An engine that is lazy shows each layer by itself, and overlayfs puts one over the other. There a
// directory that a layer has no entry for would have mode 0755, whatever it has below: it gets an
// entry here, as docker writes one, with the attributes of the layers below.
//
// The same tree gives the same bytes, on any number of processors: Writer of the library goes
// through the tarball once, where its Build cuts it into as many parts as there are processors, and
// needs temporary files for them. What is in memory is a part of a file, and the table.
package stargz

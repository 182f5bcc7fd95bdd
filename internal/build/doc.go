// Package build makes an image of a Dockerfile.
//
//	Dockerfile ─► package dockerfile ─► stages, instructions
//	                                        │
//	base image ─► state ─ RUN ─► container ─┤ its upper directory is a layer
//	                    ─ COPY ─► files ────┤ written as a tarball straight from where they are
//	                    ─ ENV … ─► config ──┘
//	                                        ▼
//	                               layers + config ─► image
//
// A state is a stack of layers and a config. It becomes an image at the end of the last stage only,
// or when an instruction fails, so that a person can look at what was there. Stages that the target
// does not need are left out; the others are built at once, and wait for each other where one
// continues or copies from another (stages.go).
//
// # What is not done again
//
// An instruction that makes a layer has a key: the digest of all that the layer depends on, which
// is the stack below, the instruction itself, and what it can see: for RUN environment, user and
// directory, for COPY the files with owners and modes, but not their times. If the store has a
// layer with that key, it is taken (store.BuildRecord); else from a cache that others have written
// (share.go). So an ENV after the last RUN costs nothing,
// and a file that was only touched changes nothing. The journal keeps the parts of the last build's
// keys, so that an explanation can say which of them has changed.
//
// # What is believed
//
// The Dockerfile, the context and the base may be a stranger's. A path of the context is opened
// below its directory through no symbolic link (openat2(2), RESOLVE_BENEATH), and links are
// followed here, within it. Paths in images and archives are looked up in indexes; an archive
// is never unpacked, and its size is bounded. So nothing of the host is read that is not in the
// context, and nothing is written but layers. RUN is a container like any other.
//
// # Where it differs from docker
//
// The Dockerfile reference decides; where it says nothing, BuildKit does, of which buildah differs
// here and there: internal/cli/testdata/referee has both answers. ENV wins over an ARG of the same
// name wherever they stand, as the reference says. A file in the context that is no file, link or
// directory is refused by name; so are several files for one name without a slash, of which
// BuildKit keeps the last. ADD asks the server each time, and the content decides about the
// cache. It has no ssh keys, unlike RUN --mount=type=ssh, to which --ssh lends an agent.
package build

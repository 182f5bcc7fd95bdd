// Package registry brings images from registries and takes them there: pull,
// push, login.
//
// # What a registry is
//
// A registry is a web server that keeps blobs by their digests, as the store
// does, and names for some of them. OCI distribution-spec v1.1 has all of its
// protocol; of it a pull needs few requests:
//
//	HEAD /v2/library/debian/manifests/latest    → its digest, if there is one here to compare with
//	GET /v2/library/debian/manifests/latest     → index or manifest, JSON
//	GET /v2/library/debian/manifests/sha256:8e… → manifest for this machine, if that was an index
//	GET /v2/library/debian/blobs/sha256:5f…     → config
//	GET /v2/library/debian/blobs/sha256:7c…     → layer, often by a redirect to a file server
//
// and a push three, blobs first so that a manifest never names what is missing:
//
//	HEAD /v2/team/app/blobs/sha256:7c…      → 200: it is there already
//	POST /v2/team/app/blobs/uploads/?mount=sha256:7c…&from=team/base
//	                                        → 201: now it is, without being sent
//	                                        → 202: send it to this Location
//	PUT  LOCATION?digest=sha256:7c…         ← the blob
//	PUT  /v2/team/app/manifests/v1          ← the manifest
//
// A client that is not logged in is answered 401 with a challenge that names a
// way to be let in: basic, or a token from an authorization server
// (https://distribution.github.io/distribution/spec/auth/token/). Docker Hub
// wants such a token from anonymous clients as well.
//
// # Who does what
//
// oras.land/oras-go/v2 speaks the protocol. This package says whom to trust: which
// registries may do without TLS (those of this machine, as docker has it, and
// all with Insecure), where passwords are kept (credentials.go), and how often
// to ask again (retry.go). Package transfer believes nothing that comes and
// computes every digest while the bytes stream.
//
// # Mirrors and short names
//
// registries.conf of the user (registries.go) says where else images are looked
// for, which registries may do without TLS, and what short names stand for. It
// has the format of podman's, and it changes where bytes come from, never what
// they have to be: an image has the name and the digests that were asked for.
// Pushes go to the registry of the name alone.
//
// # When it breaks off
//
// What has come of a layer is kept in a file (partial.go of package store), also
// by a pull that is killed. The rest is asked for with
//
//	GET /v2/library/debian/blobs/sha256:7c…
//	Range: bytes=1048576-
//	If-Range: "the ETag of the first part"
//
// by the same pull or the next. 206 goes on, 200 starts over, also in the file.
// What the answer announces, its range, length and ETag, is compared with what
// was asked for (fetch.go), and in the end the digest decides over all of it.
//
// # Passwords
//
// They are sent to the registry that they were stored for, and to the
// authorization server that it names, which may be on this machine or its network
// only if the registry is there too. A redirect to another host, port or scheme is
// followed without them. On disk they are in docker's config.json, so a login with
// docker counts for tiffin.
//
// # Limits
//
//	manifest or index                        4 MiB
//	tries of a request                       6
//	tries for the rest of a broken layer     5, without a byte in between
//	tries of a layer from its first byte     3
//	a Retry-After that is waited for         60 s
//	silence in the middle of a blob          60 s, before an answer 2 min, twice
package registry

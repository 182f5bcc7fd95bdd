// Package server shows the store as a registry: what package registry asks of
// others, it answers.
//
// # What is asked
//
// The protocol is OCI distribution-spec v1.1; each handler names its section. The
// repository NAME is the image NAME of the store, as a person types it:
//
//	here                                there, if this is HOST:5000
//	debian, docker.io/library/debian    HOST:5000/debian, HOST:5000/library/debian
//	tiffin/base                         HOST:5000/tiffin/base
//	course/lab1:v1                   ←  HOST:5000/course/lab1:v1, pushed
//	registry.example.org/team/app       HOST:5000/registry.example.org/team/app
//	localhost:5000/x                    cannot be said in a repository's name: tag it x
//
// So what students push an instructor runs under the name they agreed on. All
// images of the store are shown, to whoever may read; what is pushed replaces
// what has its name, and the old image stays without one until `tiffin prune`.
//
// A push is taken apart while it comes: a layer is hashed, inflated and indexed
// as its bytes arrive (package ingest), so that after the manifest it
// can be run, without another pass. What has been acknowledged survives a kill
// and a power cut; an upload that was not leaves a directory in tmp/ that the
// next command removes. Manifests keep their bytes, docker's too, and so do
// indexes of several platforms.
//
// Who may push somewhere may delete there: a tag goes alone, a digest takes all tags of its
// repository, and what has no name any more goes as with tiffin rmi. Layers that
// other images need stay, and so does an image that a container was made from. A
// blob goes with its images; deleted by itself is only one that waits for a manifest.
//
// What a registry keeps is not what a runner believes. Any manifest is kept whose blobs have come
// with the digests and sizes that it says, and any index of such: charts, modules, signatures,
// images whose config is about other layers. Blobs may be of any kind; those that are tarballs,
// plain or in gzip or zstd, are got ready to be run. A manifest that cannot be run is marked with
// the reason, which `tiffin run` gives.
//
// A manifest that says which one it is about, its subject, is found by its digest and by
//
//	GET /v2/course/lab1/referrers/sha256:8e…?artifactType=application/spdx+json
//
// in the repository that it was pushed to, and without a tag of its own goes with its subject
// (referrers.go of package store).
//
// Not there: digests other than SHA-256.
//
// # Who may ask
//
// With passwords in an htpasswd file (htpasswd.go), who has one may read, and push and delete
// below their name: anna in anna/…, and nobody else there. A file of rights (rights.go) makes
// readers, tutors and teachers. Without passwords, everybody who reaches the address may read,
// and who runs the server may push: what is pushed replaces what its owner runs next, and
// 127.0.0.1 is not private, everybody with an account on this machine reaches it. So it is found
// out whose the other end of a connection from there is (peer.go). Where that says nothing, in a
// container or behind a forwarded port of root's, there is a token (package token), which is the
// password of the user "owner"; tiffin's own clients find it, others are given it with `podman
// login`. Open lets everybody push, ReadOnly nobody.
//
// A socket is private: its permissions decide who connects, and the kernel says who
// that is, so that one that was opened to all is still pushed to by its owner alone.
// With ssh -L 5000:/PATH/SOCKET HOST it is an address elsewhere, and whoever reaches that
// is its owner, as with a port of 127.0.0.1 that its owner forwards: on a machine with other users,
// ReadOnly or passwords are for that. CheckPublic is what an address must have that others reach.
//
// A browser that shows another's page must not read or push for its user. Requests that
// a browser sends for a page may read only, and a Host that is not this server's is
// refused: the page's owner can have a name stand for 127.0.0.1, and then the browser
// takes what is here for the page's own (who.go).
//
// # Limits
//
//	manifest                        4 MiB
//	all tags                        16 MiB of index.json
//	uploads begun and not ended     512, 32 of one user, each for 1 h after its last byte
//	uploads that are worked on      16 at once, none of them while it waits for bytes
//	disk of one user's uploads      16 GiB until a manifest names them (limits.go)
//	silence while one sends         60 s
//	blobs without a manifest        24 h
//	passwords checked at once       as many as there are processors
//
// A full disk is answered 507 with the reason, and the store is as it was.
package server

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
// Whoever may push to a repository may delete there. To delete a tag removes that tag alone, to
// delete a digest all tags of it in the repository, and an image without a name is deleted as by
// tiffin rmi. Layers that other images need stay, and so does an image that a container was made
// from. A blob is deleted with its images; by itself only if it still waits for a manifest.
//
// A registry keeps more than can be run. Any manifest is kept whose blobs have come with the
// digests and sizes that it says, and any index of such manifests: charts, modules, signatures,
// images whose config does not fit their layers. Blobs may be of any kind; those that are tarballs,
// plain or in gzip or zstd, are made ready to be run. A manifest that cannot be run is marked with
// the reason, which `tiffin run` prints.
//
// A manifest may name another one that it is about, its subject. It is found by its digest and by
//
//	GET /v2/course/lab1/referrers/sha256:8e…?artifactType=application/spdx+json
//
// in the repository that it was pushed to. Without a tag of its own it is deleted with its subject
// (referrers.go of package store).
//
// Not there: digests other than SHA-256.
//
// # Who may ask
//
// With passwords in an htpasswd file (htpasswd.go), every user who has one may read, and may push
// and delete below the own name: anna in anna/…, and no one else there. A file of rights
// (rights.go) makes readers, tutors and teachers.
//
// Without passwords, everybody who reaches the address may read, and only the user who runs the
// server may push, because what is pushed replaces what that user runs next. 127.0.0.1 is not
// private: everybody with an account on this machine reaches it. So the server finds out which user
// has the other end of a connection from there (peer.go). In a container, or behind a port that
// root forwards, that says nothing; for such clients there is a token (package token), which is the
// password of the user "owner". tiffin's own clients find it, others are given it with `podman
// login`. Open lets everybody push, ReadOnly no one.
//
// A socket is private: its permissions decide who connects, and the kernel says which user that is,
// so that even to a socket that was opened to all only its owner can push. With ssh -L
// 5000:/PATH/SOCKET HOST the socket becomes an address on another machine, and whoever reaches that
// address counts as the owner; so it is with a port of 127.0.0.1 that the owner forwards. If that
// machine has other users, use ReadOnly or passwords. CheckPublic says what an address needs that
// other machines reach.
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

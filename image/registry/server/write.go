// Blobs and manifests are pushed. What is acknowledged is on disk, and its digest was checked.

package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	digest "github.com/opencontainers/go-digest"
)

// upload is a blob that is being pushed, in one request or in several.
type upload struct {
	id, name string
	account  string        // whose it is: see exchange.account
	busy     chan struct{} // holds one while a request works on it
	up       *Upload
	disk     atomic.Int64 // bytes of disk that it fills
	used     atomic.Int64 // when a request ended, in nanoseconds since 1970
	expire   *time.Timer
	once     sync.Once
	gone     atomic.Bool
}

// newUpload begins an upload and holds it.
func (s *Server) newUpload(x *exchange) (*upload, error) {
	if err := s.room(x); err != nil {
		return nil, err
	}
	up, err := newUpload(s.Store)
	if err != nil {
		return nil, err
	}
	u := &upload{id: rand.Text(), name: x.repo.Name(), account: x.account(), up: up, busy: make(chan struct{}, 1)}
	u.busy <- struct{}{}
	u.expire = time.AfterFunc(uploadAge, func() { s.expire(u) })
	s.mu.Lock()
	s.uploads[u.id] = u
	s.mu.Unlock()
	return u, nil
}

// expire gives up an upload, unless a request is working on it.
func (s *Server) expire(u *upload) {
	select {
	case u.busy <- struct{}{}:
		s.drop(u)
	default: // release sets the timer again
	}
}

// drop forgets an upload and what has come of it.
func (s *Server) drop(u *upload) {
	u.once.Do(func() {
		u.gone.Store(true)
		u.expire.Stop()
		s.mu.Lock()
		delete(s.uploads, u.id)
		s.mu.Unlock()
		u.up.Close()
	})
}

// find holds the upload that the path names, waiting for another request that
// does: its client may have given it up before this server notices.
func (s *Server) find(x *exchange) (*upload, error) {
	unknown := refuse(http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN", "there is no such upload; it may have been given up")
	id, _, _ := strings.Cut(x.arg, "-")
	s.mu.Lock()
	u := s.uploads[id]
	s.mu.Unlock()
	if u == nil || u.name != x.repo.Name() || u.account != x.account() {
		return nil, unknown
	}
	select {
	case u.busy <- struct{}{}:
	case <-x.r.Context().Done():
		return nil, refuse(http.StatusRequestTimeout, "BLOB_UPLOAD_INVALID", "the client has gone")
	}
	if u.gone.Load() {
		u.release()
		return nil, unknown
	}
	return u, nil
}

func (u *upload) release() {
	u.used.Store(time.Now().UnixNano())
	if !u.gone.Load() {
		u.expire.Reset(uploadAge)
	}
	<-u.busy
}

// location tells where the upload goes on, ID-OFFSET with the offset of the next
// byte. So bytes still under way from a connection that the client has given up
// cannot get between those that it sends after asking.
func (x *exchange) location(u *upload) {
	x.Header().Set("Location", fmt.Sprintf("/v2/%s/blobs/uploads/%s-%d", x.name, u.id, u.up.Size()))
	x.Header().Set("Docker-Upload-Uuid", u.id)
	// "Range: 0-<end-of-range>", the last byte; what has none yet says 0-0.
	x.Header().Set("Range", fmt.Sprintf("0-%d", max(u.up.Size()-1, 0)))
}

// beginUpload answers POST. OCI distribution-spec v1.1: "Pushing a blob
// monolithically", "Pushing a blob in chunks", "Mounting a blob from another
// repository".
func (s *Server) beginUpload(x *exchange) error {
	q := x.r.URL.Query()
	if d := digest.Digest(q.Get("mount")); d != "" {
		// "from" need not be looked at: all repositories have the same blobs.
		if f, err := openBlob(s.Store, d); err == nil {
			f.Close()
			return x.created("blobs", d)
		}
	}
	u, err := s.newUpload(x)
	if err != nil {
		return err
	}
	defer u.release()
	if q.Has("digest") {
		return s.finish(x, u)
	}
	x.location(u)
	x.WriteHeader(http.StatusAccepted)
	return nil
}

func (x *exchange) created(what string, d digest.Digest) error {
	x.Header().Set("Location", "/v2/"+x.name+"/"+what+"/"+d.String())
	x.Header().Set("Docker-Content-Digest", d.String())
	x.WriteHeader(http.StatusCreated)
	return nil
}

// held lets a request do something with the upload that its path names.
func (s *Server) held(do func(*exchange, *upload) error) func(*exchange) error {
	return func(x *exchange) error {
		u, err := s.find(x)
		if err != nil {
			return err
		}
		defer u.release()
		return do(x, u)
	}
}

// uploadStatus tells how far an upload has come, so that it can be resumed. OCI
// distribution-spec v1.1, "Pushing a blob in chunks".
func (s *Server) uploadStatus(x *exchange, u *upload) error {
	x.location(u)
	x.WriteHeader(http.StatusNoContent)
	return nil
}

// uploadChunk takes a part of a blob.
func (s *Server) uploadChunk(x *exchange, u *upload) error {
	if err := s.receive(x, u); err != nil {
		return err
	}
	x.location(u)
	x.WriteHeader(http.StatusAccepted)
	return nil
}

// cancelUpload gives an upload up. Not in the spec, but in docker's.
func (s *Server) cancelUpload(x *exchange, u *upload) error {
	s.drop(u)
	x.WriteHeader(http.StatusNoContent)
	return nil
}

// finish takes the rest of a blob and makes it one. An upload whose digest is
// wrong is lost; one whose connection broke can be resumed.
func (s *Server) finish(x *exchange, u *upload) error {
	d := digest.Digest(x.r.URL.Query().Get("digest"))
	if d.Validate() != nil || d.Algorithm() != digest.SHA256 {
		s.drop(u)
		return refuse(http.StatusBadRequest, "DIGEST_INVALID", fmt.Sprintf("%q is no sha256 digest", d))
	}
	if err := s.receive(x, u); err != nil {
		return err
	}
	defer s.drop(u)
	if err := u.up.finish(d); err != nil {
		return uploadFault(err, "DIGEST_INVALID")
	}
	s.waits(u, d)
	return x.created("blobs", d)
}

// uploadFault is the answer if a blob could not be taken.
func uploadFault(err error, code string) error {
	if f := asFault(err); f.status != http.StatusInternalServerError {
		return f
	}
	if errors.Is(err, errRefused) {
		return &fault{http.StatusBadRequest, code, err}
	}
	return err
}

func (x *exchange) wrongPlace(u *upload, at string) error {
	x.location(u)
	return refuse(http.StatusRequestedRangeNotSatisfiable, "BLOB_UPLOAD_INVALID", fmt.Sprintf("this is for %s, but byte %d is next", at, u.up.Size()))
}

// receive hands the body on to the store.
func (s *Server) receive(x *exchange, u *upload) error {
	end := int64(-1) // byte that the chunk ends before; -1 if it does not say
	if v := x.r.Header.Get("Content-Range"); v != "" {
		first, last, ok := parseContentRange(v)
		end = last + 1
		switch {
		case !ok:
			return refuse(http.StatusBadRequest, "BLOB_UPLOAD_INVALID", fmt.Sprintf("%q is no Content-Range FIRST-LAST", v))
		case first != u.up.Size():
			// "chunks MUST be uploaded in order": 416, and where to go on.
			return x.wrongPlace(u, v)
		case x.r.ContentLength >= 0 && x.r.ContentLength != last-first+1:
			return refuse(http.StatusBadRequest, "SIZE_INVALID", fmt.Sprintf("a chunk %s does not have %d bytes", v, x.r.ContentLength))
		}
	}
	if _, at, ok := strings.Cut(x.arg, "-"); ok && at != fmt.Sprint(u.up.Size()) {
		return x.wrongPlace(u, at)
	}
	buf := make([]byte, uploadBuffer)
	for {
		n, rerr := x.body.Read(buf)
		if end >= 0 && u.up.Size()+int64(n) > end || end > u.up.Size()+int64(n) && rerr == io.EOF {
			s.drop(u) // which of the two is wrong nobody knows
			return refuse(http.StatusBadRequest, "SIZE_INVALID", fmt.Sprintf("the chunk has another length than its Content-Range, which ends before byte %d", end))
		}
		if err := s.take(u, buf[:n]); err != nil {
			s.drop(u)
			return uploadFault(err, "BLOB_UPLOAD_INVALID")
		}
		if rerr == io.EOF {
			return nil
		}
		if rerr != nil {
			return &fault{http.StatusBadRequest, "BLOB_UPLOAD_INVALID", fmt.Errorf("the upload broke off after %d bytes: %w", u.up.Size(), rerr)}
		}
	}
}

// putManifest makes an image of what has been pushed. OCI distribution-spec
// v1.1, "Pushing Manifests".
func (s *Server) putManifest(x *exchange) error {
	r, err := x.repo.With(x.arg)
	if err != nil {
		return &fault{http.StatusBadRequest, "MANIFEST_INVALID", err}
	}
	// "If a manifest is too large … 413 Payload Too Large".
	tooLarge := refuse(http.StatusRequestEntityTooLarge, "SIZE_INVALID", fmt.Sprintf("a manifest may have %d bytes", maxManifest))
	if x.r.ContentLength > maxManifest {
		return tooLarge
	}
	b, err := io.ReadAll(io.LimitReader(x.body, maxManifest+1))
	if err != nil {
		return &fault{http.StatusBadRequest, "MANIFEST_INVALID", fmt.Errorf("the manifest broke off: %w", err)}
	}
	if len(b) > maxManifest {
		return tooLarge
	}
	mediaType, _, _ := strings.Cut(x.r.Header.Get("Content-Type"), ";")
	// A client that goes away now must not leave half of it undone.
	got, err := putManifest(context.WithoutCancel(x.r.Context()), s.Store, r, strings.TrimSpace(mediaType), b)
	switch {
	case err == nil:
		s.named(got.Taken)
		if got.Subject != "" {
			// "Pushing Manifests with Subject": so the client need not keep a
			// list of its own.
			x.Header().Set("OCI-Subject", got.Subject.String())
		}
		return x.created("manifests", got.Digest)
	case r.Digest != "" && digest.FromBytes(b) != r.Digest:
		return uploadFault(err, "DIGEST_INVALID")
	}
	return uploadFault(err, "MANIFEST_INVALID")
}

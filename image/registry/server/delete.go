// Tags, manifests and blobs are deleted, by those who may.

package server

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"

	digest "github.com/opencontainers/go-digest"

	"tiffin/image"
	"tiffin/image/reference"
)

// deleteManifest takes a tag away, or a manifest with all its tags of this
// repository. OCI distribution-spec v1.1, "Deleting tags" and "Deleting
// Manifests": "the registry MUST respond with a 202 Accepted".
func (s *Server) deleteManifest(x *exchange) error {
	r, err := x.repo.With(x.arg)
	if err != nil {
		return &fault{http.StatusNotFound, "MANIFEST_UNKNOWN", err}
	}
	err = deleteManifest(s.Store, r, s.mayWrite(x, reference.Reference{}))
	switch {
	case errors.Is(err, errForeign):
		return &fault{http.StatusForbidden, "DENIED", err}
	case errors.Is(err, image.ErrNotFound):
		return refuse(http.StatusNotFound, "MANIFEST_UNKNOWN", "there is no "+r.Familiar())
	case errors.Is(err, errNeeded):
		return &fault{http.StatusMethodNotAllowed, "UNSUPPORTED", err}
	case err != nil:
		return err
	}
	x.WriteHeader(http.StatusAccepted)
	return nil
}

// deleteBlob deletes a blob that no manifest has named yet. OCI
// distribution-spec v1.1, "Deleting Blobs".
func (s *Server) deleteBlob(x *exchange) error {
	if !s.mayWrite(x, reference.Reference{}) { // whose manifest it waits for nobody knows
		return refuse(http.StatusForbidden, "DENIED", x.log.User+" may not delete blobs by themselves")
	}
	err := deleteBlob(s.Store, digest.Digest(x.arg))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return refuse(http.StatusNotFound, "BLOB_UNKNOWN", "there is no blob "+x.arg)
	case errors.Is(err, errNeeded):
		return &fault{http.StatusMethodNotAllowed, "UNSUPPORTED", fmt.Errorf("%w: delete the manifest", err)}
	case err != nil:
		return err
	}
	x.WriteHeader(http.StatusAccepted)
	return nil
}

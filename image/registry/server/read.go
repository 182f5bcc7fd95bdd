// Requests that change nothing: manifests, blobs, tags, referrers.

package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"slices"
	"time"

	digest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image"
)

// base says that this is a registry. OCI distribution-spec v1.1, "Determining Support".
func (s *Server) base(x *exchange) error { return x.json(struct{}{}) }

// json is an answer in JSON.
func (x *exchange) json(v any) error { return x.jsonAs("application/json", v) }

// jsonAs is one of another media type.
func (x *exchange) jsonAs(mediaType string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return x.content(mediaType, bytes.NewReader(b))
}

// content is an answer that can be asked for in parts: RFC 9110, 14.
func (x *exchange) content(mediaType string, c io.ReadSeeker) error {
	x.Header().Set("Content-Type", mediaType)
	http.ServeContent(x, x.r, "", time.Time{}, c)
	return nil
}

// getManifest answers with the bytes that were pushed or pulled. OCI
// distribution-spec v1.1, "Pulling manifests". What types a client accepts is
// not looked at: there is one, and it must have that digest.
func (s *Server) getManifest(x *exchange) error {
	r, err := x.repo.With(x.arg)
	if err != nil {
		return &fault{http.StatusNotFound, "MANIFEST_UNKNOWN", err}
	}
	d, b, err := hostedManifest(s.Store, r)
	if errors.Is(err, image.ErrNotFound) {
		return refuse(http.StatusNotFound, "MANIFEST_UNKNOWN", "there is no "+r.Familiar())
	} else if err != nil {
		return err
	}
	x.digest(d.Digest)
	return x.content(d.MediaType, bytes.NewReader(b))
}

// digest sets the headers that a thing with a digest has. RFC 9110, 8.8.3: an
// entity tag with quotes is a strong one, which Range requests rely on.
func (x *exchange) digest(d digest.Digest) {
	x.Header().Set("Docker-Content-Digest", d.String())
	x.Header().Set("ETag", `"`+d.String()+`"`)
}

// getBlob answers with a blob or a part of it. OCI distribution-spec v1.1,
// "Pulling blobs": "A registry SHOULD support the Range request header".
func (s *Server) getBlob(x *exchange) error {
	f, err := openBlob(s.Store, digest.Digest(x.arg))
	if errors.Is(err, fs.ErrNotExist) {
		return refuse(http.StatusNotFound, "BLOB_UNKNOWN", "there is no blob "+x.arg)
	} else if err != nil {
		return err
	}
	defer f.Close()
	x.digest(digest.Digest(x.arg))
	return x.content("application/octet-stream", f)
}

// tags lists a repository. OCI distribution-spec v1.1, "Listing Tags".
func (s *Server) tags(x *exchange) error {
	all, err := tags(s.Store, x.repo)
	if errors.Is(err, image.ErrNotFound) {
		return refuse(http.StatusNotFound, "NAME_UNKNOWN", "there is no repository "+x.name)
	} else if err != nil {
		return err
	}
	part, err := x.page(all)
	if err != nil {
		return err
	}
	return x.json(struct {
		Name string   `json:"name"`
		Tags []string `json:"tags"`
	}{x.name, part})
}

// catalog lists the repositories.
// https://distribution.github.io/distribution/spec/api/#listing-repositories
func (s *Server) catalog(x *exchange) error {
	all, err := catalog(s.Store)
	if err != nil {
		return err
	}
	part, err := x.page(all)
	if err != nil {
		return err
	}
	return x.json(struct {
		Repositories []string `json:"repositories"`
	}{part})
}

// referrers lists the manifests of a repository that are about another. OCI distribution-spec
// v1.1, "Listing Referrers": "MUST NOT return a 404 Not Found".
func (s *Server) referrers(x *exchange) error {
	d := digest.Digest(x.arg)
	if d.Validate() != nil || d.Algorithm() != digest.SHA256 {
		return refuse(http.StatusBadRequest, "DIGEST_INVALID", fmt.Sprintf("%q is no sha256 digest", d))
	}
	all, err := Referrers(s.Store, x.repo, d)
	if err != nil {
		return err
	}
	if kind := x.r.URL.Query().Get("artifactType"); kind != "" {
		all = slices.DeleteFunc(all, func(d ocispec.Descriptor) bool { return d.ArtifactType != kind })
		x.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	return x.jsonAs(ocispec.MediaTypeImageIndex,
		ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: all})
}

// page is the part of a list that is asked for; a link leads to the next.
func (x *exchange) page(all []string) ([]string, error) {
	q := x.r.URL.Query()
	part, more, ok := page(all, q.Get("n"), q.Get("last"))
	if !ok {
		return nil, refuse(http.StatusBadRequest, "PAGINATION_NUMBER_INVALID", "n is not a number of entries")
	}
	if more {
		next := url.URL{Path: x.r.URL.Path, RawQuery: url.Values{"n": {q.Get("n")}, "last": {part[len(part)-1]}}.Encode()}
		x.Header().Set("Link", "<"+next.String()+`>; rel="next"`) // RFC 8288, 3
	}
	return part, nil
}

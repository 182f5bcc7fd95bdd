// A path is taken apart into what it is about, and never put together again.

package server

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"tiffin/image/reference"
)

// kind is what a path is about. OCI distribution-spec v1.1, "Endpoints".
type kind int

const (
	kindNone      kind = iota
	kindBase           // /v2/                             end-1
	kindCatalog        // /v2/_catalog                     not in the spec, but everywhere
	kindTags           // /v2/NAME/tags/list               end-8
	kindManifest       // /v2/NAME/manifests/REFERENCE     end-3, end-7, end-9
	kindBlob           // /v2/NAME/blobs/DIGEST            end-2, end-10
	kindUploads        // /v2/NAME/blobs/uploads/          end-4, end-11
	kindUpload         // /v2/NAME/blobs/uploads/ID-N       end-5, end-6, end-13
	kindReferrers      // /v2/NAME/referrers/DIGEST        end-12
)

// route is a path taken apart. It is never joined to another path again: a
// name is looked up in the store's index, a digest has been checked by its grammar.
type route struct {
	kind kind
	repo reference.Reference // without tag and digest
	name string              // of the repository, as it was asked for
	arg  string              // reference, digest, or ID of an upload and the number of its next byte
}

// parsePath takes a path apart, from its end: a repository's name may have a
// component such as "blobs" as well. An error says that the name is not valid.
func parsePath(path string) (route, error) {
	rest, ok := strings.CutPrefix(path, "/v2/")
	switch {
	case path == "/v2" || ok && rest == "":
		return route{kind: kindBase}, nil
	case !ok:
		return route{}, nil
	case rest == "_catalog":
		return route{kind: kindCatalog}, nil
	}
	r := route{}
	if name, ok := strings.CutSuffix(rest, "/tags/list"); ok {
		r.kind, r.name = kindTags, name
	} else if name, ok := strings.CutSuffix(strings.TrimSuffix(rest, "/"), "/blobs/uploads"); ok {
		r.kind, r.name = kindUploads, name
	} else {
		i := strings.LastIndexByte(rest, '/')
		if i < 0 {
			return r, nil
		}
		rest, r.arg = rest[:i], rest[i+1:]
		for _, end := range []struct {
			with string
			kind kind
		}{{"/blobs/uploads", kindUpload}, {"/manifests", kindManifest}, {"/blobs", kindBlob}, {"/referrers", kindReferrers}} {
			if name, ok := strings.CutSuffix(rest, end.with); ok {
				r.kind, r.name = end.kind, name
				break
			}
		}
		if r.kind == kindNone || r.arg == "" {
			return route{}, nil
		}
	}
	var err error
	r.repo, err = reference.ParseRepository(r.name)
	return r, err
}

// parseContentRange reads the Content-Range of a chunk: first and last byte. OCI
// distribution-spec v1.1, "Pushing a blob in chunks": it "MUST match
// ^[0-9]+-[0-9]+$", which is not the form of RFC 9110.
func parseContentRange(s string) (first, last int64, ok bool) {
	a, b, ok := strings.Cut(s, "-")
	if !ok || !digits(a) || !digits(b) {
		return 0, 0, false
	}
	first, err1 := strconv.ParseInt(a, 10, 64)
	last, err2 := strconv.ParseInt(b, 10, 64)
	return first, last, err1 == nil && err2 == nil && first <= last && last < math.MaxInt64
}

func digits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// page is the part of a sorted list that n and last ask for, and whether more
// follows. OCI distribution-spec v1.1, "Listing Tags".
func page(all []string, n, last string) (part []string, more, ok bool) {
	if last != "" {
		i, found := slices.BinarySearch(all, last)
		if found {
			i++
		}
		all = all[i:]
	}
	if n == "" {
		return all, false, true
	}
	count, err := strconv.Atoi(n)
	if err != nil || !digits(n) {
		return nil, false, false
	}
	if count < len(all) {
		// With n=0 there "MUST NOT" be a link to more.
		return all[:count], count > 0, true
	}
	return all, false, true
}

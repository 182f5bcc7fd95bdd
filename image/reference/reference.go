// Package reference reads and writes the names of images, in the grammar of
// github.com/distribution/reference, v0.6:
//
//	reference      := name [ ":" tag ] [ "@" digest ]
//	name           := [domain "/"] path-component ["/" path-component]*
//	domain         := host [":" port]
//	host           := domain-component ["." domain-component]* | "[" IPv6 "]"
//	path-component := alphanumeric [separator alphanumeric]*, alphanumeric := [a-z0-9]+
//	separator      := "." | "_" | "__" | "-"+
//	tag            := [A-Za-z0-9_][A-Za-z0-9_.-]{0,127}
//	digest         := "sha256:" 64 × [0-9a-f]
//
// The parser is our own since that package compiles ten regular expressions
// when a program that imports it starts: 0.8 ms of each `tiffin run`. A test and
// a fuzz target hold the two against each other.
package reference

import (
	"fmt"
	"strings"

	digest "github.com/opencontainers/go-digest"

	"tiffin/internal/errs"
)

// Reference is the name of an image.
type Reference struct {
	Domain string        // "docker.io" by default
	Path   string        // "library/debian"
	Tag    string        // "latest" by default, unless there is a digest
	Digest digest.Digest // of the manifest, or ""
}

const (
	defaultDomain = "docker.io"
	officialPath  = "library/"
	defaultTag    = "latest"
	maxPath       = 255 // bytes
	maxTag        = 128 // bytes
)

// Parse reads a reference as a person types it: without a domain it is
// docker.io's, without a tag and digest it is "latest".
func Parse(s string) (Reference, error) {
	r, err := parse(s)
	if err != nil {
		err = fmt.Errorf("%q is not an image name: %w", s, err)
		return Reference{}, errs.Hint(err, "names look like debian, debian:12 or registry.example.org/team/app:v1")
	}
	return r, nil
}

func parse(s string) (r Reference, err error) {
	if len(s) == 64 && IsHex(s) {
		return r, fmt.Errorf("64 hexadecimal digits are an image ID")
	}
	var rest string
	r.Domain, rest = splitDomain(s)
	if !validDomain(r.Domain) {
		return r, fmt.Errorf("%q is no host name", r.Domain)
	}
	rest, dig, hasDigest := strings.Cut(rest, "@")
	if hasDigest {
		r.Digest = digest.Digest(dig)
		if !ValidDigest(r.Digest) {
			return r, fmt.Errorf("%q is no sha256 digest", dig)
		}
	}
	path, tag, hasTag := strings.Cut(rest, ":")
	if hasTag && !validTag(tag) {
		return r, fmt.Errorf("%q is no tag", tag)
	}
	if strings.ToLower(path) != path {
		return r, fmt.Errorf("the name must be lower case")
	}
	if len(path) > maxPath {
		return r, fmt.Errorf("the name is longer than %d bytes", maxPath)
	}
	for c := range strings.SplitSeq(path, "/") {
		if !validComponent(c) {
			return r, fmt.Errorf("%q is no part of a name", c)
		}
	}
	r.Path, r.Tag = path, tag
	if r.Tag == "" && r.Digest == "" {
		r.Tag = defaultTag
	}
	return r, nil
}

// splitDomain is splitDockerDomain of distribution/reference v0.6.0.
func splitDomain(s string) (domain, rest string) {
	first, others, ok := strings.Cut(s, "/")
	switch {
	case !ok:
		return defaultDomain, officialPath + s
	case first == "index.docker.io":
		domain, rest = defaultDomain, others
	case first == "localhost", strings.ContainsAny(first, ".:"), strings.ToLower(first) != first:
		domain, rest = first, others
	default:
		domain, rest = defaultDomain, s
	}
	if domain == defaultDomain && !strings.Contains(rest, "/") {
		rest = officialPath + rest
	}
	return domain, rest
}

func validDomain(s string) bool {
	host, port := s, ""
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 2 || strings.Trim(s[1:end], "0123456789abcdefABCDEF:") != "" {
			return false
		}
		if s[end+1:] == "" {
			return true
		}
		host, port = "", s[end+1:]
	} else if i := strings.IndexByte(s, ':'); i >= 0 {
		host, port = s[:i], s[i:]
	} else {
		return validHost(s)
	}
	// The colon has to be followed by at least one digit.
	return (host == "" && s[0] == '[' || validHost(host)) &&
		len(port) > 1 && port[0] == ':' && strings.Trim(port[1:], "0123456789") == ""
}

func validHost(s string) bool {
	for c := range strings.SplitSeq(s, ".") {
		if c == "" || c[0] == '-' || c[len(c)-1] == '-' {
			return false
		}
		for _, b := range []byte(c) {
			if !isAlnum(b) && b != '-' {
				return false
			}
		}
	}
	return true
}

func isAlnum(b byte) bool {
	return b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z'
}

func validTag(s string) bool {
	if s == "" || len(s) > maxTag || s[0] == '.' || s[0] == '-' {
		return false
	}
	for _, b := range []byte(s) {
		if !isAlnum(b) && b != '_' && b != '.' && b != '-' {
			return false
		}
	}
	return true
}

// validComponent: runs of alphanumerics with separators between them.
func validComponent(s string) bool {
	if s == "" || !isAlnum(s[0]) || !isAlnum(s[len(s)-1]) {
		return false
	}
	for i := 0; i < len(s); {
		if isAlnum(s[i]) {
			i++
			continue
		}
		j := i
		for j < len(s) && !isAlnum(s[j]) {
			j++
		}
		if sep := s[i:j]; sep != "." && sep != "_" && sep != "__" && strings.Trim(sep, "-") != "" {
			return false
		}
		i = j
	}
	return true
}

// String is the whole name: docker.io/library/debian:latest.
func (r Reference) String() string { return r.Name() + r.suffix() }

// Name is the whole name without tag and digest.
func (r Reference) Name() string { return r.Domain + "/" + r.Path }

// Familiar is the name as people type it: debian:latest.
func (r Reference) Familiar() string { return r.FamiliarName() + r.suffix() }

// FamiliarName is the familiar form without tag and digest.
func (r Reference) FamiliarName() string {
	if r.Domain != defaultDomain {
		return r.Name()
	}
	if p, ok := strings.CutPrefix(r.Path, officialPath); ok && !strings.Contains(p, "/") {
		return p
	}
	return r.Path
}

func (r Reference) suffix() string {
	s := ""
	if r.Tag != "" {
		s = ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + string(r.Digest)
	}
	return s
}

// ParseRepository reads a repository's name. OCI distribution-spec v1.1,
// "Pulling manifests": [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/…)*
func ParseRepository(name string) (Reference, error) {
	if strings.ContainsAny(name, ":@") || strings.ToLower(name) != name {
		return Reference{}, fmt.Errorf("%q is no name of a repository", name)
	}
	r, err := parse(name)
	if err != nil {
		return Reference{}, fmt.Errorf("%q is no name of a repository: %w", name, err)
	}
	r.Tag = ""
	return r, nil
}

// With is the image of a repository that a tag or digest stands for.
func (r Reference) With(reference string) (Reference, error) {
	r.Tag, r.Digest = "", ""
	switch {
	case ValidDigest(digest.Digest(reference)):
		r.Digest = digest.Digest(reference)
	case validTag(reference):
		r.Tag = reference
	default:
		return r, fmt.Errorf("%q is neither a tag nor a sha256 digest", reference)
	}
	return r, nil
}

// Stored is the name under which an image is kept: with a digest the tag means
// nothing, since it may stand for another image tomorrow.
func (r Reference) Stored() Reference {
	if r.Digest != "" {
		r.Tag = ""
	}
	return r
}

// TagOrDigest is what a registry is asked for: the digest, or else the tag.
func (r Reference) TagOrDigest() string {
	if r.Digest != "" {
		return r.Digest.String()
	}
	return r.Tag
}

// ParseTag is Parse for a name that an image is to get.
func ParseTag(s string) (Reference, error) {
	r, err := Parse(s)
	if err == nil && r.Digest != "" {
		err = fmt.Errorf("%q has a digest: an image can only be given a name and a tag", s)
	}
	return r, err
}

// Short is the form of an ID that people see: 12 digits.
func Short(d digest.Digest) string {
	s := strings.TrimPrefix(string(d), "sha256:")
	return s[:min(len(s), 12)]
}

// ValidDigest reports whether d is a digest that names a file of the store.
// Only SHA-256 is used in practice, and only it is accepted.
func ValidDigest(d digest.Digest) bool {
	return len(d) == 7+64 && d[:7] == "sha256:" && IsHex(string(d[7:]))
}

func IsHex(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

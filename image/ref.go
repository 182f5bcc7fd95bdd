package image

import (
	"fmt"
	"strings"

	digest "github.com/opencontainers/go-digest"

	"tiffin/internal/errs"
)

// Ref is the name of an image, in the grammar of distribution/reference:
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
// when a program that imports it starts: 0.8 ms, three times for each
// `tiffin run`, a quarter of all the time there is. A test and a fuzz target
// hold the two against each other.
type Ref struct {
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

// ParseRef reads a reference as a person types it: without a domain it is
// docker.io's, without a tag and digest it is "latest".
func ParseRef(s string) (Ref, error) {
	r, err := parseRef(s)
	if err != nil {
		err = fmt.Errorf("%q is not an image name: %w", s, err)
		return Ref{}, errs.Hint(err, "names look like debian, debian:12 or registry.example.org/team/app:v1")
	}
	return r, nil
}

func parseRef(s string) (r Ref, err error) {
	if len(s) == 64 && isHex(s) {
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
		if !validDigest(r.Digest) {
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
func (r Ref) String() string { return r.Name() + r.suffix() }

// Name is the whole name without tag and digest.
func (r Ref) Name() string { return r.Domain + "/" + r.Path }

// Familiar is the name as people type it: debian:latest.
func (r Ref) Familiar() string { return r.FamiliarName() + r.suffix() }

// FamiliarName is the familiar form without tag and digest.
func (r Ref) FamiliarName() string {
	if r.Domain != defaultDomain {
		return r.Name()
	}
	if p, ok := strings.CutPrefix(r.Path, officialPath); ok && !strings.Contains(p, "/") {
		return p
	}
	return r.Path
}

func (r Ref) suffix() string {
	s := ""
	if r.Tag != "" {
		s = ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + string(r.Digest)
	}
	return s
}

package registry

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"tiffin/image/reference"
	"tiffin/internal/errs"
)

// Registries is what a person has laid down about registries, in
// $XDG_CONFIG_HOME/tiffin/registries.conf. The file has the names and the
// meaning of containers-registries.conf(5), and as much of TOML as that needs:
//
//	# names without a registry are looked for here instead of on Docker Hub
//	unqualified-search-registries = ["registry.example.org:5000"]
//
//	[[registry]]
//	prefix = "docker.io"                       # names that begin so; without it, location
//	location = "docker.io"                     # where they are; without it, prefix
//	insecure = false                           # true: certificates nobody vouches for, or no TLS
//	blocked = false                            # true: never
//
//	[[registry.mirror]]                        # of the registry above; asked first, in this order
//	location = "mirror.example.org:5000/hub"
//	insecure = true
//
//	[aliases]                                  # names for `tiffin run` and `tiffin pull`
//	lab = "registry.example.org/course/lab"
//
// Of several registries the one with the longest prefix counts. A value is one
// string, true, false, or a list of strings, on one line.
type Registries struct {
	file       string
	search     string // registry of names that have none, or ""
	registries []registryRule
	aliases    map[string]string
}

type registryRule struct {
	line             int
	prefix, location string
	insecure         bool
	blocked          bool
	mirrors          []mirrorRule
}

type mirrorRule struct {
	line     int
	location string
	insecure bool
}

// maxRegistries is the longest file that is read, in bytes.
const maxRegistries = 1 << 20

// LoadRegistries reads the file, which need not be there.
func LoadRegistries() (*Registries, error) {
	file := filepath.Join(configHome(), "tiffin", "registries.conf")
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return &Registries{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what is laid down about registries: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxRegistries))
	if err != nil {
		return nil, fmt.Errorf("read what is laid down about registries: %w", err)
	}
	g, err := parseRegistries(file, string(b))
	if err != nil {
		return nil, errs.Hint(err, "containers-registries.conf(5) describes the file; tiffin reads [[registry]], [[registry.mirror]], [aliases] and unqualified-search-registries of it")
	}
	return g, nil
}

// parseRegistries reads the file's text. Errors begin with FILE:LINE.
func parseRegistries(file, text string) (*Registries, error) {
	g := &Registries{file: file, aliases: map[string]string{}}
	p := parser{g: g}
	n := 0
	for line := range strings.Lines(text) {
		n++
		p.line = n
		if err := p.parseLine(strings.TrimSpace(line)); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, n, err)
		}
	}
	for i := range g.registries {
		if line, err := g.registries[i].check(); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, line, err)
		}
	}
	return g, nil
}

// parser knows in which section of the file it is.
type parser struct {
	g    *Registries
	line int
	set  func(key string, v value) error // a key of the section; nil: at the top
	seen map[string]bool
}

// value is what stands behind a key.
type value struct {
	isBool, isList bool
	b              bool
	s              string
	list           []string
}

func (p *parser) parseLine(s string) error {
	switch {
	case s == "" || s[0] == '#':
		return nil
	case s[0] == '[':
		section, rest, ok := cutSection(s)
		if rest = strings.TrimSpace(rest); !ok || rest != "" && rest[0] != '#' {
			return fmt.Errorf("%q is no section", s)
		}
		p.seen = nil
		return p.enter(section)
	}
	key, rest, err := parseKey(s)
	if err != nil {
		return err
	}
	v, rest, err := parseValue(rest)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	if rest = strings.TrimSpace(rest); rest != "" && rest[0] != '#' {
		return fmt.Errorf("%s: %q is too much on this line", key, rest)
	}
	if p.seen[key] {
		return fmt.Errorf("%s is there twice", key)
	}
	if p.seen == nil {
		p.seen = map[string]bool{}
	}
	p.seen[key] = true
	if p.set == nil {
		return p.g.setTop(key, v)
	}
	return p.set(key, v)
}

// cutSection takes [[X]] or [X] from the beginning of a line.
func cutSection(s string) (section, rest string, ok bool) {
	end := strings.IndexByte(s, ']')
	if end >= 0 && strings.HasPrefix(s, "[[") && strings.HasPrefix(s[end:], "]]") {
		end++
	}
	return s[:end+1], s[end+1:], end >= 0
}

func (p *parser) enter(section string) error {
	g := p.g
	switch section {
	case "[[registry]]":
		g.registries = append(g.registries, registryRule{line: p.line})
		r := &g.registries[len(g.registries)-1]
		p.set = r.set
	case "[[registry.mirror]]":
		if len(g.registries) == 0 {
			return errors.New("a mirror needs a [[registry]] above it")
		}
		r := &g.registries[len(g.registries)-1]
		r.mirrors = append(r.mirrors, mirrorRule{line: p.line})
		p.set = r.mirrors[len(r.mirrors)-1].set
	case "[aliases]":
		p.set = g.setAlias
	default:
		return fmt.Errorf("there is no section %s; there are [[registry]], [[registry.mirror]] and [aliases]", section)
	}
	return nil
}

func (g *Registries) setTop(key string, v value) error {
	if key != "unqualified-search-registries" {
		return fmt.Errorf("there is no key %q here; there is unqualified-search-registries", key)
	}
	// With several, whoever may put images into the first decides what a name means.
	if !v.isList || len(v.list) != 1 {
		return fmt.Errorf("%s is a list of one registry, such as [\"docker.io\"]", key)
	}
	g.search = v.list[0]
	return checkLocation(g.search)
}

func (r *registryRule) set(key string, v value) error {
	switch key {
	case "prefix":
		return v.location(&r.prefix)
	case "location":
		return v.location(&r.location)
	case "insecure":
		return v.bool(&r.insecure)
	case "blocked":
		return v.bool(&r.blocked)
	}
	return fmt.Errorf("there is no key %q in [[registry]]; there are prefix, location, insecure and blocked", key)
}

func (m *mirrorRule) set(key string, v value) error {
	switch key {
	case "location":
		return v.location(&m.location)
	case "insecure":
		return v.bool(&m.insecure)
	}
	return fmt.Errorf("there is no key %q in [[registry.mirror]]; there are location and insecure", key)
}

func (g *Registries) setAlias(key string, v value) error {
	if v.isBool || v.isList {
		return fmt.Errorf("%s is to be a string", key)
	}
	r, err := reference.Parse(v.s)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	if !hasRegistry(v.s) || r.Name() != v.s {
		return fmt.Errorf("%s: %q is to be REGISTRY/NAME, without a tag", key, v.s)
	}
	if k, err := reference.Parse(key); err != nil || hasRegistry(key) || k.FamiliarName() != key {
		return fmt.Errorf("%q is no name that could stand for another: it is to be without registry and tag", key)
	}
	g.aliases[key] = v.s
	return nil
}

func (v value) bool(to *bool) error {
	if !v.isBool {
		return errors.New("this is to be true or false")
	}
	*to = v.b
	return nil
}

func (v value) location(to *string) error {
	if v.isBool || v.isList {
		return errors.New("this is to be a string")
	}
	*to = v.s
	return checkLocation(v.s)
}

// checkLocation wants HOST[:PORT][/PATH].
func checkLocation(s string) error {
	if strings.Contains(s, "://") {
		return fmt.Errorf("%q is to be without %s://", s, s[:strings.Index(s, "://")])
	}
	r, err := reference.Parse(s + "/x")
	if err != nil || r.Name() != s+"/x" && s != "docker.io" {
		return fmt.Errorf("%q is not HOST[:PORT][/PATH]", s)
	}
	return nil
}

// check completes a registry, and returns the line of what is wrong.
func (r *registryRule) check() (line int, err error) {
	if r.prefix == "" {
		r.prefix = r.location
	}
	if r.prefix == "" {
		return r.line, errors.New("this registry has neither prefix nor location")
	}
	if r.location == "" {
		r.location = r.prefix
	}
	for _, m := range r.mirrors {
		if m.location == "" {
			return m.line, errors.New("this mirror has no location")
		}
	}
	return 0, nil
}

// hasRegistry reports whether a name says its registry, as package image reads it.
func hasRegistry(name string) bool {
	first, _, ok := strings.Cut(name, "/")
	return ok && (first == "localhost" || strings.ContainsAny(first, ".:") || strings.ToLower(first) != first)
}

// Expand is the whole name that a person's short one stands for.
func (g *Registries) Expand(name string) string {
	if g == nil || hasRegistry(name) {
		return name
	}
	end := strings.IndexAny(name, ":@")
	if end < 0 {
		end = len(name)
	}
	if to, ok := g.aliases[name[:end]]; ok {
		return to + name[end:]
	}
	if g.search != "" {
		return g.search + "/" + name
	}
	return name
}

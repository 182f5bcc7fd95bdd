// The registries.conf of the user and the machine, in the words of containers-registries.conf(5).

package registry

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"tiffin/image/reference"
	"tiffin/internal/errs"
)

// Registries are the settings about registries, in the words of
// containers-registries.conf(5):
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
//	pull-from-mirror = "all"                   # or digest-only, tag-only
//
//	[aliases]                                  # names for `tiffin run` and `tiffin pull`
//	lab = "registry.example.org/course/lab"
//
// Of several registries the one with the longest prefix counts; *.example.org is all hosts below
// example.org. What is wrong with one registry is an error for its names and a warning for others.
type Registries struct {
	search     []string // registries of names that have none
	registries []registryRule
	aliases    map[string]string
	tell       func(string) // of what is wrong with what was not asked for; may be nil
}

// document is such a file. It has fields for known keys that are not used here, so that they do not
// count as unknown.
type document struct {
	Search     []string          `toml:"unqualified-search-registries"`
	Registries []registryRule    `toml:"registry"`
	Aliases    map[string]string `toml:"aliases"`
	ShortNames any               `toml:"short-name-mode"`
	Helpers    any               `toml:"credential-helpers"`
}

type registryRule struct {
	Prefix, Location  string
	Insecure, Blocked bool
	ByDigest          bool         `toml:"mirror-by-digest-only"`
	Mirrors           []mirrorRule `toml:"mirror"`

	file string
	err  error // why it cannot be followed
}

type mirrorRule struct {
	Location string
	Insecure bool
	From     string `toml:"pull-from-mirror"`
}

// systemDir is where a machine has such files for all its users.
var systemDir = "/etc/containers"

// LoadRegistries reads the files, none of which need exist: first podman's, of the machine and of
// the user, then tiffin's own, $XDG_CONFIG_HOME/tiffin/registries.conf. A later entry replaces an
// earlier one with the same prefix, alias or key. warn is told of mistakes in podman's
// files, and of unknown keys.
func LoadRegistries(warn func(string)) (*Registries, error) {
	g := &Registries{aliases: map[string]string{}}
	for _, file := range podmanFiles() {
		if err := g.read(file); err != nil {
			warn(err.Error() + "; going on without it")
		}
	}
	g.tell = warn // podman knows more keys, and says itself what is wrong with them
	err := g.read(filepath.Join(configHome(), "tiffin", "registries.conf"))
	return g, errs.Hint(err, "containers-registries.conf(5) describes the file")
}

// podmanFiles are those that podman reads, in its order: containers-registries.conf(5), DESCRIPTION
// and FILES.
func podmanFiles() []string {
	user := filepath.Join(configHome(), "containers")
	main := filepath.Join(user, "registries.conf")
	if _, err := os.Stat(main); err != nil {
		main = filepath.Join(systemDir, "registries.conf")
	}
	if named := os.Getenv("CONTAINERS_REGISTRIES_CONF"); named != "" {
		main = named
	}
	files := []string{main}
	for _, dir := range []string{systemDir, user} {
		more, _ := filepath.Glob(filepath.Join(dir, "registries.conf.d", "*.conf")) // sorted
		files = append(files, more...)
	}
	return files
}

func (g *Registries) read(file string) error {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("read what is laid down about registries: %w", err)
	}
	return g.add(file, string(b))
}

// add takes in a file's text. An error says where in the file it is.
func (g *Registries) add(file, text string) error {
	var d document
	meta, err := toml.Decode(text, &d)
	if err != nil {
		line := " "
		if at, ok := errors.AsType[toml.ParseError](err); ok {
			line, err = fmt.Sprintf("%d: ", at.Position.Line), errors.New(at.Message)
		}
		return fmt.Errorf("%s:%s%w", file, line, err)
	}
	for _, key := range meta.Undecoded() {
		g.warn(fmt.Sprintf("%s: %s is not known here", file, key))
	}
	for _, where := range d.Search {
		if err := checkLocation(where); err != nil {
			return fmt.Errorf("%s: unqualified-search-registries: %w", file, err)
		}
	}
	if meta.IsDefined("unqualified-search-registries") {
		g.search = d.Search
	}
	for _, r := range d.Registries {
		r.file = file
		if r.err = r.complete(); r.Prefix == "" {
			g.warn(fmt.Sprintf("%s: %v", file, r.err))
			continue
		}
		g.registries = slices.DeleteFunc(g.registries, func(old registryRule) bool { return old.Prefix == r.Prefix })
		g.registries = append(g.registries, r)
	}
	for short, name := range d.Aliases {
		if err := checkAlias(short, name); err != nil {
			g.warn(fmt.Sprintf("%s: %v", file, err))
			continue
		}
		g.aliases[short] = name
	}
	return nil
}

func (g *Registries) warn(s string) {
	if g.tell != nil {
		g.tell(s)
	}
}

// complete fills in what a registry leaves out, and checks the rest.
func (r *registryRule) complete() error {
	host, wild := strings.CutPrefix(r.Prefix, "*.")
	switch {
	case r.Prefix == "" && r.Location == "":
		return errors.New("a registry has neither prefix nor location")
	case r.Prefix == "":
		r.Prefix = r.Location
	case r.Location == "" && !wild:
		r.Location = r.Prefix
	}
	if !wild {
		host = r.Prefix
	}
	places := []string{host}
	if r.Location != "" {
		places = append(places, r.Location)
	}
	for _, m := range r.Mirrors {
		if m.Location == "" {
			return fmt.Errorf("a mirror of %s has no location", r.Prefix)
		}
		if !slices.Contains([]string{"", "all", "digest-only", "tag-only"}, m.From) {
			return fmt.Errorf("a mirror of %s: pull-from-mirror is all, digest-only or tag-only, and not %q", r.Prefix, m.From)
		}
		places = append(places, m.Location)
	}
	for _, place := range places {
		if err := checkLocation(place); err != nil {
			return err
		}
	}
	return nil
}

// match tells whether a registry is about a name, and what of the name its prefix does not cover.
func (r *registryRule) match(name string) (rest string, ok bool) {
	prefix := r.Prefix
	if suffix, wild := strings.CutPrefix(prefix, "*"); wild {
		host, _, _ := strings.Cut(name, "/")
		end := strings.Index(host, suffix)
		if end <= 0 {
			return "", false
		}
		prefix = host[:end] + suffix
	}
	rest, ok = strings.CutPrefix(name, prefix)
	return rest, ok && (rest == "" || rest[0] == '/')
}

// serves tells whether a mirror is used for a name: containers-registries.conf(5), pull-from-mirror
// and mirror-by-digest-only.
func (m *mirrorRule) serves(name reference.Reference, byDigest bool) bool {
	if name.Digest != "" {
		return m.From != "tag-only"
	}
	return m.From != "digest-only" && !byDigest
}

// checkAlias wants a name without a registry, and one with.
func checkAlias(short, name string) error {
	r, err := reference.Parse(name)
	if err != nil {
		return fmt.Errorf("%s: %w", short, err)
	}
	if !hasRegistry(name) || r.Name() != name {
		return fmt.Errorf("%s: %q is to be REGISTRY/NAME, without a tag", short, name)
	}
	if k, err := reference.Parse(short); err != nil || hasRegistry(short) || k.FamiliarName() != short {
		return fmt.Errorf("%q is no name that could stand for another: it is to be without registry and tag", short)
	}
	return nil
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

// hasRegistry reports whether a name contains its registry, as package reference reads it.
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
	switch len(g.search) {
	case 0:
	case 1:
		return g.search[0] + "/" + name
	default:
		// With several, whoever may put images into the first decides what a name means.
		g.warn("a name without a registry is Docker Hub's, since unqualified-search-registries has more than one")
	}
	return name
}

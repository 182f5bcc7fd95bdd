// Names of git repositories: what ADD and `tiffin build` take for one.

package dockerfile

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Git is a git repository, and what is wanted of it.
type Git struct {
	Remote string // as git has it
	Scheme string // http, https, git or ssh
	Ref    string // branch, tag or commit; "" = what the repository has as HEAD
	Dir    string // in it; "" = all
}

// scp is user@host:path, git-clone(1), "GIT URLS".
var scp = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9_.-]+@[A-Za-z0-9.-]+:[^:]`) })

// ParseGit reads the name of a repository, which is no other source. The Dockerfile reference,
// "Adding files from a Git repository": by http it ends with .git; behind # are a reference and,
// behind a colon, a directory.
func ParseGit(name string) (*Git, bool) {
	remote, fragment, _ := strings.Cut(name, "#")
	g := &Git{Remote: remote}
	g.Ref, g.Dir, _ = strings.Cut(fragment, ":")
	if scp().MatchString(remote) {
		g.Scheme = "ssh"
		return g, true
	}
	u, err := url.Parse(remote)
	if err != nil || !slices.Contains([]string{"http", "https", "git", "ssh"}, u.Scheme) {
		return nil, false
	}
	g.Scheme = u.Scheme
	return g, !strings.HasPrefix(u.Scheme, "http") || strings.HasSuffix(u.Path, ".git")
}

// String is the name without a password.
func (g *Git) String() string {
	if u, err := url.Parse(g.Remote); err == nil {
		return u.Redacted()
	}
	return g.Remote
}

// Hide takes the password out of a text.
func (g *Git) Hide(text string) string {
	if u, err := url.Parse(g.Remote); err == nil {
		if p, ok := u.User.Password(); ok && p != "" {
			return strings.ReplaceAll(text, p, "xxxxx")
		}
	}
	return text
}

// What is fetched: files that ADD names by a URL, git repositories, and contexts that are either.

package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"tiffin/image"
	"tiffin/internal/dockerfile"
	"tiffin/internal/errs"
)

// FetchContext fetches a tarball by http or https, or a git repository. A tarball with a checksum
// must have that.
func FetchContext(ctx context.Context, s *image.Store, from string, checksum digest.Digest) (*Context, error) {
	if g, ok := dockerfile.ParseGit(from); ok {
		if checksum != "" {
			return nil, errors.New("--checksum is for a tarball; a git repository has #COMMIT")
		}
		return openGit(ctx, s, g)
	}
	r, err := get(ctx, from, checksum, nil)
	if err != nil {
		return nil, errs.Hint(fmt.Errorf("fetch the context %w", err), errs.HintOf(err))
	}
	defer r.Close()
	c, err := OpenArchive(s, r.name, r)
	if err != nil {
		return nil, err
	}
	if err := r.verify(); err != nil {
		c.Close()
		return nil, fmt.Errorf("fetch the context %w", err)
	}
	return c, nil
}

// Fetch opens a file by http or https. The caller closes it.
func Fetch(ctx context.Context, from string) (io.ReadCloser, error) {
	r, err := get(ctx, from, "", nil)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// response is what a server sends.
type response struct {
	io.ReadCloser
	body     io.Reader
	name     string // without a password
	head     http.Header
	mtime    time.Time
	digester digest.Digester
	checksum digest.Digest
}

func (r *response) Read(p []byte) (int, error) { return r.body.Read(p) }

var errUnchanged = errors.New("it has not changed")

// get asks a server by http or https, through the proxies of the environment. What it sends may be
// as long as TIFFIN_INFLATE_LIMIT. The error is errUnchanged if it is what was, which may be nil.
func get(ctx context.Context, from string, checksum digest.Digest, was *download) (*response, error) {
	u, err := url.Parse(from)
	if err != nil {
		return nil, err
	}
	name := u.Redacted()
	if u.Scheme != "http" && u.Scheme != "https" {
		return nil, errs.Hint(fmt.Errorf("%s: only http and https are known", name), "fetch it, and name the file")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	if was != nil { // RFC 9110, "Conditional Requests"
		for field, value := range map[string]string{"If-None-Match": was.ETag, "If-Modified-Since": was.Modified} {
			if value != "" {
				req.Header.Set(field, value)
			}
		}
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		var wrapped *url.Error // it has the URL, perhaps with a password
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return nil, errs.Hint(fmt.Errorf("%s: %w", name, err), "without a network, get the file elsewhere, and name that")
	}
	r := &response{ReadCloser: answer.Body, name: name, digester: digest.Canonical.Digester(), checksum: checksum, head: answer.Header}
	if was != nil && answer.StatusCode == http.StatusNotModified {
		r.Close()
		return nil, errUnchanged
	}
	if answer.StatusCode != http.StatusOK {
		r.Close()
		return nil, fmt.Errorf("%s: the server says %s", name, answer.Status)
	}
	if r.mtime, err = http.ParseTime(answer.Header.Get("Last-Modified")); err != nil {
		r.mtime = image.SourceDate()
	}
	in, err := Bounded(answer.Body)
	r.body = io.TeeReader(in, r.digester.Hash())
	if err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// verify reads to the end, and compares the checksum.
func (r *response) verify() error {
	if _, err := io.Copy(io.Discard, r.body); err != nil {
		return fmt.Errorf("%s: %w", r.name, err)
	}
	if got := r.digester.Digest(); r.checksum != "" && got != r.checksum {
		return fmt.Errorf("%s: its checksum is %s, not %s", r.name, got, r.checksum)
	}
	return nil
}

// fetched is a source of ADD that is not in the context: one file, or the tree of a repository.
type fetched struct {
	tree
	name string // the file's; "" = a directory
}

// fetch fetches what an ADD names. done is to be called in any case.
func (b *builder) fetch(ctx context.Context, c *dockerfile.Copy) (all map[string]*fetched, done func(), err error) {
	all = map[string]*fetched{}
	var ends []func()
	done = func() {
		for _, end := range ends {
			end()
		}
	}
	if c.From != "" {
		return all, done, nil
	}
	for _, source := range c.Sources {
		g, isGit := dockerfile.ParseGit(source)
		switch {
		case isGit && g.Scheme == "ssh":
			return nil, done, errs.Hint(fmt.Errorf("ADD %s: a Dockerfile does not get your ssh keys", source), "clone the repository into the context")
		case isGit:
			t, err := cloneTree(ctx, b.Store, g, c)
			if err != nil {
				return nil, done, err
			}
			ends = append(ends, t.end)
			all[source] = &fetched{tree: t}
		case strings.HasPrefix(source, "http://") || strings.HasPrefix(source, "https://"):
			t, err := fetchFile(ctx, b.Store, source, digest.Digest(c.Checksum))
			if err != nil {
				return nil, done, errs.Hint(fmt.Errorf("ADD %w", err), errs.HintOf(err))
			}
			ends = append(ends, func() { t.data.Close() })
			u, err := url.Parse(source)
			if err != nil {
				return nil, done, err
			}
			all[source] = &fetched{tree: t, name: path.Base("/" + u.Path)}
		}
	}
	return all, done, nil
}

// copyFetched copies what was fetched. The Dockerfile reference, "Adding files from a URL".
func (d *delta) copyFetched(f *fetched, c *dockerfile.Copy, dest string, asDir bool) error {
	if f.name == "" {
		return d.copyAll(f, dest)
	}
	root, err := f.stat("")
	if err != nil {
		return err
	}
	to := dest
	if asDir {
		if f.name == "/" {
			return fmt.Errorf("the URL has no file name for %s: name the file", c.Dest)
		}
		to = path.Join(dest, f.name)
	}
	return d.copyFile(d.from(f.tree), "", root, dest, to, c.Unpack != nil && *c.Unpack)
}

// repository is the tree of a git repository that was cloned.
type repository struct {
	*directory
	keepGit bool
	end     func()
}

// stat gives files and directories the modes that they have in git: "Adding files from a Git
// repository".
func (r *repository) stat(name string) (*file, error) {
	f, err := r.directory.stat(name)
	if err == nil && !f.is(unix.S_IFLNK) {
		perm := uint32(0o644)
		if f.isDir() || f.mode&0o100 != 0 {
			perm = 0o755
		}
		f.mode = f.mode&unix.S_IFMT | perm
	}
	return f, err
}

func (r *repository) list(name string) ([]string, error) {
	names, err := r.directory.list(name)
	if name == "" && !r.keepGit {
		names = slices.DeleteFunc(names, func(n string) bool { return n == ".git" })
	}
	return names, err
}

// cloneTree is the part of a repository that an ADD names.
func cloneTree(ctx context.Context, s *image.Store, g *dockerfile.Git, c *dockerfile.Copy) (*repository, error) {
	dir, end, err := clone(ctx, s, g, c.Checksum)
	if err != nil {
		return nil, err
	}
	d, err := openDirectory(s, dir)
	if err != nil {
		end()
		return nil, err
	}
	return &repository{directory: d, keepGit: c.KeepGit, end: func() { d.close(); end() }}, nil
}

// openGit is a repository as a context.
func openGit(ctx context.Context, s *image.Store, g *dockerfile.Git) (*Context, error) {
	dir, end, err := clone(ctx, s, g, "")
	if err != nil {
		return nil, err
	}
	d, err := openDirectory(s, dir)
	if err != nil {
		end()
		return nil, err
	}
	c := newContext(g.String(), &repository{directory: d})
	c.dir, c.end = d, end
	return c, nil
}

// clone makes a working tree of a repository, by the git program and with the user's settings of
// it. end removes it. commit, if it is not "", is how the commit's name begins.
func clone(ctx context.Context, s *image.Store, g *dockerfile.Git, commit string) (dir string, end func(), err error) {
	program, err := exec.LookPath("git")
	if err != nil {
		return "", nil, errs.Hint(fmt.Errorf("fetch %s: it takes the program git, which is not installed", g), "fetch it elsewhere, and name the directory")
	}
	st, err := s.Stage()
	if err != nil {
		return "", nil, err
	}
	top := filepath.Join(st.Dir, "git")
	git := func(args ...string) (string, error) {
		cmd := exec.CommandContext(ctx, program, append([]string{"-C", st.Dir, "-c", "core.hooksPath=/dev/null", "-c", "init.defaultBranch=main"}, args...)...)
		// git(1), "Environment Variables": nothing is asked, and no other transport is used.
		cmd.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0", "GIT_ALLOW_PROTOCOL=http:https:git:ssh", "GIT_LFS_SKIP_SMUDGE=1")
		var said strings.Builder
		cmd.Stderr = &said
		out, err := cmd.Output()
		if err != nil {
			lines := strings.Split(strings.TrimSpace(said.String()), "\n")
			err = fmt.Errorf("git: %s", g.Hide(strings.TrimPrefix(lines[len(lines)-1], "fatal: ")))
		}
		return strings.TrimSpace(string(out)), err
	}
	ref := g.Ref
	if ref == "" {
		ref = "HEAD"
	}
	if strings.HasPrefix(ref, "-") || strings.HasPrefix(g.Remote, "-") {
		err = errors.New("its name begins with a dash")
	}
	got := ""
	for _, args := range [][]string{
		{"init", "--quiet", top}, {"-C", top, "fetch", "--quiet", "--depth", "1", "--no-tags", "--", g.Remote, ref},
		{"-C", top, "checkout", "--quiet", "--detach", "FETCH_HEAD"}, {"-C", top, "rev-parse", "HEAD"},
	} {
		if err == nil {
			got, err = git(args...)
		}
	}
	if err == nil && !strings.HasPrefix(got, commit) {
		err = fmt.Errorf("the commit is %s, not %s", got, commit)
	}
	dir = top
	if err == nil && g.Dir != "" {
		dir, err = below(top, g.Dir)
	}
	if err != nil {
		st.Close()
		return "", nil, errs.Hint(fmt.Errorf("fetch %s: %w", g, err), "without a network, clone it elsewhere, and name the directory")
	}
	return dir, st.Close, nil
}

// below is a directory in a working tree, through no link out of it.
func below(top, dir string) (string, error) {
	root, err := os.OpenRoot(top)
	if err != nil {
		return "", err
	}
	defer root.Close()
	in := inside(dir)
	for p := in; p != ""; p = parent(p) {
		if st, err := root.Lstat(p); err != nil || !st.IsDir() {
			return "", fmt.Errorf("%s is no directory in it", shown(in))
		}
	}
	return filepath.Join(top, in), nil
}

// The context of tiffin build, and its Dockerfile: which argument means what.

package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	digest "github.com/opencontainers/go-digest"
	"github.com/urfave/cli/v2"

	"tiffin/internal/build"
	"tiffin/internal/dockerfile"
	"tiffin/internal/errs"
)

// openBuild opens the context, and reads the Dockerfile.
func openBuild(c *cli.Context, o *build.Options) (err error) {
	name, file := c.Args().First(), c.String("file")
	if file == "-" || name == "-" && file == "" {
		o.File = "<stdin>"
	}
	if o.Context, err = openContext(c, o, name); err != nil {
		return err
	}
	if o.Context == nil || o.File != "" {
		if o.Text == nil {
			o.Text, err = readText(os.Stdin)
		}
	} else {
		o.Text, err = readDockerfile(o, name, file)
	}
	if err != nil {
		err = errs.Hint(fmt.Errorf("read the Dockerfile: %w", err), "-f FILE names another")
	} else if o.Context != nil {
		err = ignore(o, file)
	}
	if err != nil && o.Context != nil {
		o.Context.Close()
	}
	return err
}

// openContext opens what name means; nil if that is none. File "" means that the Dockerfile is
// looked for in it.
func openContext(c *cli.Context, o *build.Options, name string) (*build.Context, error) {
	sum := digest.Digest(c.String("checksum"))
	if err := sum.Validate(); sum != "" && (err != nil || sum.Algorithm() != digest.Canonical || !strings.Contains(name, "://")) {
		return nil, usagef("--checksum is sha256:DIGEST, of a URL")
	}
	_, git := dockerfile.ParseGit(name)
	switch {
	case git, strings.Contains(name, "://"):
		ctx, end := interruptible(c)
		defer end()
		return build.FetchContext(ctx, o.Store, name, sum)
	case name == "-" && c.String("file") == "-":
		return nil, nil
	case name == "-":
		in := bufio.NewReader(os.Stdin)
		if start, _ := in.Peek(build.StartLen); build.IsArchive(start) {
			o.File = ""
			return build.OpenArchive(o.Store, "from standard input", in)
		}
		if c.String("file") != "" {
			return nil, errs.Hint(errors.New("the standard input is no tarball"), "-f FILE is looked for in a tarball; without -f the Dockerfile is read from standard input")
		}
		text, err := readText(in)
		o.Text = append([]byte{}, text...)
		return nil, err
	}
	if st, err := os.Stat(name); err != nil || !st.Mode().IsRegular() {
		return build.OpenContext(o.Store, name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open the context: %w", err)
	}
	defer f.Close()
	return build.OpenArchive(o.Store, name, f)
}

// readDockerfile reads the Dockerfile of a context. -f names one anywhere, unless the context is an
// archive or was fetched.
func readDockerfile(o *build.Options, name, file string) ([]byte, error) {
	if file != "" {
		o.File = file
		return readFile(openBeside(o, file))
	}
	for _, usual := range []string{"Dockerfile", "Containerfile"} {
		o.File = usual
		if st, err := os.Stat(name); err == nil && st.IsDir() {
			o.File = filepath.Join(name, usual)
		}
		text, err := readFile(o.Context.File(usual))
		if !errors.Is(err, os.ErrNotExist) {
			return text, err
		}
	}
	o.File = ""
	return nil, errors.New("the context has no Dockerfile")
}

// openBeside opens a file that -f names, or one beside it.
func openBeside(o *build.Options, file string) (io.ReadCloser, error) {
	if o.Context.IsElsewhere() {
		return o.Context.File(file)
	}
	return os.Open(file)
}

// ignore reads what the Dockerfile alone ignores, FILE.dockerignore, or else .dockerignore.
func ignore(o *build.Options, file string) error {
	var f io.ReadCloser
	err := os.ErrNotExist
	if file != "" && file != "-" {
		f, err = openBeside(o, file+".dockerignore")
	}
	if err != nil {
		f, err = o.Context.File(".dockerignore")
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read .dockerignore: %w", err)
	}
	defer f.Close()
	return o.Context.Ignore(io.LimitReader(f, dockerfile.MaxText))
}

// The command tiffin cp: files go into a container or out of one, running or not, by the rules of
// docker-cp(1).

package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/docker/go-units"
	"github.com/urfave/cli/v2"

	"tiffin/image/ingest"
	"tiffin/internal/container/client"
	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
	"tiffin/internal/treecopy"
)

func cpCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] CONTAINER:SRC DST|-\n       tiffin cp [FLAGS] SRC|- CONTAINER:DST",
		Description: "Into a directory that exists, or under the name that DST says; a SRC that ends in /. means what is in it.\n" +
			"Instead of a path here, - is a tarball on standard output or input. The container need not run; what is mounted\n" +
			"in it is only there while it does. Write ./a:b for a file here whose name has a colon.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "archive", Aliases: []string{"a"}, Usage: "keep user and group ids, instead of yours, or root's in the container"},
			&cli.BoolFlag{Name: "follow-link", Aliases: []string{"L"}, Usage: "copy what a symbolic link SRC leads to"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "do not say how much was copied"},
		},
		Action: takes(2, 2, "a source and a destination", func(c *cli.Context) error {
			src, err := newCpEnd(c, c.Args().Get(0))
			if err != nil {
				return err
			}
			defer src.close()
			dst, err := newCpEnd(c, c.Args().Get(1))
			if err != nil {
				return err
			}
			defer dst.close()
			if (src.name == "") == (dst.name == "") {
				return errs.Hint(fmt.Errorf("one of source and destination must be CONTAINER:PATH, the other a path here"),
					"from one container to another: tiffin cp one:PATH - | tiffin cp - two:PATH")
			}
			progress, stop := newProgress(c.Bool("quiet"))
			src.cpTree = shown{src.cpTree, progress}
			n, err := cp(src, dst, c.Bool("follow-link"), c.Bool("archive"))
			stop()
			if err == nil && !c.Bool("quiet") && isTerminal(os.Stderr) && dst.path != "-" {
				fmt.Fprintf(stderr, "Copied %s to %s\n", units.HumanSize(float64(n)), c.Args().Get(1))
			}
			return err
		}),
	}
}

// cpTree is a tree at either end.
type cpTree interface {
	Stat(path string, follow bool) (treecopy.Info, error)
	Pack(w io.Writer, path, as string, follow bool) error
	Unpack(r io.Reader, dir, top string, owners bool) (int64, error)
}

// shown is a tree that shows how much of it has been packed; the total is not known before.
type shown struct {
	cpTree
	to ingest.Progress
}

func (s shown) Pack(w io.Writer, path, as string, follow bool) error {
	if s.to == nil {
		return s.cpTree.Pack(w, path, as, follow)
	}
	add, done := s.to.Start(filepath.Base(path), 0)
	defer done()
	return s.cpTree.Pack(writerFunc(func(p []byte) (int, error) {
		n, err := w.Write(p)
		add(int64(n))
		return n, err
	}), path, as, follow)
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// cpEnd is a source or a destination.
type cpEnd struct {
	cpTree
	name  string // of the container, "" for this machine
	path  string
	close func()
}

// newCpEnd reads CONTAINER:PATH, or a path here: docker-cp(1).
func newCpEnd(c *cli.Context, arg string) (*cpEnd, error) {
	name, path, remote := strings.Cut(arg, ":")
	if arg == "" || !remote || name == "" || filepath.IsAbs(arg) || strings.HasPrefix(arg, ".") {
		if arg == "" {
			return nil, usagef("an empty path")
		}
		return &cpEnd{treecopy.Host(), "", arg, func() {}}, nil
	}
	if !strings.HasPrefix(path, "/") { // docker's rule: the working directory of the command does not count
		path = "/" + path
	}
	end, err := inContainer(name, path)
	if errors.Is(err, disk.ErrNotFound) {
		err = errs.Hint(err, fmt.Sprintf("for a file here write ./%s", arg))
	}
	return end, err
}

// inContainer is a path from the root of a container.
func inContainer(name, path string) (*cpEnd, error) {
	store, err := openStore()
	if err != nil {
		return nil, err
	}
	ctr, err := findContainer(name)
	if err != nil {
		return nil, err
	}
	t, err := client.OpenTree(ctr, store)
	if err != nil {
		return nil, err
	}
	return &cpEnd{t, name, path, t.Close}, nil
}

// maxLinks is how many symbolic links are followed, as the kernel does: path_resolution(7).
const maxLinks = 40

// resolve says what is at a destination. If it is a symbolic link to a file or to nothing, that is
// the destination, and the link stays: docker-cp(1). Only a link that the user has named is
// followed, not one in a directory that is copied to, which an earlier copy may have brought.
func (e *cpEnd) resolve() (treecopy.Info, error) {
	for n := 0; ; n++ {
		to, err := e.Stat(e.path, true)
		if err != nil || to.Exists && !to.File || n == maxLinks {
			return to, err
		}
		link, err := e.Stat(e.path, false)
		if err != nil || link.Link == "" {
			return to, err
		}
		if !strings.HasPrefix(link.Link, "/") {
			link.Link = e.path[:strings.LastIndex(e.path, "/")+1] + link.Link
		}
		e.path = link.Link
	}
}

// cp copies, and returns the number of bytes in the files.
func cp(src, dst *cpEnd, follow, owners bool) (int64, error) {
	var from treecopy.Info
	if tarball := src.path == "-" && src.name == ""; !tarball {
		var err error
		if from, err = src.Stat(src.path, follow || strings.HasSuffix(src.path, "/.")); err != nil {
			return 0, err
		}
		if !from.Exists {
			return 0, fmt.Errorf("%s: there is no such file", src.path)
		}
	}
	if from.MadeUp {
		return 0, errs.Hint(fmt.Errorf("%s: the kernel makes up what is in this directory, and a copy would not end", src.path), "copy single files of it")
	}
	if dst.path == "-" && dst.name == "" {
		return 0, cpToTarball(src, follow)
	}
	to, err := dst.resolve()
	if err != nil {
		return 0, err
	}
	if src.path == "-" && src.name == "" {
		if !to.Dir {
			return 0, errs.Hint(fmt.Errorf("%s: there is no such directory in the container", dst.path), "a tarball is unpacked into a directory that exists")
		}
		return dst.Unpack(os.Stdin, dst.path, "", owners)
	}
	dir, top, err := treecopy.Place(src.path, from, dst.path, to)
	if err != nil {
		return 0, err
	}
	r, w := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		err := src.Pack(w, src.path, ".", follow)
		w.CloseWithError(err)
		packed <- err
	}()
	n, err := dst.Unpack(r, dir, top, owners)
	if err == nil {
		_, err = io.Copy(io.Discard, r) // what follows the end of a tarball
	}
	r.CloseWithError(err)
	if e := <-packed; e != nil && !errors.Is(e, err) {
		err = e // why the tarball had no end; else it is what Unpack said, come back through the pipe
	}
	return n, err
}

// cpToTarball writes SRC as a tarball that others can read, under its own name.
func cpToTarball(src *cpEnd, follow bool) error {
	if isTerminal(os.Stdout) {
		return errs.Hint(fmt.Errorf("a tarball is not for a terminal"), "send it on: tiffin cp CONTAINER:PATH - | tar tv")
	}
	as := filepath.Base(src.path)
	if as == "/" {
		as = "."
	}
	return src.Pack(os.Stdout, src.path, as, follow)
}

var _ cpTree = (*client.Tree)(nil)

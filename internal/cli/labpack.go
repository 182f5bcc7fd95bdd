// The commands tiffin lab pack, add and remove: labs of other people's, in one artifact that goes
// through push, pull and serve. Nothing of a pack is run before somebody has added it.

package cli

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/urfave/cli/v2"

	"tiffin/image"
	"tiffin/image/reference"
	"tiffin/image/transfer"
	"tiffin/tutorial"
)

func labPackCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] DIR NAME[:TAG]",
		Description: "Packs the labs in DIR into one artifact of the store. `tiffin push` sends it to a\n" +
			"registry, `tiffin serve` hands it out, `tiffin pull` fetches it and `tiffin lab\nadd` makes its labs known. The same labs give the same digest.",
		Flags: []cli.Flag{&cli.BoolFlag{Name: "for-students", Usage: "leave solutions, wrong answers and claims out"}},
		Action: takes(2, 2, "a directory of labs and a name", inStore(func(c *cli.Context, s *image.Store) error {
			labs, err := tutorial.ReadDir(c.Args().Get(0))
			if err != nil {
				return err
			}
			ref, err := reference.Parse(c.Args().Get(1))
			if err != nil {
				return err
			}
			b, err := tutorial.PackLabs(labs, c.Bool("for-students"))
			if err != nil {
				return err
			}
			title := ref.Path[strings.LastIndexByte(ref.Path, '/')+1:] + ".tar.gz" // as which oras writes it
			img, err := transfer.NewArtifact(s, tutorial.PackType, []ocispec.Descriptor{{MediaType: tutorial.PackBlobType,
				Digest: digest.FromBytes(b), Size: int64(len(b)), Annotations: map[string]string{ocispec.AnnotationTitle: title}}}, b)
			if err != nil {
				return err
			}
			if err := transfer.TakeWhole(c.Context, s, img, ref, nil); err != nil {
				return err
			}
			fmt.Fprintf(stdout, "%s has %s: %s\n", ref.Familiar(), labNames(labs), img.Document.Digest)
			return nil
		})),
	}
}

func labAddCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] NAME[:TAG]|DIR",
		Description: "Makes the labs of a pack, which is in the store, or of a directory known to the\n" +
			"other commands of `tiffin lab`. Their scripts then run as you, on this machine,\nwith all that is yours: add what you would run yourself. A pack is copied and stays\n" +
			"as it is until it is added again; a directory is read where it is.",
		Flags: []cli.Flag{&cli.StringFlag{Name: "name", Usage: "call it `NAME`, not as its origin is called"}},
		Action: takes(1, 1, "a pack or a directory", func(c *cli.Context) error {
			s, err := student()
			if err != nil {
				return err
			}
			from := c.Args().First()
			var p tutorial.Pack
			var labs []*tutorial.Lab
			if st, serr := os.Stat(from); serr == nil && st.IsDir() {
				p, labs, err = s.AddDir(from, c.String("name"))
			} else {
				p, labs, err = addPack(c, s, from)
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(stdout, "%s has %s, %s.\n", p.Name, labNames(labs), origin(p))
			printWrapped(stdout, "", fmt.Sprintf("They do not come with tiffin. Their scripts run as you, with all that is yours, when you start, show or check one; read them in %s first. `tiffin lab remove %s` forgets them.", fromHome(p.Dir), p.Name))
			return nil
		}),
	}
}

func addPack(c *cli.Context, s *tutorial.Student, from string) (p tutorial.Pack, labs []*tutorial.Lab, err error) {
	ref, err := reference.Parse(from)
	if err != nil {
		return p, nil, err
	}
	st, err := openStore()
	if err != nil {
		return p, nil, err
	}
	b, d, err := transfer.OneBlob(c.Context, st, from, tutorial.PackType, tutorial.MaxPack)
	if err != nil {
		return p, nil, err
	}
	return s.AddPack(b, ref.Familiar(), d.String(), c.String("name"))
}

func labRemoveCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage:   "PACK",
		Description: "Forgets a pack or a directory that was added. What was done in its labs stays.",
		Action: takes(1, 1, "the name of a pack", func(c *cli.Context) error {
			s, err := student()
			if err != nil {
				return err
			}
			return s.Remove(c.Args().First())
		}),
	}
}

// student is the one whose directory this is.
func student() (*tutorial.Student, error) {
	dir, err := tutorial.DefaultDir()
	return &tutorial.Student{Dir: dir}, err
}

// origin says where a pack is from, and whose it is.
func origin(p tutorial.Pack) string {
	if p.Digest != "" {
		return "from " + p.From + "@" + p.Digest
	}
	var st syscall.Stat_t
	if err := syscall.Stat(p.Dir, &st); err != nil || int(st.Uid) == os.Getuid() {
		return "in " + fromHome(p.Dir)
	}
	owner := strconv.Itoa(int(st.Uid))
	if u, err := user.LookupId(owner); err == nil {
		owner = u.Username
	}
	return "in " + fromHome(p.Dir) + ", which is " + owner + "'s"
}

func labNames(labs []*tutorial.Lab) string {
	var names []string
	for _, l := range labs {
		names = append(names, l.Name)
	}
	return strings.Join(names, ", ")
}

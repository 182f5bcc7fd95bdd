// The command tiffin why: which layer decides a path, and what the others have there.

package cli

import (
	"bufio"
	"fmt"
	"path"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"tiffin/image"
	"tiffin/image/layer"
	"tiffin/image/union"
	"tiffin/internal/container/client"
)

func whyCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] IMAGE|CONTAINER PATH",
		Description: "Asks every layer for the path, the top one first; layer 0 is the bottom, and u the upper directory\n" +
			"with the changes of a container. Symbolic links are not followed. The exit status is 1 if the path\n" +
			"does not exist.",
		Flags: []cli.Flag{
			kindFlag(),
			&cli.StringFlag{Name: "format", Usage: "`json`: a line for each layer"},
		},
		Action: takes(2, 2, "an IMAGE or CONTAINER, and a PATH", runWhy),
	}
}

func runWhy(c *cli.Context) error {
	kind, err := wantedKind(c)
	if err != nil {
		return err
	}
	asJSON, err := wantsJSON(c)
	if err != nil {
		return err
	}
	store, err := openStore()
	if err != nil {
		return err
	}
	st, _, layers, err := openStack(store, c.Args().First(), kind)
	if err != nil {
		return err
	}
	answers := explainPath(st, layers, path.Clean("/"+c.Args().Get(1)))
	if asJSON {
		for _, a := range answers {
			if err := printJSON(stdout, a, ""); err != nil {
				return err
			}
		}
	} else if err := printWhy(answers, linkOnTheWay(st.Merged, c.Args().Get(1))); err != nil {
		return err
	}
	for _, a := range answers {
		if a.Decides && a.Verdict == union.Hit.String() {
			return nil
		}
	}
	return exitStatus(exitFailure)
}

// openStack opens the layers of an image or a container, and describes them. The image is also that
// of the container.
func openStack(store *image.Store, name, kind string) (*union.Stack, *image.Image, []image.StackLayer, error) {
	img, ctr, err := findEither(store, name, kind)
	if err != nil {
		return nil, nil, nil, err
	}
	if img != nil {
		st, err := store.Stack(img)
		return st, img, store.Describe(img), err
	}
	st, img, err := client.Stack(ctr, store)
	if err != nil {
		return nil, nil, nil, err
	}
	layers := store.Describe(img)
	return st, img, append(layers, image.StackLayer{Number: upperNumber, CreatedBy: "container " + ctr.Name}), nil
}

// upperNumber stands for the upper directory of a container in a list of layers.
const upperNumber = -1

// whyAnswer is what one layer says.
type whyAnswer struct {
	Layer       string `json:"layer"` // "upper" or "layer 2", as in traces; the bottom one is "layer 0"
	CreatedBy   string `json:"createdBy"`
	DiffID      string `json:"diffID,omitempty"` // none of a container's changes
	Verdict     string `json:"verdict"`
	Decides     bool   `json:"decides"`
	At          string `json:"at,omitempty"`    // the path that decides, if it is another one
	Entry       string `json:"entry,omitempty"` // what the layer has there, as ls(1) says it
	Files       int    `json:"files"`           // regular files at the path and below
	Bytes       int64  `json:"bytes"`
	HiddenFiles int    `json:"hiddenFiles"`
	HiddenBytes int64  `json:"hiddenBytes"`
}

// explainPath asks the layers.
func explainPath(st *union.Stack, layers []image.StackLayer, path string) []whyAnswer {
	var out []whyAnswer
	for _, f := range st.Why(path) {
		l := layers[f.Layer]
		a := whyAnswer{
			Layer: layerName(l.Number), CreatedBy: l.CreatedBy, DiffID: l.DiffID.String(), Verdict: f.Answer.String(), Decides: f.Decides, At: f.At,
			Files: f.Usage.Files, Bytes: f.Usage.Bytes, HiddenFiles: f.Usage.Hidden, HiddenBytes: f.Usage.HiddenBytes,
		}
		if f.Entry != nil {
			a.Entry = entry(f.Entry)
		}
		if a.At == path {
			a.At = ""
		}
		out = append(out, a)
	}
	return out
}

// linkOnTheWay says which part of a path is a symbolic link, and which path it leads to; "" if
// there is none before the last part.
func linkOnTheWay(x *layer.Index, name string) string {
	name = path.Clean("/" + name)
	for i, r := range name {
		if r != '/' || i == 0 {
			continue
		}
		ino, ok := x.Find(name[:i])
		if !ok {
			return ""
		}
		if x.Inode(ino).Mode&unix.S_IFMT == unix.S_IFLNK {
			target := x.Target(ino)
			real := target
			if !path.IsAbs(target) {
				real = path.Join(path.Dir(name[:i]), target)
			}
			return fmt.Sprintf("%s is a symbolic link to %s: by that the path is %s", name[:i], target, path.Join(real, name[i:]))
		}
	}
	return ""
}

// layerName is what traces call a layer.
func layerName(number int) string {
	if number == upperNumber {
		return "upper"
	}
	return fmt.Sprintf("layer %d", number)
}

// kindOf is the kind of a file in words.
func kindOf(n *layer.Inode) string {
	return map[uint32]string{unix.S_IFDIR: "directory", unix.S_IFREG: "file", unix.S_IFLNK: "symbolic link",
		unix.S_IFIFO: "fifo", unix.S_IFCHR: "character device", unix.S_IFBLK: "block device"}[n.Mode&unix.S_IFMT]
}

// entry says what an inode is, in the first columns of ls -ln.
func entry(n *layer.Inode) string {
	if n.Flags&layer.HardLink != 0 {
		return "a further name of a file below"
	}
	if n.IsDir() && n.Flags&layer.Implicit != 0 {
		return "directory that only others' paths tell of"
	}
	s := fmt.Sprintf("%s %04o %d:%d", kindOf(n), n.Mode&0o7777, n.UID, n.GID)
	if n.IsDir() && n.Flags&layer.Opaque != 0 {
		s += ", opaque"
	}
	return s
}

// verdictWords say in a sentence what a verdict means.
func verdictWords() map[string]string {
	return map[string]string{
		union.NotAsked.String(): "not asked: a layer above has settled it",
		union.Miss.String():     "has nothing there",
		union.Merged.String():   "has it too: its entries are merged in",
		union.Hit.String():      "has it: this is what you see",
		union.Whiteout.String(): "deletes it (whiteout)",
		union.Opaque.String():   "does not have it, and hides all layers below (opaque directory)",
		union.NotDir.String():   "has no directory on the way there",
		union.Replaced.String(): "has something else: replaced by the directory above",
	}
}

// layerSymbol is the head of a layer's column in a trace: u, or its number.
func layerSymbol(name string) string {
	if name == "upper" {
		return "u"
	}
	return strings.TrimPrefix(name, "layer ")
}

// printWhy prints a block for each layer; ">" marks the one that decides. note is a last line, or
// "".
func printWhy(answers []whyAnswer, note string) error {
	w := bufio.NewWriter(stdout)
	var hidden int64
	sentences := verdictWords()
	for _, a := range answers {
		mark := " "
		if a.Decides {
			mark = ">"
		}
		words := sentences[a.Verdict]
		if a.At != "" {
			words += ": " + printable(a.At)
		}
		fmt.Fprintf(w, "%s %2s  %s\n", mark, layerSymbol(a.Layer), words)
		if a.Entry != "" {
			fmt.Fprintf(w, "      %s", printable(a.Entry))
			if a.Files > 0 {
				fmt.Fprintf(w, ", %s", size(a.Bytes))
			}
			if a.HiddenBytes > 0 {
				fmt.Fprintf(w, ", of which %s hidden", size(a.HiddenBytes))
			}
			fmt.Fprintln(w)
		}
		if a.CreatedBy != "" {
			fmt.Fprintf(w, "      made by: %s\n", printable(oneLine(a.CreatedBy, false)))
		}
		hidden += a.HiddenBytes
	}
	fmt.Fprintf(w, "hidden in the layers: %s\n", size(hidden))
	if note != "" {
		fmt.Fprintln(w, printable(note))
	}
	return w.Flush()
}

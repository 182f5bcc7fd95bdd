// Why a path is what it is: each layer is asked in turn, and says what it has.

package union

import (
	"strings"

	"tiffin/image/layer"
)

// Answer is what one layer has to say about a path.
type Answer uint8

// The answers. All but Miss, Merged and the Hit of a directory end the
// question: the layers below are not asked.
const (
	NotAsked Answer = iota // a layer above has settled it
	Miss                   // has nothing under that name, and hides nothing
	Merged                 // has it as a directory too, whose entries are merged in
	Hit                    // has it: what the path shows
	Whiteout               // deletes the path, or the directory At above it
	Opaque                 // does not have it, and directory At hides the layers below
	NotDir                 // has At, a part of the path, as something that is no directory
	Replaced               // has something else than a directory, and a layer above has a directory instead
)

// String names the answer in a word or two.
func (a Answer) String() string {
	return [...]string{"not asked", "miss", "merged", "hit", "whiteout", "opaque", "not a directory", "replaced"}[a]
}

// Verdict is the answer of one layer.
type Verdict struct {
	Layer  int // position in the slice given to Explain: 0 is the bottom
	Answer Answer
	At     string // with Whiteout, Opaque and NotDir: the path that decides
	Inode  uint32 // with Hit, Merged and Replaced: number in that layer's index
}

// Explain asks the layers for path, from the top down, and returns a verdict
// for each in that order. layers[0] is the bottom layer; all are indexes of
// single layers. Symbolic links in path are not followed.
//
// A directory shows the attributes of the Hit, and the entries of that and of
// every layer that says Merged. A Hit that is Implicit has its attributes from
// the first Merged, if there is one.
func Explain(layers []*layer.Index, path string) []Verdict {
	var parts []string
	for p := range strings.SplitSeq(path, "/") {
		if p != "" && p != "." {
			parts = append(parts, p)
		}
	}
	out := make([]Verdict, 0, len(layers))
	settled, dir := false, false // dir: a layer above has the path as a directory
	for i := len(layers) - 1; i >= 0; i-- {
		v := Verdict{Layer: i}
		if !settled {
			v, settled = ask(layers[i], parts, dir)
			v.Layer = i
			dir = dir || v.Answer == Hit
		}
		out = append(out, v)
	}
	return out
}

// ask looks the path up in one layer. last says that the layers below have no
// part in it.
func ask(x *layer.Index, parts []string, dir bool) (v Verdict, last bool) {
	ino, opaque := uint32(0), ""
	for k, name := range parts {
		n := x.Inode(ino)
		if !n.IsDir() {
			return Verdict{Answer: NotDir, At: join(parts[:k])}, true
		}
		if n.Flags&layer.Opaque != 0 {
			opaque = join(parts[:k])
		}
		c, ok := x.Lookup(ino, name)
		if !ok {
			if opaque != "" {
				return Verdict{Answer: Opaque, At: opaque}, true
			}
			return Verdict{Answer: Miss}, false
		}
		if x.Inode(c).Flags&layer.Whiteout != 0 {
			return Verdict{Answer: Whiteout, At: join(parts[:k+1])}, true
		}
		ino = c
	}
	n := x.Inode(ino)
	v = Verdict{Answer: Hit, Inode: ino}
	if dir {
		if v.Answer = Merged; !n.IsDir() {
			v.Answer = Replaced
		}
	}
	return v, !n.IsDir() || opaque != "" || n.Flags&layer.Opaque != 0
}

func join(parts []string) string { return "/" + strings.Join(parts, "/") }

// What every layer says about every path of a stack, in a form that a page can carry: the answers
// are those of `tiffin why`, asked here, so that the page needs to know no rule of merging.

package picture

import (
	"cmp"
	"slices"
	"strings"

	"tiffin/image/layer"
	"tiffin/image/union"
)

// maxPaths is how many paths a page holds. One takes about 30 bytes.
const maxPaths = 100_000

// Paths are the paths that at least one layer of a stack has something to say about.
type Paths struct {
	// Rows are [row of the directory, name, answer, answer below]: positions in Answers of what the
	// layers say about the path, and about what none of them has below it. The root is row 0; a
	// directory comes before what is in it.
	Rows    [][4]any
	Answers []Answer
	Entries []string     // what a layer can have, as ls(1) says it
	Cut     map[int]bool // rows of directories whose entries found no room
}

// Answer is what the layers say about a path, the top one first.
type Answer struct {
	Verdicts []int // each a union.Answer
	At       []int // how many names of the path make the one that decides, where it is another; else 0
	Entry    []int // position in Entries, or -1
	Decides  int   // position of the layer that decides, -1 if none does
}

// NewPaths asks the layers of a stack. describe says what an inode is.
func NewPaths(st *union.Stack, describe func(*layer.Inode) string) *Paths {
	c := collector{st: st, describe: describe, answers: map[string]int{}, entries: map[string]int{}, Paths: &Paths{Cut: map[int]bool{}}}
	c.add(0, "", "/")
	// By breadth: what is left out for want of room is deep.
	for row, dirs := 0, []string{"/"}; row < len(c.Rows); row++ {
		names := c.names(dirs[row])
		if len(c.Rows)+len(names) > maxPaths {
			c.Cut[row] = true
			continue
		}
		for _, name := range names {
			path := strings.TrimRight(dirs[row], "/") + "/" + name
			c.add(row, name, path)
			dirs = append(dirs, path)
		}
	}
	return c.Paths
}

// collector collects paths; an answer or an entry that many have in common is kept once.
type collector struct {
	*Paths
	st               *union.Stack
	describe         func(*layer.Inode) string
	answers, entries map[string]int
}

func (c *collector) add(dir int, name, path string) {
	// No layer has a name with a NUL in it.
	c.Rows = append(c.Rows, [4]any{dir, name, c.ask(path), c.ask(strings.TrimRight(path, "/") + "/\x00")})
}

// ask returns the position of an answer.
func (c *collector) ask(path string) int {
	a := Answer{Decides: -1}
	var key strings.Builder
	for i, f := range c.st.Ask(path) {
		at, entry := 0, -1
		if f.At != "" && f.At != path {
			at = len(strings.FieldsFunc(f.At, func(r rune) bool { return r == '/' }))
		}
		if f.Entry != nil {
			entry = intern(c.entries, c.describe(f.Entry), &c.Entries)
		}
		if f.Decides {
			a.Decides = i
		}
		a.Verdicts, a.At, a.Entry = append(a.Verdicts, int(f.Answer)), append(a.At, at), append(a.Entry, entry)
		key.WriteString(strings.Join([]string{f.Answer.String(), string(rune(at)), string(rune(entry + 1)), ""}, "\x00"))
	}
	n, ok := c.answers[key.String()]
	if !ok {
		n = len(c.Answers)
		c.answers[key.String()] = n
		c.Answers = append(c.Answers, a)
	}
	return n
}

func intern(known map[string]int, s string, list *[]string) int {
	n, ok := known[s]
	if !ok {
		n = len(*list)
		known[s] = n
		*list = append(*list, s)
	}
	return n
}

// names are those that the layers have in a directory, whiteouts too.
func (c *collector) names(dir string) []string {
	var all []string
	for _, x := range c.st.Layers {
		if ino, ok := x.Find(dir); ok && x.Inode(ino).IsDir() {
			for k := range x.DirLen(ino) {
				name, _ := x.Dirent(ino, k)
				all = append(all, name)
			}
		}
	}
	slices.SortFunc(all, cmp.Compare[string])
	return slices.Compact(all)
}

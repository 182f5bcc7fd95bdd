// The files as they are written, to say where in them something stands.

package parser

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/tree"
	"go.yaml.in/yaml/v4"
)

// files are the files that a project is made of, in their order.
type files struct {
	names []string
	docs  map[string][]*yaml.Node // by name: what has been read
}

func (f *files) add(names ...string) { f.names = append(f.names, names...) }

// documents reads a file, once. The error has the line.
func (f *files) documents(name string) ([]*yaml.Node, error) {
	if docs, ok := f.docs[name]; ok {
		return docs, nil
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read the compose file: %w", err)
	}
	var docs []*yaml.Node
	for decoder := yaml.NewDecoder(bytes.NewReader(text)); ; {
		doc := new(yaml.Node)
		err := decoder.Decode(doc)
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, errors.New(short(name) + ": " + strings.TrimPrefix(err.Error(), "yaml: "))
		}
		docs = append(docs, doc)
	}
	if f.docs == nil {
		f.docs = map[string][]*yaml.Node{}
	}
	f.docs[name] = docs
	return docs, nil
}

// Accept is asked by the library about every file that another one names with include or extends:
// loader.ResourceLoader. None comes from elsewhere; the names are kept.
func (f *files) Accept(path string) bool {
	f.add(path)
	return false
}

func (*files) Load(context.Context, string) (string, error) {
	return "", errors.New("only files are read")
}

func (*files) Dir(string) string { return "" }

// at is FILE:LINE of the node at a path, or of the nearest one above it that is written down.
func (f *files) at(path tree.Path) string {
	best, where := -1, "compose file"
	for i := len(f.names) - 1; i >= 0; i-- { // what a later file says counts
		name := f.names[i]
		docs, _ := f.documents(name) // the library says what is wrong with a file
		for _, doc := range docs {
			s := search{budget: 10000}
			if line, depth := s.find(doc, path.Parts(), 1); depth > best {
				best, where = depth, fmt.Sprintf("%s:%d", short(name), line)
			}
		}
	}
	return where
}

// short is a path as a person in this directory would type it.
func short(path string) string {
	if here, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(here, path); err == nil && filepath.IsLocal(rel) {
			return rel
		}
	}
	return path
}

// search walks a document. An alias may lead to itself, so it ends after a number of nodes.
type search struct{ budget int }

// find returns the line of the node at a path below n, which stands on a line itself, or of the
// last one on the way, and how many parts of the path were found. A list's part is [], for any, or
// an index.
func (s *search) find(n *yaml.Node, path []string, line int) (at, depth int) {
	at = line
	if s.budget--; len(path) == 0 || s.budget < 0 || n == nil {
		return at, 0
	}
	try := func(child *yaml.Node, line, step int) {
		l, d := s.find(child, path[step:], line)
		if d += step; d > depth {
			at, depth = l, d
		}
	}
	switch n.Kind {
	case yaml.DocumentNode:
		for _, c := range n.Content {
			try(c, line, 0)
		}
	case yaml.AliasNode:
		try(n.Alias, line, 0)
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, value := n.Content[i], n.Content[i+1]
			if key.Value == path[0] {
				try(value, key.Line, 1)
			} else if key.Value == "<<" {
				try(value, key.Line, 0)
			}
		}
	case yaml.SequenceNode:
		for i, c := range n.Content {
			switch {
			case path[0] == "[]", path[0] == strconv.Itoa(i), c.Kind == yaml.ScalarNode && c.Value == path[0]:
				try(c, c.Line, 1)
			case c.Kind == yaml.AliasNode: // << with several
				try(c, c.Line, 0)
			}
		}
	}
	return at, depth
}

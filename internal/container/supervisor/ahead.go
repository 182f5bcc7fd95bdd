// What a program reads of its image when it starts is remembered beside the image's index, and
// asked for before the program is executed the next time: a file system in another process is
// quick when its answers are there already.

package supervisor

import (
	"encoding/json"
	"io"
	"maps"
	"path/filepath"
	"slices"

	"tiffin/image/layer"
	"tiffin/internal/container/disk"
	"tiffin/ns"
)

// Limits of what is remembered of an image. It is a hint: what is in the file is never shown to
// a container, and only says which parts of the image to read.
const (
	startCommands = 8        // programs
	startSpans    = 256      // parts of files, for each
	startBytes    = 16 << 20 // bytes of files, for each
)

// starts is the content of such a file: by the first word of a command, what it reads.
type starts map[string][]ns.Span

// readStarts reads what is remembered, leaving out what is beyond the limits.
func readStarts(path string) starts {
	m := starts{}
	f, err := layer.OpenStored(filepath.Split(path))
	if err != nil {
		return m
	}
	defer f.Close()
	if json.NewDecoder(io.LimitReader(f, 1<<20)).Decode(&m) != nil || len(m) > startCommands {
		return starts{}
	}
	for command := range m {
		m[command] = withinLimits(m[command])
	}
	return m
}

// withinLimits returns as many spans as may be remembered.
func withinLimits(spans []ns.Span) []ns.Span {
	sum := int64(0)
	for i, s := range spans {
		if s.Off < 0 || s.Len < 0 || s.Len > startBytes-sum || i == startSpans {
			return spans[:i]
		}
		sum += s.Len
	}
	return spans
}

// foresee returns what the command will probably read.
func (s *supervisor) foresee() []ns.Span {
	if s.req.Starts == "" || s.req.Idle || s.req.Trace != nil || s.tree != "" {
		return nil
	}
	s.starts = readStarts(s.req.Starts)
	return s.starts[s.command()]
}

// command is the word that a program is remembered by.
func (s *supervisor) command() string {
	if args := s.c.Args(); len(args) > 0 {
		return args[0]
	}
	return ""
}

// remember writes down what the command has read until now, if that is news.
func (s *supervisor) remember() {
	if s.starts == nil {
		return
	}
	var spans []ns.Span
	for _, r := range s.fs.FirstReads() {
		spans = append(spans, ns.Span(r))
	}
	spans = withinLimits(spans)
	if slices.Equal(spans, s.starts[s.command()]) {
		return
	}
	m := maps.Clone(s.starts)
	if len(m) == startCommands {
		clear(m)
	}
	m[s.command()] = spans
	// Two at once may both lose nothing but a hint: one replaces the other's as a whole.
	_ = disk.ReplaceJSON(s.req.Starts, m)
}

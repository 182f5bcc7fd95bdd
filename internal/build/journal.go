// What is remembered of the last build of a Dockerfile: of each step the parts of its key, and of
// its files which they were. It is there for explanations alone; the cache does not look at it.

package build

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"

	digest "github.com/opencontainers/go-digest"

	"tiffin/image"
	"tiffin/image/oci"
	"tiffin/image/store"
	"tiffin/internal/dockerfile"
)

// journal is a file build/last-DIGEST, by the names of Dockerfile and context, and the lists of
// files that it names.
type journal struct {
	store   *image.Store
	path    string
	explain bool

	mu        sync.Mutex // for what follows
	last, now []noted
	wanted    map[[2]string]bool // stages, and the texts of their instructions
}

// noted is a step with a layer.
type noted struct {
	Stage, Name, Text string
	Parts             []store.BuildPart
	found             bool // of last: it is in this build, too
}

func openJournal(o *Options) *journal {
	name := o.File + "\x00"
	if o.Context != nil {
		name += o.Context.name
	}
	j := &journal{store: o.Store, path: o.Store.Path("build", "last-"+digest.FromString(name).Encoded()), explain: o.Explain, wanted: map[[2]string]bool{}}
	if b, err := oci.ReadFile(j.path, oci.MaxJSON); err == nil {
		_ = json.Unmarshal(b, &j.last) // damaged: there is nothing to compare with
	}
	return j
}

// begin is told what a stage will do.
func (j *journal) begin(stage string, list []dockerfile.Instruction) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i := range list {
		j.wanted[[2]string{stage, list[i].Text}] = true
	}
}

// note notes a step, and compares it with the same one of the last build.
func (j *journal) note(in *dockerfile.Instruction, step *Step, parts []store.BuildPart) {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := noted{Stage: step.Stage, Name: in.Name, Text: in.Text, Parts: parts}
	was := j.find(&now)
	first := !slices.ContainsFunc(j.now, func(n noted) bool { return n.Stage == now.Stage })
	j.now = append(j.now, now)
	if j.explain {
		step.Explained = &Explained{Key: store.BuildKey(parts), Parts: parts, First: was == nil}
		if was != nil {
			step.Explained.compare(j, in, was.Parts, first)
		}
	}
}

// find finds a step in the last build: that with the same text, or the next one of its kind whose
// text is not there any more.
func (j *journal) find(now *noted) *noted {
	same := func(n noted) bool {
		return !n.found && n.Stage == now.Stage && n.Name == now.Name && n.Text == now.Text
	}
	i := slices.IndexFunc(j.last, same)
	if i < 0 {
		i = slices.IndexFunc(j.last, func(n noted) bool {
			return !n.found && n.Stage == now.Stage && n.Name == now.Name && !j.wanted[[2]string{n.Stage, n.Text}]
		})
	}
	if i < 0 {
		return nil
	}
	j.last[i].found = true
	return &j.last[i]
}

// finish is told that a stage is built: what the last build had more of is forgotten.
func (j *journal) finish(stage string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i := range j.last {
		if j.last[i].Stage == stage {
			j.last[i].found = true
		}
	}
}

// close writes the journal. What this build has not come to stays as it was. It is no harm if that
// fails.
func (j *journal) close() {
	old := j.lists()
	for _, n := range j.last {
		if !n.found {
			j.now = append(j.now, n)
		}
	}
	replace(j.store, j.path, func(w io.Writer) error { return json.NewEncoder(w).Encode(j.now) })
	j.last = j.now
	for name := range old {
		if !j.lists()[name] {
			os.Remove(j.listPath(name))
		}
	}
}

// lists are the digests of all files of the last build.
func (j *journal) lists() map[string]bool {
	all := map[string]bool{}
	for _, n := range j.last {
		for _, p := range n.Parts {
			if p.Name == "files" {
				all[p.Value] = true
			}
		}
	}
	return all
}

func (j *journal) listPath(files string) string {
	return j.store.Path("build", "files-"+digest.Digest(files).Encoded())
}

// keep keeps the list of files whose digest is given.
func (j *journal) keep(files string, d *delta) {
	path := j.listPath(files)
	if _, err := os.Stat(path); err == nil {
		return
	}
	replace(j.store, path, func(w io.Writer) error {
		_, err := io.Copy(w, io.NewSectionReader(d.list, 0, d.length))
		return err
	})
}

// open opens what keep has written; nil if it is not there. The caller closes f.
func (j *journal) open(files string) (l *listing, f *os.File) {
	if digest.Digest(files).Validate() != nil {
		return nil, nil
	}
	f, err := os.Open(j.listPath(files))
	if err != nil {
		return nil, nil
	}
	return &listing{records: readRecords(f, 0, math.MaxInt64)}, f
}

// replace writes a file of the store, whole or not at all. It is no harm if that fails.
func replace(s *image.Store, path string, write func(io.Writer) error) {
	st, err := s.Stage()
	if err != nil {
		return
	}
	defer st.Close()
	f, err := os.Create(st.Path("kept"))
	if err != nil {
		return
	}
	w := bufio.NewWriterSize(f, 64<<10)
	if err := errors.Join(write(w), w.Flush(), f.Close()); err == nil && os.MkdirAll(filepath.Dir(path), 0o700) == nil {
		_ = os.Rename(f.Name(), path)
	}
}

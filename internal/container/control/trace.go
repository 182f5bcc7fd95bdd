// The messages of a trace: which requests to show, and what became of each.

package control

import (
	"slices"
	"strings"
	"time"

	"tiffin/internal/network"
)

// TraceFilter chooses requests. Its zero value chooses all.
type TraceFilter struct {
	Ops  []string `json:"ops,omitempty"`  // opcodes of fuse(4) without FUSE_, in capitals
	Path string   `json:"path,omitempty"` // this file and all below it
	// Network asks for the flows of the container's network, and for no requests.
	Network bool `json:"network,omitempty"`
}

// Match tells whether a request is one of those chosen.
func (f *TraceFilter) Match(op, path string) bool {
	if len(f.Ops) > 0 && !slices.Contains(f.Ops, op) {
		return false
	}
	p := strings.TrimRight(f.Path, "/")
	return p == "" || path == p || strings.HasPrefix(path, p+"/")
}

// TraceInfo is sent before the first event.
type TraceInfo struct {
	Layers   int  `json:"layers"`             // of the image
	Uncached bool `json:"uncached,omitempty"` // the kernel asks about everything, see StartOptions.Trace
}

// TraceEvent is one request to a container's file system, or something that the container has to
// do with its network.
type TraceEvent struct {
	Time     time.Time     `json:"time,omitzero"` // when it came
	Duration time.Duration `json:"ns,omitempty"`  // what serving it took
	PID      uint32        `json:"pid"`           // thread that asked, as the container numbers it; 0 is the kernel
	Op       string        `json:"op,omitempty"`
	Path     string        `json:"path,omitempty"`
	By       string        `json:"by,omitempty"`     // what answered: "upper" or "layer 2"; "" is nothing
	Layers   []TraceAnswer `json:"layers,omitempty"` // the upper directory, then the layers from the top
	Bytes    int64         `json:"bytes,omitempty"`  // asked for by READ, WRITE, COPY_FILE_RANGE
	Copied   int64         `json:"copied,omitempty"` // bytes copied up from a layer
	Error    string        `json:"error,omitempty"`  // name of an errno
	Note     string        `json:"note,omitempty"`

	// Dropped is how many requests are missing before this event: the reader
	// was too slow. Nothing else is set then.
	Dropped uint64 `json:"dropped,omitempty"`

	// Flow is an event of the network. Nothing else is set then.
	Flow *network.Flow `json:"flow,omitempty"`
}

// TraceAnswer is what one layer says about the path of a request.
type TraceAnswer struct {
	Layer  string `json:"layer"`        // "upper" or "layer 2"; the bottom one is "layer 0"
	Answer string `json:"answer"`       // in the words of union.Answer
	At     string `json:"at,omitempty"` // the path that decides, where it is another one or a whiteout
}

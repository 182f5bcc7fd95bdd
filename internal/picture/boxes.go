// The namespaces of a start as boxes in one another. Which step makes a box, and into which one a
// step puts something, is read off its kernel calls, so that a start without one of them has no
// such box.

package picture

import (
	"regexp"
	"slices"
	"strings"
)

// Box is a namespace, or what is around all of them or in them.
type Box struct {
	Kind  string // as the links of /proc/pid/ns call it; "host" and "process" are the outermost and innermost
	Title string
	Note  string
	From  int // the step that makes it, 0 if it is there before the first
	Marks []Mark
	Inner *Box
}

// Mark is what a step has done in a box.
type Mark struct {
	Step int
	Name string
}

// kinds are the namespaces by the flag of clone(2) that makes them.
var kinds = map[string]struct{ kind, title, note string }{
	"CLONE_NEWUSER":   {"user", "user namespace", "ids and capabilities"},
	"CLONE_NEWNS":     {"mnt", "mount namespace", "the tree of files"},
	"CLONE_NEWPID":    {"pid", "pid namespace", "processes"},
	"CLONE_NEWNET":    {"net", "network namespace", "interfaces, ports"},
	"CLONE_NEWUTS":    {"uts", "UTS namespace", "the host name"},
	"CLONE_NEWIPC":    {"ipc", "ipc namespace", "queues, shared memory"},
	"CLONE_NEWCGROUP": {"cgroup", "cgroup namespace", "control groups"},
}

// changed finds, in a kernel call, the namespace that it changes. Other calls change the process
// alone.
var changed = []struct{ call, kind string }{
	{"sethostname(", "uts"}, {"setdomainname(", "uts"}, {"SIOC", "net"}, {"TUNSETIFF", "net"},
	{"mount", "mnt"}, {"open_tree(", "mnt"}, {"pivot_root(", "mnt"},
}

var cloneFlag = regexp.MustCompile(`CLONE_NEW[A-Z]+`)

// newBoxes builds the boxes of a start from the outermost to the innermost.
func newBoxes(steps []Step) *Box {
	boxes := []*Box{{Kind: "host", Title: "this machine", Note: "your user, its files and network"}}
	process := &Box{Kind: "process", Title: "the process", Note: "that becomes the command"}
	for i := range steps {
		s := &steps[i]
		if s.Skipped != "" {
			continue
		}
		opened := false
		for _, call := range s.Calls {
			if !strings.HasPrefix(call, "clone(") && !strings.HasPrefix(call, "unshare(") {
				continue
			}
			for _, flag := range cloneFlag.FindAllString(call, -1) {
				if k, ok := kinds[flag]; ok {
					boxes = append(boxes, &Box{Kind: k.kind, Title: k.title, Note: k.note + number(s.After, k.kind), From: s.Number})
					opened = true
				}
			}
		}
		if !opened {
			b := boxOf(s, boxes, process)
			b.Marks = append(b.Marks, Mark{s.Number, s.Step})
		}
	}
	boxes = append(boxes, process)
	for i, b := range boxes[1:] {
		boxes[i].Inner = b
	}
	return boxes[0]
}

// boxOf is the box that a step changes: the innermost of its kind.
func boxOf(s *Step, boxes []*Box, process *Box) *Box {
	for _, call := range s.Calls {
		for _, c := range changed {
			if !strings.Contains(call, c.call) {
				continue
			}
			for _, b := range slices.Backward(boxes) {
				if b.Kind == c.kind {
					return b
				}
			}
			return boxes[0] // that of the host: --without
		}
	}
	return process
}

// number is that of a namespace, in what there was to see after a step: namespaces(7).
func number(seen, kind string) string {
	for word := range strings.FieldsSeq(seen) {
		if n, ok := strings.CutPrefix(word, kind+":["); ok {
			return ", " + strings.TrimRight(n, "]")
		}
	}
	return ""
}

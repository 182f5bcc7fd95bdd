package container

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"tiffin/fs"
	"tiffin/image/union"
)

func TestAnswersOfARequest(t *testing.T) {
	for _, e := range []struct {
		name  string
		event fs.Event
		want  string
	}{
		{"found in the upper", fs.Event{Op: "LOOKUP", Layer: fs.LayerUpper}, "hit, not asked, not asked"},
		{"deleted in the upper", fs.Event{Op: "LOOKUP", Layer: fs.LayerNone, Whiteout: true}, "whiteout, not asked, not asked"},
		{"hidden by a directory of the upper", fs.Event{Op: "LOOKUP", Layer: fs.LayerNone, Opaque: true}, "opaque, not asked, not asked"},
		{"in a directory that only the upper has", fs.Event{Op: "LOOKUP", Layer: fs.LayerNone}, "miss, not asked, not asked"},
		{"left to the layers", fs.Event{Op: "LOOKUP", Layer: fs.LayerNone, Whiteout: true,
			Verdicts: []union.Verdict{{Layer: 1, Answer: union.Whiteout, At: "/a"}, {Layer: 0}}}, "miss, whiteout /a, not asked"},
		{"failed", fs.Event{Op: "LOOKUP", Layer: fs.LayerNone, Errno: syscall.EIO}, "not asked, not asked, not asked"},
		{"of a file in a layer", fs.Event{Op: "READ", Layer: 0}, "not asked, not asked, hit"},
		{"of nothing in particular", fs.Event{Op: "STATFS", Layer: fs.LayerNone}, "not asked, not asked, not asked"},
	} {
		var words []string
		for _, a := range answers(e.event, 2) {
			words = append(words, strings.TrimSpace(a.Answer+" "+a.At))
		}
		if got := strings.Join(words, ", "); got != e.want {
			t.Errorf("%s: %s, want %s", e.name, got, e.want)
		}
	}
}

func TestTraceFilter(t *testing.T) {
	for _, e := range []struct {
		filter   TraceFilter
		op, path string
		want     bool
	}{
		{TraceFilter{}, "READ", "/a", true},
		{TraceFilter{Path: "/"}, "READ", "/a", true},
		{TraceFilter{Path: "/a"}, "READ", "/a", true},
		{TraceFilter{Path: "/a/"}, "READ", "/a/b", true},
		{TraceFilter{Path: "/a"}, "READ", "/ab", false},
		{TraceFilter{Ops: []string{"WRITE", "READ"}}, "READ", "/a", true},
		{TraceFilter{Ops: []string{"WRITE"}}, "READ", "/a", false},
	} {
		if got := e.filter.match(e.op, e.path); got != e.want {
			t.Errorf("%+v matches %s %s: %v", e.filter, e.op, e.path, got)
		}
	}
}

// A reader that takes nothing must not hold up the file system, and is told
// what it missed.
func TestSlowReaderLosesEventsAndIsToldSo(t *testing.T) {
	const more = 100
	s := &supervisor{req: &startRequest{}, ended: make(chan struct{})}
	tr := &tracer{s: s, queue: make(chan traced, traceQueue), cancel: func() {}}
	for i := range traceQueue + more {
		tr.take(fs.Event{Op: "READ", Path: fmt.Sprintf("/%d", i)}) // would never return if it waited
	}
	close(s.ended)
	reader, f, err := socketPair()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	writer, err := newConn(f)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		tr.stream(writer)
		writer.Close()
	}()
	reader.sock.SetDeadline(time.Now().Add(time.Minute))
	begun, seen, missed := 0, 0, uint64(0)
	err = Tracing{Begin: func(TraceInfo) { begun++ }, Event: func(e *TraceEvent) {
		if missed += e.Dropped; e.Dropped == 0 {
			if want := fmt.Sprintf("/%d", seen); e.Path != want {
				t.Errorf("event %d is about %s", seen, e.Path)
			}
			seen++
		}
	}}.read(reader)
	if err != nil || begun != 1 || seen != traceQueue || missed != more {
		t.Errorf("%d beginnings, %d events, %d dropped (%v), want 1, %d and %d", begun, seen, missed, err, traceQueue, more)
	}
}

package supervisor

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"tiffin/fs"
	"tiffin/image/union"
	"tiffin/internal/container/control"
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

// A reader that takes nothing must not hold up the file system, and is told
// what it missed.
func TestSlowReaderLosesEventsAndIsToldSo(t *testing.T) {
	const more = 100
	s := &supervisor{req: &control.Start{}, ended: make(chan struct{})}
	tr := &tracer{s: s, queue: make(chan traced, traceQueue), cancel: func() {}}
	for i := range traceQueue + more {
		tr.take(fs.Event{Op: "READ", Path: fmt.Sprintf("/%d", i)}) // would never return if it waited
	}
	close(s.ended)
	reader, writer := connection(t)
	go func() {
		tr.stream(writer)
		writer.Close()
	}()
	var err error
	begun, seen, missed := 0, 0, uint64(0)
	for {
		m, e := reader.Answer()
		if err = e; err != nil || m.Op == control.AnsExit {
			break
		}
		switch {
		case m.Info != nil:
			begun++
		case m.Event.Dropped > 0:
			missed += m.Event.Dropped
		default:
			if want := fmt.Sprintf("/%d", seen); m.Event.Path != want {
				t.Errorf("event %d is about %s", seen, m.Event.Path)
			}
			seen++
		}
	}
	if err != nil || begun != 1 || seen != traceQueue || missed != more {
		t.Errorf("%d beginnings, %d events, %d dropped (%v), want 1, %d and %d", begun, seen, missed, err, traceQueue, more)
	}
}

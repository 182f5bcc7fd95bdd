package cli

import (
	"strings"
	"testing"
	"time"

	"tiffin/image/union"
	"tiffin/internal/container/control"
)

func TestTraceVerdicts(t *testing.T) {
	answers := func(words ...string) (as []control.TraceAnswer) {
		for i, w := range words {
			as = append(as, control.TraceAnswer{Layer: []string{"upper", "layer 1", "layer 0"}[i], Answer: w})
		}
		return as
	}
	at := func(as []control.TraceAnswer, i int, path string) []control.TraceAnswer {
		as[i].At = path
		return as
	}
	for _, e := range []struct {
		event         control.TraceEvent
		columns, want string
	}{
		{control.TraceEvent{Op: "LOOKUP", Path: "/a", By: "layer 0", Layers: answers("miss", "miss", "hit")}, "..#", "layer 0"},
		{control.TraceEvent{Op: "LOOKUP", Path: "/d", By: "layer 1", Layers: answers("miss", "hit", "merged")}, ".##", "layer 1"},
		{control.TraceEvent{Op: "LOOKUP", Path: "/a", Layers: answers("miss", "miss", "miss")}, "...", "no such name"},
		{control.TraceEvent{Op: "LOOKUP", Path: "/a", Layers: at(answers("miss", "whiteout", "not asked"), 1, "/a")}, ".x-", "no such name: whiteout in layer 1"},
		{control.TraceEvent{Op: "LOOKUP", Path: "/o/a", Layers: at(answers("miss", "opaque", "not asked"), 1, "/o")}, ".o-", "no such name: opaque in layer 1 at /o"},
		{control.TraceEvent{Op: "LOOKUP", Path: "/f/a", Layers: at(answers("miss", "not a directory", "not asked"), 1, "/f")}, ".!-", "no such name: no directory in layer 1 at /f"},
		{control.TraceEvent{Op: "LOOKUP", Path: "/a", Layers: answers("whiteout", "not asked", "not asked")}, "x--", "no such name: whiteout in upper"},
		{control.TraceEvent{Op: "READ", By: "layer 0", Bytes: 4096, Layers: answers("not asked", "not asked", "hit")}, "--#", "layer 0, 4096 bytes"},
		{control.TraceEvent{Op: "WRITE", By: "upper", Bytes: 10, Copied: 25, Layers: answers("hit", "not asked", "not asked")}, "#--", "upper, 10 bytes, copied up 25 bytes (2.5×)"},
		{control.TraceEvent{Op: "SETATTR", By: "upper", Copied: 25, Layers: answers("hit", "not asked", "not asked")}, "#--", "upper, copied up 25 bytes"},
		{control.TraceEvent{Op: "MKDIR", Error: "EPERM", Note: "reserved", Layers: answers("not asked", "not asked", "not asked")}, "---", "EPERM: reserved"},
	} {
		if got := traceColumns(e.event.Layers); got != e.columns {
			t.Errorf("%+v: columns %q, want %q", e.event, got, e.columns)
		}
		if got := traceVerdict(&e.event); got != e.want {
			t.Errorf("%+v: verdict %q, want %q", e.event, got, e.want)
		}
	}
}

func TestTraceHasASymbolForEveryAnswer(t *testing.T) {
	for a := union.NotAsked; a <= union.Replaced; a++ {
		if _, ok := traceSymbols[a.String()]; !ok {
			t.Errorf("none for %q", a)
		}
	}
}

func TestTraceHeads(t *testing.T) {
	for n, want := range map[int]string{0: "u", 1: "u0", 3: "u210", 12: "u109876543210"} {
		if got := traceHeads(n); got != want {
			t.Errorf("%d layers: %q, want %q", n, got, want)
		}
	}
}

func TestTracePrintsLinesAndASummary(t *testing.T) {
	var b strings.Builder
	p := newTracePrinter(&b, false)
	p.begin(control.TraceInfo{Layers: 1, Uncached: true})
	start := time.Unix(1, 0)
	both := []control.TraceAnswer{{Layer: "upper", Answer: "miss"}, {Layer: "layer 0", Answer: "hit"}}
	upper := []control.TraceAnswer{{Layer: "upper", Answer: "hit"}, {Layer: "layer 0", Answer: "not asked"}}
	p.event(&control.TraceEvent{Time: start, PID: 1, Op: "LOOKUP", Path: "/f", By: "layer 0", Layers: both})
	p.event(&control.TraceEvent{Time: start.Add(time.Millisecond), PID: 23, Op: "WRITE", Path: "/f", By: "upper", Bytes: 2, Copied: 7, Layers: upper})
	p.event(&control.TraceEvent{Dropped: 5})
	p.event(&control.TraceEvent{Time: start.Add(time.Second), Op: "LOOKUP", Path: "/\x1b[2J", By: "layer 0", Layers: both})
	if err := p.finish(); err != nil {
		t.Fatal(err)
	}
	p.event(&control.TraceEvent{Op: "LATE"})
	const want = `The kernel asks about every name, attribute and write; what it has read of a
file it keeps.
   SECONDS   PID  OPERATION       u0  PATH: VERDICT
  0.000000     1  LOOKUP          .#  /f: layer 0
  0.001000    23  WRITE           #-  /f: upper, 2 bytes, copied up 7 bytes (3.5×)
         … 5 requests came too fast to be shown
  1.000000     0  LOOKUP          .#  /\u001b[2J: layer 0

3 requests
       2  LOOKUP
       1  WRITE
0 bytes asked for by reads, 2 by writes
1 copy-up of data, 7 bytes (3.5×)
5 further requests came too fast to be shown or counted above
`
	if b.String() != want {
		t.Errorf("printed\n%s\nwant\n%s", b.String(), want)
	}
}

func TestALineOfATraceIsAsWideAsTheTerminal(t *testing.T) {
	for _, c := range []struct {
		layers        int
		path, verdict string
		want          string // from the layers on
	}{
		{2, "/f", "layer 0", "..  /f: layer 0"},
		{2, "/usr/lib/python3/dist-packages/module.py", "layer 0", "..  …hon3/dist-packages/module.py: layer 0"},
		{2, "/usr/lib/module.py", "no such name: whiteout in layer 2 at /usr/lib", "..\n      /usr/lib/module.py: no such name: whiteout in layer 2 at /usr/lib"},
		{2, strings.Repeat("/usr", 9), "no such name: whiteout in layer 2 at " + strings.Repeat("/usr", 9), "..\n      …sr/usr/usr/usr/usr/usr/usr/usr/usr: no such name: whiteout in layer …"},
		{30, "/usr/lib/python3/dist-packages/module.py", "layer 2", strings.Repeat(".", 30) + "\n      /usr/lib/python3/dist-packages/module.py: layer 2"},
		{60, "/f", "layer 2", strings.Repeat(".", 41) + "…\n      /f: layer 2"},
	} {
		var b strings.Builder
		p := newTracePrinter(&b, false)
		p.width = 76
		if p.rest(strings.Repeat(".", c.layers), c.path, c.verdict); p.out.Flush() != nil || b.String() != c.want+"\n" {
			t.Errorf("%+v: %q", c, b.String())
		}
		first, _, _ := strings.Cut(b.String(), "\n")
		if n := traceBegin + len([]rune(first)); n > p.width {
			t.Errorf("%+v: %d columns", c, n)
		}
	}
}

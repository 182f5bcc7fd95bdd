// How a trace looks: a line for each request, a column for each layer.

package cli

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"tiffin/internal/container/client"
	"tiffin/internal/container/control"
)

const traceLegend = "Columns, the upper directory (u) first, then the layers from the top; layer 0 is the bottom:\n" +
	"  #  has it              x  has a whiteout, which deletes it    -  was not asked\n" +
	"  .  has nothing there   o  an opaque directory hides it        !  has no directory where one is needed"

// traceSymbols stand for the answers of union.Answer.
var traceSymbols = map[string]byte{
	"not asked": '-', "miss": '.', "merged": '#', "hit": '#', "whiteout": 'x', "opaque": 'o',
	"not a directory": '!', "replaced": '!',
}

// traceColumns is one character for each layer.
func traceColumns(as []control.TraceAnswer) string {
	b := make([]byte, len(as))
	for i, a := range as {
		b[i] = '?'
		if s, ok := traceSymbols[a.Answer]; ok {
			b[i] = s
		}
	}
	return string(b)
}

// traceHeads is the heading of the columns: u, then the last digit of each layer.
func traceHeads(layers int) string {
	b := []byte{'u'}
	for n := layers - 1; n >= 0; n-- {
		b = append(b, byte('0'+n%10))
	}
	return string(b)
}

// traceVerdict says how a request was answered.
func traceVerdict(e *control.TraceEvent) string {
	var s string
	switch {
	case e.Error != "":
		s = e.Error
		if e.Note != "" {
			s += ": " + e.Note
		}
	case e.By != "":
		s = e.By
	case e.Op == "LOOKUP":
		s = "no such name" + traceReason(e)
	default:
		s = "done"
	}
	if e.Bytes > 0 {
		s += ", " + count(e.Bytes, "byte")
	}
	if e.Copied > 0 {
		s += fmt.Sprintf(", copied up %s%s", count(e.Copied, "byte"), amplification(e.Copied, e.Bytes))
	}
	return s
}

// traceReason names the layer that hides a name, if one does.
func traceReason(e *control.TraceEvent) string {
	for _, a := range e.Layers {
		at := ""
		if a.At != "" && a.At != e.Path {
			at = " at " + a.At
		}
		switch a.Answer {
		case "whiteout":
			return ": whiteout in " + a.Layer + at
		case "opaque":
			return ": opaque in " + a.Layer + at
		case "not a directory":
			return ": no directory in " + a.Layer + at
		}
	}
	return ""
}

// amplification is how many times more was copied than asked for.
func amplification(copied, asked int64) string {
	if asked == 0 {
		return ""
	}
	return fmt.Sprintf(" (%.1f×)", float64(copied)/float64(asked))
}

// traceSummary is the sum of a trace.
type traceSummary struct {
	ops                 map[string]int64
	read, written       int64 // bytes asked for
	copyUps             int64 // requests that copied data
	copied, askedCopied int64 // bytes: copied up, and asked for by the requests that did
	dropped             uint64
}

func (s *traceSummary) add(e *control.TraceEvent) {
	if e.Dropped > 0 {
		s.dropped += e.Dropped
		return
	}
	s.ops[e.Op]++
	switch e.Op {
	case "READ":
		s.read += e.Bytes
	case "WRITE", "COPY_FILE_RANGE":
		s.written += e.Bytes
	}
	if e.Copied > 0 {
		s.copyUps++
		s.copied += e.Copied
		s.askedCopied += e.Bytes
	}
}

func (s *traceSummary) print(w io.Writer) {
	total := int64(0)
	for _, n := range s.ops {
		total += n
	}
	fmt.Fprintf(w, "\n%d requests\n", total)
	// The most frequent first, equals by name.
	for _, op := range slices.SortedFunc(maps.Keys(s.ops), func(a, b string) int {
		if s.ops[a] != s.ops[b] {
			return int(s.ops[b] - s.ops[a])
		}
		return strings.Compare(a, b)
	}) {
		fmt.Fprintf(w, "%8d  %s\n", s.ops[op], op)
	}
	fmt.Fprintf(w, "%s asked for by reads, %d by writes\n", count(s.read, "byte"), s.written)
	fmt.Fprintf(w, "%s of data, %s%s\n", count(s.copyUps, "copy-up"), count(s.copied, "byte"), amplification(s.copied, s.askedCopied))
	if s.dropped > 0 {
		fmt.Fprintf(w, "%d further requests came too fast to be shown or counted above\n", s.dropped)
	}
}

// tracePrinter prints a trace. Its end may come from another goroutine than its events.
type tracePrinter struct {
	mu    sync.Mutex
	out   *bufio.Writer
	width int // columns of the terminal, 0: it is none
	json  bool
	start time.Time // of the first request
	sum   traceSummary
	err   error
	begun bool
	over  bool
}

func (p *tracePrinter) tracing(filter control.TraceFilter) client.Tracing {
	return client.Tracing{Filter: filter, Begin: p.begin, Event: p.event}
}

func (p *tracePrinter) begin(i control.TraceInfo) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begun = true
	if p.json {
		return
	}
	if i.Uncached {
		fmt.Fprintln(p.out, "The kernel asks about every name, attribute and write; what it has read of a\nfile it keeps.")
	} else {
		fmt.Fprintln(p.out, "The kernel remembers names, attributes and data: what it knows it does not ask\n"+
			"for, and writes come later and together. `tiffin run --trace` shows every use.")
	}
	fmt.Fprintf(p.out, "%10s %5s  %-15s ", "SECONDS", "PID", "OPERATION")
	p.rest(traceHeads(i.Layers), "PATH", "VERDICT")
	p.err = p.out.Flush()
}

func (p *tracePrinter) event(e *control.TraceEvent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over || p.err != nil {
		return
	}
	p.sum.add(e)
	switch {
	case p.json:
		p.err = json.NewEncoder(p.out).Encode(e)
	case e.Dropped > 0:
		fmt.Fprintf(p.out, "%10s %d requests came too fast to be shown\n", "…", e.Dropped)
	default:
		p.line(e)
	}
	if err := p.out.Flush(); p.err == nil {
		p.err = err
	}
}

func (p *tracePrinter) line(e *control.TraceEvent) {
	if p.start.IsZero() {
		p.start = e.Time
	}
	fmt.Fprintf(p.out, "%10.6f %5d  %-15s ", e.Time.Sub(p.start).Seconds(), e.PID, e.Op)
	p.rest(traceColumns(e.Layers), printable(e.Path), traceVerdict(e))
}

// The columns of a line: what is before the layers; how far path and verdict are indented where
// they do not fit beside them, and get a line of their own.
const (
	traceBegin  = 34
	traceIndent = 6
)

// rest prints the layers' columns, path and verdict. On a terminal no line is wider than that: of a
// long path the end is shown, and of more layers than there is room for the upper ones.
func (p *tracePrinter) rest(layers, path, verdict string) {
	if p.width == 0 {
		fmt.Fprintf(p.out, "%s  %s: %s\n", layers, path, verdict)
		return
	}
	layers = shorten(layers, max(2, p.width-traceBegin))
	letters, verdictLen := []rune(path), len([]rune(": "+verdict))
	between, room := "  ", p.width-traceBegin-len([]rune(layers))-2
	if room < min(len(letters), 12)+verdictLen {
		between, room = "\n"+strings.Repeat(" ", traceIndent), max(p.width-traceIndent, 24)
	}
	if most := max(room-verdictLen, room/2); len(letters) > most {
		path = "…" + string(letters[len(letters)-most+1:])
	}
	fmt.Fprintf(p.out, "%s%s%s\n", layers, between, shorten(path+": "+verdict, room))
}

// finish prints the summary; nothing follows.
func (p *tracePrinter) finish() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	if p.begun && !p.json && p.err == nil {
		p.sum.print(p.out)
		p.err = p.out.Flush()
	}
	if p.err != nil {
		return fmt.Errorf("print the trace: %w", p.err)
	}
	return nil
}

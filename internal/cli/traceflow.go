// How a trace of a network looks: a line for each question, connection and echo.

package cli

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"tiffin/internal/container/client"
	"tiffin/internal/container/control"
	"tiffin/internal/network"
)

// flowNames is how many characters of a name and its answers are shown; with the columns before
// them a line has 80. flowBegin is how many columns are before addresses.
const (
	flowNames = 53
	flowBegin = 46
)

// flowPrinter prints a trace of a network.
type flowPrinter struct {
	out   *bufio.Writer
	width int // columns of the terminal, 0: it is none
	json  bool
	start time.Time // of the first event
	err   error
}

// newFlowPrinter prints a trace on w, for people or as JSON.
func newFlowPrinter(w io.Writer, json bool) *flowPrinter {
	return &flowPrinter{out: bufio.NewWriter(&plainText{to: w}), width: columnsOf(w), json: json}
}

func (p *flowPrinter) tracing() client.Tracing {
	return client.Tracing{Filter: control.TraceFilter{Network: true}, Begin: p.begin, Event: p.event}
}

func (p *flowPrinter) begin(control.TraceInfo) {
	if !p.json {
		fmt.Fprintf(p.out, "%9s %-4s %-11s %8s %8s  %s\n", "SECONDS", "KIND", "RESULT", "OUT", "IN", "TO")
		p.err = p.out.Flush()
	}
}

func (p *flowPrinter) event(t *control.TraceEvent) {
	e := t.Flow
	if p.err != nil || e == nil {
		return
	}
	if p.json {
		p.err = printJSON(p.out, e, "")
	} else {
		p.line(e)
	}
	if err := p.out.Flush(); p.err == nil {
		p.err = err
	}
}

func (p *flowPrinter) line(e *network.Flow) {
	if e.Dropped > 0 {
		fmt.Fprintf(p.out, "%9s %d events came too fast to be shown\n", "…", e.Dropped)
	}
	if p.start.IsZero() {
		p.start = e.Time
	}
	fmt.Fprintf(p.out, "%9.3f %-4s %-11s ", e.Time.Add(e.Duration).Sub(p.start).Seconds(), printable(e.Protocol), printable(e.Result))
	switch {
	case e.Protocol == network.DNS:
		fmt.Fprintln(p.out, shorten(printable(strings.Join(append([]string{e.Question}, e.Answers...), " ")), flowNames))
	case e.Protocol == network.Echo, e.Result == network.Open:
		fmt.Fprintf(p.out, "%8s %8s%s\n", "", "", p.parties(e))
	default:
		fmt.Fprintf(p.out, "%8s %8s%s\n", size(e.Sent), size(e.Received), p.parties(e))
	}
}

// parties are who was asked, and who has asked if that was not the container. Where a terminal has
// no room for them they get lines of their own.
func (p *flowPrinter) parties(e *network.Flow) string {
	show := func(a netip.AddrPort) string {
		if e.Protocol == network.Echo {
			return a.Addr().String()
		}
		return a.String()
	}
	to, from, own := show(e.To), "", "\n"+strings.Repeat(" ", traceIndent)
	if e.From.IsValid() {
		from = " from " + show(e.From)
	}
	switch n := len(to + from); {
	case p.width == 0 || n <= p.width-flowBegin:
		return "  " + to + from
	case n <= p.width-traceIndent:
		return own + to + from
	}
	return own + to + own + strings.TrimSpace(from)
}

// shorten cuts text of one line to a number of characters.
func shorten(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

// finish ends the trace.
func (p *flowPrinter) finish() error {
	if p.err != nil {
		return fmt.Errorf("print the trace: %w", p.err)
	}
	return nil
}

package cli

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"tiffin/internal/container/control"
	"tiffin/internal/network"
)

// TestFlowLines: every kind of line, none of more than 80 characters, and nothing of a stranger's
// that a terminal would obey.
func TestFlowLines(t *testing.T) {
	var out bytes.Buffer
	p := newFlowPrinter(&out, false)
	p.width = 80
	p.begin(control.TraceInfo{})
	at := time.Unix(1, 0)
	to := netip.MustParseAddrPort("[2001:db8::1]:443")
	for _, e := range []network.Flow{
		{Protocol: network.DNS, Question: "example.org. A", Answers: []string{"192.0.2.1"}, Result: network.Answered},
		{Protocol: network.DNS, Question: "\x1b[31mred\nline. A", Result: "NXDOMAIN"},
		{Protocol: network.DNS, Question: strings.Repeat("ä", 200) + ". AAAA", Result: network.TimedOut},
		{Protocol: network.TCP, To: to, Result: network.Open},
		{Protocol: network.TCP, To: to, Sent: 5, Received: 12_345_678, Duration: 2 * time.Second, Result: network.Closed},
		{Protocol: network.TCP, To: to, Result: network.Unreachable, Dropped: 3},
		{Protocol: network.TCP, To: netip.MustParseAddrPort("127.0.0.1:80"), From: netip.MustParseAddrPort("192.0.2.1:43210"), Sent: 1, Result: network.Reset},
		{Protocol: network.UDP, To: netip.MustParseAddrPort("[2001:db8:1111:2222::1]:443"), From: to, Result: network.Closed},
		{Protocol: network.TCP, To: netip.MustParseAddrPort("[2001:db8:1111:2222:3333:4444:5555:6666]:443"), From: netip.MustParseAddrPort("[2001:db8:1111:2222:3333:4444:5555:7777]:443"), Result: network.Open},
		{Protocol: network.Echo, To: netip.AddrPortFrom(to.Addr(), 0), Result: network.Answered},
	} {
		e.Time = at
		p.event(&control.TraceEvent{Flow: &e})
	}
	want := `  SECONDS KIND RESULT           OUT       IN  TO
    0.000 dns  answered    example.org. A 192.0.2.1
    0.000 dns  NXDOMAIN    \u001b[31mred\u000aline. A
    0.000 dns  timed out   ` + strings.Repeat("ä", flowNames-1) + `…
    0.000 tcp  open                           [2001:db8::1]:443
    2.000 tcp  closed            5B   12.3MB  [2001:db8::1]:443
        … 3 events came too fast to be shown
    0.000 tcp  unreachable       0B       0B  [2001:db8::1]:443
    0.000 tcp  reset             1B       0B  127.0.0.1:80 from 192.0.2.1:43210
    0.000 udp  closed            0B       0B
      [2001:db8:1111:2222::1]:443 from [2001:db8::1]:443
    0.000 tcp  open                         
      [2001:db8:1111:2222:3333:4444:5555:6666]:443
      from [2001:db8:1111:2222:3333:4444:5555:7777]:443
    0.000 icmp answered                       2001:db8::1
`
	if got := out.String(); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	for line := range strings.Lines(out.String()) {
		if utf8.RuneCountInString(line) > 81 {
			t.Errorf("too long: %s", line)
		}
	}
}

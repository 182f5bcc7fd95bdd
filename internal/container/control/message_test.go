// The messages are what appendix A of the book shows, and come back as they were sent.

package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"tiffin/image/layer"
	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
	"tiffin/internal/treecopy"
	"tiffin/internal/wire"
	"tiffin/ns"
)

// connection returns both ends of one.
func connection(t *testing.T) (a, b *Conn) {
	t.Helper()
	mine, f, err := wire.Pair()
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := wire.Open(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mine.Close(); theirs.Close() })
	mine.SetDeadline(time.Now().Add(time.Minute))
	theirs.SetDeadline(time.Now().Add(time.Minute))
	return &Conn{mine}, &Conn{theirs}
}

func TestMessagesAreWrittenAsTheBookShows(t *testing.T) {
	book, err := os.ReadFile("../../../tutorial/book/a-formats.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []struct {
		m    Message
		want string
	}{
		{Message{Op: OpCounts}, `{"op":"counts"}`},
		{Message{Op: OpSignal, Signal: 15}, `{"op":"signal","signal":15}`},
		{Message{Op: OpWait}, `{"op":"wait"}`},
		{Message{Op: AnsExit, Exit: 143}, `{"op":"exit","exit":143}`},
		{Message{Op: AnsOK, NumFiles: 1}, `{"op":"ok","files":1}`},
		{Message{Op: AnsOK}, `{"op":"ok"}`},
	} {
		got, err := json.Marshal(&e.m)
		if err != nil || string(got) != e.want {
			t.Errorf("%s, %v; want %s", got, err, e.want)
		}
		if !strings.Contains(string(book), e.want) {
			t.Errorf("the book does not have %s", e.want)
		}
	}
}

func TestMessagesComeBackAsTheyWere(t *testing.T) {
	for _, m := range []*Message{
		{Op: OpStart, Start: &Start{Dir: "/d", Union: "/u", Flats: []string{"/f"}, Blocks: []string{"/b"}, Rows: 65535, Notes: []ns.Note{{What: "w"}}, Trace: &TraceFilter{Ops: []string{"READ"}}}},
		{Op: OpExec, Exec: &Exec{Args: []string{"a b", "\x00\n", "é"}, Env: []string{"A="}, TTY: true}},
		{Op: OpStop, Signal: 9, Seconds: -1},
		{Op: OpShell, Shell: &Shell{Done: 3, Env: []string{"X=1"}}},
		{Op: OpCopy, Copy: &Copy{Op: CopyPack, Path: "/p", Follow: true}},
		{Op: AnsOK, Copied: &Copied{Info: treecopy.Info{Exists: true}, Bytes: 1 << 40}, Counts: map[string]uint64{"READ": 1 << 63}},
		{Op: AnsEvent, Event: &TraceEvent{Time: time.Unix(1, 2).UTC(), PID: 7, Layers: []TraceAnswer{{Layer: "upper", Answer: "miss"}}, Dropped: 3}},
		{Op: AnsReport, Report: &ns.Report{N: 1, Step: "s", Calls: []string{"c"}, Took: time.Second}},
		{Op: AnsUnpacking, Unpacked: 1 << 40, Unpacking: 1 << 41},
		{Op: OpDiff, Upper: &disk.Upper{Dir: "/u", Made: []string{"/m"}}, PID: 3},
	} {
		a, b := connection(t)
		if err := a.Send(m); err != nil {
			t.Fatal(err)
		}
		got, err := b.Receive()
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%s: %+v, %v", m.Op, got, err)
		}
	}
}

func TestErrorsAreAnswers(t *testing.T) {
	a, b := connection(t)
	for _, sent := range []error{
		errors.New("plain"), errs.Hint(errors.New("hinted"), "do this"), errs.Code(errors.New("coded"), 126), fmt.Errorf("index: %w", layer.ErrCorrupt), nil,
	} {
		go func() {
			_, _ = b.Receive()
			b.Reply(sent)
		}()
		_, err := a.Call(&Message{Op: OpWait})
		switch {
		case sent == nil && err != nil, sent != nil && err == nil:
			t.Errorf("%v became %v", sent, err)
		case sent != nil:
			if err.Error() != sent.Error() || errs.HintOf(err) != errs.HintOf(sent) || errs.CodeOf(err, 0) != errs.CodeOf(sent, 0) || errors.Is(err, layer.ErrCorrupt) != errors.Is(sent, layer.ErrCorrupt) {
				t.Errorf("%v became %v", sent, err)
			}
		}
	}
	// What a side says before it hangs up is heard, and then that it is gone.
	b.Fail(errors.New("no more"))
	b.Close()
	if _, err := a.Call(&Message{Op: OpWait}); err == nil || err.Error() != "no more" {
		t.Error(err)
	}
	if _, err := a.Call(&Message{Op: OpWait}); !errors.Is(err, ErrGone) {
		t.Error(err)
	}
	if _, err := a.Receive(); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

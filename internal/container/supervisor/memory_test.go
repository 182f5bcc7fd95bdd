// What is remembered of a start, and what an idle supervisor gives back.

package supervisor

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"tiffin/ns"
)

func TestWhatIsRememberedHasLimits(t *testing.T) {
	span := func(n int64) ns.Span { return ns.Span{Path: "/x", Len: n} }
	for _, e := range []struct {
		spans []ns.Span
		want  int
	}{
		{nil, 0},
		{[]ns.Span{span(1), span(2)}, 2},
		{make([]ns.Span, startSpans+10), startSpans},
		{[]ns.Span{span(startBytes), span(1)}, 1},
		{[]ns.Span{span(1), span(startBytes)}, 1},
		{[]ns.Span{span(1), span(-1), span(1)}, 1},
		{[]ns.Span{{Off: -1}}, 0},
		{[]ns.Span{span(1), span(1<<63 - 1), span(1<<63 - 1)}, 1}, // whose sum would be small again
	} {
		if got := withinLimits(e.spans); len(got) != e.want {
			t.Errorf("%d of %d, want %d", len(got), len(e.spans), e.want)
		}
	}
}

func TestAHintThatIsDamagedIsNone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "starts")
	many := starts{}
	for i := range startCommands + 1 {
		many[strconv.Itoa(i)] = nil
	}
	tooMany, _ := json.Marshal(many)
	for _, text := range []string{"", "{", `{"sh":7}`, "[]", string(tooMany)} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if m := readStarts(path); m == nil || len(m) != 0 {
			t.Errorf("%q: %v", text, m)
		}
	}
	if err := os.WriteFile(path, []byte(`{"sh":[{"Path":"/bin/sh","Off":0,"Len":4096},{"Path":"/x","Off":0,"Len":-1}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if m := readStarts(path); len(m["sh"]) != 1 || m["sh"][0].Path != "/bin/sh" {
		t.Errorf("%v", m)
	}
	if m := readStarts(path + ".nosuch"); m == nil || len(m) != 0 {
		t.Errorf("%v", m)
	}
}

// TestWhatIsWorthRememberingIsWritten, for one more program, up to a number of them.
func TestWhatIsWorthRememberingIsWritten(t *testing.T) {
	s := fake(t)
	s.req.Starts = filepath.Join(t.TempDir(), "starts")
	s.remember() // nobody has asked for it
	if _, err := os.Stat(s.req.Starts); err == nil {
		t.Error("remembered without being asked to")
	}
	full := starts{}
	for i := range startCommands {
		full[strconv.Itoa(i)] = []ns.Span{{Path: "/old", Len: 1}}
	}
	full["0"] = nil
	delete(full, "1")
	full[s.command()] = []ns.Span{{Path: "/old", Len: 1}}
	text, _ := json.Marshal(full)
	if err := os.WriteFile(s.req.Starts, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if spans := s.foresee(); len(spans) != 1 || spans[0].Path != "/old" {
		t.Errorf("%v", spans)
	}
	s.remember() // this time it has read nothing
	if m := readStarts(s.req.Starts); len(m) > startCommands || len(m[s.command()]) != 0 {
		t.Errorf("%v", m)
	}
	s.req.Idle = true
	if s.foresee() != nil {
		t.Error("read ahead where no command runs")
	}
}

// resident is how much of a mapping is in this process's memory, in KiB.
func resident(t *testing.T, b []byte, field string) (kb int) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut("\n"+string(text), fmt.Sprintf("\n%x-", uintptr(unsafe.Pointer(&b[0]))))
	_, rest, found := strings.Cut(rest, "\n"+field+":")
	if !ok || !found {
		t.Fatal("the mapping is not there")
	}
	if _, err := fmt.Sscan(rest, &kb); err != nil {
		t.Fatal(err)
	}
	return kb
}

func TestPagesThatCanBeReadAgainAreGivenBack(t *testing.T) {
	const size = 4 << 20
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	clean, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(clean)
	dirty, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(dirty)
	for i := 0; i < size; i += 4096 {
		_ = clean[i]
		dirty[i] = 7
	}
	if err := unix.Mprotect(dirty, unix.PROT_READ); err != nil { // as a linker's tables are
		t.Fatal(err)
	}
	sum := 0
	for i := 0; i < size; i += 4096 {
		sum += int(clean[i])
	}
	if before := resident(t, clean, "Rss"); before < size/1024/2 || sum != 0 {
		t.Skipf("only %d KiB were ever resident", before)
	}
	dropFilePages()
	if after := resident(t, clean, "Rss"); after > size/1024/10 {
		t.Errorf("%d KiB of the file are still resident", after)
	}
	for i := 0; i < size; i += 4096 {
		if dirty[i] != 7 {
			t.Fatal("what was written is lost")
		}
	}
}

func TestAllStopped(t *testing.T) {
	for states, want := range map[string]bool{"": true, "T": true, "Tt": true, "TZX": true, "TR": false, "S": false, "D": false} {
		var ps []process
		for _, c := range []byte(states) {
			ps = append(ps, process{state: c})
		}
		if allStopped(ps) != want {
			t.Errorf("%q: %v", states, !want)
		}
	}
}

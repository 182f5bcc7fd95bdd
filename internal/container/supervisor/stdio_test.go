package supervisor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tiffin/internal/container/disk"
)

func TestLogHasOneEntryForALineWrittenInPieces(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	o := &stream{name: "stdout", log: &disk.LogWriter{Path: path}}
	for _, p := range []string{"one", "\n", "two\nthr", "ee\n", strings.Repeat("x", maxLine+10), "\n", "half"} {
		o.record([]byte(p), false)
	}
	o.record(nil, true)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`{"log":"one\n"`, `{"log":"two\n"`, `{"log":"three\n"`, `{"log":"half"`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no entry %s in\n%.300s", want, b)
		}
	}
}

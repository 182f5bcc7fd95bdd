package container

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLogHasOneEntryForALineWrittenInPieces(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	o := &stream{name: "stdout", src: r, log: &logWriter{path: path}}
	done := make(chan struct{})
	go func() { o.pump(); close(done) }()
	long := strings.Repeat("x", maxLine+10)
	for _, s := range []string{"one", "\n", "two\nthr", "ee\n", long, "\n", "half"} {
		io.WriteString(w, s)
	}
	w.Close()
	<-done
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

package gradebook

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tiffin/tutorial"
)

var update = flag.Bool("update", false, "write the golden files anew")

// results have every kind of outcome, and characters that one of the formats must escape.
var results = map[string]*tutorial.Result{
	"passed": {Lab: "01-image-is-files", Title: "An image is files", Seed: "first", State: tutorial.Passed, Points: 5, Of: 5, Checks: []tutorial.Check{
		{Name: "the layer is named", State: tutorial.Passed, Points: 5, Evidence: "sha256:0123"},
		{Name: "nothing was added", State: tutorial.Passed},
	}},
	"failed": {Lab: "01-image-is-files", Title: `An <image> is "files" & more`, Seed: "second # seed", State: tutorial.Failed, Points: 2, Of: 10, Checks: []tutorial.Check{
		{Name: "the layer is named", State: tutorial.Passed, Points: 2, Evidence: "two\nlines"},
		{Name: `the digest of #1 is \ "right"`, State: tutorial.Failed, Points: 8, Expected: "<a> & 'b' ]]> : {c}",
			Found: "\ufffd[2J… \tx\n---\n...\nok 3 - forged", Why: "The name is not the content: a ≠ b."},
	}},
	"unsupported": {Lab: "12-chown-rootless", Title: "Why chown fails", Seed: "first", State: tutorial.Unsupported,
		Why: "subordinate ids: no line for \"bob\"\n in /etc/subuid", Checks: []tutorial.Check{}},
}

// TestFormatsAreAsWrittenDown compares with testdata/golden; -update writes it.
func TestFormatsAreAsWrittenDown(t *testing.T) {
	for name, res := range results {
		for _, format := range Formats() {
			got, err := Format(res, format)
			if err != nil {
				t.Errorf("%s as %s: %v", name, format, err)
				continue
			}
			path := filepath.Join("testdata/golden", name+"."+format)
			if *update {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s is not as written down (%v):\n%s", path, err, got)
			}
		}
	}
	if _, err := Format(results["passed"], "yaml"); err == nil {
		t.Error("an unknown format")
	}
}

// TestFormatsCanBeRead by programs that know nothing of tiffin: what went in
// comes out.
func TestFormatsCanBeRead(t *testing.T) {
	res := results["failed"]
	read := func(format string) []byte {
		b, err := Format(res, format)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	var again tutorial.Result
	if err := json.Unmarshal(read("json"), &again); err != nil || !slices.Equal(again.Checks, res.Checks) {
		t.Errorf("%+v, %v", again, err)
	}
	var x struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Cases    []struct {
			Name    string `xml:"name,attr"`
			Failure string `xml:"failure"`
		} `xml:"testsuite>testcase"`
	}
	if err := xml.Unmarshal(read("junit"), &x); err != nil || x.Tests != 2 || x.Failures != 1 ||
		x.Cases[1].Name != res.Checks[1].Name || !strings.HasSuffix(x.Cases[1].Failure, res.Checks[1].Found) {
		t.Errorf("%+v, %v", x, err)
	}
	var g gradescopeResults
	if err := json.Unmarshal(read("gradescope"), &g); err != nil || g.Score != nil || g.Tests[0].Score != 2 || g.Tests[1].Score != 0 || g.Tests[1].Max != 8 {
		t.Errorf("%+v, %v", g, err)
	}
	// A line that begins with ok or not ok is a test point, and there are two.
	points := 0
	for line := range strings.Lines(string(read("tap"))) {
		if strings.HasPrefix(line, "ok ") || strings.HasPrefix(line, "not ok ") {
			points++
		}
	}
	if points != 2 {
		t.Errorf("%d test points:\n%s", points, read("tap"))
	}
}

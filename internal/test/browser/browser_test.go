package browser

import (
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func page(t *testing.T, html string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "page.html")
	if err := os.WriteFile(file, []byte("<!doctype html><meta charset=utf-8>"+html), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// recorder takes the place of a test, to see what becomes of it.
type recorder struct {
	testing.TB
	errors []string
}

func (r *recorder) Helper() {}
func (r *recorder) Errorf(format string, args ...any) {
	r.errors = append(r.errors, strings.SplitN(format, "%", 2)[0])
}

func TestAPageIsShownPressedAndDrawn(t *testing.T) {
	p := Open(t, page(t, `<style>@media print { p { display: none } }</style>
		<details><summary>more</summary><p>é within</p></details>`), 1280)
	if got := p.Eval("innerWidth"); got != "1280" {
		t.Errorf("%s wide", got)
	}
	p.Press("Tab")
	p.Press("Enter")
	if dom := p.DOM(); !strings.Contains(dom, "<details open") || !strings.Contains(dom, "é within") {
		t.Error(dom)
	}
	p.Resize(320)
	f, err := os.Open(p.Screenshot("narrow"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if img, err := png.Decode(f); err != nil || img.Bounds().Dx() != 320 {
		t.Errorf("%v, %v", img.Bounds(), err)
	}
	p.Print()
	if got := p.Eval("getComputedStyle(document.querySelector('p')).display"); got != "none" {
		t.Errorf("printed as %s", got)
	}
}

func TestWhatAPageMayNotDoFailsItsTest(t *testing.T) {
	r := &recorder{TB: t}
	p := Open(r, page(t, `<img src="http://tiffin.invalid/x.png"><div style="width: 500px">.</div><script>throw new Error("no")</script>`), 400)
	p.Screenshot("wide")
	got := strings.Join(r.errors, "; ")
	for _, want := range []string{"the page asks for ", "JavaScript: ", "the page is "} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %s", want, got)
		}
	}
}

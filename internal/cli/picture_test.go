package cli_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"tiffin/internal/test/browser"
)

// TestAPictureShowsWhatHappened: a run is drawn, and a browser asked whether the page says what
// --explain and why say.
func TestAPictureShowsWhatHappened(t *testing.T) {
	for _, p := range people(t) {
		t.Run(p.name, func(t *testing.T) {
			need(t, p)
			store := p.home(t)
			file := filepath.Join(filepath.Dir(store), "run.html")
			tiffin := func(args ...string) string { return strings.TrimSpace(p.as(t, store, "", binary, args...)) }
			tiffin("picture", "run", "-o", file, "--name", "cook", "--without", "uts", "tiffin/base", "sh", "-c", "touch /$(printf 'turned\\342\\200\\256\\033'); rm /etc/shells; echo x >> /etc/passwd; cat /etc/group > /dev/null")
			page := browser.Open(t, file, 1280)
			eval := func(format string, args ...any) string { return page.Eval(fmt.Sprintf(format, args...)) }
			// This machine; three of the supervisor; all but one of the container; the process.
			if got := eval(`document.querySelectorAll('.box').length + [...document.querySelectorAll('.box')].map(b => ' ' + b.classList[1]).join('')`); got != "11 host user mnt pid user mnt pid net ipc cgroup process" {
				t.Errorf("the boxes are %s", got)
			}
			if got := eval(`showStep( 1 ), document.querySelectorAll('.box:not(.later)').length`); got != "5" {
				t.Errorf("after the first step there are %s boxes", got)
			}
			if got := eval(`[...document.querySelectorAll('.mark')].filter(m => ['proc', 'loopback', 'exec'].includes(m.textContent)).map(m => m.textContent + ' ' + m.closest('.box').classList[1]).join()`); got != "exec process,loopback net,proc mnt" {
				t.Errorf("the marks are %s", got)
			}
			for _, path := range []string{"/", "/etc", "/etc/shells", "/etc/passwd", "/etc/group", "/bin/sh", "/none", "/etc/shells/x"} {
				got := eval(`showPath(%q), document.querySelector('.decides').dataset.layer + ': ' + [...document.querySelectorAll('.says')].map(s => s.textContent).join('|')`, path)
				why := p.as(t, store, "", "sh", "-c", binary+" why --format json cook "+path+" || true") // 1: it is not there
				want, says := "nobody: ", []string{}
				for d := json.NewDecoder(strings.NewReader(why)); d.More(); {
					var a struct {
						Layer, Entry string
						Decides      bool
					}
					if err := d.Decode(&a); err != nil {
						t.Fatal(err)
					}
					if a.Decides {
						want = a.Layer + ": "
					}
					says = append(says, a.Entry)
				}
				for _, s := range append(says, want) {
					if !strings.Contains(got, s) {
						t.Errorf("%s: the page has %q, why says %s%q", path, got, want, says)
					}
				}
			}
			// A name that a terminal obeys is found, and stands in the page as escapes.
			if got := eval(`showPath('/turned\u202e\u001b'), document.querySelector('.decides').dataset.layer`); got != "upper" {
				t.Errorf("%s has the name", got)
			}
			if html, err := os.ReadFile(file); err != nil || bytes.ContainsAny(html, "\u202e\x1b") {
				t.Errorf("the page has what it should escape, or %v", err)
			}
			if n, _ := strconv.Atoi(eval(`document.querySelectorAll('.lane rect').length`)); n < 20 {
				t.Errorf("%d requests", n)
			}
			if got := eval(`[...document.querySelectorAll('[data-lane="layer 0"] title')].some(t => t.textContent.includes(' LOOKUP /etc/group: layer 0'))`); got != "true" {
				t.Error("the lane of layer 0 has no question for /etc/group")
			}
			page.Screenshot("wide")
			page.Resize(400)
			page.Screenshot("narrow")
			tiffin("rm", "cook")
		})
	}
}

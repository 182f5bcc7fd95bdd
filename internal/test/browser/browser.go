// Package browser shows a page to chromium, for tests of pages that tiffin writes.
//
//	p := browser.Open(t, "page.html", 1280)  // in a window 1280 pixels wide
//	p.Press("Tab"); p.Press("Enter")         // real keys, as a person's
//	p.Eval("document.activeElement.id")      // what JavaScript says
//	p.DOM()                                  // the tree now, as HTML
//	p.Screenshot("wide")                     // of the whole page; go test -artifacts keeps it
//	p.Resize(400)                            // as a phone has it
//	p.Print()                                // as paper has it, in what follows
//
// A test fails if the page asks for anything but itself, if its JavaScript throws, and if the whole
// page is wider than its window. Without chromium the test is skipped, or fails if TIFFIN_MUST has
// "browser".
//
// The browser is spoken to as its developer tools do, by JSON that ends with a null byte, on the
// descriptors 3 and 4: https://chromedevtools.github.io/devtools-protocol/ and, in chromium's
// sources, content/browser/devtools/devtools_pipe_handler.cc.
package browser

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tiffin/internal/test/must"
)

// Page is a page in a browser of its own.
type Page struct {
	t       testing.TB
	url     string
	in      *os.File
	out     *bufio.Reader
	session string
	n       int  // messages sent
	loaded  bool // since it was opened
	lost    bool // the browser has ended
}

// Open shows a file in a window of the width, in pixels. The browser ends with the test.
func Open(t testing.TB, file string, width int) *Page {
	t.Helper()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		must.Skip(t, "browser", "chromium is not installed; .ci/run installs it: %v", err)
	}
	file, err = filepath.Abs(file)
	if err != nil {
		t.Fatal(err)
	}
	p := &Page{t: t, url: "file://" + file}
	p.start(chromium)
	var made struct{ TargetID, SessionID string }
	p.ask("Target.createTarget", params{"url": "about:blank"}, &made)
	p.ask("Target.attachToTarget", params{"targetId": made.TargetID, "flatten": true}, &made)
	p.session = made.SessionID
	for _, domain := range []string{"Page", "Network", "Runtime"} {
		p.ask(domain+".enable", nil, nil)
	}
	p.Resize(width)
	p.ask("Page.navigate", params{"url": p.url}, nil)
	for !p.loaded {
		p.hear()
	}
	return p
}

// start starts a browser that may take two minutes, on a machine that has more to do.
func (p *Page) start(chromium string) {
	p.t.Helper()
	theirIn, in, err := os.Pipe()
	if err != nil {
		p.t.Fatal(err)
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		p.t.Fatal(err)
	}
	home := p.t.TempDir()
	args := []string{"--headless", "--remote-debugging-pipe", "--user-data-dir=" + home, "--disable-gpu", "--disable-dev-shm-usage",
		"--hide-scrollbars", "--no-first-run", "--disable-background-networking", "--disable-component-update", "about:blank"}
	if os.Geteuid() == 0 {
		args = append([]string{"--no-sandbox"}, args...) // it refuses root otherwise
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	cmd := exec.CommandContext(ctx, chromium, args...)
	var said bytes.Buffer
	cmd.Env, cmd.Stderr, cmd.WaitDelay = append(os.Environ(), "HOME="+home), &said, time.Second
	cmd.ExtraFiles = []*os.File{theirIn, theirOut}
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	theirIn.Close()
	theirOut.Close()
	p.in, p.out = in, bufio.NewReader(out)
	p.t.Cleanup(func() {
		p.session = ""
		if !p.lost {
			p.ask("Browser.close", nil, nil) // and its profile is written no more
		}
		in.Close()
		cancel()
		if cmd.Wait(); p.lost {
			p.t.Logf("%s", said.Bytes())
		}
		out.Close()
	})
}

type params map[string]any

// ask sends a command and waits for its answer.
func (p *Page) ask(method string, with params, answer any) {
	p.t.Helper()
	p.n++
	message := params{"id": p.n, "method": method, "params": with}
	if with == nil {
		message["params"] = params{}
	}
	if p.session != "" {
		message["sessionId"] = p.session
	}
	b, err := json.Marshal(message)
	if err == nil {
		_, err = p.in.Write(append(b, 0))
	}
	if err != nil {
		p.t.Fatal(err)
	}
	for {
		id, result := p.hear()
		if id != p.n {
			continue
		}
		if answer != nil {
			err = json.Unmarshal(result, answer)
		}
		if err != nil {
			p.t.Fatalf("%s: %v", method, err)
		}
		return
	}
}

// hear reads one message: an answer, or something that has happened.
func (p *Page) hear() (id int, result json.RawMessage) {
	p.t.Helper()
	b, err := p.out.ReadBytes(0)
	var said struct {
		ID     int
		Method string
		Result json.RawMessage
		Error  *struct{ Message string }
		Params struct {
			Request          struct{ URL string }
			ExceptionDetails json.RawMessage
		}
	}
	if err == nil {
		err = json.Unmarshal(b[:len(b)-1], &said)
	}
	switch url := said.Params.Request.URL; {
	case err != nil:
		p.lost = true
		p.t.Fatalf("the browser says nothing more: %v", err)
	case said.Error != nil:
		p.t.Fatalf("the browser refuses: %s", said.Error.Message)
	case said.Method == "Page.loadEventFired":
		p.loaded = true
	case said.Method == "Runtime.exceptionThrown":
		p.t.Errorf("JavaScript: %s", said.Params.ExceptionDetails)
	case said.Method == "Network.requestWillBeSent" && url != p.url && !strings.HasPrefix(url, "data:"):
		p.t.Errorf("the page asks for %s", url)
	}
	return said.ID, said.Result
}

// Resize makes the window so many pixels wide.
func (p *Page) Resize(width int) {
	p.t.Helper()
	p.ask("Emulation.setDeviceMetricsOverride", params{"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": false}, nil)
}

// Print shows the page as it would be printed.
func (p *Page) Print() {
	p.t.Helper()
	p.ask("Emulation.setEmulatedMedia", params{"media": "print"}, nil)
}

// Eval returns the value of an expression of JavaScript, printed as fmt.Sprint does.
func (p *Page) Eval(expression string) string {
	p.t.Helper()
	var got struct {
		Result           struct{ Value any }
		ExceptionDetails json.RawMessage
	}
	p.ask("Runtime.evaluate", params{"expression": expression, "returnByValue": true, "awaitPromise": true}, &got)
	if got.ExceptionDetails != nil {
		p.t.Fatalf("%s: %s", expression, got.ExceptionDetails)
	}
	return fmt.Sprint(got.Result.Value)
}

// DOM is the tree as it is now, as HTML.
func (p *Page) DOM() string {
	p.t.Helper()
	return p.Eval("document.documentElement.outerHTML")
}

// keys are those of the UI Events specification that Press knows, with the code that Windows gave
// them, and what they type.
var keys = map[string]struct {
	code int
	text string
}{
	"Tab": {9, ""}, "Enter": {13, "\r"}, "Escape": {27, ""}, " ": {32, " "}, "End": {35, ""}, "Home": {36, ""},
	"ArrowLeft": {37, ""}, "ArrowUp": {38, ""}, "ArrowRight": {39, ""}, "ArrowDown": {40, ""},
}

// Press presses a key and lets it go.
func (p *Page) Press(key string) {
	p.t.Helper()
	k, ok := keys[key]
	if !ok {
		p.t.Fatalf("%q is none of the keys that this package knows", key)
	}
	with := params{"type": "keyDown", "key": key, "code": key, "windowsVirtualKeyCode": k.code, "text": k.text}
	p.ask("Input.dispatchKeyEvent", with, nil)
	with["type"] = "keyUp"
	p.ask("Input.dispatchKeyEvent", with, nil)
}

// Screenshot draws the whole page into the test's directory for artifacts and returns the file.
// A page that has to be moved sideways to be read is a failure.
func (p *Page) Screenshot(name string) string {
	p.t.Helper()
	if wide := p.Eval("document.documentElement.scrollWidth > innerWidth"); wide == "true" {
		p.t.Errorf("the page is %s pixels wide, its window %s: %s", p.Eval("document.documentElement.scrollWidth"), p.Eval("innerWidth"), name)
	}
	var got struct{ Data string }
	p.ask("Page.captureScreenshot", params{"captureBeyondViewport": true}, &got)
	png, err := base64.StdEncoding.DecodeString(got.Data)
	file := filepath.Join(p.t.ArtifactDir(), name+".png")
	if err == nil {
		err = os.WriteFile(file, png, 0o644)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return file
}

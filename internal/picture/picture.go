// Package picture draws a page of HTML for a browser: how a container starts, the stack of layers
// under it and what falls through them, what each instruction has added, and the requests to its
// files in time. It prints nothing and asks nobody; what it draws is handed to it.
//
// A page is one file. It holds all it needs, and its policy lets the browser fetch nothing and run
// no script but the one that is here. Most of what is drawn was written by strangers: html/template
// escapes it for the place it stands in, and the script puts text into the page as text alone.
// Without scripts, and on paper, all is shown at once.
package picture

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"

	"github.com/docker/go-units"

	"tiffin/image"
)

// Page is what there is to draw. What is empty is left out.
type Page struct {
	Title, Subtitle string
	Steps           []Step
	Root            string // where they mount the root: $ROOT in what they show
	Stack           *Stack
	Trace           *Trace
	Untraced        string // why there is no trace
}

// Step is a step of a start, as a line of `run --explain=json`.
type Step struct {
	Number                                                         int
	Step, Where, Why, Man, Before, After, Skipped, Instead, ByHand string
	Calls                                                          []string
	Took                                                           time.Duration `json:"tookNanoseconds"`
}

// Stack is the layers of an image, or of a container, whose changes are on top.
type Stack struct {
	Layers       []*Layer // the top one first
	Instructions []Instruction
	Paths        *Paths
	Sentences    []string // what each of union's answers means
}

// Layer is one layer of a stack, with the name it has in traces.
type Layer struct {
	Name string
	image.StackLayer
}

// Instruction is a step in the making of an image, the first one first.
type Instruction struct {
	Text  string
	Layer *Layer // nil: it added none
	Hides int64  // bytes in layers below, which nobody sees any more
}

// Trace is the requests to a container's files.
type Trace struct {
	Lanes    []Lane // the upper directory, then the layers from the top, then what no layer answered
	Missing  uint64 // requests that are not here
	Duration time.Duration
}

// Lane is the requests that one layer answered.
type Lane struct {
	Name     string
	Requests []Request
}

// Request is one request to the files.
type Request struct {
	At, Took time.Duration // since the first one
	Copied   bool          // it had data copied up
	Text     string
	Number   int // from 0, in time
}

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

//go:embed page.js
var pageJS string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"size":  func(n int64) string { return units.HumanSizeWithPrecision(float64(n), 3) },
	"took":  took,
	"share": share,
	"css":   func() template.CSS { return template.CSS(pageCSS) },
	"js":    func() template.JS { return template.JS(pageJS) },
	"hash":  func() map[string]string { return map[string]string{"css": hash(pageCSS), "js": hash(pageJS)} },
}).Parse(pageHTML))

// hash names a script or style for a Content-Security-Policy: CSP Level 3, "hash-source".
func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// took is a time with three digits.
func took(d time.Duration) string {
	unit := time.Duration(1)
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit).String()
}

// share is a part of a whole in thousandths, and three at least of something, to be seen.
func share(part, whole int64) int64 {
	if part <= 0 || whole <= 0 {
		return 0
	}
	return max(3, int64(float64(part)/float64(whole)*1000))
}

// Write draws a page.
func (p *Page) Write(w io.Writer) error {
	if err := page.Execute(w, p); err != nil {
		return fmt.Errorf("draw the page: %w", err)
	}
	return nil
}

// Short is text of a step with $ROOT for the long path, as in the commands to be typed.
func (p *Page) Short(text string) string {
	if p.Root == "" {
		return text
	}
	return strings.ReplaceAll(text, p.Root, "$ROOT")
}

// Boxes are the namespaces of the start.
func (p *Page) Boxes() *Box { return newBoxes(p.Steps) }

// Largest is the size in bytes of the largest layer.
func (s *Stack) Largest() (n int64) {
	for _, l := range s.Layers {
		n = max(n, l.Bytes)
	}
	return n
}

// Visible is how many bytes of a layer are seen from above.
func (l *Layer) Visible() int64 { return l.Bytes - l.HiddenBytes }

// Count is how many requests are drawn.
func (t *Trace) Count() (n int) {
	for _, l := range t.Lanes {
		n += len(l.Requests)
	}
	return n
}

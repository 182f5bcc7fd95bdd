// The command tiffin picture: a page for a browser, of what other commands tell in words.

package cli

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"tiffin/image"
	"tiffin/image/union"
	"tiffin/internal/container/client"
	"tiffin/internal/container/control"
	"tiffin/internal/container/disk"
	"tiffin/internal/picture"
	"tiffin/ns"
)

// pictureTable is the command below `picture`.
var pictureTable = [...]command{{"run", "run a command in a new container and draw its start, files and requests", pictureRunCommand, runLike}}

func pictureFlag() cli.Flag {
	return &cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write the page to `FILE`"}
}

// pictureFile is what that flag says. That the file has no place is better known before a run.
func pictureFile(c *cli.Context) (string, error) {
	file := c.String("output")
	if file == "" {
		return "", usagef("expected -o FILE.html, for the page")
	}
	if _, err := os.Stat(filepath.Dir(file)); err != nil {
		return "", fmt.Errorf("write the page: %w", err)
	}
	return file, nil
}

func pictureCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] IMAGE|CONTAINER -o FILE.html",
		Description: "Writes one page that a browser shows without a network: the layers with what they hide, what each\n" +
			"instruction added, and a path that falls through the layers until one of them answers. `tiffin picture run`\n" +
			"draws a start, too: the namespaces step by step, and the requests to the files in time.\n" +
			"The page is for the keyboard (Tab, arrow keys) and for paper as well.\n\n" + listCommands(pictureTable[:]),
		Flags: []cli.Flag{pictureFlag(), kindFlag()},
		Action: takes(1, 1, "an IMAGE or CONTAINER", func(c *cli.Context) error {
			kind, err := wantedKind(c)
			if err != nil {
				return err
			}
			file, err := pictureFile(c)
			if err != nil {
				return err
			}
			return drawPage(file, &picture.Page{Title: c.Args().First()}, c.Args().First(), kind)
		}),
	}
}

func pictureRunCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "-o FILE.html [FLAGS] IMAGE [COMMAND [ARGUMENT…]]",
		Description: "As `tiffin run` in the foreground, and with its exit status. When the command has ended, the page is\n" +
			"written. With --driver overlay or copy the files are the kernel's, and no requests to them are seen.",
		Flags: append(createFlags(), pictureFlag(), detachKeysFlag(), sigProxyFlag()),
		Action: takes(1, -1, "an image", func(c *cli.Context) error {
			file, err := pictureFile(c)
			if err != nil {
				return err
			}
			return runContainer(c, func(*terminal) (*onlookers, error) { return (&sketch{c: c, file: file}).onlookers(), nil })
		}),
	}
}

// sketch collects what there is to see of a run.
type sketch struct {
	c        *cli.Context
	file     string
	steps    bytes.Buffer // as --explain=json prints them
	root     string       // where they mount the root
	untraced string       // why there is no trace

	mu     sync.Mutex // the trace may come to an end after the command
	trace  *picture.Trace
	begin  time.Time
	number int
}

// maxRequests is how many requests a page has: one takes about 200 bytes.
const maxRequests = 5000

func (s *sketch) onlookers() *onlookers {
	tell := (&explainer{w: &s.steps, json: true, steps: ns.Steps()}).teller()
	return &onlookers{
		trace: func(ctr *disk.Container) *client.Tracing {
			if ctr.Driver != "" && ctr.Driver != disk.DriverFUSE {
				s.untraced = "Requests to its files were not seen: with --driver " + ctr.Driver + " they are the kernel's own."
				return nil
			}
			return &client.Tracing{Begin: s.lanes, Event: s.request}
		},
		explain: func(spec *ns.Spec, r ns.Report, p *client.Pause) error {
			s.root = spec.Root.Target
			return tell(spec, r, p)
		},
		done: s.draw,
	}
}

// lanes are the upper directory, the layers from the top, and one for what none of them answers.
func (s *sketch) lanes(i control.TraceInfo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trace = &picture.Trace{Lanes: []picture.Lane{{Name: "upper"}}}
	for n := i.Layers - 1; n >= 0; n-- {
		s.trace.Lanes = append(s.trace.Lanes, picture.Lane{Name: layerName(n)})
	}
	s.trace.Lanes = append(s.trace.Lanes, picture.Lane{Name: "no layer"})
}

func (s *sketch) request(e *control.TraceEvent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.trace
	switch {
	case e.Dropped > 0:
		t.Missing += e.Dropped
		return
	case s.number == maxRequests:
		t.Missing++
		return
	case s.number == 0:
		s.begin = e.Time
	}
	// In the order of their answers: one that came earlier may end later.
	r := picture.Request{Number: s.number, At: max(0, e.Time.Sub(s.begin)), Took: e.Duration, Copied: e.Copied > 0}
	r.Text = fmt.Sprintf("%.6f s, pid %d: %s %s: %s", r.At.Seconds(), e.PID, e.Op, printable(e.Path), printable(traceVerdict(e)))
	s.number++
	t.Duration = max(t.Duration, r.At+r.Took)
	lane := slices.IndexFunc(t.Lanes, func(l picture.Lane) bool { return l.Name == e.By })
	if lane < 0 {
		lane = len(t.Lanes) - 1
	}
	t.Lanes[lane].Requests = append(t.Lanes[lane].Requests, r)
}

// draw writes the page of a run that is over.
func (s *sketch) draw(ctr *disk.Container) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	page := &picture.Page{Title: "tiffin run " + strings.Join(s.c.Args().Slice(), " "), Root: s.root, Trace: s.trace, Untraced: s.untraced}
	for d := json.NewDecoder(&s.steps); d.More(); {
		var step picture.Step
		if err := d.Decode(&step); err != nil {
			return fmt.Errorf("draw the start: %w", err)
		}
		page.Steps = append(page.Steps, step)
	}
	if ctr.AutoRemove { // and its changes are gone
		return drawPage(s.file, page, ctr.ImageID, "image")
	}
	return drawPage(s.file, page, ctr.ID, "container")
}

// drawPage adds the stack of an image or container to a page, and writes it.
func drawPage(file string, page *picture.Page, name, kind string) error {
	store, err := openStore()
	if err != nil {
		return err
	}
	st, img, layers, err := openStack(store, name, kind)
	if err != nil {
		return err
	}
	page.Subtitle = cmp.Or(page.Subtitle, "image "+img.ID.String())
	page.Stack = newPictureStack(st, layers, store.History(img))
	// Nothing in the page can turn the direction of its text, or hide in it: text.go.
	return writeFile("write the page", file, func(w io.Writer) error { return page.Write(&plainText{to: w}) })
}

// newPictureStack joins what layers, history and why tell. The history has the newest step first.
func newPictureStack(st *union.Stack, layers []image.StackLayer, history []image.HistoryEntry) *picture.Stack {
	s := &picture.Stack{Paths: picture.NewPaths(st, entry)}
	for a, words := union.NotAsked, verdictWords(); a <= union.Replaced; a++ {
		s.Sentences = append(s.Sentences, words[a.String()])
	}
	var made []picture.Instruction // what has a layer, and what made it
	usage, hides := st.Usage("/"), st.Hides()
	for i, l := range layers {
		l.Usage = usage[i]
		s.Layers = append(s.Layers, &picture.Layer{Name: layerName(l.Number), StackLayer: l})
		made = append(made, picture.Instruction{Text: l.CreatedBy, Layer: s.Layers[i], Hides: hides[i].Bytes})
	}
	slices.Reverse(s.Layers)
	for _, h := range slices.Backward(history) {
		if h.Empty {
			s.Instructions = append(s.Instructions, picture.Instruction{Text: h.CreatedBy})
		} else if len(made) > 0 {
			s.Instructions, made = append(s.Instructions, made[0]), made[1:]
		}
	}
	s.Instructions = append(s.Instructions, made...) // the changes of a container
	return s
}

package picture

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"tiffin/image"
	"tiffin/image/layer"
	"tiffin/image/union"
	"tiffin/internal/test/browser"
	tt "tiffin/internal/test/tartest"
)

// stack is a stack of three layers with every kind of answer in it.
func stack(t *testing.T) *union.Stack {
	t.Helper()
	st := &union.Stack{}
	var merged *layer.Tree
	for n, es := range [][]tt.Entry{
		{tt.File("etc/menu", "soup"), tt.File("etc/gone", "x"), tt.Dir("o"), tt.File("o/old", "x"), tt.File("f/under", "x"), tt.Dir("deep"), tt.File("deep/a/b", "x")},
		{tt.File("etc/menu", "rice"), tt.Whiteout("etc/gone"), tt.File("f", "x"), tt.Whiteout("deep")},
		{tt.Opaque("o"), tt.File("o/new", "x"), tt.Dir("etc"), tt.File("deep/c", "x"), tt.File(hostile, "x")},
	} {
		tree, err := layer.Scan(bytes.NewReader(tt.Of(t, es...)))
		if err != nil {
			t.Fatal(err)
		}
		x, err := layer.Decode(tree.Encode())
		if err != nil {
			t.Fatal(err)
		}
		st.Layers = append(st.Layers, x)
		if merged, err = union.Merge(merged, tree, uint16(n)); err != nil {
			t.Fatal(err)
		}
	}
	st.Merged, _ = layer.Decode(merged.Encode())
	return st
}

// hostile is a name that is HTML, wherever it comes to stand.
const hostile = `</script><img src=data:, onerror="document.title='owned'"><svg onload='document.title="owned"'>'"` + "`${document.title='owned'}`&lt;--"

// steps are those of a start, as far as the drawing is about them.
func steps() []Step {
	return []Step{
		{Number: 1, Step: "user-namespace", Where: "client", Why: "in a user namespace of its own, your user id is 0",
			Calls: []string{"clone(CLONE_NEWUSER|CLONE_NEWNS|CLONE_NEWPID|SIGCHLD) = 10694"}, Before: "user:[1]", After: "user:[11] mnt:[12] pid:[13]", ByHand: "unshare --user sh", Took: time.Millisecond},
		{Number: 2, Step: "namespaces", Where: "supervisor", Calls: []string{"clone(CLONE_NEWUSER|CLONE_NEWNS|CLONE_NEWPID|CLONE_NEWNET|CLONE_NEWIPC|CLONE_NEWCGROUP|SIGCHLD) = 5"}, After: "user:[21] mnt:[22]"},
		{Number: 3, Step: "session", Calls: []string{"setsid() = 1"}, Before: "session 0", After: "session 1"},
		{Number: 4, Step: "proc", Calls: []string{"openat2(10, …) = 11", `mount("proc", "/proc/self/fd/11") = 0`}},
		{Number: 5, Step: "hostname", Skipped: "the UTS namespace is the host's", Instead: "the host's name"},
		{Number: 6, Step: "loopback", Calls: []string{`ioctl(5, SIOCSIFFLAGS, {ifr_name="lo"}) = 0`}},
		{Number: 7, Step: hostile, Where: hostile, Why: hostile, Man: hostile, Calls: []string{hostile}, Before: hostile, After: hostile + ".", ByHand: hostile},
	}
}

func draw(t *testing.T, change func(html string) string) string {
	t.Helper()
	st := stack(t)
	p := &Page{Title: "tiffin run " + hostile, Subtitle: hostile, Steps: steps(), Stack: &Stack{
		Paths: NewPaths(st, func(n *layer.Inode) string { return fmt.Sprintf("mode %o", n.Mode) }),
	}, Trace: &Trace{Duration: time.Second, Missing: 7, Lanes: []Lane{
		{"upper", []Request{{Number: 1, At: time.Second / 2, Took: time.Second / 10, Copied: true, Text: "WRITE /x"}}},
		{"layer 0", []Request{{Number: 0, Took: time.Microsecond, Text: hostile}, {Number: 2, At: time.Second * 9 / 10, Took: time.Second / 10, Text: "READ /y"}}},
		{"no layer", nil},
	}}}
	for a := union.NotAsked; a <= union.Replaced; a++ {
		p.Stack.Sentences = append(p.Stack.Sentences, a.String())
	}
	usage, hides := st.Usage("/"), st.Hides()
	for n := range st.Layers {
		l := &Layer{fmt.Sprintf("layer %d", n), image.StackLayer{Number: n, CreatedBy: "RUN " + hostile, Usage: usage[n]}}
		p.Stack.Layers = append([]*Layer{l}, p.Stack.Layers...)
		p.Stack.Instructions = append(p.Stack.Instructions, Instruction{l.CreatedBy, l, hides[n].Bytes}, Instruction{Text: "ENV " + hostile})
	}
	var b bytes.Buffer
	if err := p.Write(&b); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "page.html")
	if err := os.WriteFile(file, []byte(change(b.String())), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

func asItIs(html string) string { return html }

// address goes to a fragment of the page, and waits until that is drawn.
func address(p *browser.Page, fragment string) {
	p.Eval(fmt.Sprintf("new Promise(done => { addEventListener('hashchange', () => done(0), {once: true}); location.hash = %q })", fragment))
}

func expect(t *testing.T, p *browser.Page, expression, want string) {
	t.Helper()
	if got := p.Eval(expression); got != want {
		t.Errorf("%s is %q, want %q", expression, got, want)
	}
}

const boxes = "document.querySelectorAll('.box:not(.later)').length"

func TestAPage(t *testing.T) {
	p := browser.Open(t, draw(t, asItIs), 1280)
	theSliderOpensTheBoxesOfEachStep(t, p)
	theBallEndsWhereWhySays(t, p)
	theBallFallsUnlessThatIsUnwanted(t, p)
	theLanesHaveARequestEach(t, p)
	whatAStrangerWroteIsText(t, p)
	address(p, "path=/etc/menu")
	p.Eval(fallen)
	p.Screenshot("wide")
	p.Resize(400)
	p.Screenshot("narrow")
	// On paper all of it is there.
	address(p, "step=1")
	expect(t, p, boxes, "5")
	p.Print()
	expect(t, p, "[...document.querySelectorAll('article, .mark, .box > h3')].filter(e => getComputedStyle(e).display == 'none').length", "0")
	p.Screenshot("print")
}

// fallen lets the ball be where it is on its way to.
const fallen = "document.getElementById('ball').getAnimations().forEach(a => a.finish())"

func theSliderOpensTheBoxesOfEachStep(t *testing.T, p *browser.Page) {
	expect(t, p, boxes, "11") // this machine, three, six, the process
	p.Press("Tab")
	expect(t, p, "document.activeElement.id", "step")
	p.Press("Home")
	for step, want := range []string{"2", "5", "11", "11"} {
		expect(t, p, "document.getElementById('step').value", strconv.Itoa(step))
		expect(t, p, boxes, want)
		expect(t, p, "[...document.querySelectorAll('article')].filter(a => !a.hidden).map(a => a.id).join()", map[bool]string{true: fmt.Sprintf("step-%d", step)}[step > 0])
		if step == 1 {
			expect(t, p, "[...document.querySelectorAll('.box.new')].map(b => b.classList[1]).join()", "user,mnt,pid")
		}
		p.Press("ArrowRight")
	}
	// What a step does stands in the box that it changes; what is skipped, in none.
	p.Press("End")
	expect(t, p, "[...document.querySelectorAll('.mark')].map(m => m.closest('.box').classList[1]).slice(0, 4).join()", "process,process,net,mnt")
	expect(t, p, "getComputedStyle(document.activeElement).outlineStyle", "solid")
}

func theBallEndsWhereWhySays(t *testing.T, p *browser.Page) {
	st := stack(t)
	address(p, "path=/etc/menu")
	expect(t, p, "document.getElementById('verdict').textContent", "/etc/menu: layer 1 hit — mode 100644")
	for _, path := range []string{"/", "/etc", "/etc/menu", "/etc/gone", "/etc/gone/x", "/etc/none", "/none/none", "/o", "/o/old", "/o/new", "/o/old/x", "/f", "/f/under", "/f/none/x", "/deep",
		"/deep/a", "/deep/a/b", "/deep/a/b/c", "/deep/c", "/etc/../o/./old", "/etc/menu"} {
		// The words of each layer, and the height of the ball, which is in its layer.
		got := p.Eval(fmt.Sprintf(`(() => { showPath(%q); const end = document.querySelector('.decides'), ball = document.getElementById('ball');
			return [...document.querySelectorAll('.layer')].map(l => l.querySelector('.says').textContent).join('|') + '>' + end.dataset.layer + ' ' + (new DOMMatrix(ball.style.transform).f == end.offsetTop + 8) })()`, path))
		var want []string
		decides := "nobody"
		clean := map[string]string{"/etc/../o/./old": "/o/old"}[path]
		if clean == "" {
			clean = path
		}
		for _, f := range st.Why(clean) {
			says := f.Answer.String()
			if f.At != "" && f.At != clean {
				says += ": " + f.At
			}
			if f.Entry != nil {
				says += fmt.Sprintf(" — mode %o", f.Entry.Mode)
			}
			if f.Decides {
				decides = fmt.Sprintf("layer %d", f.Layer)
			}
			want = append(want, says)
		}
		if want := strings.Join(want, "|") + "|>" + decides + " true"; got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

func theBallFallsUnlessThatIsUnwanted(t *testing.T, p *browser.Page) {
	const moves = "showPath('/etc'), document.getElementById('ball').getAnimations().length"
	expect(t, p, moves, "1")
	p.Eval(fallen)
	expect(t, p, "matchMedia = question => ({matches: question == '(prefers-reduced-motion: reduce)'}), "+moves, "0")
}

func theLanesHaveARequestEach(t *testing.T, p *browser.Page) {
	address(p, "request=2")
	expect(t, p, "[...document.querySelectorAll('.lane')].map(l => l.dataset.lane + l.querySelectorAll('rect').length).join()", "upper1,layer 02,no layer0")
	expect(t, p, "document.querySelector('.lane rect.now').closest('.lane').dataset.lane", "upper")
	expect(t, p, "document.querySelector('#trace output').textContent", "2: WRITE /x")
	p.Eval("document.getElementById('request').focus()")
	p.Press("ArrowRight")
	expect(t, p, "document.querySelector('#trace output').textContent", "3: READ /y")
}

func whatAStrangerWroteIsText(t *testing.T, p *browser.Page) {
	address(p, "path=/"+hostile)
	expect(t, p, soon, "tiffin run "+hostile)
	expect(t, p, "document.querySelectorAll('img, [onload], [onerror]').length", "0")
	expect(t, p, "document.querySelector('article:last-of-type h3').textContent", "7 "+hostile)
	expect(t, p, "document.querySelectorAll('section, script').length", "7")
}

// soon is the title of the page when what is in it has had time to run.
const soon = "new Promise(done => setTimeout(() => done(document.title), 100))"

// Each wall is tried without the other, and the attack without either.
func TestNothingAStrangerWroteRuns(t *testing.T) {
	title := "tiffin run " + hostile
	raw := func(html string) string { return strings.Replace(html, "</main>", hostile+"</main>", 1) }
	free := func(html string) string { return strings.Replace(html, "Content-Security-Policy", "x-none", 1) }
	for name, c := range map[string]struct {
		change func(string) string
		title  string
	}{
		"escaping alone": {free, title},
		"policy alone":   {raw, title},
		"neither":        {func(html string) string { return free(raw(html)) }, "owned"},
	} {
		t.Run(name, func(t *testing.T) {
			p := browser.Open(t, draw(t, c.change), 800)
			address(p, "path=/"+hostile)
			expect(t, p, soon, c.title)
		})
	}
}

func TestPathsThatFindNoRoomAreSaid(t *testing.T) {
	p := NewPaths(stack(t), func(*layer.Inode) string { return "" })
	if len(p.Cut) > 0 {
		t.Errorf("%v", p.Cut)
	}
	many := make([]tt.Entry, 0, maxPaths)
	for i := range maxPaths {
		many = append(many, tt.File(fmt.Sprintf("many/%d", i), ""))
	}
	tree, err := layer.Scan(bytes.NewReader(tt.Of(t, append(many, tt.File("few/a", ""))...)))
	if err != nil {
		t.Fatal(err)
	}
	x, err := layer.Decode(tree.Encode())
	if err != nil {
		t.Fatal(err)
	}
	p = NewPaths(&union.Stack{Layers: []*layer.Index{x}}, func(*layer.Inode) string { return "" })
	if len(p.Cut) != 1 || !p.Cut[2] || len(p.Rows) != 4 || p.Rows[2][1] != "many" || p.Rows[3][1] != "a" {
		t.Errorf("%v, %v", p.Cut, p.Rows)
	}
}

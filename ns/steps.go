// What a step is, and the process that carries steps out, notes each kernel call and reports it.

package ns

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/internal/errs"
	"tiffin/internal/wire"
)

// Step is one thing that is done on the way from a clone(2) to the command.
// The table that Steps returns is what runs; everything that explains the runner prints it.
type Step struct {
	Name  string
	Where string   // who does it: "client", "supervisor", "init", "exec" (the helper of tiffin exec), "both" (init and exec)
	Why   string   // one sentence
	Man   string   // page and section
	Calls []string // the kernel calls it is made of
	// ByHand returns what a person types to do the same with util-linux, "" if a shell
	// cannot. $ROOT is the new root's mount point, before the step "pivot".
	ByHand func(*Spec) string
	// Needed says why the step cannot be left out, "" if it can: ParseWithout.
	Needed string
	// Instead is what stands in for the step where it is skipped, "" if that never happens or
	// nothing does.
	Instead string

	skip func(*builder) string // why not to do it this time, "" = do it
	run  func(*builder) error
	look func(*builder) string // what there is to see, for Report.Before and After
	hint string                // what to do if it fails
}

// stepNumber returns the number, from 1, of a step.
func stepNumber(name string) int {
	return slices.IndexFunc(Steps(), func(s Step) bool { return s.Name == name }) + 1
}

// builder is the process that carries out steps.
type builder struct {
	spec      *Spec
	proc      *Process
	joining   bool       // exec: the container is there already
	joinFlags uintptr    // exec: its namespaces
	pidfd     int        // exec: of the container
	until     int        // exec: number of the last step, 0 = all of them
	root      int        // O_PATH descriptor of the root, -1 before it is mounted
	conn      *wire.Conn // to the supervisor
	volumes   []int
	files     []int
	who       Identity // runUser
	emulated  bool     // runEmulation
	becomes   bool     // runEmulation: runUser makes calls that are emulated
	console   int      // slave side of the terminal, -1 without
	lateCwd   bool
	ahead     sync.WaitGroup // readAhead
	notes     []Note
	created   []string
	// calls collects what is done, if it is to be explained.
	calls []string
	self  int // directory of this thread in /proc, 0 before observe has opened it
}

// callError is a failed kernel call.
type callError struct {
	call string
	err  error
}

func (e *callError) Error() string { return e.call + ": " + e.err.Error() }
func (e *callError) Unwrap() error { return e.err }

// call notes a kernel call that was made, for --explain, and turns its error into
// one that shows it. The text is only formatted if it is needed.
func (b *builder) call(err error, format string, args ...any) error {
	return b.returned(0, err, format, args...)
}

// returned is call for one whose result is not 0 but, say, a descriptor.
func (b *builder) returned(value int, err error, format string, args ...any) error {
	if err == nil && !b.spec.Explain {
		return nil
	}
	text := fmt.Sprintf(format, args...)
	if b.spec.Explain {
		result := fmt.Sprintf(" = %d", value)
		if err != nil {
			result = " = -1 " + errName(err)
		}
		b.calls = append(b.calls, text+result)
	}
	if err == nil {
		return nil
	}
	return &callError{text, err}
}

func errName(err error) string {
	if e, ok := err.(unix.Errno); ok {
		return fmt.Sprintf("%s (%v)", unix.ErrnoName(e), e)
	}
	return err.Error()
}

// note records something that this machine cannot do.
func (b *builder) note(what, why, fix string) {
	b.notes = append(b.notes, Note{what, why, fix})
}

// mine tells whether the step belongs to this process.
func (b *builder) mine(s *Step) bool {
	switch s.Where {
	case "both":
		return true
	case "init":
		return !b.joining
	case "exec":
		return b.joining
	}
	return false
}

// runSteps does all steps of this process, in the order of the table.
func (b *builder) runSteps() error {
	steps := Steps()
	for i := range steps {
		if s := &steps[i]; b.mine(s) && b.reached(i, s) {
			if err := b.runStep(i, s); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *builder) runStep(i int, s *Step) error {
	skipped := b.whyNot(s)
	if !b.spec.Explain {
		if skipped != "" {
			return nil
		}
		return s.wrap(s.run(b))
	}
	r := Report{N: i + 1, Step: s.Name, Skipped: skipped}
	var err error
	if skipped == "" {
		r.Before = b.observe(s)
		b.calls = nil
		began := time.Now()
		err = s.run(b)
		r.Took = time.Since(began)
		r.Calls = b.calls
		if err == nil {
			r.After = b.observe(s)
		}
	}
	if e := b.report(&r); err == nil {
		err = e
	}
	return s.wrap(err)
}

// idleSteps are what is left of the table for Spec.Idle: whoever only wants to see the files
// needs the root.
var idleSteps = [...]string{"parent-death", "session", "propagation", "root", "overlay", "pivot", "exec"}

// whyNot says why a step is not done, "" if it is.
func (b *builder) whyNot(s *Step) string {
	if b.spec.Idle && !slices.Contains(idleSteps[:], s.Name) {
		return "there is no command"
	}
	if !b.spec.OwnTree() && slices.Contains(mountSteps[:], s.Name) {
		return "left out: --without mount"
	}
	if b.spec.leavesOut(s.Name) {
		return "left out: --without " + s.Name
	}
	if s.skip == nil {
		return ""
	}
	return s.skip(b)
}

func (b *builder) observe(s *Step) string {
	if s.look == nil {
		return ""
	}
	if b.self == 0 {
		// The first step that shows something comes before the container's /proc is in view,
		// where the helper of exec is not to be seen.
		fd, err := unix.Open("/proc/thread-self", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return "open /proc/thread-self: " + err.Error()
		}
		b.self = fd
	}
	return s.look(b)
}

// readOwn reads a file of this thread in /proc, "" if it cannot.
func (b *builder) readOwn(name string) string {
	fd, err := unix.Openat(b.self, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	text, _ := io.ReadAll(rawFile(fd))
	return strings.ToValidUTF8(string(text), "?")
}

// linkOwn reads a link of this thread in /proc.
func (b *builder) linkOwn(name string) string {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(b.self, name, buf)
	if err != nil {
		return name + ": " + err.Error()
	}
	return string(buf[:n])
}

// wrap says which step failed, and what to do about it.
func (s *Step) wrap(err error) error {
	if err == nil {
		return nil
	}
	if errs.CodeOf(err, -1) >= 0 { // the command's own fault, worded for its user
		return err
	}
	err = fmt.Errorf("%s: %w", s.Name, err)
	if errs.HintOf(err) == "" {
		hint := "see " + s.Man
		if s.hint != "" {
			hint = s.hint + "; " + hint
		}
		err = errs.Hint(err, hint)
	}
	return err
}

// mountLines returns the lines of /proc/self/mountinfo whose mount point is target
// in the container, shortened to fields 5, 6, 9 and 10 of /proc/pid/mountinfo, proc(5).
func mountLines(target string) func(*builder) string {
	return func(b *builder) string {
		text := b.readOwn("mountinfo")
		if b.root >= 0 && !b.pivoted() {
			target := strings.TrimSuffix(b.spec.Root.Target+target, "/")
			return grepMounts(text, target)
		}
		return grepMounts(text, target)
	}
}

// mountsOn is mountLines for several mount points, of which some may not be there.
func mountsOn(targets func(*Spec) []string) func(*builder) string {
	return func(b *builder) string {
		var out []string
		for _, pattern := range targets(b.spec) {
			for _, target := range expand(pattern) {
				if line := mountLines(target)(b); line != nothingMounted {
					out = append(out, line)
				}
			}
		}
		if len(out) == 0 {
			return nothingMounted
		}
		return strings.Join(out, "\n")
	}
}

const nothingMounted = "nothing mounted"

// grepMounts selects lines of a mountinfo file by mount point.
func grepMounts(text, target string) string {
	var out []string
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		dash := slices.Index(f, "-")
		if dash < 6 || len(f) < dash+3 || f[4] != target {
			continue
		}
		out = append(out, f[4]+" "+f[5]+" "+f[dash+1]+" "+f[dash+2])
	}
	if len(out) == 0 {
		return nothingMounted
	}
	return strings.Join(out, "\n")
}

// nsLinks observes namespaces by their inode numbers: namespaces(7), "The /proc/pid/ns/ directory".
func nsLinks(names ...string) func(*builder) string {
	return func(b *builder) string {
		var out []string
		for _, n := range names {
			out = append(out, b.linkOwn("ns/"+n))
		}
		return strings.Join(out, " ")
	}
}

// statusLines observes lines of /proc/self/status.
func statusLines(prefixes ...string) func(*builder) string {
	return func(b *builder) string {
		var out []string
		for line := range strings.Lines(b.readOwn("status")) {
			for _, p := range prefixes {
				if strings.HasPrefix(line, p+":") {
					out = append(out, strings.Join(strings.Fields(line), " "))
				}
			}
		}
		return strings.Join(out, "\n")
	}
}

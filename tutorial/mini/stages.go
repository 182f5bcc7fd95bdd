// The nine stages: what each must hold, in the order in which they are checked.

package mini

import (
	"errors"
	"strings"
)

// Finding is what was found of one thing that must hold.
type Finding struct {
	Stage    int
	Name     string
	OK       bool
	Expected string
	Found    string
	Why      string // the misconception that Found suggests
	Evidence string // more to look at
}

// Stage is one of the nine.
type Stage struct {
	Title string
	names []string // of its checks
	look  func(*look) error
	ours  []quoted
}

// Stages are all, in order.
func Stages() []Stage {
	return []Stage{
		{"exit status and signals", []string{isProgram, statusIs, killedIs, signalled}, lookStatus,
			[]quoted{{"ns", "init.go", "forward"}, {"ns", "init.go", "reap"}}},
		{"user namespace", []string{ownUser, isRoot}, lookUser,
			[]quoted{{"ns", "plumbing.go", "Unshare.Run"}}},
		{"pid, mount, /proc", []string{ownPid, ownMounts, ownProc}, lookProc,
			[]quoted{{"ns", "mounts.go", "runProc"}}},
		{"pivot_root with nothing left", []string{dirIsRoot, nothingLeft, cwdInside}, lookRoot,
			[]quoted{{"ns", "mounts.go", "runPivot"}}},
		{"uts, ipc, net", []string{ownName, ownIPC, ownNet}, lookNames,
			[]quoted{{"ns", "net.go", "runHostname"}, {"ns", "net.go", "runLoopback"}}},
		{"capabilities and no_new_privs", []string{fewBounding, fewOwned, noNewPrivs}, lookRights,
			[]quoted{{"ns", "creds.go", "runBounding"}, {"ns", "creds.go", "runCaps"}, {"ns", "creds.go", "runNoNewPrivs"}}},
		{"reaping", []string{orphansReaped, statusOfCommand, allEnds}, lookOrphans,
			[]quoted{{"ns", "init.go", "builder.lookAfter"}, {"ns", "init.go", "reap"}}},
		{"leaked descriptors", []string{noneHanded, noneOpened}, lookDescriptors,
			[]quoted{{"ns", "init.go", "runExec"}}},
		{"merging", []string{knownStacks, randomStacks}, lookMerge,
			[]quoted{{"union", "merge.go", "merger.merge"}, {"union", "merge.go", "merger.dir"}}},
	}
}

// look is one look at a stage.
type look struct {
	*Bench
	found map[string]Finding
}

func (l *look) ok(name, found string) { l.found[name] = Finding{Name: name, OK: true, Found: found} }

func (l *look) no(name, expected, found, why string) {
	if found == "" {
		found = "nothing"
	}
	l.found[name] = Finding{Name: name, Expected: expected, Found: found, Why: why}
}

// be is ok or no.
func (l *look) be(ok bool, name, expected, found, why string) {
	if ok {
		l.ok(name, "")
	} else {
		l.no(name, expected, found, why)
	}
}

// errNotReached ends a look whose further checks make no sense.
var errNotReached = errors.New("not reached")

// Check looks at stage n, or, if that is 0, at all from the first on, as far as the first that does
// not hold. It always reports the same checks. An error is none of the program's.
func (b *Bench) Check(n int) ([]Finding, error) {
	var all []Finding
	failed := 0
	for i, s := range Stages() {
		if n != 0 && n != i+1 {
			continue
		}
		l := &look{b, map[string]Finding{}}
		if failed == 0 {
			if err := s.look(l); err != nil && !errors.Is(err, errNotReached) {
				return nil, err
			}
		}
		at := failed
		for _, name := range s.names {
			f, ok := l.found[name]
			switch {
			case ok:
			case at != 0:
				f = Finding{Why: "Stage " + digit(at) + " comes first."}
			default:
				f = Finding{Why: "The check above comes first."}
			}
			f.Stage, f.Name = i+1, "stage "+digit(i+1)+": "+name
			if all = append(all, f); !f.OK && failed == 0 {
				failed = i + 1
			}
		}
	}
	return all, b.ctx.Err()
}

func digit(n int) string { return string(rune('0' + n)) }

// running starts a command that stays, and waits for its process. If there is none, the check says
// so, and the look is at its end.
func (l *look) running(check string, wrap []string, command ...string) (*run, view, error) {
	r, err := l.start(append(wrap, l.mini(append([]string{"run", l.Dir + "/" + root}, command...)...)...)...)
	if err != nil {
		return nil, 0, err
	}
	pid := r.await(command...)
	if pid != 0 {
		return r, view(pid), nil
	}
	found := "no such process"
	if status, ok := r.wait(); ok && r.ended() {
		found = "the program has ended with status " + itoa(status)
	}
	if out := r.output(); out != "" {
		found += ", and printed: " + out
	}
	r.end()
	l.no(check, "`"+strings.Join(command, " ")+"` runs", found,
		"The command has not become a process. Start it by hand, and look at the first call that fails: strace -f shows each.")
	return nil, 0, errNotReached
}

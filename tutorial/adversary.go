// The adversary of a lab: a solved lab is spoilt in every way that the lab offers, and each time
// the check must say "not yet", with a reason, and not break down.

package tutorial

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tiffin/internal/shell"
)

// attack spoils a solved lab.
type attack struct {
	what  string
	do    func() error
	undo  func() error // nil: the next attack begins with the solution again
	holds bool         // it must change nothing: the lab stays passed
}

// attacked tries the attacks, or about as many of them as there should be.
func (t *trial) attacked(ctx context.Context) {
	defer t.disarm()
	all := append(t.attacks(), attack{what: "forged records", do: func() error { return t.forgery(ctx) }})
	if t.lab.Stages() == 0 { // a program is right for every seed
		all = append(all, attack{what: "the answer of another seed", do: func() error { return t.otherSeed(ctx) }})
	}
	step := 1
	if n := t.Few; n > 0 && len(all) > n {
		step = (len(all) + n - 1) / n
	}
	solved := true // it has just passed
	for i := len(t.lab.Name) % step; i < len(all) && ctx.Err() == nil; i += step {
		if !solved {
			if res := t.attempt(ctx, "solution.sh", []string{"solution.sh"}); res == nil || res.State != Passed {
				return // noted
			}
		}
		solved = t.attack(ctx, all[i])
	}
}

// attack tries one, and tells whether the lab is solved afterwards.
func (t *trial) attack(ctx context.Context, a attack) bool {
	t.step("adversary: " + a.what)
	if err := a.do(); err != nil {
		t.problem("adversary", "%s: %v", a.what, err)
		return false
	}
	t.Tried++
	switch res := t.judge(ctx, a.what); {
	case res == nil: // noted
	case a.holds && res.State != Passed:
		t.problem(a.what, "must change nothing, but: %s", failures(res))
	case !a.holds && res.State == Passed:
		t.problem(a.what, "passes, though it is wrong")
	}
	return a.undo != nil && a.undo() == nil
}

// disarm removes the liar, if there is one, and the containers that may be of it.
func (t *trial) disarm() {
	ctrs, _ := t.containers()
	for _, c := range ctrs {
		_, _ = t.tiffin("rm", "-f", c.name)
	}
	_, _ = t.tiffin("rmi", liar)
}

// liar is an image that shows nearly what tiffin/base shows.
const liar = "adversary.example/liar:1"

// attacks are those that the solved lab offers.
func (t *trial) attacks() (all []attack) {
	for _, name := range t.lab.Answers {
		path := filepath.Join(t.work, name)
		for _, form := range []struct {
			what string
			put  func() error
		}{
			{"1", func() error { return os.WriteFile(path, []byte("1\n"), 0o644) }},
			{"a directory", func() error { return os.Mkdir(path, 0o755) }},
			{"0", func() error { return os.WriteFile(path, []byte("0\n"), 0o644) }},
			{"a link to nowhere", func() error { return os.Symlink("nowhere", path) }},
			{"-1", func() error { return os.WriteFile(path, []byte("-1\n"), 0o644) }},
			{"empty", func() error { return os.WriteFile(path, nil, 0o644) }},
			{"a forger", func() error { return os.WriteFile(path, []byte(t.forger("3")), 0o644) }},
			{"gone", func() error { return nil }},
		} {
			all = append(all, t.away(path, name+" is "+form.what, form.put))
		}
	}
	tops := map[string]bool{}
	for f := range t.start.Files {
		tops[firstPart(f)] = true
	}
	for _, name := range slices.Sorted(maps.Keys(tops)) {
		all = append(all, t.away(filepath.Join(t.work, name), name+" of the start is gone", func() error { return nil }))
	}
	return append(append(all, t.onImages()...), t.onContainers()...)
}

// away moves a file away and puts another in its place.
func (t *trial) away(path, what string, put func() error) attack {
	saved := filepath.Join(t.dir, "saved")
	return attack{what: what, do: func() error {
		if err := os.Rename(path, saved); err != nil {
			return err
		}
		return put()
	}, undo: func() error {
		if err := removeAll(path); err != nil {
			return err
		}
		return os.Rename(saved, path)
	}}
}

// onImages: each image is removed, or its name is given to another.
func (t *trial) onImages() (all []attack) {
	names, _ := t.tiffin("images", "--format", imageName) // none: nothing to attack
	for _, n := range names {
		if !strings.HasPrefix(n, t.lab.imagePrefix()) {
			continue
		}
		const saved = "adversary.example/saved:1"
		undo := func() error {
			if _, err := t.tiffin("tag", saved, n); err != nil {
				return err
			}
			_, err := t.tiffin("rmi", saved)
			return err
		}
		for what, do := range map[string][]string{"is removed": {"rmi", n}, "is the name of another image": {"tag", baseImage, n}} {
			all = append(all, attack{what: "the image " + n + " " + what, undo: undo, do: func() error {
				if _, err := t.tiffin("tag", n, saved); err != nil {
					return err
				}
				_, err := t.tiffin(do...)
				return err
			}})
		}
	}
	return all
}

// onContainers: the programs in each that runs are removed, which must not matter; then each is
// removed, made anew, and made of another image with the same command.
func (t *trial) onContainers() (all []attack) {
	ctrs, _ := t.containers() // none: nothing to attack
	if len(ctrs) > 0 {
		_, _ = t.tiffin("run", "--name", "adversary", "tiffin/base", "touch", "/liar")
		_, _ = t.tiffin("commit", "adversary", liar)
		_, _ = t.tiffin("rm", "adversary")
	}
	for _, c := range ctrs {
		remove := func() error { _, err := t.tiffin("rm", "-f", c.name); return err }
		again := func(image string, command ...string) func() error {
			return func() error {
				if err := remove(); err != nil {
					return err
				}
				_, err := t.tiffin(append([]string{"run", "-d", "--name", c.name, image}, command...)...)
				return err
			}
		}
		if c.pid != 0 {
			all = append(all, attack{what: "the programs in the container " + c.name + " are gone", holds: true, do: func() error {
				_, err := t.tiffin("exec", "-u", "0", c.name, "sh", "-c", "rm -f /bin/* 2>/dev/null; :")
				return err
			}})
		}
		command, _ := t.tiffin("inspect", "--type", "container", "-f", `{{range .Config.Cmd}}{{println .}}{{end}}`, c.name)
		all = append(all,
			attack{what: "the container " + c.name + " is removed", do: remove},
			attack{what: "the container " + c.name + " is another", do: again(baseImage, "sleep", "1000")},
			attack{what: "the container " + c.name + " is of another image", do: again(liar, command...)})
	}
	return all
}

// forger is a script that writes a record that each check has passed to a file or descriptor.
func (t *trial) forger(to string) string {
	var b strings.Builder
	b.WriteString("{ :\n")
	for _, c := range t.Checks {
		fmt.Fprintf(&b, "printf '%%s\\036' %s\n", shell.Word(fmt.Sprintf("passed\x1f%s\x1f%d\x1f\x1f\x1f\x1f", c.Name, c.Points)))
	}
	b.WriteString("} >&" + to + "\n")
	return b.String()
}

// forgery has a process beside the check of the untouched start that writes into every descriptor 3
// it can open.
func (t *trial) forgery(ctx context.Context) error {
	if !t.begin(ctx) {
		return nil // noted
	}
	script := "while :; do for p in /proc/[0-9]*; do [ \"$p\" = /proc/$$ ] || (exec 4>$p/fd/3 && " + t.forger("4") + ") 2>/dev/null; done; done 3>&- &"
	_, err := t.shell(ctx, "the forger", prelude+`eval "$1"`, script)
	return err
}

// otherSeed hands in the answer of another seed, one that has other values: the files that solve it
// there, or where a lab has none, what its solution does here.
func (t *trial) otherSeed(ctx context.Context) error {
	own, err := t.values(ctx, keys(t.lab.Lesson))
	other := *t.bench
	for i := 0; err == nil && i < 20; i++ {
		other.seed = fmt.Sprintf("%s and %d", t.Seed, i)
		values, e := other.values(ctx, keys(t.lab.Lesson))
		if err = e; !maps.Equal(own, values) {
			break
		}
	}
	if err != nil {
		return err
	}
	files := filepath.Join(t.dir, "of another seed")
	if len(t.lab.Answers) > 0 {
		if err := errors.Join(other.wipe(ctx, ""), os.Mkdir(files, 0o755)); err != nil {
			return err
		}
		if res, err := other.setUp(ctx); res != nil || err != nil {
			return err
		}
		if _, err := other.answer(ctx, "solution.sh"); err != nil {
			return err
		}
		for _, name := range t.lab.Answers {
			if err := os.Rename(filepath.Join(t.work, name), filepath.Join(files, name)); err != nil {
				return err
			}
		}
	}
	if !t.begin(ctx) {
		return nil // noted
	}
	if len(t.lab.Answers) == 0 {
		_, _ = other.answer(ctx, "solution.sh") // what it looks for may not be there
	}
	for _, name := range t.lab.Answers {
		path := filepath.Join(t.work, name)
		if err := errors.Join(removeAll(path), os.Rename(filepath.Join(files, name), path)); err != nil {
			return err
		}
	}
	return removeAll(files)
}

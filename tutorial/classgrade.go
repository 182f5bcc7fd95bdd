// Grading a class: whose each submission is, which one counts, and what it is worth.

package tutorial

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// classroom is a class while it is graded.
type classroom struct {
	*Class
	secret  Secret
	members []Member
	marks   *Marks
	handed  map[int][]handIn // by number of mark
}

// handIn is one lab of a submission of a student.
type handIn struct {
	Turn
	made   time.Time
	record Entry
}

// Class grades what the students of a class handed in: the class is that of the instructor's
// directory dir. Each outcome of a replay is handed on as it comes.
func (g *Grader) Class(ctx context.Context, dir string, files []string, done func(Grade)) (*Marks, error) {
	k, err := openClassroom(dir)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		k.take(f)
	}
	var turns []Turn
	var of []int // the number of the mark of each turn
	for i := range k.marks.Marks {
		if h, ok := k.choose(i); ok {
			turns, of = append(turns, h.Turn), append(of, i)
		}
	}
	g.Replay(ctx, turns, func(i int, o Grade) {
		m := &k.marks.Marks[of[i]]
		if m.Result = o.Result; m.Result != nil {
			m.State = m.Result.State
		} else {
			m.State, m.Note = Lost, o.Error
		}
		k.Policy.reckon(m)
		done(o)
	})
	return k.marks, ctx.Err()
}

func openClassroom(dir string) (*classroom, error) {
	k := &classroom{handed: map[int][]handIn{}}
	var err error
	if k.Class, err = ReadClass(dir); err != nil {
		return nil, err
	}
	if k.secret, err = readSecret(dir); err != nil {
		return nil, err
	}
	if k.members, _, err = ReadRoster(filepath.Join(dir, rosterFile)); err != nil {
		return nil, err
	}
	k.marks = &Marks{Class: k.Name, Labs: k.Labs, Marks: []Mark{}, Strays: []Stray{}}
	for _, m := range k.members {
		for _, l := range k.Labs {
			k.marks.Marks = append(k.marks.Marks, Mark{ID: m.ID, Name: m.Name, Email: m.Email, Lab: l.Lab, State: Missing, Of: l.Points})
		}
	}
	return k, nil
}

func (k *classroom) stray(file, format string, args ...any) {
	k.marks.Strays = append(k.marks.Strays, Stray{file, fmt.Sprintf(format, args...)})
}

// take sorts the labs of a submission under who handed it in, or says why it is nobody's.
func (k *classroom) take(file string) {
	sub, err := ReadSubmission(file)
	if err != nil {
		k.stray(file, "%v", err)
		return
	}
	who := slices.IndexFunc(k.members, func(m Member) bool { return strings.EqualFold(m.ID, sub.Student) })
	switch {
	case sub.Class == "":
		k.stray(file, "who handed it in had not joined the class")
		return
	case sub.Class != k.Name:
		k.stray(file, "it is for the class %s", quoted(sub.Class))
		return
	case who < 0:
		k.stray(file, "there is no student %s in the roster", quoted(sub.Student))
		return
	}
	key := k.secret.Token(k.Name, k.members[who].ID).key().Public().(ed25519.PublicKey)
	if sub.Key != base64.StdEncoding.EncodeToString(key) {
		k.stray(file, "it says that it is of %s, and is signed by somebody else", k.members[who].ID)
		return
	}
	for at, h := range sub.Labs {
		lab := slices.IndexFunc(k.Labs, func(l ClassLab) bool { return l.Lab == h.Lab })
		if lab < 0 {
			k.stray(file, "lab %s is not one of the class", quoted(h.Lab))
			continue
		}
		i := who*len(k.Labs) + lab
		k.handed[i] = append(k.handed[i], handIn{Turn{file, at}, sub.Made, h.Record})
	}
}

// choose finds what counts for a mark: the last that was handed in before the deadline or, if there
// is none, the last of all. The others are strays.
func (k *classroom) choose(i int) (handIn, bool) {
	all := k.handed[i]
	if len(all) == 0 {
		return handIn{}, false
	}
	l, m := k.Labs[i%len(k.Labs)], &k.marks.Marks[i]
	slices.SortStableFunc(all, func(a, b handIn) int { return a.made.Compare(b.made) })
	best := all[len(all)-1]
	for _, h := range all {
		if l.late(h.made) == 0 {
			best = h
		}
	}
	for _, h := range all {
		if h.Turn != best.Turn {
			k.stray(h.File, "%s has handed in lab %s more than once: %s counts", m.ID, l.Lab[:2], best.File)
		}
	}
	if len(all) > 1 {
		m.Note = fmt.Sprintf("handed in %d times", len(all))
	}
	const most = 1 << 20 // who signs a record may write what it says
	m.File, m.Handed, m.Late = best.File, best.made, l.late(best.made)
	m.Hints, m.Attempts = between(0, best.record.Hints, most), between(0, best.record.Checks, most)
	if r := best.record; r.State == Done && !r.Begun.IsZero() {
		m.Seconds = int(between(0, r.Checked.Sub(r.Begun), 1000*time.Hour).Seconds())
	}
	return best, true
}

func between[T cmp.Ordered](low, n, high T) T { return max(low, min(n, high)) }

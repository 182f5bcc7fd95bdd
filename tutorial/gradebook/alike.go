// What a check says has values of the seed in it, and every hand-in is graded with another seed:
// here the same check, and the same reason, get the same words in all of them.

package gradebook

import (
	"fmt"
	"slices"
	"strings"

	"tiffin/tutorial"
)

// alike is marks with the same words for the same check, known by its place in the lab, and for the
// same reason: what differs is "…".
func alike(marks []tutorial.Mark) []tutorial.Mark {
	texts := map[string][]string{} // by lab, place and kind: the first of those that are the same
	each := func(visit func(key string, text *string)) {
		for _, m := range marks {
			if m.Result == nil {
				continue
			}
			for i := range m.Result.Checks {
				c := &m.Result.Checks[i]
				visit(fmt.Sprint(m.Lab, i, "name"), &c.Name)
				visit(fmt.Sprint(m.Lab, i, "why"), &c.Why)
			}
		}
	}
	marks = slices.Clone(marks)
	for i := range marks {
		if r := marks[i].Result; r != nil {
			r := *r
			r.Checks = slices.Clone(r.Checks)
			marks[i].Result = &r
		}
	}
	find := func(key, text string) (at int, both string) {
		at = slices.IndexFunc(texts[key], func(t string) (same bool) { both, same = common(t, text); return same })
		return at, both
	}
	each(func(key string, text *string) {
		if at, both := find(key, *text); at >= 0 {
			texts[key][at] = both
		} else {
			texts[key] = append(texts[key], *text)
		}
	})
	each(func(key string, text *string) {
		if _, both := find(key, *text); both != "" {
			*text = both
		}
	})
	return marks
}

// common is what two texts have in common, with "…" for each word that differs, and whether they
// are the same but for values: as many words, at least two thirds of them the same.
func common(a, b string) (string, bool) {
	words, others := strings.Split(a, " "), strings.Split(b, " ")
	if len(words) != len(others) {
		return "", false
	}
	differ := 0
	for i := range words {
		if words[i] != others[i] {
			words[i] = "…"
			differ++
		}
	}
	return strings.Join(words, " "), 3*differ <= len(words)
}

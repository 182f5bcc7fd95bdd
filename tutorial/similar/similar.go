// Package similar finds scripts of a class that have more in common than the lab explains.
//
// A script is taken apart into statements, without comments, white space and order, and with one
// word for whatever is one's own choice: names of containers, files and variables, numbers. What
// the lab itself tells counts for nothing, and neither does what many have found. What is left is
// compared, each script with each: 200 of them take some milliseconds. Values that are drawn from
// the seed are looked at apart: two who were given different ones cannot both have the same by
// chance.
//
// None of it is a proof, so a Pair says what is common, for a person to judge.
package similar

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Work is what one student handed in for one lab.
type Work struct {
	Student string // as the report calls the student
	Lab     string
	Seed    string            // of the student's values
	Script  string            // at most maxScript bytes are compared, of this and of each file
	Files   map[string][]byte // what was handed in beside it
}

// Pair are two works that have much in common.
type Pair struct {
	A       string   `json:"a"`
	B       string   `json:"b"`
	Lab     string   `json:"lab"`
	Percent int      `json:"percent"` // of their own statements are in both
	Why     string   `json:"why"`
	Shared  []string `json:"shared,omitempty"` // statements and values that hardly anybody else has
}

// Beyond these, two scripts are much alike.
const (
	enough    = 60 // percent of the statements of their own in common,
	rarities  = 2  // and so many that are rare, which is
	rare      = 50 // found with one of so many others at most
	maxScript = 64 << 10
	maxShown  = 5 // statements of a pair
)

// Pairs compares the works of each lab, and returns the pairs that are much alike, the most alike
// first. given has for each lab the text that all students have.
func Pairs(works []Work, given map[string]string) []Pair {
	pairs := []Pair{}
	byLab := map[string][]*parsed{}
	for _, w := range works {
		byLab[w.Lab] = append(byLab[w.Lab], w.parse())
	}
	for lab, all := range byLab {
		known := Work{Script: given[lab]}.parse()
		have := map[string]int{} // works that have a statement or a value
		for _, p := range all {
			maps.DeleteFunc(p.traits, func(s string, _ string) bool { return known.traits[s] != "" })
			for s := range p.traits {
				have[s]++
			}
		}
		for i, a := range all {
			for _, b := range all[:i] {
				if p := compare(b, a, have, len(all)); p != nil {
					pairs = append(pairs, *p)
				}
			}
		}
	}
	slices.SortFunc(pairs, func(a, b Pair) int {
		return cmp.Or(b.Percent-a.Percent, len(b.Shared)-len(a.Shared),
			strings.Compare(a.Lab, b.Lab), strings.Compare(a.A, b.A), strings.Compare(a.B, b.B))
	})
	return pairs
}

// compare returns nil if there is nothing to say.
func compare(a, b *parsed, have map[string]int, works int) *Pair {
	if a.Student == b.Student {
		return nil
	}
	var same, all int
	var statements, values []string // that are rare
	for s, shown := range a.traits {
		value := strings.HasPrefix(s, valueMark)
		_, both := b.traits[s]
		if !value {
			all++
		}
		if !both {
			continue
		}
		seldom := have[s]-2 <= works/rare
		switch {
		case value && seldom && a.Seed != b.Seed:
			values = append(values, shown)
		case !value:
			same++
			if seldom {
				statements = append(statements, shown)
			}
		}
	}
	for s := range b.traits {
		if _, both := a.traits[s]; !both && !strings.HasPrefix(s, valueMark) {
			all++
		}
	}
	p := &Pair{A: a.Student, B: b.Student, Lab: a.Lab}
	if all > 0 {
		p.Percent = 100 * same / all
	}
	var why []string
	if p.Percent >= enough && len(statements) >= rarities {
		why = append(why, fmt.Sprintf("%d of %d statements of their own are the same, %d of which hardly anybody else has", same, all, len(statements)))
		p.Shared = statements
	}
	if len(values) > 0 {
		why = append(why, "their seeds differ, and they have the same values")
		p.Shared = append(values, p.Shared...)
	}
	if len(why) == 0 {
		return nil
	}
	slices.Sort(p.Shared)
	p.Shared = p.Shared[:min(len(p.Shared), maxShown)]
	p.Why = strings.Join(why, "; ")
	return p
}

// Words whose variables are replaced, within bounds: a Dockerfile of a few lines can ask for more
// text than any machine has memory for.

package main

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// What a Dockerfile may come to.
const (
	maxInstructions = 10_000
	maxWord         = 128 << 10 // bytes of an expanded word: no variable of a program is longer, execve(2), "MAX_ARG_STRLEN"
	maxWords        = 8 << 20   // bytes of all expanded words of a stage together
	maxReplaced     = 64 << 20  // bytes that ${NAME//PATTERN/TEXT} may come to before they are counted
)

// words replaces variables. It is used from one instruction, or one FROM, on.
type words struct {
	lex     *shell.Lex
	escape  byte
	env     shell.EnvGetter
	limit   int // bytes of a word
	room    int // bytes that the word may take from variables
	left    int // of these
	spent   *int
	missing map[string]struct{} // variables that were not there
}

// newWords knows the variables VAR=VALUE.
func (r *reader) newWords(env []string) *words {
	return &words{lex: shell.NewLex(r.escape), escape: byte(r.escape), env: shell.EnvsFromSlice(env), limit: maxWord, spent: new(int), missing: map[string]struct{}{}}
}

// Get is shell.EnvGetter: once a word has become too long it gets no more.
func (w *words) Get(name string) (string, bool) {
	v, ok := w.env.Get(name)
	if w.left -= len(v); w.left < 0 {
		return "", ok
	}
	return v, ok
}

// Keys is shell.EnvGetter.
func (w *words) Keys() []string { return w.env.Keys() }

// replaces finds ${NAME/PATTERN/TEXT}.
var replaces = regexp.MustCompile(`\$\{\w+/`)

// enter begins a word. Where TEXT stands for parts of a variable it comes as often as that has
// bytes; and it can have variables of which the same is true. So what a word may take depends on
// how deep they are nested, and on how long the longest is.
func (w *words) enter(word string) {
	if w.room = w.limit; replaces.MatchString(word) {
		depth, deepest, begin, longest := 0, 0, 0, 0
		for i := 0; i < len(word); i++ {
			switch {
			case word[i] == w.escape:
				i++
			case strings.HasPrefix(word[i:], "${"):
				if depth == 0 {
					begin = i
				}
				depth++
				deepest = max(deepest, depth)
			case word[i] == '}' && depth > 0:
				depth--
				longest = max(longest, i-begin)
			}
		}
		w.room = min(w.limit, int(math.Pow(maxReplaced, 1/float64(deepest+1)))-longest)
	}
	w.left = w.room
}

// word replaces the variables of a word.
func (w *words) word(word string) (string, error) {
	w.enter(word)
	v, missing, err := w.lex.ProcessWord(word, w)
	maps.Copy(w.missing, missing)
	return v, w.check(word, len(v), err)
}

// list is word, where a word can become several.
func (w *words) list(word string) ([]string, error) {
	w.enter(word)
	list, err := w.lex.ProcessWords(word, w)
	n := 0
	for _, v := range list {
		n += len(v)
	}
	return list, w.check(word, n, err)
}

// maxQuoted is how much of a word an error shows, in bytes.
const maxQuoted = 30

func (w *words) check(word string, length int, err error) error {
	*w.spent += length
	switch {
	case err != nil:
		return err
	case w.left < 0 && w.room < w.limit:
		return fmt.Errorf(`too much text is replaced in variables: "%s"`, word[:min(len(word), maxQuoted)])
	case w.left < 0 || length > w.limit:
		return fmt.Errorf(`with its variables replaced, a word has more than %d bytes: "%s"`, w.limit, word[:min(len(word), maxQuoted)])
	case *w.spent > maxWords:
		return fmt.Errorf("with their variables replaced, the words of the stage have more than %d bytes", maxWords)
	}
	return nil
}

// unknown are the variables that were not there. PATH may be the base's.
func (w *words) unknown() []string {
	delete(w.missing, "PATH")
	return slices.Sorted(maps.Keys(w.missing))
}

// Words whose variables are replaced, within bounds: a Dockerfile of a few lines can ask for more
// text than any machine has memory for.

package main

import (
	"fmt"
	"maps"
	"slices"

	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// What a Dockerfile may come to.
const (
	maxInstructions = 10_000
	maxWord         = 128 << 10 // bytes of an expanded word: no variable of a program is longer, execve(2), "MAX_ARG_STRLEN"
	maxWords        = 8 << 20   // bytes of all expanded words of a stage together
)

// words replaces variables. It is used from one instruction, or one FROM, on.
type words struct {
	lex     *shell.Lex
	env     shell.EnvGetter
	limit   int // bytes of a word
	left    int // bytes that the word may still take from variables
	spent   *int
	missing map[string]struct{} // variables that were not there
}

// newWords knows the variables VAR=VALUE.
func (r *reader) newWords(env []string) *words {
	return &words{lex: shell.NewLex(r.escape), env: shell.EnvsFromSlice(env), limit: maxWord, spent: new(int), missing: map[string]struct{}{}}
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

// word replaces the variables of a word.
func (w *words) word(word string) (string, error) {
	w.left = w.limit
	v, missing, err := w.lex.ProcessWord(word, w)
	maps.Copy(w.missing, missing)
	return v, w.check(word, len(v), err)
}

// list is word, where a word can become several.
func (w *words) list(word string) ([]string, error) {
	w.left = w.limit
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

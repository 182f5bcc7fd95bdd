// Package errs carries advice along with an error, so that the person who sees
// it learns what to do and where to read on.
//
// Messages are lower case without a full stop: what failed, then why. The
// command line prints "tiffin: MESSAGE" and, when there is one, a second line
// "hint: ADVICE".
package errs

import "errors"

// hinted is an error with advice.
type hinted struct {
	error
	hint string
}

func (h *hinted) Unwrap() error { return h.error }

// Hint attaches advice to err: what to do, and the page that explains it, such
// as "see user_namespaces(7)". It returns nil if err is nil.
func Hint(err error, advice string) error {
	if err == nil {
		return nil
	}
	return &hinted{err, advice}
}

// HintOf returns the outermost advice in err's chain, or "".
func HintOf(err error) string {
	var h *hinted
	if errors.As(err, &h) {
		return h.hint
	}
	return ""
}

// coded is an error with the exit status it should end the program with.
type coded struct {
	error
	code int
}

func (c *coded) Unwrap() error { return c.error }

// Code attaches an exit status, such as 125, 126 or 127 by docker-run(1),
// "Exit Status". It returns nil if err is nil.
func Code(err error, status int) error {
	if err == nil {
		return nil
	}
	return &coded{err, status}
}

// CodeOf returns the outermost exit status in err's chain, or fallback.
func CodeOf(err error, fallback int) int {
	var c *coded
	if errors.As(err, &c) {
		return c.code
	}
	return fallback
}

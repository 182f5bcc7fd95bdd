// Words of a Dockerfile: quotes, backslashes, variables.

package image

import (
	"errors"
	"strings"
)

// words splits a Dockerfile's line at white space outside quotes; a backslash
// keeps the next character from meaning anything. Quotes and backslashes stay
// in the words: expand takes them away.
func words(s string) ([]string, error) {
	var out []string
	start, quote := -1, byte(0)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quote != 0:
			if c == '\\' && quote == '"' {
				i++
			} else if c == quote {
				quote = 0
			}
			continue
		case c == ' ' || c == '\t':
			if start >= 0 {
				out, start = append(out, s[start:i]), -1
			}
			continue
		case c == '\'' || c == '"':
			quote = c
		case c == '\\':
			if start < 0 {
				start = i
			}
			i++
			continue
		}
		if start < 0 {
			start = i
		}
	}
	if quote != 0 {
		return nil, errors.New("a quote is not closed")
	}
	if start >= 0 {
		out = append(out, s[start:])
	}
	if len(out) == 0 {
		return nil, errors.New("an argument is missing")
	}
	return out, nil
}

// expand takes quotes and backslashes away and puts in the values of variables
// by a shell's rules, as far as Dockerfiles have them: $NAME, ${NAME},
// ${NAME:-word}, ${NAME:+word}; nothing inside single quotes.
func expand(s string, env []string) (string, error) {
	e := &expander{s: s, env: env}
	v, err := e.until("")
	return v, err
}

type expander struct {
	s     string
	i     int
	env   []string
	depth int
}

// until expands up to one of the characters in stop, outside quotes.
func (e *expander) until(stop string) (string, error) {
	if e.depth++; e.depth > 32 {
		return "", errors.New("too many nested ${}")
	}
	defer func() { e.depth-- }()
	var b strings.Builder
	for e.i < len(e.s) && strings.IndexByte(stop, e.s[e.i]) < 0 {
		c := e.s[e.i]
		e.i++
		switch c {
		case '\'':
			end := strings.IndexByte(e.s[e.i:], '\'')
			if end < 0 {
				return "", errors.New("a quote is not closed")
			}
			b.WriteString(e.s[e.i : e.i+end])
			e.i += end + 1
		case '"':
			if err := e.quoted(&b); err != nil {
				return "", err
			}
		case '\\':
			if e.i < len(e.s) {
				b.WriteByte(e.s[e.i])
				e.i++
			}
		case '$':
			v, err := e.variable()
			if err != nil {
				return "", err
			}
			b.WriteString(v)
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), nil
}

// quoted reads up to the closing double quote, in which a backslash escapes
// only what would mean something there.
func (e *expander) quoted(b *strings.Builder) error {
	for e.i < len(e.s) {
		c := e.s[e.i]
		e.i++
		switch {
		case c == '"':
			return nil
		case c == '\\' && e.i < len(e.s) && strings.IndexByte(`"$\`, e.s[e.i]) >= 0:
			b.WriteByte(e.s[e.i])
			e.i++
		case c == '$':
			v, err := e.variable()
			if err != nil {
				return err
			}
			b.WriteString(v)
		default:
			b.WriteByte(c)
		}
	}
	return errors.New("a quote is not closed")
}

// variable reads what follows a dollar sign.
func (e *expander) variable() (string, error) {
	braces := e.i < len(e.s) && e.s[e.i] == '{'
	if braces {
		e.i++
	}
	start := e.i
	for e.i < len(e.s) && isNameByte(e.s[e.i]) {
		e.i++
	}
	name := e.s[start:e.i]
	if !braces {
		if name == "" {
			return "$", nil
		}
		return e.lookup(name), nil
	}
	value := e.lookup(name)
	rest := e.s[e.i:]
	switch {
	case name == "":
		return "", errors.New("${} without a name")
	case strings.HasPrefix(rest, ":-"), strings.HasPrefix(rest, ":+"):
		e.i += 2
		word, err := e.until("}")
		if err != nil {
			return "", err
		}
		if (value == "") == (rest[1] == '-') {
			value = word
		}
	}
	if e.i >= len(e.s) || e.s[e.i] != '}' {
		return "", errors.New("${ is not closed, or has an operator other than :- and :+")
	}
	e.i++
	return value, nil
}

func (e *expander) lookup(name string) string {
	for _, v := range e.env {
		if k, value, _ := strings.Cut(v, "="); k == name {
			return value
		}
	}
	return ""
}

// isNameByte reports whether the name of a variable may have b in it.
func isNameByte(b byte) bool {
	return b == '_' || b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z'
}

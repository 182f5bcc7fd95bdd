package registry

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// As much of TOML v1.0.0 as registries.conf needs: https://toml.io/en/v1.0.0.

// parseKey reads KEY = from the beginning of a line.
func parseKey(s string) (key, rest string, err error) {
	if s[0] == '"' || s[0] == '\'' {
		if key, rest, err = parseString(s); err != nil {
			return "", "", err
		}
	} else {
		end := strings.IndexAny(s, " \t=")
		if end < 0 {
			end = len(s)
		}
		key, rest = s[:end], s[end:]
		for _, c := range []byte(key) {
			if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
				return "", "", fmt.Errorf("%q is no key; with other characters than letters, digits, - and _ it needs quotes", key)
			}
		}
	}
	rest, ok := strings.CutPrefix(strings.TrimSpace(rest), "=")
	if !ok || key == "" {
		return "", "", errors.New("this is neither KEY = VALUE nor a [section]")
	}
	return key, strings.TrimSpace(rest), nil
}

// parseValue reads a string, a list of strings, true or false.
func parseValue(s string) (v value, rest string, err error) {
	switch {
	case s == "" || s[0] == '#':
		return v, "", errors.New("the value is missing")
	case s[0] == '"' || s[0] == '\'':
		v.s, rest, err = parseString(s)
		return v, rest, err
	case s[0] == '[':
		v.isList = true
		v.list, rest, err = parseList(s[1:])
		return v, rest, err
	}
	word, rest := s, ""
	if end := strings.IndexAny(s, " \t#"); end >= 0 {
		word, rest = s[:end], s[end:]
	}
	if word != "true" && word != "false" {
		return v, "", fmt.Errorf("%q is not true, false, or a string in quotes", word)
	}
	v.isBool, v.b = true, word == "true"
	return v, rest, nil
}

func parseList(s string) (list []string, rest string, err error) {
	for {
		s = strings.TrimSpace(s)
		if rest, ok := strings.CutPrefix(s, "]"); ok {
			return list, rest, nil
		}
		if s == "" || s[0] != '"' && s[0] != '\'' {
			return nil, "", errors.New("a list is [\"ONE\", \"TWO\"], on one line")
		}
		var one string
		if one, s, err = parseString(s); err != nil {
			return nil, "", err
		}
		list = append(list, one)
		if s = strings.TrimSpace(s); strings.HasPrefix(s, ",") {
			s = s[1:]
		} else if !strings.HasPrefix(s, "]") {
			return nil, "", errors.New("a list is [\"ONE\", \"TWO\"], on one line")
		}
	}
}

// parseString reads "…", in which \ begins an escape, or '…', in which nothing does.
func parseString(s string) (value, rest string, err error) {
	if s[0] == '\'' {
		value, rest, ok := strings.Cut(s[1:], "'")
		if !ok {
			return "", "", errors.New("the closing ' is missing")
		}
		return value, rest, nil
	}
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			value, err := strconv.Unquote(s[:i+1])
			if err != nil {
				return "", "", fmt.Errorf("%s is no string", s[:i+1])
			}
			return value, s[i+1:], nil
		}
	}
	return "", "", errors.New("the closing \" is missing")
}

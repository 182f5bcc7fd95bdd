// A registry may name several ways to be let in, in one header field or in many, and only some of
// them are known here: RFC 9110, 11.6.1.

package registry

import (
	"net/http"
	"strings"
)

// challenges shows oras-go the one challenge that it can answer: a token if that is among them,
// else a password. For oras-go looks at the first field alone, and knows parameters in lower case
// only.
type challenges struct{ http.RoundTripper }

func (c challenges) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := c.RoundTripper.RoundTrip(req)
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	all := splitChallenges(strings.Join(resp.Header.Values("WWW-Authenticate"), ", "))
	for _, scheme := range []string{"bearer", "basic"} {
		for _, one := range all {
			if one[0] == scheme {
				resp.Header.Set("WWW-Authenticate", one[0]+" "+strings.Join(one[1:], ","))
				return resp, nil
			}
		}
	}
	return resp, nil
}

// splitChallenges takes a field apart: of each challenge the scheme, then its parameters, with
// names in lower case. A comma stands between both, challenges and parameters; what begins with
// two words begins a challenge, or is one word without "=".
func splitChallenges(field string) (all [][]string) {
	for _, part := range splitOutsideQuotes(field) {
		name, value, isParameter := strings.Cut(part, "=")
		scheme, first, two := strings.Cut(strings.TrimSpace(name), " ")
		switch {
		case part == "":
			continue
		case !isParameter || two:
			if !isToken(scheme) {
				scheme = "" // no scheme that anybody knows; its parameters are not another's
			}
			all = append(all, []string{strings.ToLower(scheme)})
			name = first
		case len(all) == 0:
			continue // a parameter of nothing
		}
		if isParameter {
			last := len(all) - 1
			all[last] = append(all[last], strings.ToLower(strings.TrimSpace(name))+"="+strings.TrimSpace(value))
		}
	}
	return all
}

// isToken tells whether s is a token: RFC 9110, 5.6.2.
func isToken(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	}) < 0
}

// splitOutsideQuotes parts a field at its commas, but for those in a quoted string: RFC 9110,
// 5.6.4.
func splitOutsideQuotes(field string) (parts []string) {
	quoted, start := false, 0
	for i := 0; i < len(field); i++ {
		switch c := field[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			parts = append(parts, strings.TrimSpace(field[start:i]))
			start = i + 1
		}
	}
	return append(parts, strings.TrimSpace(field[start:]))
}

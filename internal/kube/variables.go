// References to variables in commands, arguments and variables: the API reference, Container,
// "command". $(NAME) is the value of NAME, or stays as it is if there is no such variable; $$ is $.

package kube

import (
	"regexp"
	"strings"
)

// MaxString is how long an argument or a variable may be, in bytes: execve(2), "Limits on size of
// arguments and environment".
const MaxString = 128 << 10

var reference = regexp.MustCompile(`\$\$|\$\(([^)]*)\)`)

// Expand replaces the references in s. It gives up when the result is too long.
func Expand(s string, vars map[string]string) (string, bool) {
	length := 0
	s = reference.ReplaceAllStringFunc(s, func(m string) string {
		if length > MaxString {
			return ""
		}
		text := m
		if m == "$$" {
			text = "$"
		} else if v, ok := vars[m[2:len(m)-1]]; ok {
			text = v
		}
		length += len(text)
		return text
	})
	return s, len(s) <= MaxString && length <= MaxString
}

// Literal is the text that Expand turns into s.
func Literal(s string, vars map[string]string) string {
	var b strings.Builder
	for s != "" {
		at := strings.IndexByte(s, '$')
		if at < 0 || at == len(s)-1 {
			break
		}
		b.WriteString(s[:at])
		s = s[at:]
		end := strings.IndexByte(s, ')')
		_, known := vars[s[min(2, len(s)):max(end, 2)]]
		switch {
		case s[1] == '$', s[1] == '(' && end > 0 && known:
			b.WriteString("$$")
			s = s[1:]
		case s[1] == '(' && end > 0:
			b.WriteString(s[:end+1])
			s = s[end+1:]
		default:
			b.WriteByte('$')
			s = s[1:]
		}
	}
	return b.String() + s
}

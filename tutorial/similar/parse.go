// A script taken apart into what can be compared.

package similar

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// parsed is a work and its traits: what is compared, and how it is shown.
type parsed struct {
	Work
	traits map[string]string
}

// valueMark begins a trait that is a value and no statement.
const valueMark = "\x00"

// patterns are made when the first script is compared, not at every start of tiffin.
var patterns = sync.OnceValue(func() (p struct{ ofLab, hex, number, variable, value *regexp.Regexp }) {
	p.ofLab = regexp.MustCompile(`lab[0-9][0-9](\.example/|-)[A-Za-z0-9._/:@-]*`)
	p.hex = regexp.MustCompile(`[0-9a-f]{12,}`)
	p.number = regexp.MustCompile(`[0-9]+`)
	p.variable = regexp.MustCompile(`\$\{?([A-Za-z_][A-Za-z0-9_]*)\}?`)
	p.value = regexp.MustCompile(`[0-9]{4,}|[0-9a-f]{12,}|[A-Za-z]+-?[0-9]{3,}`)
	return p
})

// parse takes a work apart.
func (w Work) parse() *parsed {
	p := &parsed{w, map[string]string{}}
	statements := split(w.Script)
	for _, name := range slices.Sorted(maps.Keys(w.Files)) {
		statements = append(statements, split(string(w.Files[name]))...)
	}
	own := chosen(statements)
	for _, words := range statements {
		shown := strings.Join(words, " ")
		for _, v := range patterns().value.FindAllString(shown, -1) {
			p.traits[valueMark+v] = v
		}
		var normal []string
		for _, word := range words {
			normal = append(normal, normalize(word, own))
		}
		if len(normal) > 1 {
			slices.Sort(normal[1:])
			p.traits[strings.Join(normal, " ")] = shown
		}
	}
	for name, b := range w.Files {
		if len(b) >= 16 {
			p.traits[valueMark+fmt.Sprintf("%s %x", name, sha256.Sum256(b))] = "the file " + name
		}
	}
	return p
}

// normalize replaces what everybody chooses or is given otherwise.
func normalize(word string, own map[string]bool) string {
	if own[word] {
		return "NAME"
	}
	if key, value, ok := strings.Cut(word, "="); ok && own["$"+key] {
		return "VAR=" + normalize(value, own)
	}
	re := patterns()
	word = re.ofLab.ReplaceAllString(word, "NAME")
	word = re.variable.ReplaceAllStringFunc(word, func(v string) string {
		if own["$"+strings.Trim(v, "${}")] {
			return "VAR"
		}
		return v // the lab's: the same for all
	})
	return re.number.ReplaceAllString(re.hex.ReplaceAllString(word, "N"), "N")
}

// chosen are the names that a script gives: of containers and files as they are, of variables with
// a $.
func chosen(statements [][]string) map[string]bool {
	own := map[string]bool{}
	for _, words := range statements {
		for i, word := range words {
			key, value, assigned := strings.Cut(word, "=")
			switch {
			case key == "--name" && assigned:
				own[value] = true
			case word == "--name" && i+1 < len(words):
				own[words[i+1]] = true
			case assigned && (i == 0 || words[0] == "export") && !strings.HasPrefix(key, "-"),
				i > 0 && words[i-1] == "read":
				own["$"+key] = true
			case i > 0 && strings.HasPrefix(words[i-1], ">") && !strings.Contains(word, "/"):
				own[word] = true
			case word == "for" && i+1 < len(words):
				own["$"+words[i+1]], own[words[i+1]] = true, true
			}
		}
	}
	return own
}

// structure are words of the shell that begin no command of their own.
var structure = []string{"if", "then", "else", "elif", "fi", "while", "until", "do", "done", "{", "}", "!", "$"}

// split splits a script into its simple commands: POSIX.1-2017, 2.3 "Token Recognition", without
// the fine points. A text that is no script gives some statements, too.
func split(script string) (all [][]string) {
	script = script[:min(len(script), maxScript)]
	var words []string
	var word strings.Builder
	inWord := false
	endWord := func() {
		if inWord && !(len(words) == 0 && slices.Contains(structure, word.String())) {
			words = append(words, word.String())
		}
		word.Reset()
		inWord = false
	}
	end := func() {
		if endWord(); len(words) > 0 {
			all = append(all, words)
		}
		words = nil
	}
	quote := byte(0)
	for i := 0; i < len(script); i++ {
		c := script[i]
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case c == '\\' && quote != '\'' && i+1 < len(script):
			i++
			if quote == '"' && strings.IndexByte("$`\"\\\n", script[i]) < 0 {
				word.WriteByte(c) // 2.2.3 "Double-Quotes"
			}
			if script[i] != '\n' {
				word.WriteByte(script[i])
				inWord = true
			}
		case quote != 0:
			word.WriteByte(c)
		case c == '\'' || c == '"':
			quote, inWord = c, true
		case c == '#' && !inWord:
			for i+1 < len(script) && script[i+1] != '\n' {
				i++
			}
		case c == ' ' || c == '\t' || c == '\r':
			endWord()
		case c == '<' || c == '>':
			endWord()
			operator := i
			for i+1 < len(script) && strings.IndexByte("<>&|", script[i+1]) >= 0 {
				i++
			}
			words = append(words, script[operator:i+1])
		case strings.IndexByte("\n;|&()`", c) >= 0:
			end()
		default:
			word.WriteByte(c)
			inWord = true
		}
	}
	end()
	return all
}

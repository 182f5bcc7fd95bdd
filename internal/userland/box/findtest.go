// The tests of find, one function each.

package box

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// compare parses "+N", "-N" or "N" and returns the comparison.
func (p *findParser) compare(s string) func(n int64) bool {
	sign := byte(0)
	if s != "" && (s[0] == '+' || s[0] == '-') {
		sign, s = s[0], s[1:]
	}
	want := p.c.number(s)
	return func(n int64) bool {
		switch sign {
		case '+':
			return n > want
		case '-':
			return n < want
		}
		return n == want
	}
}

func (p *findParser) primary(word string) findTest {
	switch word {
	case "-name", "-iname", "-path", "-ipath", "-wholename":
		return p.glob(word, p.value(word))
	case "-regex":
		re := p.c.pattern("^(?:" + p.value(word) + ")$")
		return func(f *found) bool { return re.MatchString(f.path) }
	case "-type":
		kinds := p.value(word)
		return func(f *found) bool { return strings.IndexByte(kinds, typeLetter(f.st.Mode)) >= 0 }
	case "-maxdepth":
		p.maxDepth = int(p.c.number(p.value(word)))
		return always
	case "-mindepth":
		p.minDepth = int(p.c.number(p.value(word)))
		return always
	case "-depth":
		p.depthFirst = true
		return always
	case "-xdev", "-mount":
		p.xdev = true
		return always
	case "-true":
		return always
	case "-prune":
		return func(f *found) bool { f.prune = true; return true }
	case "-empty":
		return isEmpty
	case "-size":
		return p.size(p.value(word))
	case "-perm":
		return p.perm(p.value(word))
	case "-user", "-group", "-uid", "-gid", "-links", "-inum", "-nouser", "-nogroup":
		return p.owner(word)
	case "-mtime", "-mmin", "-ctime", "-cmin", "-atime", "-newer":
		return p.age(word)
	}
	return p.action(word)
}

func (p *findParser) glob(word, pattern string) findTest {
	fold := word[1] == 'i'
	if fold {
		pattern = strings.ToLower(pattern)
	}
	whole := strings.Contains(word, "path") || strings.Contains(word, "whole")
	re := p.c.pattern(globExpr(pattern))
	return func(f *found) bool {
		s := f.path
		if !whole {
			s = filepath.Base(f.path)
		}
		if fold {
			s = strings.ToLower(s)
		}
		return re.MatchString(s)
	}
}

// globExpr turns a shell pattern into a regular expression in which, as in
// fnmatch(3) without flags, "*" also matches slashes.
func globExpr(glob string) string {
	var b strings.Builder
	b.WriteString("^(?s:")
	for i := 0; i < len(glob); i++ {
		switch ch := glob[i]; {
		case ch == '*':
			b.WriteString(".*")
		case ch == '?':
			b.WriteString(".")
		case ch == '[' && bracketEnd(glob, i) <= len(glob) && strings.IndexByte(glob[i:], ']') > 0:
			end := bracketEnd(glob, i)
			set := glob[i:end]
			if strings.HasPrefix(set, "[!") {
				set = "[^" + set[2:]
			}
			b.WriteString(strings.ReplaceAll(set, `\`, `\\`))
			i = end - 1
		case ch == '\\' && i+1 < len(glob):
			i++
			b.WriteString(quoteMeta(glob[i : i+1]))
		default:
			b.WriteString(quoteMeta(glob[i : i+1]))
		}
	}
	return b.String() + ")$"
}

func quoteMeta(s string) string {
	if strings.Contains(`\.+*?()|[]{}^$`, s) {
		return `\` + s
	}
	return s
}

func typeLetter(mode uint32) byte {
	if letter := modeString(mode)[0]; letter != '-' {
		return letter
	}
	return 'f'
}

func isEmpty(f *found) bool {
	if f.fi.IsDir() {
		entries, err := os.ReadDir(f.path)
		return err == nil && len(entries) == 0
	}
	return f.fi.Mode().IsRegular() && f.fi.Size() == 0
}

func (p *findParser) size(s string) findTest {
	unit := int64(512)
	if s != "" {
		if u, ok := map[byte]int64{'c': 1, 'w': 2, 'b': 512, 'k': 1 << 10, 'M': 1 << 20, 'G': 1 << 30}[s[len(s)-1]]; ok {
			unit, s = u, s[:len(s)-1]
		}
	}
	cmp := p.compare(s)
	return func(f *found) bool { return cmp((f.st.Size + unit - 1) / unit) }
}

// perm is -perm MODE (exactly), -MODE (all of these) or /MODE (any of these).
func (p *findParser) perm(s string) findTest {
	how := byte(0)
	if s != "" && (s[0] == '-' || s[0] == '/') {
		how, s = s[0], s[1:]
	}
	want, err := parseMode(s, 0, false)
	if err != nil {
		p.c.die(1, "%s", err)
	}
	return func(f *found) bool {
		have := f.st.Mode & 0o7777
		switch how {
		case '-':
			return have&want == want
		case '/':
			return have&want != 0 || want == 0
		}
		return have == want
	}
}

func (p *findParser) owner(word string) findTest {
	switch word {
	case "-nouser":
		return func(f *found) bool { return byID(users(), int(f.st.Uid)) == "" }
	case "-nogroup":
		return func(f *found) bool { return byID(groups(), int(f.st.Gid)) == "" }
	case "-user", "-group":
		list, v := users(), p.value(word)
		if word == "-group" {
			list = groups()
		}
		a, ok := find(list, v)
		if !ok {
			p.c.die(1, "%s: no such %s", v, word[1:])
		}
		return func(f *found) bool {
			if word == "-user" {
				return int(f.st.Uid) == a.id
			}
			return int(f.st.Gid) == a.id
		}
	}
	cmp := p.compare(p.value(word))
	return func(f *found) bool {
		return cmp(int64(map[string]uint64{"-uid": uint64(f.st.Uid), "-gid": uint64(f.st.Gid),
			"-links": uint64(f.st.Nlink), "-inum": f.st.Ino}[word]))
	}
}

func (p *findParser) age(word string) findTest {
	v := p.value(word)
	if word == "-newer" {
		ref, err := os.Stat(v)
		if err != nil {
			p.c.die(1, "%s: %s", v, reason(err))
		}
		return func(f *found) bool { return f.fi.ModTime().After(ref.ModTime()) }
	}
	unit := 24 * time.Hour
	if strings.HasSuffix(word, "min") {
		unit = time.Minute
	}
	cmp := p.compare(v)
	return func(f *found) bool {
		ts := map[byte]syscall.Timespec{'m': f.st.Mtim, 'c': f.st.Ctim, 'a': f.st.Atim}[word[1]]
		return cmp(int64(p.now.Sub(time.Unix(ts.Unix())) / unit))
	}
}

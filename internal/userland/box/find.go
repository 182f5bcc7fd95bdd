// The command find: the expression is compiled into a tree of functions, which is then asked
// about each file.

package box

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// find: look for files. The expression is compiled into a tree of functions
// (POSIX, find; with -maxdepth, -mindepth, -printf, -delete and -print0):
//
//	or  = and { "-o" and }
//	and = not { ["-a"] not }
//	not = "!" not | "(" or ")" | primary
func findCmd(c *Call) {
	p := &findParser{c: c, maxDepth: 1 << 30, now: time.Now()}
	p.args = c.args
	for len(p.args) > 0 && (p.args[0] == "-L" || p.args[0] == "-P" || p.args[0] == "-H") {
		p.follow = p.args[0] == "-L"
		p.args = p.args[1:]
	}
	var roots []string
	for len(p.args) > 0 && p.args[0] != "!" && p.args[0] != "(" && !strings.HasPrefix(p.args[0], "-") {
		roots = append(roots, p.args[0])
		p.args = p.args[1:]
	}
	if len(roots) == 0 {
		roots = []string{"."}
	}
	test := func(*found) bool { return true }
	if len(p.args) > 0 {
		test = p.or()
		if len(p.args) > 0 {
			c.die(1, "unexpected %s", p.args[0])
		}
	}
	if !p.acts {
		inner := test
		test = func(f *found) bool {
			if inner(f) {
				fmt.Fprintln(c.out, f.path)
			}
			return true
		}
	}
	for _, root := range roots {
		p.walk(root, root, 0, test)
	}
	for _, b := range p.batches {
		b.run(c)
	}
}

// found is a file that the walk has come to.
type found struct {
	path, root string
	depth      int
	fi         fs.FileInfo
	st         *syscall.Stat_t
	prune      bool
}

type findTest func(*found) bool

type findParser struct {
	c                  *Call
	args               []string
	follow, acts       bool
	depthFirst, xdev   bool
	minDepth, maxDepth int
	now                time.Time
	batches            []*batch
	dev                uint64
}

// A batch collects the files of one -exec … {} +.
type batch struct{ argv, files []string }

func (b *batch) run(c *Call) {
	if len(b.files) > 0 && c.child(append(slices.Clone(b.argv), b.files...), os.Stdin) != 0 {
		c.exit = 1
	}
	b.files = nil
}

func (p *findParser) walk(path, root string, depth int, test findTest) {
	var fi fs.FileInfo
	var err error
	if p.follow {
		fi, err = os.Stat(path)
	}
	if !p.follow || err != nil {
		fi, err = os.Lstat(path)
	}
	if err != nil {
		p.c.fail(path, err)
		return
	}
	f := &found{path: path, root: root, depth: depth, fi: fi, st: fi.Sys().(*syscall.Stat_t)}
	if depth == 0 {
		p.dev = f.st.Dev
	}
	visit := depth >= p.minDepth && depth <= p.maxDepth
	if visit && !p.depthFirst {
		test(f)
	}
	if fi.IsDir() && depth < p.maxDepth && !f.prune && !(p.xdev && f.st.Dev != p.dev) {
		entries, err := os.ReadDir(path)
		if err != nil {
			p.c.fail(path, err)
		}
		for _, e := range entries {
			p.walk(strings.TrimSuffix(path, "/")+"/"+e.Name(), root, depth+1, test)
		}
	}
	if visit && p.depthFirst {
		test(f)
	}
}

func (p *findParser) accept(words ...string) bool {
	if len(p.args) > 0 && slices.Contains(words, p.args[0]) {
		p.args = p.args[1:]
		return true
	}
	return false
}

func (p *findParser) or() findTest {
	left := p.and()
	for p.accept("-o", "-or") {
		a, b := left, p.and()
		left = func(f *found) bool { return a(f) || b(f) }
	}
	return left
}

func (p *findParser) and() findTest {
	left := p.not()
	for len(p.args) > 0 && p.args[0] != "-o" && p.args[0] != "-or" && p.args[0] != ")" {
		p.accept("-a", "-and")
		a, b := left, p.not()
		left = func(f *found) bool { return a(f) && b(f) }
	}
	return left
}

func (p *findParser) not() findTest {
	if p.accept("!", "-not") {
		t := p.not()
		return func(f *found) bool { return !t(f) }
	}
	if p.accept("(") {
		t := p.or()
		if !p.accept(")") {
			p.c.die(1, ") expected")
		}
		return t
	}
	if len(p.args) == 0 {
		p.c.die(1, "expression expected")
	}
	word := p.args[0]
	p.args = p.args[1:]
	return p.primary(word)
}

func (p *findParser) value(word string) string {
	if len(p.args) == 0 {
		p.c.die(1, "%s needs a value", word)
	}
	v := p.args[0]
	p.args = p.args[1:]
	return v
}

func always(*found) bool { return true }

func (p *findParser) action(word string) findTest {
	p.acts = true
	c := p.c
	switch word {
	case "-print":
		return func(f *found) bool { fmt.Fprintln(c.out, f.path); return true }
	case "-print0":
		return func(f *found) bool { fmt.Fprint(c.out, f.path, "\x00"); return true }
	case "-printf":
		format := p.value(word)
		return func(f *found) bool { fmt.Fprint(c.out, findFormat(format, f)); return true }
	case "-ls":
		return func(f *found) bool {
			fmt.Fprintf(c.out, "%9d %6d %s %3d %-8s %-8s %8d %s %s\n", f.st.Ino, f.st.Blocks/2, modeString(f.st.Mode), f.st.Nlink,
				nameOr(users(), int(f.st.Uid)), nameOr(groups(), int(f.st.Gid)), f.st.Size, listTime(f.fi.ModTime()), f.path)
			return true
		}
	case "-quit":
		return func(*found) bool { c.quit(c.exit); return true }
	case "-delete":
		p.depthFirst = true
		return func(f *found) bool {
			var err error
			if f.fi.IsDir() {
				err = unix.Rmdir(f.path)
			} else {
				err = unix.Unlink(f.path)
			}
			if err != nil {
				c.fail(f.path, err)
			}
			return err == nil
		}
	case "-exec", "-ok":
		return p.exec()
	}
	c.die(1, "unknown predicate %s", word)
	return nil
}

// exec is -exec CMD… ; and -exec CMD… {} +.
func (p *findParser) exec() findTest {
	end := slices.IndexFunc(p.args, func(a string) bool { return a == ";" })
	plus := slices.Index(p.args, "+")
	if plus > 0 && p.args[plus-1] == "{}" && (end < 0 || plus < end) {
		b := &batch{argv: p.args[:plus-1]}
		p.args = p.args[plus+1:]
		p.batches = append(p.batches, b)
		return func(f *found) bool {
			if b.files = append(b.files, f.path); len(b.files) >= 1000 {
				b.run(p.c)
			}
			return true
		}
	}
	if end < 1 {
		p.c.die(1, "-exec needs a command and ;")
	}
	argv := p.args[:end]
	p.args = p.args[end+1:]
	return func(f *found) bool {
		one := make([]string, len(argv))
		for i, a := range argv {
			one[i] = strings.ReplaceAll(a, "{}", f.path)
		}
		return p.c.child(one, os.Stdin) == 0
	}
}

// findFormat expands the directives of -printf.
func findFormat(format string, f *found) string {
	format = strings.NewReplacer(`\n`, "\n", `\t`, "\t", `\0`, "\x00", `\\`, `\`).Replace(format)
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		switch format[i] {
		case 'p':
			b.WriteString(f.path)
		case 'P':
			b.WriteString(strings.TrimPrefix(strings.TrimPrefix(f.path, f.root), "/"))
		case 'f':
			b.WriteString(filepath.Base(f.path))
		case 'h':
			b.WriteString(filepath.Dir(f.path))
		case 'l':
			s, _ := os.Readlink(f.path)
			b.WriteString(s)
		case 'd':
			b.WriteString(strconv.Itoa(f.depth))
		case 'y':
			b.WriteByte(typeLetter(f.st.Mode))
		case 'm':
			fmt.Fprintf(&b, "%o", f.st.Mode&0o7777)
		case 'M':
			b.WriteString(modeString(f.st.Mode))
		case 'T':
			if i+1 < len(format) && format[i+1] == '@' {
				i++
				fmt.Fprintf(&b, "%d.%09d0", f.st.Mtim.Sec, f.st.Mtim.Nsec)
			}
		case '%':
			b.WriteByte('%')
		default:
			verb := map[byte]string{'s': "%s", 'i': "%i", 'n': "%h", 'u': "%U", 'g': "%G", 'U': "%u", 'G': "%g", 't': "%y", 'b': "%b"}[format[i]]
			b.WriteString(expandStat(verb, file{name: f.path, path: f.path, fi: f.fi, st: f.st}))
		}
	}
	return b.String()
}

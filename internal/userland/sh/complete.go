// Completion with the Tab key: commands, files, variables.

package sh

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"tiffin/userland/box"
)

// builtinNames are completed beside the commands in PATH.
const builtinNames = "alias bg break cd command continue echo eval exec exit export false fg getopts hash help " +
	"history jobs kill local printf pwd read readonly return set shift source test times trap true type ulimit " +
	"umask unalias unset wait"

// complete is the Tab key: it extends the word before the cursor as far as that
// is certain; a second Tab shows the possibilities.
func (e *editor) complete() {
	e.tabs++
	start := e.wordBegin()
	typed := unescape(string(e.buf[start:e.pos]))
	var found []string
	switch {
	case strings.HasPrefix(typed, "$"):
		found = e.variables(typed)
	case !strings.Contains(typed, "/") && e.commandPosition(start):
		found = e.commands(typed)
		if dirs := e.files(typed, true); len(found) == 0 {
			found = dirs
		}
	default:
		found = e.files(typed, false)
	}
	if len(found) == 0 {
		fmt.Fprint(os.Stderr, "\a")
		return
	}
	common := found[0]
	for _, f := range found[1:] {
		for !strings.HasPrefix(f, common) {
			common = common[:len(common)-1]
		}
	}
	if len(found) == 1 && !strings.HasSuffix(common, "/") {
		e.replaceWord(start, escape(common)+" ")
		return
	}
	if len(common) > len(typed) {
		e.replaceWord(start, escape(common))
		return
	}
	if e.tabs > 1 && len(found) > 1 {
		e.show(found)
	} else {
		fmt.Fprint(os.Stderr, "\a")
	}
}

func (e *editor) replaceWord(start int, text string) {
	e.cut(start, e.pos, false)
	e.insert([]rune(text))
}

// wordBegin is where the word before the cursor begins.
func (e *editor) wordBegin() int {
	i := e.pos
	for i > 0 {
		if strings.ContainsRune(" \t;|&<>()`=", e.buf[i-1]) && (i < 2 || e.buf[i-2] != '\\') {
			break
		}
		i--
	}
	return i
}

// commandPosition tells whether a word that begins at start is a command's name.
func (e *editor) commandPosition(start int) bool {
	before := strings.TrimRight(string(e.buf[:start]), " \t")
	if before == "" || strings.ContainsAny(before[len(before)-1:], ";|&(`") {
		return true
	}
	words := strings.Fields(before)
	switch words[len(words)-1] {
	case "then", "do", "else", "elif", "if", "while", "until", "!", "{", "time", "exec", "command", "xargs", "nohup", "which", "type":
		return true
	}
	return false
}

func (e *editor) variables(typed string) []string {
	var found []string
	for name := range e.s.r.Vars {
		if strings.HasPrefix("$"+name, typed) && !strings.HasPrefix(name, varPrefix) {
			found = append(found, "$"+name)
		}
	}
	slices.Sort(found)
	return found
}

func (e *editor) commands(typed string) []string {
	var found []string
	add := func(name string) {
		if strings.HasPrefix(name, typed) {
			found = append(found, name)
		}
	}
	for _, name := range strings.Fields(builtinNames) {
		add(name)
	}
	for name := range e.s.r.Funcs {
		add(name)
	}
	for _, c := range box.Commands() {
		add(c.Name)
	}
	for _, dir := range filepath.SplitList(e.s.r.Vars["PATH"].String()) {
		entries, _ := os.ReadDir(dir)
		for _, ent := range entries {
			if strings.HasPrefix(ent.Name(), typed) && unix.Access(filepath.Join(dir, ent.Name()), unix.X_OK) == nil {
				add(ent.Name())
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// files lists the names that typed may become; directories end in a slash.
func (e *editor) files(typed string, dirsOnly bool) []string {
	shown, base := "", typed
	if i := strings.LastIndexByte(typed, '/'); i >= 0 {
		shown, base = typed[:i+1], typed[i+1:]
	}
	dir := shown
	if home := e.s.r.Vars["HOME"].String(); strings.HasPrefix(dir, "~/") && home != "" {
		dir = home + dir[1:]
	}
	if dir == "" || dir[0] != '/' {
		dir = e.s.r.Dir + "/" + dir
	}
	entries, _ := os.ReadDir(dir)
	var found []string
	for _, ent := range entries {
		name := ent.Name()
		if !strings.HasPrefix(name, base) || base == "" && name[0] == '.' {
			continue
		}
		fi, err := os.Stat(filepath.Join(dir, name))
		isDir := err == nil && fi.IsDir()
		if isDir {
			name += "/"
		} else if dirsOnly {
			continue
		}
		found = append(found, shown+name)
	}
	return found
}

// show prints the possibilities below the line, in columns.
func (e *editor) show(found []string) {
	width := 80
	if ws, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ); err == nil && ws.Col > 0 {
		width = int(ws.Col)
	}
	names := make([]string, len(found))
	wide := 0
	for i, f := range found {
		names[i] = f
		if j := strings.LastIndexByte(strings.TrimSuffix(f, "/"), '/'); j >= 0 {
			names[i] = f[j+1:]
		}
		wide = max(wide, len(names[i])+2)
	}
	cols := max(1, width/wide)
	rows := (len(names) + cols - 1) / cols
	pos := e.pos
	e.pos = len(e.buf)
	e.draw()
	e.pos = pos
	fmt.Fprint(os.Stderr, "\r\n")
	for r := range rows {
		line := ""
		for i := r; i < len(names); i += rows {
			line += fmt.Sprintf("%-*s", wide, names[i])
		}
		fmt.Fprint(os.Stderr, strings.TrimRight(line, " "), "\r\n")
	}
	e.row = 0
}

// escape puts backslashes before what the shell would take apart.
func escape(s string) string {
	var b strings.Builder
	for i, r := range s {
		if strings.ContainsRune(" \t\\'\"&;|<>()*?[]!`#", r) || r == '$' && i > 0 {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

func unescape(s string) string {
	var b strings.Builder
	skip := false
	for _, r := range s {
		if r == '\\' && !skip {
			skip = true
			continue
		}
		if (r == '\'' || r == '"') && !skip {
			continue
		}
		skip = false
		b.WriteRune(r)
	}
	return b.String()
}

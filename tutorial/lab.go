// A lab as its directory says: parsed as a whole, and refused with file and line if something is
// wrong with it.

package tutorial

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"tiffin/internal/errs"
)

// Lab is one lab, as its directory says.
type Lab struct {
	Name    string // of the directory: "03-user-namespace"
	Title   string
	Track   string   // labs that belong together, one word: "kernel"; "" if it has none
	Concept string   // one sentence
	Minutes int      // what it takes
	Needs   []string // what the machine must allow: see Missing
	Answers []string // files that the student makes or fills in, and the check reads
	Changes []string // other files of the start that the student may change
	Files   []string // what is handed in beside solve.sh
	Lesson  string   // the text below the header, {{KEY}} not replaced
	Pack    Pack     // that it was added with; the zero Pack: it comes with tiffin, or was named by --dir

	files fs.FS
	dir   string // on disk; "" if it is embedded

	original *Lab // of which this is a translation: see In
	lang, of string
	messages []message
}

// labFormat is the version of the format of a lab's directory that this engine knows. A lab that
// does not say is of the first.
const labFormat = 1

// labName is a number of two digits and a name.
var labName = pattern(`^([0-9][0-9])-[a-z0-9][a-z0-9-]*$`)

func readLab(fsys fs.FS, name, dir string) (*Lab, error) {
	if !labName().MatchString(name) {
		return nil, errs.Hint(fmt.Errorf("%s cannot be the name of a lab", name), "two digits and a name in lower case: 50-copy-up")
	}
	files, err := fs.Sub(fsys, name)
	if err != nil {
		return nil, err
	}
	text, err := fs.ReadFile(files, "lab.txt")
	if err != nil {
		return nil, fmt.Errorf("read lab %s: %w", name, err)
	}
	l := &Lab{Name: name, files: files}
	if dir != "" {
		l.dir = filepath.Join(dir, name)
	}
	if err := l.parse(string(text)); err != nil {
		return nil, fmt.Errorf("read %s/lab.txt: %w", name, err)
	}
	return l, nil
}

// headerKeys are those of lab.txt.
var headerKeys = []string{"format", "title", "track", "concept", "minutes", "needs", "answers", "changes", "files"}

// parseHeader reads header lines `key: value`, a blank line, and the lesson.
func parseHeader(text string, known ...string) (header map[string]string, lesson string, err error) {
	head, lesson, ok := strings.Cut(text, "\n\n")
	if !ok {
		return nil, "", errors.New("no blank line after the header")
	}
	header = map[string]string{}
	for line := range strings.Lines(head) {
		key, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, "", fmt.Errorf("header line %q is not `key: value`", strings.TrimSpace(line))
		}
		if header[key] = strings.TrimSpace(value); key == "format" && slices.Contains(known, key) {
			if n, err := strconv.Atoi(header[key]); err != nil || n < 1 {
				return nil, "", fmt.Errorf("format: %q is no version", header[key])
			} else if n > labFormat {
				return nil, "", errs.Hint(fmt.Errorf("its format is version %d, and this tiffin knows %d", n, labFormat), "a newer tiffin reads it")
			}
		}
		if !slices.Contains(known, key) {
			return nil, "", fmt.Errorf("header line %q: use %s", key, strings.Join(known, ", "))
		}
	}
	return header, lesson, nil
}

func (l *Lab) parse(text string) error {
	header, lesson, err := parseHeader(text, headerKeys...)
	if err != nil {
		return err
	}
	l.Lesson, l.Title, l.Track, l.Concept = lesson, header["title"], header["track"], header["concept"]
	l.Needs, l.Answers = strings.Fields(header["needs"]), strings.Fields(header["answers"])
	l.Changes, l.Files = strings.Fields(header["changes"]), strings.Fields(header["files"])
	if minutes, ok := header["minutes"]; ok {
		if l.Minutes, err = strconv.Atoi(minutes); err != nil || l.Minutes <= 0 {
			return fmt.Errorf("minutes: %q is not a number of minutes", minutes)
		}
	}
	switch {
	case l.Title == "":
		return errors.New("the header has no title")
	case l.Concept == "":
		return errors.New("the header has no concept")
	case l.Minutes == 0:
		return errors.New("the header has no minutes")
	}
	for _, f := range slices.Concat(l.Answers, l.Changes, l.Files) {
		if filepath.Base(f) != f || f == "." || f == ".." {
			return fmt.Errorf("%q is not a name in the work directory", f)
		}
	}
	for _, n := range l.Needs {
		if !slices.Contains(capabilityNames(), n) {
			return fmt.Errorf("needs: %q is none of %s", n, strings.Join(capabilityNames(), " "))
		}
	}
	return nil
}

// Number is the lab's, as a student types it: "3".
func (l *Lab) Number() string { return strings.TrimPrefix(l.Name[:2], "0") }

// prefix begins the names of the lab's containers ("lab03-web") and, as a domain, of its images
// ("lab03.example/web:1"), so that reset finds them. No registry will ever have one below .example:
// RFC 2606, "3. Reserved Example Second Level Domain Names" and RFC 6761, 6.5.
func (l *Lab) prefix() string { return "lab" + l.Name[:2] }

func (l *Lab) imagePrefix() string { return l.prefix() + ".example/" }

// Find returns the lab that is meant: 3, 03, user-namespace, 03-user-namespace,
// or the beginning of a name that fits one lab only.
func Find(labs []*Lab, what string) (*Lab, error) {
	var begin []*Lab
	for _, l := range labs {
		short := l.Name[3:]
		if what == l.Name || what == short || what == l.Name[:2] || what == l.Number() {
			return l, nil
		}
		if what != "" && strings.HasPrefix(short, what) {
			begin = append(begin, l)
		}
	}
	if len(begin) == 1 {
		return begin[0], nil
	}
	return nil, errs.Hint(fmt.Errorf("there is no lab %q", what), "`tiffin lab list` shows them; --dir DIR is for labs of your own")
}

func (l *Lab) has(name string) bool {
	_, err := fs.Stat(l.files, name)
	return err == nil
}

// ByTrack groups labs by their track, or by the pack that they came with. Both the tracks and the
// labs of each stay in the order in which they come.
func ByTrack(labs []*Lab) (tracks [][]*Lab) {
	for _, l := range labs {
		i := slices.IndexFunc(tracks, func(t []*Lab) bool { return t[0].Pack == l.Pack && (t[0].Track == l.Track || l.Pack.Name != "") })
		if i < 0 {
			i = len(tracks)
			tracks = append(tracks, nil)
		}
		tracks[i] = append(tracks[i], l)
	}
	return tracks
}

// Given is what every student may have from the lab: its text, hints and solution.
func (l *Lab) Given() string {
	all := l.Lesson
	for _, name := range []string{"hints.txt", "solution.sh"} {
		text, _ := fs.ReadFile(l.files, name) // some have none
		all += "\n" + string(text)
	}
	return all
}

// hints are the lab's, each saying more than the one before.
func (l *Lab) hints() ([]string, error) {
	text, err := fs.ReadFile(l.files, path.Join(l.lang, "hints.txt"))
	if err != nil {
		return nil, fmt.Errorf("read the hints: %w", err)
	}
	var hints []string
	for _, h := range strings.Split("\n"+string(text), "\n---\n") {
		if h = strings.TrimSpace(h); h != "" {
			hints = append(hints, h)
		}
	}
	return hints, nil
}

// Wrong is a wrong answer that comes with a lab: the name of a script, a part of the message that
// its check must give, and the text below its first line. wrong/3-name.sh is for stage 3.
type Wrong struct {
	Script, Says, Text string
	Stage              int // 0: all
}

// wrongs reads wrong/*.sh, whose first line is "# says: TEXT".
func (l *Lab) wrongs() ([]Wrong, error) {
	names, err := fs.Glob(l.files, "wrong/*.sh")
	if err != nil {
		return nil, err
	}
	var all []Wrong
	for _, n := range names {
		text, err := fs.ReadFile(l.files, n)
		if err != nil {
			return nil, err
		}
		first, rest, _ := strings.Cut(string(text), "\n")
		says, ok := strings.CutPrefix(first, "# says: ")
		if says = squeeze(says); !ok || says == "" {
			return nil, fmt.Errorf("the first line of %s is not `# says: TEXT`", n)
		}
		w := Wrong{Script: n, Says: says, Text: rest}
		if l.Stages() > 0 {
			w.Stage, _ = strconv.Atoi(path.Base(n)[:1])
		}
		all = append(all, w)
	}
	return all, nil
}

// commands are the lesson's lines `    $ command`, in order. One that ends
// with a backslash goes on in the next line.
func commands(lesson string) (all []string) {
	more := false
	for line := range strings.Lines(lesson) {
		line = strings.TrimRight(line, "\n")
		rest, isCommand := strings.CutPrefix(line, "    $ ")
		switch {
		case more:
			rest = strings.TrimPrefix(strings.TrimPrefix(line, "    "), "> ")
			all[len(all)-1] += "\n" + rest
		case isCommand:
			all = append(all, rest)
		}
		more = (more || isCommand) && strings.HasSuffix(rest, `\`)
	}
	return all
}

var (
	keyPattern = pattern(`\{\{([A-Z][A-Z0-9_]*)\}\}`)
	anySpace   = pattern(`\s+`)
)

// pattern compiles a regular expression when it is first used, not in every
// start of this program.
func pattern(expr string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
}

// keys are the {{KEY}} of a text.
func keys(text string) (all []string) {
	for _, m := range keyPattern().FindAllStringSubmatch(text, -1) {
		if !slices.Contains(all, m[1]) {
			all = append(all, m[1])
		}
	}
	return all
}

// replaceKeys puts the values in.
func replaceKeys(text string, values map[string]string) string {
	return keyPattern().ReplaceAllStringFunc(text, func(k string) string {
		if v, ok := values[k[2:len(k)-2]]; ok {
			return v
		}
		return k
	})
}

// squeeze replaces each run of white space by one blank.
func squeeze(s string) string { return strings.TrimSpace(anySpace().ReplaceAllString(s, " ")) }

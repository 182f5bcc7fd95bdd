// The text of a Dockerfile becomes stages, by BuildKit's parser. Here too is what cannot be built,
// and refused before anything runs.

package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"tiffin/internal/dockerfile"
)

// reader has one Dockerfile, from the first question on.
type reader struct {
	ask      *dockerfile.Parse
	lines    []string
	escape   rune
	stages   []instructions.Stage
	global   []string // the variables of FROM lines, VAR=VALUE
	defaults []string // the same, without build arguments
	notes    []dockerfile.Note
	lint     *linter.Linter
}

// answer answers a question. A panic of the parser is an answer, too.
func (r *reader) answer(q *dockerfile.Request) (a *dockerfile.Answer) {
	a, r.notes = new(dockerfile.Answer), nil
	defer func() {
		if p := recover(); p != nil {
			a = &dockerfile.Answer{Error: &dockerfile.Note{Message: fmt.Sprintf("it confuses the parser: %v", p)}}
		}
	}()
	var err error
	switch {
	case q.Parse != nil:
		r.ask = q.Parse
		a.File, err = r.parse()
	case q.Stage != nil && r.ask != nil && q.Stage.Stage >= 0 && q.Stage.Stage < len(r.stages):
		a.Instructions, err = r.stage(q.Stage)
	default:
		err = errors.New("nothing is asked")
	}
	if a.Warnings = r.notes; err != nil {
		a.Error = r.note(err)
	}
	return a
}

// note is an error with its place.
func (r *reader) note(err error) *dockerfile.Note {
	var n *dockerfile.Note
	if errors.As(err, &n) {
		return n
	}
	// What is between says the place once more, in other words.
	text := err.Error()
	if _, rest, ok := strings.Cut(text, "dockerfile parse error on line "); ok {
		if _, rest, ok = strings.Cut(rest, ": "); ok {
			text = rest
		}
	}
	line := 0
	var where *parser.LocationError
	if errors.As(err, &where) && len(where.Locations) > 0 && len(where.Locations[0]) > 0 {
		line = where.Locations[0][0].Start.Line
	}
	return r.at(line, "%s", text)
}

// at is a note about a line. It means the word that the message ends with or has in quotes, if the
// line has it, else all of the line.
func (r *reader) at(line int, format string, args ...any) *dockerfile.Note {
	n := &dockerfile.Note{Line: line, Message: fmt.Sprintf(format, args...)}
	if line < 1 || line > len(r.lines) {
		n.Line = 0
		return n
	}
	n.Source = strings.ToValidUTF8(r.lines[line-1], "?")
	n.Column = len(n.Source) - len(strings.TrimLeft(n.Source, " \t"))
	n.Length = len(strings.TrimSpace(n.Source))
	meant, _, _ := strings.Cut(n.Message, " (did you mean")
	words := []string{meant[strings.LastIndexByte(meant, ' ')+1:]}
	if quoted := strings.Split(meant, `"`); len(quoted) > 2 {
		words = append(words, quoted[1])
	}
	for _, w := range words {
		if at := strings.Index(n.Source, w); at >= 0 && len(w) > 1 {
			n.Column, n.Length = at, len(w)
			break
		}
	}
	return n
}

// parse reads the text.
func (r *reader) parse() (*dockerfile.File, error) {
	text := bytes.TrimPrefix(r.ask.Text, []byte("\xef\xbb\xbf"))
	r.lines = strings.Split(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n")
	tree, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	r.escape = tree.EscapeToken
	if err := r.check(text, tree); err != nil {
		return nil, err
	}
	stages, meta, err := instructions.Parse(tree.AST, r.lint)
	if err != nil {
		return nil, err
	}
	if len(stages) == 0 {
		return nil, &dockerfile.Note{Message: "it has no FROM"}
	}
	many := 0
	for i := range stages {
		many += len(stages[i].Commands)
	}
	if many > maxInstructions {
		return nil, &dockerfile.Note{Message: fmt.Sprintf("it has %d instructions; a Dockerfile may have %d", many, maxInstructions)}
	}
	r.stages = stages
	if err := r.globals(meta); err != nil {
		return nil, err
	}
	r.lintStages(tree.AST)
	return r.file(meta)
}

// globals evaluates the ARGs before the first FROM, after those that are always there. The
// Dockerfile reference, "Automatic platform ARGs in the global scope".
func (r *reader) globals(meta []instructions.ArgCommand) error {
	r.global, r.defaults = nil, nil
	for side, platform := range map[string]string{"BUILD": r.ask.Platform, "TARGET": cmp.Or(r.ask.System, r.ask.Platform)} {
		system, rest, _ := strings.Cut(platform, "/")
		arch, variant, _ := strings.Cut(rest, "/")
		for k, v := range map[string]string{"PLATFORM": platform, "OS": system, "ARCH": arch, "VARIANT": variant} {
			r.global = set(r.global, side+k, v)
		}
	}
	r.global = set(r.global, "TARGETSTAGE", strings.ToLower(cmp.Or(r.ask.Target, "default")))
	for k := range r.ask.Args {
		if value(r.global, k) != nil {
			r.global = set(r.global, k, r.ask.Args[k])
		}
	}
	r.defaults = slices.Clone(r.global)
	for _, cmd := range meta {
		for _, arg := range cmd.Args {
			v := arg.Value
			if v != nil {
				usual, _ := r.newWords(r.defaults).word(*v) // an error is one below, too, or never seen
				r.defaults = set(r.defaults, arg.Key, usual)
			}
			if given, ok := r.ask.Args[arg.Key]; ok {
				v = &given
			} else if v != nil {
				expanded, err := r.newWords(r.global).word(*v)
				if err != nil {
					return parser.WithLocation(err, cmd.Location())
				}
				v = &expanded
			}
			if v != nil {
				r.global = set(r.global, arg.Key, *v)
			}
		}
	}
	return nil
}

// file describes the stages, and finds out which of them the target needs.
func (r *reader) file(meta []instructions.ArgCommand) (*dockerfile.File, error) {
	f := &dockerfile.File{}
	for i := range r.stages {
		s, err := r.describe(i)
		if err != nil {
			return nil, err
		}
		f.Stages = append(f.Stages, *s)
	}
	f.Target = len(f.Stages) - 1
	if r.ask.Target != "" {
		if f.Target = r.find(r.ask.Target, len(r.stages)); f.Target < 0 {
			return nil, &dockerfile.Note{Message: fmt.Sprintf("there is no stage %q", r.ask.Target)}
		}
	}
	f.Unused = r.unused(meta)
	return f, nil
}

// find is the stage of that name or number, among the first few; -1 if there is none.
func (r *reader) find(name string, among int) int {
	for i := among - 1; i >= 0; i-- {
		if r.stages[i].Name != "" && strings.EqualFold(r.stages[i].Name, name) {
			return i
		}
	}
	if n, err := strconv.Atoi(name); err == nil && n >= 0 && n < among {
		return n
	}
	return -1
}

// describe checks and describes stage i.
func (r *reader) describe(i int) (*dockerfile.Stage, error) {
	in := &r.stages[i]
	line := in.Location[0].Start.Line
	s := &dockerfile.Stage{Name: in.Name, From: -1, Text: in.SourceCode, Line: line}
	words := r.newWords(r.global)
	base, err := words.word(in.BaseName)
	if err == nil {
		s.Platform, err = words.word(in.Platform)
	}
	if err != nil {
		return nil, r.at(line, "%v", err)
	}
	for _, name := range words.unknown() {
		r.lint.Run(&linter.RuleUndefinedArgInFrom, in.Location, linter.RuleUndefinedArgInFrom.Format(name, ""))
	}
	if r.invalidBase(in.BaseName) {
		r.lint.Run(&linter.RuleInvalidDefaultArgInFrom, in.Location, linter.RuleInvalidDefaultArgInFrom.Format(in.BaseName))
	}
	if base == "" {
		return nil, r.at(line, "the base is empty: %s", in.BaseName)
	}
	if s.From = r.findStage(base, i); s.From < 0 {
		s.Base = base
	} else {
		s.Needs = append(s.Needs, s.From)
	}
	for _, cmd := range in.Commands {
		if err := r.refuse(cmd); err != nil {
			return nil, err
		}
		for _, from := range sources(cmd) {
			n, err := r.source(from, lineOf(cmd), i)
			if err != nil {
				return nil, err
			}
			if n >= 0 && !slices.Contains(s.Needs, n) {
				s.Needs = append(s.Needs, n)
			} else if n < 0 && from != "" {
				s.Images = append(s.Images, from)
			}
		}
	}
	return s, nil
}

// findStage is find for a FROM, where a number is the name of an image.
func (r *reader) findStage(name string, among int) int {
	if _, err := strconv.Atoi(name); err == nil {
		return -1
	}
	return r.find(name, among)
}

// sources are what --from of COPY and from= of mounts name.
func sources(cmd instructions.Command) (names []string) {
	switch c := cmd.(type) {
	case *instructions.CopyCommand:
		names = append(names, c.From)
	case *instructions.RunCommand:
		for _, m := range instructions.GetMounts(c) {
			names = append(names, m.From)
		}
	}
	return names
}

// source is the stage that a --from in stage i means; -1: an image, or none.
func (r *reader) source(from string, line, i int) (int, error) {
	if from == "" || from == "scratch" {
		return -1, nil
	}
	if strings.Contains(from, "$") {
		return -1, r.at(line, "variables are not replaced in --from=%s", from)
	}
	n := r.find(from, i)
	if _, err := strconv.Atoi(from); err == nil && n < 0 {
		return -1, r.at(line, "there is no stage %s before this one", from)
	}
	if n < 0 && r.find(from, len(r.stages)) >= 0 {
		return -1, r.at(line, "the stage %q comes later, or is this one", from)
	}
	return n, nil
}

// refuse names what an instruction asks for that cannot be done.
func (r *reader) refuse(cmd instructions.Command) error {
	line := lineOf(cmd)
	switch c := cmd.(type) {
	case *instructions.RunCommand:
		switch {
		case instructions.GetNetwork(c) == instructions.NetworkHost && !r.ask.Host:
			// The Dockerfile reference, "RUN --network=host": it takes the builder's consent.
			return r.at(line, "it takes `tiffin build --network host` to have %s", "RUN --network=host")
		case len(instructions.GetDevices(c)) > 0:
			return r.at(line, "%s is not there", "RUN --device")
		case instructions.GetSecurity(c) != instructions.SecuritySandbox:
			return r.at(line, "%s is not there", "RUN --security")
		}
	case *instructions.AddCommand:
		fetched := slices.ContainsFunc(c.SourcePaths, isRemote)
		switch {
		case c.Checksum != "" && !fetched:
			return r.at(line, "--checksum is for what ADD fetches: --checksum=%s", c.Checksum)
		case c.Checksum != "" && len(c.SourcePaths) > 1:
			return r.at(line, "--checksum is for one source: --checksum=%s", c.Checksum)
		case c.KeepGitDir != nil && !fetched:
			return r.at(line, "only a git repository has %s", "--keep-git-dir")
		}
	}
	return nil
}

// isRemote tells whether ADD fetches what is named so. The Dockerfile reference, "Adding files from
// the build context".
func isRemote(name string) bool {
	_, git := dockerfile.ParseGit(name)
	return git || strings.HasPrefix(name, "http://") || strings.HasPrefix(name, "https://")
}

// unused are the build arguments that no ARG takes, but for those that need none.
func (r *reader) unused(meta []instructions.ArgCommand) (names []string) {
	taken := map[string]bool{}
	take := func(c *instructions.ArgCommand) {
		for _, a := range c.Args {
			taken[a.Key] = true
		}
	}
	for i := range meta {
		take(&meta[i])
	}
	for _, s := range r.stages {
		for _, cmd := range s.Commands {
			if c, ok := cmd.(*instructions.ArgCommand); ok {
				take(c)
			}
		}
	}
	for k := range r.ask.Args {
		if !taken[k] && !predefined(k) && value(r.global, k) == nil && k != "SOURCE_DATE_EPOCH" {
			names = append(names, k)
		}
	}
	slices.Sort(names)
	return names
}

// predefined tells whether RUN knows the build argument without an ARG. The Dockerfile reference,
// "Predefined ARGs".
func predefined(name string) bool {
	ok, _ := path.Match("*_proxy", strings.ToLower(name))
	return ok && slices.Contains([]string{"http", "https", "ftp", "no", "all"}, strings.ToLower(name[:len(name)-len("_proxy")]))
}

// lineOf is where an instruction begins; 0: elsewhere.
func lineOf(cmd instructions.Command) int {
	if l := cmd.Location(); len(l) > 0 {
		return l[0].Start.Line
	}
	return 0
}

// set sets a variable where it stands, or at the end.
func set(env []string, key, v string) []string {
	for i, kv := range env {
		if strings.HasPrefix(kv, key+"=") {
			env[i] = key + "=" + v
			return env
		}
	}
	return append(env, key+"="+v)
}

// value is that of a variable; nil if it is not set.
func value(env []string, key string) *string {
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, key+"="); ok {
			return &v
		}
	}
	return nil
}

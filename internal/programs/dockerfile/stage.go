// The instructions of a stage, one after the other: their variables are replaced by what ARG and
// ENV have said before.

package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"tiffin/internal/dockerfile"
)

// scope is what variables there are at an instruction.
type scope struct {
	*reader
	number int      // of the stage
	env    []string // of the image, VAR=VALUE: the base's and those of ENV
	args   []string // of ARG
	spent  int      // bytes of words so far
}

// words are those of the next instruction.
func (s *scope) words() *words {
	w := s.newWords(s.all())
	w.spent = &s.spent
	return w
}

// all are the variables. The Dockerfile reference, "Using ARG variables": those of ENV always
// override an ARG of the same name.
func (s *scope) all() []string {
	all := slices.Clone(s.args)
	for _, kv := range s.env {
		k, v, _ := strings.Cut(kv, "=")
		all = set(all, k, v)
	}
	return all
}

// stage describes the instructions of a stage.
func (r *reader) stage(b *dockerfile.Base) ([]dockerfile.Instruction, error) {
	s := &scope{reader: r, number: b.Stage, env: slices.Clone(b.Env)}
	commands, err := r.triggers(b)
	if err != nil {
		return nil, err
	}
	var list []dockerfile.Instruction
	for _, cmd := range append(commands, r.stages[b.Stage].Commands...) {
		in, err := s.instruction(cmd)
		if err != nil {
			return nil, parser.WithLocation(err, cmd.Location())
		}
		list = append(list, *in)
	}
	return list, nil
}

// triggers parses what the base has as ONBUILD.
func (r *reader) triggers(b *dockerfile.Base) (list []instructions.Command, err error) {
	for _, text := range b.OnBuild {
		fail := func(err error) error {
			return &dockerfile.Note{Message: fmt.Sprintf("the base has ONBUILD %s: %v", text, err)}
		}
		tree, err := parser.Parse(strings.NewReader(text))
		if err != nil {
			return nil, fail(err)
		}
		for _, node := range tree.AST.Children {
			if slices.Contains([]string{"onbuild", "from", "maintainer"}, strings.ToLower(node.Value)) {
				return nil, fail(fmt.Errorf("%s is not allowed there", node.Value))
			}
			// The place is one of another file.
			node.StartLine, node.EndLine = 0, 0
			cmd, err := instructions.ParseCommand(node)
			if err == nil {
				err = r.refuse(cmd)
			}
			if err != nil {
				return nil, fail(err)
			}
			list = append(list, cmd)
		}
	}
	return list, nil
}

// instruction describes one, and takes in what it says of variables.
func (s *scope) instruction(cmd instructions.Command) (*dockerfile.Instruction, error) {
	in := &dockerfile.Instruction{Name: strings.ToLower(cmd.Name()), Line: lineOf(cmd)}
	if t, ok := cmd.(fmt.Stringer); ok {
		in.Text = t.String()
	}
	if err := s.expand(cmd); err != nil {
		return nil, err
	}
	switch c := cmd.(type) {
	case *instructions.ArgCommand:
		for _, a := range c.Args {
			if err := s.arg(in, a); err != nil {
				return nil, err
			}
		}
	case *instructions.EnvCommand:
		in.Pairs = pairs(c.Env)
		for _, p := range in.Pairs {
			s.env = set(s.env, p.Key, *p.Value)
		}
	case *instructions.LabelCommand:
		in.Pairs = pairs(c.Labels)
	case *instructions.RunCommand:
		if err := s.run(in, c); err != nil {
			return nil, err
		}
	case *instructions.CmdCommand:
		in.Words, in.Shell = c.CmdLine, c.PrependShell
	case *instructions.EntrypointCommand:
		in.Words, in.Shell = c.CmdLine, c.PrependShell
	case *instructions.ShellCommand:
		in.Words = c.Shell
	case *instructions.VolumeCommand:
		in.Words = c.Volumes
	case *instructions.ExposeCommand:
		for _, p := range c.Ports {
			words, err := s.words().list(p)
			if err != nil {
				return nil, err
			}
			in.Words = append(in.Words, words...)
		}
	case *instructions.WorkdirCommand:
		in.Value = c.Path
	case *instructions.UserCommand:
		in.Value = c.User
	case *instructions.StopSignalCommand:
		in.Value = c.Signal
	case *instructions.MaintainerCommand:
		in.Value = c.Maintainer
	case *instructions.OnbuildCommand:
		in.Value = c.Expression
	case *instructions.HealthCheckCommand:
		h := c.Health
		in.Health = &dockerfile.Health{Test: h.Test, Interval: h.Interval, Timeout: h.Timeout, StartPeriod: h.StartPeriod, StartInterval: h.StartInterval, Retries: h.Retries}
	case *instructions.CopyCommand:
		n, err := s.source(c.From, in.Line, s.number)
		if err != nil {
			return nil, err
		}
		in.Copy = &dockerfile.Copy{From: c.From, Stage: n, Chown: c.Chown, Chmod: c.Chmod, Exclude: c.ExcludePatterns, Link: c.Link, Parents: c.Parents}
		files(in.Copy, &c.SourcesAndDest)
	case *instructions.AddCommand:
		if err := s.refuse(c); err != nil { // once more: variables have been replaced
			return nil, err
		}
		in.Copy = &dockerfile.Copy{Stage: -1, Chown: c.Chown, Chmod: c.Chmod, Exclude: c.ExcludePatterns, Link: c.Link,
			Unpack: c.Unpack, Checksum: c.Checksum, KeepGit: c.KeepGitDir != nil && *c.KeepGitDir}
		files(in.Copy, &c.SourcesAndDest)
	default:
		return nil, fmt.Errorf("%s is not there", strings.ToUpper(in.Name))
	}
	return in, nil
}

// expand replaces the variables of an instruction where BuildKit does.
func (s *scope) expand(cmd instructions.Command) error {
	w := s.words()
	if e, ok := cmd.(instructions.SupportsSingleWordExpansion); ok && !strings.EqualFold(cmd.Name(), "arg") {
		if err := e.Expand(w.word); err != nil {
			return err
		}
	}
	if e, ok := cmd.(instructions.SupportsSingleWordExpansionRaw); ok { // here-documents
		w.lex.SkipProcessQuotes, w.limit = true, maxWords
		if err := e.ExpandRaw(w.word); err != nil {
			return err
		}
	}
	for _, name := range w.unknown() {
		s.lint.Run(&linter.RuleUndefinedVar, cmd.Location(), linter.RuleUndefinedVar.Format(name, ""))
	}
	return nil
}

// arg declares a build argument: its value is the one given, else the default, else that of the
// same name before the first FROM.
func (s *scope) arg(in *dockerfile.Instruction, a instructions.KeyValuePairOptional) error {
	v := a.Value
	if given, ok := s.ask.Args[a.Key]; ok {
		v = &given
	} else if v != nil {
		expanded, err := s.words().word(*v)
		if err != nil {
			return err
		}
		v = &expanded
	} else {
		v = value(s.global, a.Key)
	}
	if v != nil {
		s.args = set(s.args, a.Key, *v)
	}
	in.Pairs = append(in.Pairs, dockerfile.Pair{Key: a.Key, Value: v})
	return nil
}

// run describes a RUN: its words are left to the shell.
func (s *scope) run(in *dockerfile.Instruction, c *instructions.RunCommand) error {
	in.Words, in.Shell = c.CmdLine, c.PrependShell
	if len(c.Files) > 0 {
		in.Words, in.Script = document(c)
	}
	if err := s.refuse(c); err != nil { // once more: variables have been replaced
		return err
	}
	for _, m := range instructions.GetMounts(c) {
		n, err := s.source(m.From, in.Line, s.number)
		if err != nil {
			return err
		}
		in.Mounts = append(in.Mounts, mount(m, n))
	}
	if n := instructions.GetNetwork(c); n != instructions.NetworkDefault {
		in.Network = n
	}
	for _, kv := range s.args {
		if k, _, _ := strings.Cut(kv, "="); value(s.env, k) == nil && !predefined(k) {
			in.Args = append(in.Args, kv)
		}
	}
	for k, v := range s.ask.Args {
		if predefined(k) && value(s.env, k) == nil {
			in.Proxy = append(in.Proxy, k+"="+v)
		}
	}
	slices.Sort(in.Args)
	slices.Sort(in.Proxy)
	return nil
}

// document is the command of a RUN with here-documents. One alone is the script: it is handed to
// the shell, or, if it begins with "#!", is a file that is run. Otherwise the shell reads all of
// it. The Dockerfile reference, "Here-Documents".
func document(c *instructions.RunCommand) (words []string, script string) {
	first := c.Files[0]
	text := first.Data
	if first.Chomp {
		text = parser.ChompHeredocContent(text)
	}
	alone := len(c.Files) == 1 && len(c.CmdLine) == 1 && isDocument(c.CmdLine[0])
	switch {
	case alone && strings.HasPrefix(text, "#!"):
		return []string{dockerfile.ScriptPath}, text
	case alone:
		return []string{text}, ""
	}
	whole := strings.Join(c.CmdLine, " ")
	for _, f := range c.Files {
		whole += "\n" + f.Data + f.Name
	}
	return []string{whole}, ""
}

// isDocument tells whether a command is the beginning of a here-document and nothing else.
func isDocument(line string) bool {
	d, err := parser.ParseHeredoc(line)
	return err == nil && d != nil
}

// mount describes a mount, of the stage whose number is given, or -1.
func mount(m *instructions.Mount, stage int) dockerfile.Mount {
	d := dockerfile.Mount{
		Type: string(m.Type), From: m.From, Stage: stage, Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly, ID: m.CacheID, Env: m.Env,
		Sharing: string(m.CacheSharing), Required: m.Required, Size: m.SizeLimit, Mode: 0o755,
	}
	// The Dockerfile reference, "RUN --mount=type=secret" and "type=ssh".
	switch m.Type {
	case instructions.MountTypeSecret:
		d.Mode = 0o400
	case instructions.MountTypeSSH:
		d.Mode = 0o600
	}
	for _, given := range []struct {
		from *uint64
		to   *uint32
	}{{m.Mode, &d.Mode}, {m.UID, &d.UID}, {m.GID, &d.GID}} {
		if given.from != nil {
			*given.to, d.Owned = uint32(*given.from), true // parsed as 32 bits
		}
	}
	return d
}

func pairs(kvs instructions.KeyValuePairs) (list []dockerfile.Pair) {
	for _, kv := range kvs {
		list = append(list, dockerfile.Pair{Key: kv.Key, Value: &kv.Value})
	}
	return list
}

// files describes what is copied.
func files(c *dockerfile.Copy, from *instructions.SourcesAndDest) {
	c.Sources, c.Dest = from.SourcePaths, from.DestPath
	for _, f := range from.SourceContents {
		c.Contents = append(c.Contents, dockerfile.Content{Name: f.Path, Data: f.Data})
	}
}

// What is allowed, but seldom meant: the checks of BuildKit, by their names there
// (docs.docker.com/reference/build-checks). Those that need more than the text and the base's
// variables are in package build: InvalidBaseImagePlatform, CopyIgnoredFile.

package main

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"tiffin/image/reference"
)

// check begins to check the text: a line "# check=skip=RULE,…" leaves rules out.
func (r *reader) check(text []byte, tree *parser.Result) error {
	config := new(linter.Config)
	if _, value, where, ok := parser.ParseDirective("check", text); ok {
		var err error
		if config, err = linter.ParseLintOptions(value); err != nil {
			return parser.WithLocation(fmt.Errorf("# check=%s: %w", value, err), where)
		}
	}
	config.Warn = func(rule, _, _, message string, where []parser.Range) {
		line := 0
		if len(where) > 0 {
			line = where[0].Start.Line
		}
		n := r.at(line, "%s", message)
		n.Rule = rule
		r.notes = append(r.notes, *n)
	}
	r.lint = linter.New(config)
	for _, w := range tree.Warnings {
		if w.URL == linter.RuleNoEmptyContinuation.URL && w.Location != nil {
			r.lint.Run(&linter.RuleNoEmptyContinuation, []parser.Range{*w.Location}, linter.RuleNoEmptyContinuation.Format())
		} else {
			r.notes = append(r.notes, *r.at(0, "%s", w.Short))
		}
	}
	return nil
}

// lintStages checks what can be said without the bases.
func (r *reader) lintStages(tree *parser.Node) {
	r.lintCase(tree)
	for i := range r.stages {
		s := &r.stages[i]
		name := strings.ToLower(s.Name)
		if name == "scratch" || name == "context" {
			r.lint.Run(&linter.RuleReservedStageName, s.Location, linter.RuleReservedStageName.Format(name))
		}
		if name != "" && slices.ContainsFunc(r.stages[:i], func(o instructions.Stage) bool { return strings.EqualFold(o.Name, name) }) {
			r.lint.Run(&linter.RuleDuplicateStageName, s.Location, linter.RuleDuplicateStageName.Format(s.Name))
		}
		switch p := strings.Trim(s.Platform, "${}"); {
		case p == "TARGETPLATFORM":
			r.lint.Run(&linter.RuleRedundantTargetPlatform, s.Location, linter.RuleRedundantTargetPlatform.Format(s.Platform))
		case p != "" && p == s.Platform:
			r.lint.Run(&linter.RuleFromPlatformFlagConstDisallowed, s.Location, linter.RuleFromPlatformFlagConstDisallowed.Format(p))
		}
		r.lintCommands(i)
	}
}

// invalidBase tells whether the name of a base is none unless build arguments are given.
func (r *reader) invalidBase(name string) bool {
	if !strings.Contains(name, "$") {
		return false
	}
	base, err := r.newWords(r.defaults).word(name)
	if err != nil || base == "" {
		return true
	}
	_, err = reference.Parse(base)
	return err != nil && base != "scratch"
}

// lintCase checks that instructions are all in upper or all in lower case.
func (r *reader) lintCase(tree *parser.Node) {
	lower := 0
	for _, n := range tree.Children {
		if n.Value == strings.ToLower(n.Value) {
			lower++
		}
	}
	style, right := "uppercase", strings.ToUpper
	if 2*lower > len(tree.Children) {
		style, right = "lowercase", strings.ToLower
	}
	for _, n := range tree.Children {
		if n.Value != right(n.Value) {
			r.lint.Run(&linter.RuleConsistentInstructionCasing, n.Location(), linter.RuleConsistentInstructionCasing.Format(n.Value, style))
		}
	}
}

// lintCommands checks the instructions of stage i.
func (r *reader) lintCommands(i int) {
	s := &r.stages[i]
	anchored := r.findStage(s.BaseName, i) >= 0 // by that stage, or warned of there
	shell := anchored
	seen := map[string]instructions.Command{}
	for _, cmd := range s.Commands {
		once, form := false, false
		switch c := cmd.(type) {
		case *instructions.WorkdirCommand:
			if !anchored && !path.IsAbs(c.Path) && !strings.HasPrefix(c.Path, "$") {
				r.lint.Run(&linter.RuleWorkdirRelativePath, c.Location(), linter.RuleWorkdirRelativePath.Format(c.Path))
			}
			anchored = true
		case *instructions.ShellCommand:
			shell = true
		case *instructions.CmdCommand:
			once, form = true, c.PrependShell
		case *instructions.EntrypointCommand:
			once, form = true, c.PrependShell
		case *instructions.HealthCheckCommand:
			once = true
		case *instructions.EnvCommand:
			r.lintPairs(c, c.Env)
		case *instructions.LabelCommand:
			r.lintPairs(c, c.Labels)
		case *instructions.ArgCommand:
			for _, a := range c.Args {
				r.lintSecret(c, a.Key)
			}
		case *instructions.ExposeCommand:
			r.lintPorts(c)
		}
		if form && !shell {
			r.lint.Run(&linter.RuleJSONArgsRecommended, cmd.Location(), linter.RuleJSONArgsRecommended.Format(strings.ToUpper(cmd.Name())))
		}
		if first := seen[cmd.Name()]; once && first != nil {
			r.lint.Run(&linter.RuleMultipleInstructionsDisallowed, first.Location(), linter.RuleMultipleInstructionsDisallowed.Format(strings.ToUpper(cmd.Name())))
		}
		seen[cmd.Name()] = cmd
	}
}

// lintPairs checks those of ENV and LABEL.
func (r *reader) lintPairs(cmd instructions.Command, pairs instructions.KeyValuePairs) {
	for _, p := range pairs {
		if p.NoDelim {
			r.lint.Run(&linter.RuleLegacyKeyValueFormat, cmd.Location(), linter.RuleLegacyKeyValueFormat.Format(strings.ToUpper(cmd.Name())))
		}
		if strings.EqualFold(cmd.Name(), "env") {
			r.lintSecret(cmd, p.Key)
		}
	}
}

// Names of variables that are perhaps secrets, and those that are not all the same.
var (
	secretName = regexp.MustCompile(`(?i)(^|_)(apikey|auth|credentials?|key|password|passwd|pword|secret|token)(_|$)`)
	publicName = regexp.MustCompile(`(?i)(^|_)(public|file|version)(_|$)`)
)

// lintSecret checks that a variable is no secret: everybody who has the image can read it.
func (r *reader) lintSecret(cmd instructions.Command, name string) {
	if secretName.MatchString(name) && !publicName.MatchString(name) {
		r.lint.Run(&linter.RuleSecretsUsedInArgOrEnv, cmd.Location(), linter.RuleSecretsUsedInArgOrEnv.Format(strings.ToUpper(cmd.Name()), name))
	}
}

// lintPorts checks those of EXPOSE.
func (r *reader) lintPorts(cmd *instructions.ExposeCommand) {
	for _, p := range cmd.Ports {
		port, protocol, _ := strings.Cut(p, "/")
		switch {
		case strings.Contains(port, "$"):
		case strings.Contains(port, ":"):
			r.lint.Run(&linter.RuleExposeInvalidFormat, cmd.Location(), linter.RuleExposeInvalidFormat.Format(p))
		case protocol != strings.ToLower(protocol):
			r.lint.Run(&linter.RuleExposeProtoCasing, cmd.Location(), linter.RuleExposeProtoCasing.Format(p))
		}
	}
}

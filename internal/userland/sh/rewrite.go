// What is changed in a script's syntax tree before the interpreter runs it.

package sh

import (
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// Names that the special parameters get. They are not exported and do not
// collide with what a script would use.
const (
	varPrefix = "__sh_"
	varPid    = varPrefix + "pid"
	varName   = varPrefix + "name"
	varBang   = varPrefix + "bang"
)

// rewrite changes what the interpreter would do differently from a shell:
//
//	cmd &            →  builtin:background 'cmd' "$-" "$?" "$@"
//	$!  $$  $0       →  ${__sh_bang}  ${__sh_pid}  ${__sh_name}
//	time cmd         →  { builtin:time; cmd; builtin:timed; }
//	… | exec cmd     →  … | (exec cmd)
//
// The last keeps the right end of a pipeline, which the interpreter runs in the
// main shell, from replacing it.
func rewrite(st *syntax.Stmt) {
	syntax.Walk(st, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.Stmt:
			if n.Background {
				background(n)
				return false
			}
			if tc, ok := n.Cmd.(*syntax.TimeClause); ok {
				n.Cmd = timeBlock(tc)
			}
		case *syntax.ParamExp:
			if n.Param == nil {
				return true
			}
			if name := map[string]string{"!": varBang, "$": varPid, "0": varName}[n.Param.Value]; name != "" {
				n.Param = &syntax.Lit{Value: name, ValuePos: n.Param.ValuePos, ValueEnd: n.Param.ValueEnd}
				n.Short = false
			}
		case *syntax.BinaryCmd:
			if n.Op == syntax.Pipe || n.Op == syntax.PipeAll {
				if call, ok := n.Y.Cmd.(*syntax.CallExpr); ok && len(call.Args) > 1 && call.Args[0].Lit() == "exec" {
					inner := *n.Y
					n.Y = &syntax.Stmt{Cmd: &syntax.Subshell{Stmts: []*syntax.Stmt{&inner}}, Position: n.Y.Position}
				}
			}
		}
		return true
	})
}

// rewriteText is rewrite for the text of "eval" and of sourced files. Text that
// does not parse is left for the interpreter to complain about.
func rewriteText(text string) string {
	if !strings.ContainsAny(text, "&$|") && !strings.Contains(text, "time") {
		return text
	}
	f, err := syntax.NewParser().Parse(strings.NewReader(text), "")
	if err != nil {
		return text
	}
	for _, st := range f.Stmts {
		rewrite(st)
	}
	var b strings.Builder
	if syntax.NewPrinter().Print(&b, f) != nil {
		return text
	}
	return b.String()
}

// background turns a statement that ends in "&" into a call that starts it.
func background(st *syntax.Stmt) {
	body := *st
	body.Background = false
	c := call("background", source(&body))
	c.Args = append(c.Args, word(`"$-"`), word(`"$?"`), word(`"$@"`))
	st.Cmd = c
	st.Background, st.Negated, st.Redirs = false, false, nil
}

func timeBlock(tc *syntax.TimeClause) syntax.Command {
	end := "timed"
	if tc.PosixFormat {
		end = "timed-p"
	}
	stmts := []*syntax.Stmt{{Cmd: call("time")}}
	if tc.Stmt != nil {
		stmts = append(stmts, tc.Stmt)
	}
	return &syntax.Block{Stmts: append(stmts, &syntax.Stmt{Cmd: call(end)})}
}

// call makes the syntax of a call of one of our builtins.
func call(name string, args ...string) *syntax.CallExpr {
	c := &syntax.CallExpr{Args: []*syntax.Word{word(marker + name)}}
	for _, a := range args {
		c.Args = append(c.Args, word(quote(a)))
	}
	return c
}

// word parses one word.
func word(text string) *syntax.Word {
	for w, err := range syntax.NewParser().WordsSeq(strings.NewReader(text)) {
		if err == nil {
			return w
		}
	}
	return &syntax.Word{}
}

// source prints a statement as text.
func source(st *syntax.Stmt) string {
	var b strings.Builder
	syntax.NewPrinter().Print(&b, st)
	return b.String()
}

// quote makes a word that stands for s itself, whatever is in it.
func quote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

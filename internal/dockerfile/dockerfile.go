// Package dockerfile has what a Dockerfile says, as facts: stages, and instructions whose words are
// expanded.
//
// The text is read by a program of its own, which tiffin carries (internal/programs/dockerfile). It
// links BuildKit's parser, which no other command should pay for, and has no rights: a Dockerfile
// may come from a stranger. The two talk over a connection of package wire:
//
//	client                                   program
//	parse: text, build arguments       ──►
//	                                   ◄──   stages: names, bases, which needs which; warnings
//	stage: number, the base's Env      ──►
//	                                   ◄──   its instructions, with all variables replaced
//
// A stage is asked for when its base is known, since an image's ENV can be used in it, and its
// ONBUILD instructions come first. What cannot be built is refused by the first answer, before
// anything runs; only what an ONBUILD of a base says is known later.
package dockerfile

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// MaxText is how long a Dockerfile may be, in bytes.
const MaxText = 2 << 20

// Request is a question to the program. Exactly one of its parts is there.
type Request struct {
	Parse *Parse `json:",omitempty"`
	Stage *Base  `json:",omitempty"`
	plain
}

// Parse asks for the stages of a text.
type Parse struct {
	Text     []byte
	Args     map[string]string // values of build arguments, by name
	Platform string            // OS/ARCH[/VARIANT] of this machine
	System   string            // the same, of what the image is for
	Target   string            // name or number of the last stage that is wanted; "" = the last
	Host     bool              // RUN may have the host's network: whoever builds has said so
}

// Base asks for the instructions of a stage.
type Base struct {
	Stage   int
	Env     []string // of the base, VAR=VALUE
	OnBuild []string // instructions that the base leaves to those who build on it
}

// Answer is what the program says to a request.
type Answer struct {
	File         *File         `json:",omitempty"`
	Instructions []Instruction `json:",omitempty"`
	Warnings     []Note        `json:",omitempty"`
	Error        *Note         `json:",omitempty"`
	plain
}

// File is a Dockerfile: what is needed of it for the target.
type File struct {
	Stages []Stage
	Target int      // the stage that becomes the image
	Unused []string // build arguments that no ARG takes
}

// Stage is what one FROM begins.
type Stage struct {
	Name     string   // as FROM … AS says, or ""
	Base     string   // name of an image, or "scratch"; "" if it is a stage
	From     int      // the stage that it continues; -1 if Base says
	Platform string   // as FROM --platform says, or ""
	Needs    []int    // stages that must be built before: From, and those that it copies from
	Images   []string // that it copies from
	Text     string   // the line, such as "FROM debian AS build"
	Line     int      // in the file, from 1
}

// Instruction is one line of a stage, with all variables replaced. Which fields count depends on
// Name.
type Instruction struct {
	Name string // in lower case: run, copy, env, …
	Text string // as it is written, lines joined
	Line int    // in the file, from 1; 0: of an ONBUILD of the base

	Pairs   []Pair   `json:",omitempty"` // arg, env, label
	Words   []string `json:",omitempty"` // run, cmd, entrypoint, shell, expose, volume
	Shell   bool     `json:",omitempty"` // run, cmd, entrypoint: Words are for the shell
	Value   string   `json:",omitempty"` // workdir, user, stopsignal, maintainer, onbuild
	Args    []string `json:",omitempty"` // run: build arguments in its environment, VAR=VALUE
	Proxy   []string `json:",omitempty"` // run: those that need no ARG and do not count, VAR=VALUE
	Network string   `json:",omitempty"` // run: none, host or "" for the build's
	Mounts  []Mount  `json:",omitempty"` // run
	Script  string   `json:",omitempty"` // run: what is in the file ScriptPath
	Health  *Health  `json:",omitempty"` // healthcheck
	Copy    *Copy    `json:",omitempty"` // copy, add
}

// ScriptPath is where RUN finds the here-document that begins with "#!".
const ScriptPath = "/.tiffin-script"

// Mount is what RUN --mount asks for.
type Mount struct {
	Type     string // bind, cache, tmpfs, secret or ssh
	From     string // bind, cache: a stage's name or number, or an image; "" = the context, or nothing
	Stage    int    // the stage that From means; -1: none
	Source   string // bind, cache: path in From
	Target   string // absolute; "" of a secret or agent: the usual place
	ReadOnly bool
	ID       string  // cache, secret, ssh
	Env      *string // secret: the variable that has it; "" = ID
	Sharing  string  // cache: shared (or ""), private, or locked
	Required bool    // secret, ssh: without it RUN fails
	Mode     uint32  // cache: of the directory, when it is made; secret, ssh
	UID, GID uint32  `json:",omitempty"` // of the same
	Owned    bool    `json:",omitempty"` // Mode, UID or GID are asked for
	Size     int64   // tmpfs: bytes; 0 = no limit of its own
}

// Pair is a name with a value; the value of an ARG may be missing.
type Pair struct {
	Key   string
	Value *string
}

// Copy is what copy and add have.
type Copy struct {
	From     string // a stage's name or number, or an image; "" = the context
	Stage    int    // the stage that From means; -1: none
	Sources  []string
	Contents []Content // files whose content stands in the Dockerfile
	Dest     string
	Chown    string
	Chmod    string
	Exclude  []string
	Parents  bool   // directories of the source are made, too
	Link     bool   // what is in the image does not count
	Unpack   *bool  // add: archives; nil: those of the context
	Checksum string // add: of what is fetched; "" = any
	KeepGit  bool   // add: .git, too
}

// Content is a file that stands in the Dockerfile.
type Content struct{ Name, Data string }

// Health is what HEALTHCHECK says. docker's image specification has the fields.
type Health struct {
	Test                                          []string      `json:",omitempty"`
	Interval, Timeout, StartPeriod, StartInterval time.Duration `json:",omitempty"`
	Retries                                       int           `json:",omitempty"`
}

// Note is a place in a Dockerfile, and what is wrong there. Package errs does not have it: an error
// that is a Note can be shown together with its line.
type Note struct {
	Line    int // from 1; 0: nowhere in this file
	Column  int // bytes before it in the line
	Length  int // bytes that are meant
	Source  string
	Message string
	Rule    string // of a warning: its name at BuildKit
	File    string // set by the client
}

// Error gives the place first, as compilers do.
func (n *Note) Error() string {
	if n.Line == 0 {
		return fmt.Sprintf("%s: %s", n.File, n.Message)
	}
	return fmt.Sprintf("%s:%d:%d: %s", n.File, n.Line, n.Column+1, n.Message)
}

// maxExcerpt is how much of a line an excerpt shows, in bytes.
const maxExcerpt = 160

// Excerpt is the line, and another that marks what is meant; "" if there is none.
func (n *Note) Excerpt() string {
	if n.Line == 0 || n.Length == 0 {
		return ""
	}
	source, column := n.Source, n.Column
	if cut := column - maxExcerpt/4; cut > 0 && len(source) > maxExcerpt {
		source, column = strings.ToValidUTF8(source[cut:], ""), maxExcerpt/4
	}
	length := min(n.Length, maxExcerpt-column)
	if len(source) > maxExcerpt {
		source = strings.ToValidUTF8(source[:maxExcerpt], "") + "…"
	}
	// Tabs stay tabs, so that both lines are indented alike.
	indent := strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		return ' '
	}, source[:min(column, len(source))])
	head := fmt.Sprintf("%5d | ", n.Line)
	return fmt.Sprintf("%s%s\n%s%s%s", head, source, strings.Repeat(" ", len(head)), indent, strings.Repeat("^", max(length, 1)))
}

// plain makes a message of package wire that carries no descriptors.
type plain struct {
	FDs   int        `json:"-"`
	files []*os.File `json:"-"`
}

// Attached is wire.Message.
func (p *plain) Attached() (*int, *[]*os.File) { return &p.FDs, &p.files }

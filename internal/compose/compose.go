// Package compose is what a compose file means here: services, each as the words that a person
// would type behind `tiffin create`, the networks and volumes they need, and what has to be true
// before one starts.
//
// The files are written in YAML with references, merges, interpolation and a schema of 1,500 lines:
// the Compose Specification, https://compose-spec.io. A library reads that, which is the program
// compose (package programs): a file of a stranger that eats memory or time ends that process, and
// no other command links the library. This package has what crosses between the two, as JSON: a
// [Request] on its standard input, an [Answer] on its standard output.
//
// A compose file decides what is run and which of your directories it sees. Like a Makefile, it is
// to be read before it is used: no wall here makes a stranger's file harmless.
package compose

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	"tiffin/internal/programs"
)

// Request asks for a project. Paths are relative to the working directory of the caller, whose
// environment counts, too: COMPOSE_FILE, COMPOSE_PROJECT_NAME, COMPOSE_PROFILES and the variables
// that the files mention.
type Request struct {
	Files    []string `json:"files,omitempty"`    // none: compose.yaml here or above, and its override
	Dir      string   `json:"dir,omitempty"`      // relative paths in the files begin here; "": where the first file is
	Name     string   `json:"name,omitempty"`     // of the project; "": what the files say, or the directory's
	Profiles []string `json:"profiles,omitempty"` // services of these profiles take part
	EnvFiles []string `json:"envFiles,omitempty"` // instead of .env
	Services []string `json:"services,omitempty"` // only these and what they depend on; none: all
}

// Answer is a project, or what is wrong with it.
type Answer struct {
	Project  *Project `json:"project,omitempty"`
	Notes    []string `json:"notes,omitempty"`    // what the files say and a person should know
	Problems []string `json:"problems,omitempty"` // each with file and line, where there is one
}

// Project is what the files describe.
type Project struct {
	Name     string     `json:"name"`
	Networks []Resource `json:"networks,omitempty"` // that services are in
	Volumes  []Resource `json:"volumes,omitempty"`  // that services mount
	Services []Service  `json:"services"`           // each behind those that it depends on
}

// Resource is a network or a volume that is to be made, or has to be there.
type Resource struct {
	Name     string   `json:"name"`
	External bool     `json:"external,omitempty"`
	Flags    []string `json:"flags,omitempty"` // of `tiffin network create`, or `volume create`
}

// Service is one container to be.
type Service struct {
	Name      string   `json:"name"`
	At        string   `json:"at"`        // FILE:LINE where it is described
	Container string   `json:"container"` // name of its container
	Flags     []string `json:"flags"`     // of `tiffin create`, each one word: --name=value
	Image     string   `json:"image"`
	Build     []string `json:"build,omitempty"`   // words behind `tiffin build` that make the image
	Args      []string `json:"args,omitempty"`    // behind the image: the entrypoint's own
	Command   []string `json:"command,omitempty"` // behind those
	Needs     []Need   `json:"needs,omitempty"`
	Dirs      []string `json:"dirs,omitempty"`   // of this machine, to be made if they are not there
	Silent    bool     `json:"silent,omitempty"` // attach: false
}

// Words are those behind `tiffin create`.
func (s *Service) Words() []string {
	return slices.Concat(s.Flags, []string{"--", s.Image}, s.Args, s.Command)
}

// Need is an entry of depends_on.
type Need struct {
	Service   string `json:"service"`
	Condition string `json:"condition"`          // Started, Healthy or Completed
	Optional  bool   `json:"optional,omitempty"` // required: false: a failure is a note
}

// What Need.Condition can be: Compose Specification, "depends_on".
const (
	Started   = "service_started"
	Healthy   = "service_healthy"
	Completed = "service_completed_successfully"
)

// Labels of containers and networks that belong to a project: docker's, so that other programs know
// them.
const (
	LabelPrefix  = "com.docker.compose."
	LabelProject = "com.docker.compose.project"
	LabelService = "com.docker.compose.service"
	LabelNetwork = "com.docker.compose.network"
	LabelVolume  = "com.docker.compose.volume"
	LabelNumber  = "com.docker.compose.container-number"
	LabelOneOff  = "com.docker.compose.oneoff"
	LabelNeeds   = "com.docker.compose.depends_on"  // SERVICE:CONDITION:RESTART,…
	LabelHash    = "com.docker.compose.config-hash" // of the service: another one is another container
	LabelDir     = "com.docker.compose.project.working_dir"
	LabelFiles   = "com.docker.compose.project.config_files"
)

// patience is how long the program may take: it reads files, which can be on a slow disk.
const patience = time.Minute

// Read has the program compose, laid out in the store at root, read the files of a project.
// Problems are one error each, joined.
func Read(root string, r Request) (*Project, []string, error) {
	var a Answer
	if err := Ask(root, "compose", r, &a); err != nil {
		return nil, nil, err
	}
	var problems []error
	for _, text := range a.Problems {
		problems = append(problems, errors.New(text))
	}
	if a.Project == nil && problems == nil {
		problems = append(problems, errors.New("read the compose files: no answer"))
	}
	return a.Project, a.Notes, errors.Join(problems...)
}

// Ask has the program compose, laid out in the store at root, answer a request about files of a
// kind, "compose" or "kube".
func Ask(root, kind string, request, answer any) error {
	p, err := programs.Find(programs.Compose)
	if err != nil {
		return err
	}
	f, err := p.Open(root)
	if err != nil {
		return err
	}
	defer f.Close()
	question, err := json.Marshal(request)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	// proc(5), /proc/PID/fd: the descriptor's own number here, ExtraFiles' first in the child.
	cmd := exec.CommandContext(ctx, fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	cmd.Args = []string{kind}
	cmd.Stdin = bytes.NewReader(question)
	text, err := cmd.Output()
	if ctx.Err() != nil {
		return fmt.Errorf("read the %s files: not done after %v", kind, patience)
	}
	if err == nil {
		err = json.Unmarshal(text, answer)
	}
	if err != nil {
		return fmt.Errorf("read the %s files: %w", kind, died(err))
	}
	return nil
}

// died is why the program has ended without an answer: the first line that it has printed.
func died(err error) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	line, _, _ := strings.Cut(string(exit.Stderr), "\n")
	return fmt.Errorf("the program that reads them has ended (%w): %s", err, line)
}

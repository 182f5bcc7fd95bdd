// Package kube is what a file of Kubernetes means here: pods, and each container of one as the
// words that a person would type behind `tiffin create`; and the other way, a container as a pod.
//
// Files are read and written by the program compose (package programs), which knows YAML already:
// what a stranger has written eats that program's memory and time, and no other's. The library
// k8s.io/api would make it 6 MB larger, so the objects are types here ([Pod], [Deployment], …) with
// only those fields that have a counterpart; tests compare them with the library. A [Request] goes
// to the program's standard input, an [Answer] comes out of its standard output, as JSON.
//
// Like a compose file, a pod decides which of your directories it sees: it is to be read before it
// is played.
package kube

import (
	"errors"

	"tiffin/internal/compose"
)

// MaxFile is how long a file may be, in bytes. A cluster's store takes objects of 1.5 MB.
const MaxFile = 4 << 20

// Request asks what a file means, or for the text of a pod.
type Request struct {
	File     string `json:"file,omitempty"` // its name, for messages
	Text     []byte `json:"text,omitempty"`
	Profiles string `json:"profiles,omitempty"` // directory that names of seccomp profiles begin in
	Network  string `json:"network,omitempty"`  // of each pod; "": the default
	Objects  []any  `json:"objects,omitempty"`  // to be written, and nothing read
}

// Answer is a plan, a text, or what is wrong.
type Answer struct {
	Plan     *Plan    `json:"plan,omitempty"`
	Text     string   `json:"text,omitempty"`
	Notes    []string `json:"notes,omitempty"`
	Problems []string `json:"problems,omitempty"` // each FILE:LINE: PATH: why
}

// Plan is what is to be made.
type Plan struct {
	Claims []string `json:"claims,omitempty"` // volumes that outlive the pods
	Pods   []Sandbox
}

// Sandbox is a pod that is to be: containers that start one after the other.
type Sandbox struct {
	Name       string     `json:"name"`
	Volumes    []Contents `json:"volumes,omitempty"` // that go with the pod
	Shared     []string   `json:"shared,omitempty"`  // claimed volumes that every user of it may write into
	Containers []Member   `json:"containers"`
}

// Contents is a volume with what is in it.
type Contents struct {
	Name   string `json:"name"`
	Kind   string `json:"kind,omitempty"`   // of the object that it is of: ConfigMap or Secret
	Shared bool   `json:"shared,omitempty"` // every user of a container may write into it
	Files  []File `json:"files,omitempty"`
}

// File is a file in a volume.
type File struct {
	Path string `json:"path"` // below the volume's directory, and local: filepath.IsLocal
	Mode uint32 `json:"mode"` // permission bits
	Data []byte `json:"data"`
}

// Member is a container of a pod. Its Dirs are made if they are not there.
type Member struct {
	compose.Service
	First   bool     `json:"first,omitempty"`   // the others wait until it has ended well
	NonRoot bool     `json:"nonRoot,omitempty"` // its image must say that its user is not root
	Mounts  []FileOf `json:"mounts,omitempty"`
}

// FileOf is a file of a volume that is mounted by itself, read-only.
type FileOf struct {
	Volume string `json:"volume"`
	Path   string `json:"path"`
	Target string `json:"target"`
}

// Labels of what belongs to a pod: Kubernetes knows its containers on a machine by them.
const (
	LabelPrefix    = "io.kubernetes."
	LabelPod       = "io.kubernetes.pod.name"
	LabelContainer = "io.kubernetes.container.name"
	// LabelFirst is that of a container which ends before the others begin: Member.First.
	LabelFirst = "io.kubernetes.pod.init"
	// LabelVolume is that of a volume which shows an object: Contents.Kind.
	LabelVolume = "io.kubernetes.pod.volume"
	// InfraContainer is the value of LabelContainer of the container whose network others share.
	InfraContainer = "POD"
)

// InfraName is the name of that container.
func InfraName(pod string) string { return pod + "-infra" }

// Ask has the program, laid out in the store at root, answer a request. Problems are one error
// each, joined.
func Ask(root string, r Request) (*Answer, error) {
	a := new(Answer)
	if err := compose.Ask(root, "kube", r, a); err != nil {
		return nil, err
	}
	var problems []error
	for _, text := range a.Problems {
		problems = append(problems, errors.New(text))
	}
	if a.Plan == nil && a.Text == "" && problems == nil {
		problems = append(problems, errors.New("read "+r.File+": no answer"))
	}
	return a, errors.Join(problems...)
}

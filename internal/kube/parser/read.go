// Package parser reads files of Kubernetes: each document is compared with the types of package
// kube, and each pod becomes the words of `tiffin create`. It promises that nothing is passed over:
// a field or a value that has no counterpart here is a problem, with file, line and path, and one
// that changes nothing here is a note.
//
// Only the program compose links it, see package kube.
package parser

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"tiffin/internal/kube"
)

// What a file may have in it. An alias counts for all that it stands for.
const (
	maxNodes      = 200_000
	maxContainers = 1000
	maxMounts     = 1000 // of a container
	enough        = 100  // problems or notes: a file that has more is none of Kubernetes
)

// reading is the reading of one file.
type reading struct {
	file   string
	budget int // nodes that may still be looked at
	answer kube.Answer

	request    kube.Request
	pods       []document[kube.PodTemplate]
	configs    map[string]map[string][]byte // ConfigMaps: the values by their keys
	secrets    map[string]map[string][]byte
	containers int
	size       int // bytes in the plan
}

// document is an object with its place in the file.
type document[T any] struct {
	node *yaml.Node
	path string // of the object in its document: "", or spec.template
	name string
	of   T
}

// Answer answers a request.
func Answer(q kube.Request) kube.Answer {
	if q.Objects != nil {
		return write(q.Objects)
	}
	r := &reading{file: q.File, budget: maxNodes, request: q, configs: map[string]map[string][]byte{}, secrets: map[string]map[string][]byte{}}
	r.answer.Plan = new(kube.Plan)
	r.documents(q.Text)
	if len(r.answer.Problems) == 0 {
		for _, p := range r.pods {
			r.sandbox(p)
		}
	}
	if len(r.answer.Problems) == 0 && len(r.answer.Plan.Pods)+len(r.answer.Plan.Claims) == 0 && len(r.pods) == 0 {
		r.problem(nil, "", "there is neither a Pod nor a Deployment in it")
	}
	if len(r.answer.Problems) > 0 {
		r.answer.Plan = nil
	}
	return r.answer
}

// write writes objects as YAML, a document each.
func write(objects []any) (a kube.Answer) {
	var documents []string
	for _, o := range objects {
		text, err := json.Marshal(o)
		var v any
		if err == nil {
			err = yaml.Unmarshal(text, &v) // JSON is YAML: whole numbers stay such
		}
		if err == nil {
			text, err = yaml.Dump(v, yaml.WithV4Defaults(), yaml.WithLineWidth(-1)) // a line stays one
		}
		if err != nil {
			a.Problems = append(a.Problems, fmt.Sprintf("write an object: %v", err))
		}
		documents = append(documents, string(text))
	}
	a.Text = strings.Join(documents, "---\n")
	return a
}

// documents reads the documents of the file, one after the other.
func (r *reading) documents(text []byte) {
	for d := yaml.NewDecoder(bytes.NewReader(text)); ; {
		doc := new(yaml.Node)
		err := d.Decode(doc)
		if err == io.EOF {
			return
		}
		if err != nil {
			r.problem(nil, "", "%s", strings.ReplaceAll(strings.TrimPrefix(err.Error(), "yaml: "), "\n", " "))
			return
		}
		if len(doc.Content) > 0 && doc.Content[0].Tag != "!!null" { // nothing but comments
			r.document(doc.Content[0])
		}
	}
}

// kinds has what becomes of each kind of object.
var kinds = map[string]func(*reading, *yaml.Node){
	"v1 Pod": func(r *reading, n *yaml.Node) {
		if p, ok := as[kube.Pod](r, n); ok {
			r.pods = append(r.pods, document[kube.PodTemplate]{n, "", p.Metadata.Name, kube.PodTemplate{Metadata: p.Metadata, Spec: p.Spec}})
		}
	},
	"apps/v1 Deployment": (*reading).deployment,
	"v1 ConfigMap": func(r *reading, n *yaml.Node) {
		if c, ok := as[kube.ConfigMap](r, n); ok {
			r.unlabelled(n, c.Metadata, nil)
			r.keep(r.configs, n, c.Metadata.Name, map[string]map[string]string{"data": c.Data}, map[string]map[string]string{"binaryData": c.BinaryData})
		}
	},
	"v1 Secret": func(r *reading, n *yaml.Node) {
		if s, ok := as[kube.Secret](r, n); ok {
			r.unlabelled(n, s.Metadata, nil)
			r.keep(r.secrets, n, s.Metadata.Name, map[string]map[string]string{"stringData": s.StringData}, map[string]map[string]string{"data": s.Data})
		}
	},
	"v1 PersistentVolumeClaim": func(r *reading, n *yaml.Node) {
		if c, ok := as[kube.PersistentVolumeClaim](r, n); ok {
			r.unlabelled(n, c.Metadata, nil)
			r.claim(n, "metadata.name", c.Metadata.Name)
		}
	},
}

// kindOf is the kind of an object, behind its version.
func kindOf(n *yaml.Node) (is struct{ version, name string }) {
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		switch n.Content[i].Value {
		case "apiVersion":
			is.version = n.Content[i+1].Value
		case "kind":
			is.name = n.Content[i+1].Value
		}
	}
	return is
}

// document reads one document, by its kind.
func (r *reading) document(n *yaml.Node) {
	kind := kindOf(n)
	read := kinds[kind.version+" "+kind.name]
	switch {
	case read != nil:
		read(r, n)
	case kind == listKind:
		r.list(n)
	case kind.name == "":
		r.problem(n, "kind", "it is no object of Kubernetes: it has no kind")
	case kind.name == "Service":
		r.problem(n, "kind", "a Service is not known here: hostPort publishes a port, and containers of a pod reach each other on localhost")
	default:
		r.problem(n, "kind", "%s of %q is not known here: Pod, ConfigMap, Secret and PersistentVolumeClaim of v1 are, and Deployment of apps/v1", kind.name, kind.version)
	}
}

// listKind is no kind of object, but of a file with several.
var listKind = struct{ version, name string }{"v1", "List"}

// as reads an object, if it is right.
func as[T any](r *reading, n *yaml.Node) (v T, ok bool) {
	before := len(r.answer.Problems)
	r.check(n, reflect.TypeFor[T](), "")
	if len(r.answer.Problems) > before {
		return v, false
	}
	var generic any
	// check has found keys that are there twice: the library compares each with each.
	err := n.Load(&generic, yaml.WithUniqueKeys(false))
	var text []byte
	if err == nil {
		text, err = json.Marshal(generic)
	}
	if err == nil {
		err = json.Unmarshal(text, &v)
	}
	if err != nil {
		r.problem(n, "", "%s", strings.ReplaceAll(strings.TrimPrefix(err.Error(), "yaml: "), "\n", " "))
	}
	return v, err == nil
}

// instead is what to say about fields that are looked for most.
var instead = map[string]string{
	"httpGet": "only exec is asked: a command in the container", "tcpSocket": "only exec is asked: a command in the container",
	"grpc": "only exec is asked: a command in the container", "startupProbe": "initialDelaySeconds of the livenessProbe gives it time to start",
	"lifecycle": "nothing is run at its start and end", "hostPID": "each container has its own process numbers",
	"shareProcessNamespace": "each container has its own process numbers", "subPathExpr": "subPath, for one file of a configMap or secret, is taken as it is",
	"imagePullSecrets": "`tiffin login` stores the password for a registry",
	"mountPropagation": "mounts are private here", "volumeDevices": "no disk is given to a container", "volumeClaimTemplates": "each volume has one name",
	"ephemeralContainers": "`tiffin exec` runs a further command", "resourceFieldRef": "the limits stand in the file", "matchExpressions": "only matchLabels are compared",
}

// plain are steps of a path that are written without brackets.
var plain = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9]*$`)

// oldBool are strings that YAML 1.1, which Kubernetes reads, takes for booleans.
var oldBool = regexp.MustCompile(`^(?i:y|n|yes|no|on|off)$`)

var quantity = reflect.TypeFor[kube.Quantity]()

// check compares a node with a type: fields that there are, and values of the right kind.
func (r *reading) check(n *yaml.Node, t reflect.Type, path string) {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if r.budget--; r.budget < 0 {
		if r.budget == -1 {
			r.problem(n, path, "the file has more than %d values, with what its aliases stand for", maxNodes)
		}
		return
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	want := map[reflect.Kind]string{reflect.Struct: "!!map", reflect.Map: "!!map", reflect.Slice: "!!seq", reflect.String: "!!str", reflect.Bool: "!!bool", reflect.Int64: "!!int"}[t.Kind()]
	number := t == quantity && (n.Tag == "!!int" || n.Tag == "!!float")
	if t.Kind() == reflect.Interface { // only counted
		for _, c := range n.Content {
			r.check(c, t, path)
		}
		return
	}
	if n.Tag == "!!null" {
		return
	}
	if n.Tag != want && !number || want == "!!str" && n.Style == 0 && oldBool.MatchString(n.Value) {
		words := map[string]string{"!!map": "a mapping", "!!seq": "a list", "!!str": "a string, perhaps in quotes", "!!bool": "true or false", "!!int": "a whole number"}
		r.problem(n, path, "it is to be %s", words[want])
		return
	}
	switch t.Kind() {
	case reflect.Slice:
		for i, c := range n.Content {
			r.check(c, t.Elem(), fmt.Sprintf("%s[%d]", path, i))
		}
	case reflect.Struct, reflect.Map:
		seen := map[string]bool{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if key := n.Content[i]; seen[key.Value] {
				r.problem(key, step(path, key.Value), "it is there twice")
			}
			seen[n.Content[i].Value] = true
			r.entry(n.Content[i], n.Content[i+1], t, path)
		}
	case reflect.String:
		if strings.ContainsRune(n.Value, 0) && !contents.MatchString(path) {
			r.problem(n, path, "no string of a container has a byte 0 in it")
		}
	}
}

// list reads the objects of a List, as `generate kube --format json` and kubectl write them.
func (r *reading) list(n *yaml.Node) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, items := n.Content[i], n.Content[i+1]
		switch key.Value {
		case "apiVersion", "kind", "metadata":
		case "items":
			for j, item := range items.Content {
				if kind := kindOf(item); items.Kind != yaml.SequenceNode || kind == listKind {
					r.problem(item, fmt.Sprintf("items[%d]", j), "it is to be an object, and no list")
					continue
				}
				r.document(item)
			}
		default:
			r.problem(key, key.Value, "not known here")
		}
	}
}

// contents are what files have in them, any bytes: in a ConfigMap or Secret.
var contents = regexp.MustCompile(`^(data|stringData)\b`)

// entry checks a key of a mapping, and its value.
func (r *reading) entry(key, value *yaml.Node, t reflect.Type, path string) {
	at := step(path, key.Value)
	if key.Tag == "!!merge" {
		r.problem(key, at, "no mapping is merged into another: write out its keys; an alias for a whole value, KEY: *NAME, is read")
		return
	}
	if key.Kind != yaml.ScalarNode || key.Tag != "!!str" {
		r.problem(key, at, "a key is a string, perhaps in quotes")
		return
	}
	if t.Kind() == reflect.Map {
		r.check(value, t.Elem(), at)
		return
	}
	f, ok := field(t, key.Value)
	if !ok {
		r.problem(key, at, "%s", cmp.Or(instead[key.Value], "not known here"))
		return
	}
	if why := f.Tag.Get("note"); why != "" && why != "-" {
		r.note(key, at, "%s", why)
	}
	r.check(value, f.Type, at)
}

// step is the path of what a key leads to.
func step(path, key string) string {
	switch {
	case !plain.MatchString(key):
		return fmt.Sprintf("%s[%q]", path, key[:min(len(key), 100)])
	case path == "":
		return key
	}
	return path + "." + key
}

// field is the field of a struct that has a JSON name.
func field(t reflect.Type, name string) (reflect.StructField, bool) {
	for _, f := range reflect.VisibleFields(t) {
		if tag, _, _ := strings.Cut(f.Tag.Get("json"), ","); tag == name {
			return f, true
		}
	}
	return reflect.StructField{}, false
}

// steps are the parts of a path: "a.b[0].c" has four.
var steps = regexp.MustCompile(`[^.\[\]]+`)

// find is the node at a path below n, or the nearest one above it.
func find(n *yaml.Node, path string) *yaml.Node {
	for _, part := range steps.FindAllString(path, -1) {
		for n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		next := (*yaml.Node)(nil)
		if i, err := strconv.Atoi(part); n.Kind == yaml.SequenceNode && err == nil && i < len(n.Content) {
			next = n.Content[i]
		}
		for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == part {
				next = n.Content[i+1]
			}
		}
		if next == nil {
			return n
		}
		n = next
	}
	return n
}

// at is FILE:LINE: PATH: text.
func (r *reading) at(n *yaml.Node, path, format string, args ...any) string {
	text := fmt.Sprintf(format, args...)
	if path != "" {
		text = path + ": " + text
	}
	if n != nil {
		return fmt.Sprintf("%s:%d: %s", r.file, n.Line, text)
	}
	return r.file + ": " + text
}

// problem notes what is wrong at a path, or at a node whose path it is.
func (r *reading) problem(n *yaml.Node, path, format string, args ...any) {
	if text := r.at(n, path, format, args...); len(r.answer.Problems) < enough && !slices.Contains(r.answer.Problems, text) {
		r.answer.Problems = append(r.answer.Problems, text)
	}
}

// note says what has no effect here.
func (r *reading) note(n *yaml.Node, path, format string, args ...any) {
	if text := r.at(n, path, format, args...); len(r.answer.Notes) < enough && !slices.Contains(r.answer.Notes, text) {
		r.answer.Notes = append(r.answer.Notes, text)
	}
}

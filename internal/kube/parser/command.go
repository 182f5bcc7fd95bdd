// What a container runs, and the variables that its command has and mentions.

package parser

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"tiffin/internal/kube"
)

// command: what is run, with references to variables replaced.
func (m *member) command() {
	expanded := func(path string, words []string) (out []string) {
		for i, w := range words {
			e, ok := kube.Expand(w, m.vars)
			if !ok {
				m.refuse(fmt.Sprintf("%s[%d]", path, i), "it becomes more than %d bytes", kube.MaxString)
			}
			m.spend(len(e))
			out = append(out, e)
		}
		return out
	}
	command := expanded("command", m.of.Command)
	if len(command) > 0 {
		if command[0] == "" {
			m.refuse("command[0]", "it is empty")
		}
		m.flag("entrypoint", command[0])
		m.out.Args = command[1:]
	}
	m.out.Command = expanded("args", m.of.Args)
}

// environment: its variables, in order, those before replaced in those behind.
func (m *member) environment() {
	set := func(path, name, value string) {
		if name == "" || strings.ContainsAny(name, "= \t\x00") || strings.Contains(value, "\x00") {
			m.refuse(path, "%q is no environment variable", name)
			return
		}
		m.vars[name] = value
		m.flag("env", name+"="+value)
	}
	for i, from := range m.of.EnvFrom {
		path := fmt.Sprintf("envFrom[%d]", i)
		all, ref, kind := m.configs, from.ConfigMapRef, "ConfigMap"
		if from.SecretRef != nil {
			all, ref, kind = m.secrets, from.SecretRef, "Secret"
		}
		if ref == nil || from.SecretRef != nil && from.ConfigMapRef != nil {
			m.refuse(path, "it is to be either a configMapRef or a secretRef")
			continue
		}
		values, ok := all[ref.Name]
		if !ok && !ref.Optional {
			m.refuse(path, "%s %q is not in this file", kind, ref.Name)
		}
		for _, key := range slices.Sorted(maps.Keys(values)) {
			set(path, from.Prefix+key, string(values[key]))
		}
	}
	for i, e := range m.of.Env {
		path := fmt.Sprintf("env[%d]", i)
		value, ok := kube.Expand(e.Value, m.vars)
		if !ok {
			m.refuse(path+".value", "it becomes more than %d bytes", kube.MaxString)
		}
		if e.ValueFrom != nil {
			if e.Value != "" {
				m.refuse(path, "it is to be either a value or a valueFrom")
			}
			if value, ok = m.from(path+".valueFrom", e.ValueFrom); !ok {
				continue
			}
		}
		set(path, e.Name, value)
	}
}

// from is the value of a variable that stands elsewhere.
func (m *member) from(path string, s *kube.EnvSource) (string, bool) {
	all, ref, kind := m.configs, s.ConfigMapKeyRef, "ConfigMap"
	if s.SecretKeyRef != nil {
		all, ref, kind = m.secrets, s.SecretKeyRef, "Secret"
	}
	if count(s.ConfigMapKeyRef != nil, s.SecretKeyRef != nil, s.FieldRef != nil) != 1 {
		m.refuse(path, "it is to be one of configMapKeyRef, secretKeyRef and fieldRef")
		return "", false
	}
	if ref != nil {
		value, ok := all[ref.Name][ref.Key]
		if !ok && !ref.Optional {
			m.refuse(path, "%s %q with the key %q is not in this file", kind, ref.Name, ref.Key)
		}
		return string(value), ok
	}
	field, key, _ := strings.Cut(strings.TrimSuffix(s.FieldRef.FieldPath, "']"), "['")
	switch field {
	case "metadata.name":
		return m.translation.out.Name, true
	case "metadata.namespace":
		return cmp.Or(m.meta.Namespace, "default"), true
	case "metadata.labels":
		return m.meta.Labels[key], true
	case "metadata.annotations":
		return m.meta.Annotations[key], true
	}
	m.refuse(path+".fieldRef.fieldPath", "only metadata.name, .namespace, .labels['KEY'] and .annotations['KEY'] are known here")
	return "", false
}

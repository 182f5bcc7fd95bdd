// What a file has besides pods: deployments, which are pods several times, what is in config maps
// and secrets, and volumes that outlive a pod.

package parser

import (
	"encoding/base64"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"tiffin/internal/kube"
)

// Names of Kubernetes: "Object Names and IDs", of pods and claims, and of containers and volumes.
var (
	subdomain = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
	label     = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
	mapKey    = regexp.MustCompile(`^[-._a-zA-Z0-9]+$`)
)

// named tells whether an object has a name that it can have.
func (r *reading) named(n *yaml.Node, path, name string) bool {
	if !subdomain.MatchString(name) || len(name) > 100 {
		r.problem(find(n, path), path, "%q is no name: small letters, digits, - and ., 100 at most", name)
		return false
	}
	return true
}

// unlabelled notes labels of an object that nothing here has, unless its pods have them, too.
func (r *reading) unlabelled(n *yaml.Node, of kube.ObjectMeta, pods map[string]string) {
	for key, value := range of.Labels {
		if pods[key] != value {
			r.note(find(n, "metadata.labels"), "metadata.labels", "only those of pods are kept")
		}
	}
}

// claim adds a volume that outlives pods.
func (r *reading) claim(n *yaml.Node, path, name string) {
	if r.named(n, path, name) && !slices.Contains(r.answer.Plan.Claims, name) {
		r.answer.Plan.Claims = append(r.answer.Plan.Claims, name)
	}
}

// keep keeps a config map or secret, whose values are text or base64.
func (r *reading) keep(all map[string]map[string][]byte, n *yaml.Node, name string, text, coded map[string]map[string]string) {
	if !r.named(n, "metadata.name", name) {
		return
	}
	if all[name] != nil {
		r.problem(find(n, "metadata.name"), "metadata.name", "there are two of the name %q", name)
		return
	}
	values := map[string][]byte{}
	for _, from := range []map[string]map[string]string{coded, text} {
		for in, entries := range from {
			for key, value := range entries {
				b := []byte(value)
				var err error
				if _, ok := coded[in]; ok {
					b, err = base64.StdEncoding.DecodeString(strings.TrimSpace(value))
				}
				if err != nil {
					r.problem(find(n, in), step(in, key), "it is no base64")
				}
				if !mapKey.MatchString(key) || key == "." || strings.HasPrefix(key, "..") || len(key) > 253 {
					r.problem(find(n, in), step(in, key), "it is no key: letters, digits, -, _ and .")
				}
				values[key] = b
			}
		}
	}
	all[name] = values
}

// deployment adds the pods of a deployment, whose names are numbered as podman's are.
func (r *reading) deployment(n *yaml.Node) {
	d, ok := as[kube.Deployment](r, n)
	if !ok || !r.named(n, "metadata.name", d.Metadata.Name) {
		return
	}
	r.unlabelled(n, d.Metadata, d.Spec.Template.Metadata.Labels)
	if p := d.Spec.Template.Spec.RestartPolicy; p != "" && p != "Always" {
		path := "spec.template.spec.restartPolicy"
		r.problem(find(n, path), path, "a deployment starts its containers again whenever they end: it is Always")
	}
	replicas := int64(1)
	if d.Spec.Replicas != nil {
		replicas = *d.Spec.Replicas
	}
	if replicas < 0 || replicas > maxContainers {
		r.problem(find(n, "spec.replicas"), "spec.replicas", "it is to be a number from 0 to %d", maxContainers)
		return
	}
	if len(d.Spec.Selector.MatchLabels) == 0 {
		r.problem(find(n, "spec.selector"), "spec.selector.matchLabels", "it has none, which Kubernetes refuses")
	}
	for _, key := range slices.Sorted(maps.Keys(d.Spec.Selector.MatchLabels)) {
		if value, ok := d.Spec.Template.Metadata.Labels[key]; !ok || value != d.Spec.Selector.MatchLabels[key] {
			r.problem(find(n, "spec.selector"), step("spec.selector.matchLabels", key), "the label in spec.template.metadata is another, which Kubernetes refuses")
		}
	}
	if name := d.Spec.Template.Metadata.Name; name != "" {
		r.note(find(n, "spec.template.metadata.name"), "spec.template.metadata.name", "the pods are named after the deployment")
	}
	for i, c := range d.Spec.Template.Spec.Containers {
		for j, p := range c.Ports {
			if p.HostPort != 0 && replicas > 1 {
				path := fmt.Sprintf("spec.template.spec.containers[%d].ports[%d].hostPort", i, j)
				r.problem(find(n, path), path, "this machine has one such port, and there are %d replicas", replicas)
			}
		}
	}
	for i := range replicas {
		name := fmt.Sprintf("%s-pod-%d", d.Metadata.Name, i)
		r.pods = append(r.pods, document[kube.PodTemplate]{n, "spec.template", name, d.Spec.Template})
	}
	if replicas == 0 {
		r.note(find(n, "spec.replicas"), "spec.replicas", "no pod is made")
		r.answer.Plan.Pods = []kube.Sandbox{}
	}
}

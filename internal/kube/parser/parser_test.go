package parser

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"tiffin/internal/kube"
)

// read reads a file.
func read(text string) kube.Answer {
	return Answer(kube.Request{File: "f.yaml", Text: []byte(text), Profiles: "/p"})
}

// pod is a file with one pod: fields of its spec, and of its container, in YAML's flow style.
func pod(spec, container string) string {
	return "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  restartPolicy: Never\n  terminationGracePeriodSeconds: 1\n  " + spec + "\n  containers:\n  - name: c\n    image: i\n    " + container + "\n" +
		"---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {k: v, n.conf: text}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {k: aGk=}\n"
}

// usual are the words that each container has.
var usual = []string{"--name=p-c", "--label=" + kube.LabelPod + "=p", "--label=" + kube.LabelContainer + "=c", "--hostname=p", "--stop-timeout=1", "--no-healthcheck"}

// TestWords: what becomes of each field.
func TestWords(t *testing.T) {
	for _, row := range []struct{ spec, container, want string }{
		{``, ``, `-- i`},
		{``, `command: [a, b], args: [c]`, `--entrypoint=a -- i b c`},
		{``, `args: ["$(A) $$(A) $(B)"], env: [{name: A, value: "1"}, {name: C, value: "$(A)2"}]`, `--env=A=1 --env=C=12 -- i 1 $(A) $(B)`},
		{``, `env: [{name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}, {name: S, valueFrom: {secretKeyRef: {name: s, key: k}}}]`, `--env=NAME=p --env=S=hi -- i`},
		{``, `envFrom: [{prefix: X_, secretRef: {name: s}}, {configMapRef: {name: gone, optional: true}}]`, `--env=X_k=hi -- i`},
		{``, `workingDir: /w, stdin: true, tty: true, imagePullPolicy: Always`, `--pull=always --workdir=/w --interactive --tty -- i`},
		{``, `ports: [{containerPort: 80}, {containerPort: 80, hostPort: 8080}, {containerPort: 53, hostPort: 53, protocol: UDP, hostIP: "::1"}]`, `--expose=80/tcp --publish=8080:80/tcp --publish=[::1]:53:53/udp -- i`},
		{``, `resources: {limits: {memory: 64Mi, cpu: 500m}, requests: {memory: 1e6, cpu: 2}}`, `--cpus=0.5 --memory=67108864 --cpu-shares=2048 --memory-reservation=1000000 -- i`},
		{``, `securityContext: {runAsUser: 5, runAsGroup: 6, runAsNonRoot: true, readOnlyRootFilesystem: true, capabilities: {drop: [ALL], add: [CAP_KILL]}}`, `--user=5:6 --read-only --cap-add=CAP_KILL --cap-drop=ALL -- i`},
		{``, `securityContext: {allowPrivilegeEscalation: true, procMount: Unmasked, seccompProfile: {type: Localhost, localhostProfile: d/f.json}}`, `--security-opt=no-new-privileges=false --security-opt=systempaths=unconfined --security-opt=seccomp=/p/d/f.json -- i`},
		{`securityContext: {runAsUser: 7, seccompProfile: {type: Unconfined}, supplementalGroups: [8], sysctls: [{name: a.b, value: "1"}]}`, ``, `--user=7 --group-add=8 --security-opt=seccomp=unconfined --sysctl=a.b=1 -- i`},
		{`securityContext: {runAsUser: 7, seccompProfile: {type: Unconfined}}`, `securityContext: {runAsUser: 0, seccompProfile: {type: RuntimeDefault}}`, `--user=0 -- i`},
		{`securityContext: {fsGroup: 9, supplementalGroups: [8]}`, `securityContext: {runAsUser: 5}`, `--user=5 --group-add=8 --group-add=9 -- i`},
		{`hostNetwork: true`, ``, `--network=host -- i`},
		{`hostIPC: true`, ``, `--ipc=host -- i`},
		{`hostAliases: [{ip: 1.2.3.4, hostnames: [a, b]}]`, ``, `--add-host=a:1.2.3.4 --add-host=b:1.2.3.4 -- i`},
		{`dnsPolicy: None
  dnsConfig: {nameservers: [1.1.1.1], searches: [x], options: [{name: ndots, value: "2"}, {name: debug}]}`, ``, `--dns=1.1.1.1 --dns-search=x --dns-option=ndots:2 --dns-option=debug -- i`},
		{`volumes: [{name: v, emptyDir: {}}]`, `volumeMounts: [{name: v, mountPath: /v}]`, `--volume=p.v:/v:nocopy -- i`},
		{`volumes: [{name: v, emptyDir: {medium: Memory, sizeLimit: 1Mi}}]`, `volumeMounts: [{name: v, mountPath: /v}]`, `--tmpfs=/v:mode=777,size=1048576 -- i`},
		{`volumes: [{name: v, hostPath: {path: /etc, type: Directory}}]`, `volumeMounts: [{name: v, mountPath: /v, readOnly: true}]`, `--volume=/etc:/v:ro -- i`},
		{`volumes: [{name: home-Me-host-0, hostPath: {path: /etc}}]`, `volumeMounts: [{name: home-Me-host-0, mountPath: /v}]`, `--volume=/etc:/v -- i`},
		{`volumes: [{name: v, persistentVolumeClaim: {claimName: d}}]`, `volumeMounts: [{name: v, mountPath: /v}]`, `--volume=d:/v:nocopy -- i`},
		{`volumes: [{name: v, configMap: {name: m}}]`, `volumeMounts: [{name: v, mountPath: /v}]`, `--volume=p.v:/v:ro,nocopy -- i`},
	} {
		a := read(pod(row.spec, flow(row.container)))
		if a.Plan == nil {
			t.Errorf("%s %s: %q", row.spec, row.container, a.Problems)
			continue
		}
		words := a.Plan.Pods[0].Containers[0].Words()
		words = slices.DeleteFunc(words, func(w string) bool { return slices.Contains(usual, w) })
		if got := strings.Join(words, " "); got != row.want {
			t.Errorf("%s %s:\n%s, want\n%s", row.spec, row.container, got, row.want)
		}
	}
}

// flow puts each field of a mapping on a line of its own.
func flow(fields string) string {
	depth := 0
	fields = strings.Map(func(r rune) rune {
		switch {
		case strings.ContainsRune("[{", r):
			depth++
		case strings.ContainsRune("]}", r):
			depth--
		case r == ',' && depth == 0:
			return '\n'
		}
		return r
	}, fields)
	return strings.ReplaceAll(fields, "\n ", "\n    ")
}

// TestRefused: what has no counterpart is a problem, with line and path.
func TestRefused(t *testing.T) {
	for _, row := range []struct{ spec, container, want string }{
		{``, `lifecycle: {}`, `f.yaml:11: spec.containers[0].lifecycle: nothing is run at its start and end`},
		{``, `imgae: x`, `f.yaml:11: spec.containers[0].imgae: not known here`},
		{``, `livenessProbe: {httpGet: {port: 80}}`, `f.yaml:11: spec.containers[0].livenessProbe.httpGet: only exec`},
		{`hostPID: true`, ``, `f.yaml:7: spec.hostPID: `},
		{``, `tty: "true"`, `spec.containers[0].tty: it is to be true or false`},
		{``, `env: [{name: A, value: 1}]`, `spec.containers[0].env[0].value: it is to be a string`},
		{``, `env: [{name: A, value: yes}]`, `spec.containers[0].env[0].value: it is to be a string`},
		{``, `env: [{name: A=B}]`, `spec.containers[0].env[0]: "A=B" is no environment variable`},
		{``, `envFrom: [{configMapRef: {name: gone}}]`, `spec.containers[0].envFrom[0]: ConfigMap "gone" is not in this file`},
		{``, `securityContext: {runAsNonRoot: true, runAsUser: 0}`, `contradict`},
		{``, `securityContext: {seccompProfile: {type: Localhost, localhostProfile: ../x}}`, `does not leave`},
		{``, `resources: {limits: {nvidia.com/gpu: 1}}`, `spec.containers[0].resources.limits["nvidia.com/gpu"]: only memory and cpu`},
		{``, `resources: {limits: {memory: 1/3}}`, `no quantity`},
		{``, `volumeMounts: [{name: v, mountPath: /v}]`, `the pod has no volume "v"`},
		{`volumes: [{name: eTc, emptyDir: {}}]`, ``, `"eTc" is no name of its own`},
		{`volumes: [{name: v, nfs: {server: x}}]`, ``, `spec.volumes[0].nfs: not known here`},
		{`volumes: [{name: v, hostPath: {path: ../x}}]`, ``, `no absolute path`},
		{`volumes: [{name: v, hostPath: {path: /etc, type: File}}]`, ``, `/etc is no File`},
		{`volumes: [{name: v, configMap: {name: m, items: [{key: k, path: ../x}]}}]`, ``, `"../x" leaves the volume`},
		{`volumes: [{name: v, emptyDir: {}}]`, `volumeMounts: [{name: v, mountPath: /v, subPath: x}]`, `only a file of a configMap or secret`},
		{`volumes: [{name: v, configMap: {name: m, items: [{key: k, path: a}, {key: k, path: a-b}, {key: k, path: a/b}]}}]`, ``, `spec.volumes[0].configMap.items: there cannot be two files at "a", nor one below`},
		{`volumes: [{name: v, configMap: {name: m, items: [{key: k, path: a/b}, {key: k, path: a/b}]}}]`, ``, `cannot be two files at "a/b"`},
		{`volumes: [{name: v, configMap: {name: m, items: [{key: k, path: ` + strings.Repeat("a/", 3000) + `a}]}}]`, ``, `or is longer`},
		{`volumes: [{name: v, configMap: {name: m, items: [{key: k, path: ` + strings.Repeat("a", 256) + `}]}}]`, ``, `or is longer`},
		{``, `volumeMounts: [` + strings.Repeat("{name: v, mountPath: /v}, ", maxMounts+1) + `]`, `spec.containers[0].volumeMounts: there are more than 1000`},
		{``, `args: ["a\0b"]`, `f.yaml:11: spec.containers[0].args[0]: no string of a container has a byte 0`},
		{``, `stdin: true, stdin: false`, `f.yaml:12: spec.containers[0].stdin: it is there twice`},
		{``, `<<: {stdin: true}`, `f.yaml:11: spec.containers[0]["<<"]: no mapping is merged into another: write out its keys; an alias for a whole value, KEY: *NAME, is read`},
		{`initContainers: [{name: c, image: i}]`, ``, `is no name of its own`},
		{``, `env: [{name: A, value: x, valueFrom: {configMapKeyRef: {name: m, key: k}}}]`, `spec.containers[0].env[0]: it is to be either a value or a valueFrom`},
		{``, `env: [{name: A, valueFrom: {configMapKeyRef: {name: m, key: k}, secretKeyRef: {name: s, key: k}}}]`, `env[0].valueFrom: it is to be one of`},
		{``, `env: [{name: A, valueFrom: {}}]`, `env[0].valueFrom: it is to be one of`},
		{``, `ports: [{containerPort: 1, hostPort: 8}, {containerPort: 2, hostPort: 8}]`, `spec.containers[0].ports[1].hostPort: this machine has one such port`},
		{`initContainers: [{name: b, image: i, livenessProbe: {exec: {command: [a]}}}]`, ``, `spec.initContainers[0].livenessProbe: it ends before the pod begins`},
		{`hostNetwork: yes`, ``, `spec.hostNetwork: it is to be true or false`},
	} {
		a := read(pod(row.spec, flow(row.container)))
		if a.Plan != nil || !strings.Contains(strings.Join(a.Problems, "\n"), row.want) {
			t.Errorf("%s %s: %q, want %s", row.spec, row.container, a.Problems, row.want)
		}
	}
	for text, want := range map[string]string{
		"":                                  "neither a Pod nor a Deployment",
		"kind: Service\napiVersion: v1":     "f.yaml:1: kind: a Service is not known here",
		"a: b":                              "it has no kind",
		"kind: Pod\nkind: Pod":              "not known here",
		"kind: Pod\napiVersion: v1\nx: [":   "f.yaml: ",
		pod("", "") + "---\n" + pod("", ""): "there are two",
		"kind: List\napiVersion: v1\nitems:\n- {kind: List, apiVersion: v1, items: []}":                                                  "f.yaml:4: items[0]: it is to be an object, and no list",
		"kind: List\napiVersion: v1\nitems: {a: {}}":                                                                                     "f.yaml:3: items[0]: it is to be an object",
		"kind: List\napiVersion: v1\nitems:\n- {kind: Pod, apiVersion: v1, x: y}":                                                        "f.yaml:4: x: not known here",
		"kind: List\napiVersion: v1\nother: []":                                                                                          "f.yaml:3: other: not known here",
		"kind: Pod\napiVersion: v1\nmetadata: {name: p, labels: {io.kubernetes.pod.name: q}}\nspec: {containers: [{name: c, image: i}]}": "is not to be chosen",
	} {
		if a := read(text); a.Plan != nil || !strings.Contains(strings.Join(a.Problems, "\n"), want) {
			t.Errorf("%q: %q, want %s", text, a.Problems, want)
		}
	}
}

// TestPod: containers of one pod share a network, those that begin end first, and volumes have
// their contents.
func TestPod(t *testing.T) {
	a := read(pod("initContainers: [{name: b, image: i}]\n  volumes: [{name: v, configMap: {name: m, defaultMode: 0600}}, {name: e, emptyDir: {medium: Memory}}]",
		"volumeMounts: [{name: v, mountPath: /n, subPath: n.conf}, {name: e, mountPath: /e}]\n    ports: [{containerPort: 1, hostPort: 2}]\n  - name: d\n    image: i\n    volumeMounts: [{name: e, mountPath: /e}]"))
	if a.Plan == nil {
		t.Fatalf("%q", a.Problems)
	}
	p := a.Plan.Pods[0]
	var names []string
	for i, c := range p.Containers {
		names = append(names, c.Container)
		if shares := slices.Contains(c.Flags, "--network=container:p-infra"); shares != (i > 0) || c.First != (i == 1) || slices.Contains(c.Flags, "--publish=2:1/tcp") != (i == 0) {
			t.Errorf("%s: %q", c.Container, c.Flags)
		}
	}
	if want := []string{"p-infra", "p-b", "p-c", "p-d"}; !slices.Equal(names, want) {
		t.Errorf("%q, want %q", names, want)
	}
	want := []kube.Contents{{Name: "p.v", Kind: "ConfigMap", Files: []kube.File{{Path: "k", Mode: 0o600, Data: []byte("v")}, {Path: "n.conf", Mode: 0o600, Data: []byte("text")}}}, {Name: "p.e", Shared: true}}
	if !reflect.DeepEqual(p.Volumes, want) {
		t.Errorf("%+v, want %+v", p.Volumes, want)
	}
	if m := p.Containers[2].Mounts; !slices.Equal(m, []kube.FileOf{{Volume: "p.v", Path: "n.conf", Target: "/n"}}) {
		t.Errorf("%v", m)
	}
	if !strings.Contains(strings.Join(a.Notes, "\n"), "is on the disk") {
		t.Errorf("%q", a.Notes)
	}
}

// deployment has pods several times.
const deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec:\n  replicas: 2\n  selector: {matchLabels: {a: b}}\n  template:\n    metadata: {labels: {a: b}}\n    spec: {containers: [{name: c, image: i}]}\n"

func TestDeployment(t *testing.T) {
	a := read(deployment)
	if a.Plan == nil || len(a.Plan.Pods) != 2 || a.Plan.Pods[1].Containers[0].Container != "d-pod-1-c" {
		t.Errorf("%+v %q", a.Plan, a.Problems)
	}
	for old, want := range map[string][2]string{
		"a: b}}\n  temp": {"a: c}}\n  temp", "f.yaml:6: spec.selector.matchLabels.a: "},
		"image: i":       {"image: i, ports: [{containerPort: 1, hostPort: 1}]", "spec.template.spec.containers[0].ports[0].hostPort"},
		"replicas: 2":    {"replicas: 100000", "spec.replicas"},
		"spec: {cont":    {"spec: {restartPolicy: Never, cont", "f.yaml:9: spec.template.spec.restartPolicy: "},
		"c, image: i":    {"c, image: i, x: y", "spec.template.spec.containers[0].x: not known here"},
	} {
		if a := read(strings.Replace(deployment, old, want[0], 1)); a.Plan != nil || !strings.Contains(strings.Join(a.Problems, "\n"), want[1]) {
			t.Errorf("%s: %q", want[0], a.Problems)
		}
	}
}

// TestNotes: what is taken and has no effect is told, also where a field has an effect elsewhere.
func TestNotes(t *testing.T) {
	for text, want := range map[string]string{
		pod("volumes: [{name: v, emptyDir: {medium: Memory, sizeLimit: 1Mi}}]", "volumeMounts: [{name: v, mountPath: /v}]\n  - {name: d, image: i, volumeMounts: [{name: v, mountPath: /v}]}"): "f.yaml:7: spec.volumes[0].emptyDir.sizeLimit: nobody measures it",
		strings.Replace(deployment, "{name: d}", "{name: d, labels: {c: d}}", 1):                                "f.yaml:3: metadata.labels: only those of pods are kept",
		pod("", "") + "---\n{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: v, labels: {c: d}}}": "metadata.labels: only those of pods are kept",
		strings.Replace(deployment, "{name: d}", "{name: d, labels: {a: b}}", 1):                                "",
	} {
		if a := read(text); a.Plan == nil || !strings.Contains(strings.Join(a.Notes, "\n"), want) || want == "" && len(a.Notes) > 0 {
			t.Errorf("%s: %q %q, want %s", text, a.Problems, a.Notes, want)
		}
	}
}

// TestList: objects of a list are read as documents are.
func TestList(t *testing.T) {
	a := read(`{"apiVersion": "v1", "kind": "List", "metadata": {}, "items": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"k": "v"}},
		{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i", "envFrom": [{"configMapRef": {"name": "m"}}]}]}}]}`)
	if a.Plan == nil || !slices.Contains(a.Plan.Pods[0].Containers[0].Flags, "--env=k=v") {
		t.Errorf("%+v %q", a.Plan, a.Problems)
	}
}

// TestHostile: files that grow when they are read have an end.
func TestHostile(t *testing.T) {
	bomb := "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  tolerations:\n"
	for i := range 30 {
		name := string(rune('a'+i%26)) + strings.Repeat("x", i/26)
		last := "lol"
		if i > 0 {
			last = "*" + string(rune('a'+(i-1)%26)) + strings.Repeat("x", (i-1)/26)
		}
		bomb += "  - &" + name + " [" + strings.Repeat(last+", ", 10) + "]\n"
	}
	var vars strings.Builder
	for i := range 40 {
		n := string(rune('A'+i/10)) + string(rune('0'+i%10))
		if i == 0 {
			vars.WriteString("{name: A0, value: xxxxxxxxxx}")
			continue
		}
		last := string(rune('A'+(i-1)/10)) + string(rune('0'+(i-1)%10))
		vars.WriteString(", {name: " + n + ", value: \"" + strings.Repeat("$("+last+")", 10) + "\"}")
	}
	for name, text := range map[string]string{
		"aliases":      bomb,
		"circle":       "apiVersion: v1\nkind: Pod\nspec:\n  tolerations: &a [*a]\n",
		"deep":         "apiVersion: v1\nkind: Pod\nspec: " + strings.Repeat("[", 100000),
		"deep, known":  "apiVersion: v1\nkind: Pod\nspec:\n  tolerations: " + strings.Repeat("{a: ", 5000) + strings.Repeat("}", 5000),
		"long":         "apiVersion: v1\nkind: Pod\nspec:\n  tolerations: [" + strings.Repeat("a,", maxNodes) + "]\n",
		"variables":    pod("", "env: ["+vars.String()+"]"),
		"many":         strings.Replace(deployment, "containers: [", "containers: ["+strings.Repeat("{name: a, image: i}, ", 600), 1),
		"many configs": strings.Replace(strings.Replace(deployment, "replicas: 2", "replicas: 400", 1), "image: i", "image: i, args: ["+strings.Repeat("y", 100<<10)+"]", 1),
	} {
		if a := read(text); a.Plan != nil || len(a.Problems) == 0 {
			t.Errorf("%s: it is taken", name)
		}
	}
}

// TestTypes: each field that is known here has that name in Kubernetes, and its kind of value.
func TestTypes(t *testing.T) {
	var compare func(path string, ours, theirs reflect.Type)
	compare = func(path string, ours, theirs reflect.Type) {
		for ours.Kind() == reflect.Pointer {
			ours = ours.Elem()
		}
		for theirs.Kind() == reflect.Pointer {
			theirs = theirs.Elem()
		}
		if ours.Kind() == reflect.Interface || ours == quantity || theirs.Kind() == reflect.Struct && theirs.Name() == "Time" {
			return
		}
		if theirs.Kind() == reflect.Slice && theirs.Elem().Kind() == reflect.Uint8 && ours.Kind() == reflect.String {
			return // base64
		}
		kind := theirs.Kind()
		if kind == reflect.Int32 {
			kind = reflect.Int64
		}
		if ours.Kind() != kind {
			t.Errorf("%s: %v, and in Kubernetes %v", path, ours, theirs)
			return
		}
		switch ours.Kind() {
		case reflect.Slice, reflect.Map:
			compare(path+"[]", ours.Elem(), theirs.Elem())
		case reflect.Struct:
			for _, f := range reflect.VisibleFields(ours) {
				name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
				if name == "" {
					continue // what is embedded
				}
				if other, ok := field(theirs, name); ok {
					compare(path+"."+name, f.Type, other.Type)
				} else {
					t.Errorf("%s.%s is not in Kubernetes", path, name)
				}
			}
		}
	}
	for _, pair := range [][2]any{{kube.Pod{}, corev1.Pod{}}, {kube.Deployment{}, appsv1.Deployment{}}, {kube.ConfigMap{}, corev1.ConfigMap{}}, {kube.Secret{}, corev1.Secret{}}, {kube.PersistentVolumeClaim{}, corev1.PersistentVolumeClaim{}}} {
		compare(reflect.TypeOf(pair[0]).Name(), reflect.TypeOf(pair[0]), reflect.TypeOf(pair[1]))
	}
}

// TestWrite: Kubernetes' own reader takes what is written, and finds the same strings in it.
func TestWrite(t *testing.T) {
	words := []string{"yes", "1", "0x1", "1e3", "null", "~", "a: b", "- x", "é\n\tx ", "'", `"`, "#", "", " ", "0644", "1_000", "2001-01-01", strings.Repeat("long ", 100), "=", "<<", "\x01", "1:30", "+.inf", "\u2028", "off"}
	p := &kube.Pod{Meta: kube.Meta{APIVersion: "v1", Kind: "Pod", Metadata: kube.ObjectMeta{Name: "p"}}}
	p.Spec.Containers = []kube.Container{{Name: "c", Image: "i", Args: words}}
	a := Answer(kube.Request{Objects: []any{p}})
	var theirs corev1.Pod
	if err := yaml.UnmarshalStrict([]byte(a.Text), &theirs); err != nil {
		t.Fatalf("%v:\n%s", err, a.Text)
	}
	if got := theirs.Spec.Containers[0].Args; !slices.Equal(got, words) {
		t.Errorf("%q, want %q", got, words)
	}
	if b := read(a.Text); b.Plan == nil || !slices.Equal(b.Plan.Pods[0].Containers[0].Command, words) {
		t.Errorf("read again: %q", b.Problems)
	}
}

// FuzzRead: whatever a file says, there is an answer, and files stay in their volumes.
func FuzzRead(f *testing.F) {
	f.Add(pod("volumes: [{name: v, configMap: {name: m}}]", "volumeMounts: [{name: v, mountPath: /v}]"))
	f.Add(deployment)
	f.Fuzz(func(t *testing.T, text string) {
		a := read(text)
		if (a.Plan == nil) != (len(a.Problems) > 0) {
			t.Fatalf("%+v", a)
		}
		if a.Plan == nil {
			return
		}
		for _, p := range a.Plan.Pods {
			for _, v := range p.Volumes {
				for _, file := range v.Files {
					if !filepath.IsLocal(file.Path) || os.FileMode(file.Mode).Perm() != os.FileMode(file.Mode) {
						t.Errorf("%+v", file)
					}
				}
			}
			for _, c := range p.Containers {
				if !strings.HasPrefix(c.Flags[0], "--name="+p.Name+"-") {
					t.Errorf("%q", c.Flags)
				}
			}
		}
	})
}

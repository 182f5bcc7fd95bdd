package cli_test

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
)

// TestKubernetesReadsWhatIsGenerated: the types of Kubernetes, with no field that they do not know,
// take what generate kube writes of containers with all settings that a pod can have, and find
// them.
func TestKubernetesReadsWhatIsGenerated(t *testing.T) {
	for _, p := range people(t) {
		t.Run(p.name, func(t *testing.T) {
			b := newBench(t, p)
			for name, text := range map[string]string{"seccomp.json": `{"defaultAction": "SCMP_ACT_ALLOW"}`, "pod.yaml": shownPod} {
				if err := os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			b.tiffin("create", "--name", "all", "--ipc", "host", "--hostname", "kitchen", "--publish", "127.0.0.1:8080:80/udp", "--expose", "81", "--add-host", "db:192.0.2.7", "--dns", "192.0.2.1",
				"--dns-search", "example.org", "--dns-option", "ndots:2", "--env", "A=$(B)", "--env", "B=on", "--label", "app=soup", "--memory", "64m", "--memory-reservation", "32m", "--cpus", "0.5",
				"--cpu-shares", "512", "--limits", "best-effort", "--restart", "always", "--stop-timeout", "3", "--workdir", "/tmp", "-it", "--group-add", "7", "--sysctl", "net.ipv4.ip_default_ttl=10",
				"--tmpfs", "/t:size=1m", "--volume", "jar:/jar", "--volume", b.dir+":/host:ro", "--volume", "/anonymous", "--health-cmd", "true", "--health-interval", "1500ms",
				"--user", "1000:50", "--read-only", "--cap-drop", "ALL", "--cap-add", "CAP_CHOWN", "--security-opt", "seccomp="+filepath.Join(b.dir, "seccomp.json"), "--security-opt", "systempaths=unconfined",
				"--entrypoint", "sh", "tiffin/base", "echo yes", "0x1")
			b.tiffin("create", "--name", "more", "--privileged", "tiffin/base")
			b.tiffin("create", "--name", "some", "--security-opt", "no-new-privileges=false", "--security-opt", "seccomp=unconfined", "tiffin/base", "true")
			b.tiffin("play", "kube", filepath.Join(b.dir, "pod.yaml"))
			defer b.tiffin("kube", "down", "shown")

			pod := generated(t, b, "all", "more", "some")
			s := pod.Spec
			c, sc := s.Containers[0], s.Containers[0].SecurityContext
			for what, right := range map[string]bool{
				"ipc":         s.HostIPC,
				"names":       pod.Name == "all-pod" && pod.Labels["app"] == "soup" && s.Hostname == "kitchen" && s.HostAliases[0].Hostnames[0] == "db",
				"dns":         s.DNSPolicy == "None" && s.DNSConfig.Nameservers[0] == "192.0.2.1" && *s.DNSConfig.Options[0].Value == "2",
				"port":        c.Ports[0].HostPort == 8080 && c.Ports[0].HostIP == "127.0.0.1" && c.Ports[0].Protocol == corev1.ProtocolUDP,
				"words":       slices.Equal(c.Command, []string{"sh"}) && slices.Equal(c.Args, []string{"echo yes", "0x1"}) && c.Env[0].Value == "$$(B)" && c.TTY && c.Stdin,
				"limits":      c.Resources.Limits.Memory().Value() == 64<<20 && c.Resources.Limits.Cpu().MilliValue() == 500,
				"requests":    c.Resources.Requests.Memory().Value() == 32<<20 && c.Resources.Requests.Cpu().MilliValue() == 500,
				"life":        s.RestartPolicy == corev1.RestartPolicyAlways && *s.TerminationGracePeriodSeconds == 3 && c.LivenessProbe.PeriodSeconds == 2,
				"user":        *sc.RunAsUser == 1000 && *sc.RunAsGroup == 50 && s.SecurityContext.SupplementalGroups[0] == 7 && s.SecurityContext.Sysctls[0].Value == "10",
				"rights":      *sc.ReadOnlyRootFilesystem && !*sc.AllowPrivilegeEscalation && sc.Capabilities.Drop[0] == "ALL" && sc.Capabilities.Add[0] == "CHOWN" && *sc.ProcMount == corev1.UnmaskedProcMount,
				"profile":     sc.SeccompProfile.Type == corev1.SeccompProfileTypeLocalhost && *sc.SeccompProfile.LocalhostProfile == "all-seccomp.json",
				"privileged":  *s.Containers[1].SecurityContext.Privileged && s.Containers[1].SecurityContext.AllowPrivilegeEscalation == nil,
				"unconfined":  *s.Containers[2].SecurityContext.AllowPrivilegeEscalation && s.Containers[2].SecurityContext.SeccompProfile.Type == corev1.SeccompProfileTypeUnconfined,
				"four mounts": len(c.VolumeMounts) == 4 && len(s.Volumes) == 4,
			} {
				if !right {
					t.Errorf("%s: %+v", what, s)
				}
			}
			for _, v := range generated(t, b, "shown-c").Spec.Volumes {
				if v.ConfigMap == nil && v.Secret == nil {
					t.Errorf("%+v", v)
				}
			}
			var d appsv1.Deployment
			text := b.tiffin("generate", "kube", "--type", "deployment", "--replicas", "3", "--format", "json", "more", "some")
			err := yaml.UnmarshalStrict([]byte(text), &d)
			if err != nil || d.Name != "more-deployment" || *d.Spec.Replicas != 3 || d.Spec.Selector.MatchLabels["app"] != "more" || d.Spec.Template.Labels["app"] != "more" ||
				!reflect.DeepEqual(d.Spec.Template.Spec.Containers, s.Containers[1:]) {
				t.Errorf("%v in\n%s", err, text)
			}
			b.tiffin("rm", "all", "more", "some")
			b.tiffin("volume", "rm", "jar")
		})
	}
}

// shownPod mounts files of what stands beside it.
const shownPod = `{apiVersion: v1, kind: ConfigMap, metadata: {name: m}, data: {dish: rice}, binaryData: {bits: /w==}}
---
{apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {word: hi}}
---
apiVersion: v1
kind: Pod
metadata: {name: shown}
spec:
  terminationGracePeriodSeconds: 0
  volumes: [{name: v, configMap: {name: m}}, {name: w, secret: {secretName: s}}]
  containers:
  - {name: c, image: tiffin/base, command: [sleep, "1000"], volumeMounts: [{name: v, mountPath: /dish, subPath: dish}, {name: w, mountPath: /w}]}
`

// generated is the pod that containers become. What stands before it is right, too.
func generated(t *testing.T, b *bench, names ...string) (pod corev1.Pod) {
	t.Helper()
	file := filepath.Join(b.dir, names[0]+".yaml")
	b.tiffin(append([]string{"generate", "kube", "-f", file}, names...)...)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]any{"ConfigMap": &corev1.ConfigMap{}, "Secret": &corev1.Secret{}, "Pod": &pod}
	for document := range strings.SplitSeq(string(text), "\n---\n") {
		var head struct{ Kind string }
		if err := yaml.Unmarshal([]byte(document), &head); err != nil || kinds[head.Kind] == nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		if err := yaml.UnmarshalStrict([]byte(document), kinds[head.Kind]); err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
	}
	if len(pod.Spec.Containers) != len(names) {
		t.Fatalf("%+v", pod.Spec)
	}
	return pod
}

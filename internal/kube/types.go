// The objects of Kubernetes, as far as they have a counterpart here: its API reference, v1 and
// apps/v1. Names and JSON are the reference's, which a test compares with the library k8s.io/api.
//
// A field that is not here is refused where it is read. One with a tag `note` changes nothing here,
// and the tag says why; `note:"-"` is for what is always there and means nothing to a reader.

package kube

import "encoding/json"

// Meta is what each document begins with: ObjectMeta is in it.
type Meta struct {
	APIVersion string     `json:"apiVersion"`
	Kind       string     `json:"kind"`
	Metadata   ObjectMeta `json:"metadata"`
}

type ObjectMeta struct {
	Name              string            `json:"name,omitempty"`
	Namespace         string            `json:"namespace,omitempty" note:"there is one namespace here, yours"`
	Labels            map[string]string `json:"labels,omitempty"`
	Annotations       map[string]string `json:"annotations,omitempty" note:"nobody reads them here but env"`
	CreationTimestamp any               `json:"creationTimestamp,omitempty" note:"-"`
}

type Pod struct {
	Meta
	Spec   PodSpec `json:"spec"`
	Status any     `json:"status,omitempty" note:"-"`
}

type Deployment struct {
	Meta
	Spec   DeploymentSpec `json:"spec"`
	Status any            `json:"status,omitempty" note:"-"`
}

type DeploymentSpec struct {
	Replicas                *int64        `json:"replicas,omitempty"` // nil = 1
	Selector                LabelSelector `json:"selector"`
	Template                PodTemplate   `json:"template"`
	Strategy                any           `json:"strategy,omitempty" note:"a change comes with --replace, all at once"`
	MinReadySeconds         any           `json:"minReadySeconds,omitempty" note:"a change comes with --replace, all at once"`
	RevisionHistoryLimit    any           `json:"revisionHistoryLimit,omitempty" note:"no revisions are kept"`
	ProgressDeadlineSeconds any           `json:"progressDeadlineSeconds,omitempty" note:"a change comes with --replace, all at once"`
}

type LabelSelector struct {
	MatchLabels map[string]string `json:"matchLabels,omitempty"`
}

type PodTemplate struct {
	Metadata ObjectMeta `json:"metadata"`
	Spec     PodSpec    `json:"spec"`
}

// ConfigMap and Secret are one type: what the one has in BinaryData, the other has in Data.
type ConfigMap struct {
	Meta
	Data       map[string]string `json:"data,omitempty"`
	BinaryData map[string]string `json:"binaryData,omitempty"` // base64
	Immutable  any               `json:"immutable,omitempty" note:"-"`
}

type Secret struct {
	Meta
	Type       string            `json:"type,omitempty" note:"-"`
	Data       map[string]string `json:"data,omitempty"` // base64
	StringData map[string]string `json:"stringData,omitempty"`
	Immutable  any               `json:"immutable,omitempty" note:"-"`
}

type PersistentVolumeClaim struct {
	Meta
	Spec   any `json:"spec,omitempty" note:"a volume is a directory here, with nothing to choose"`
	Status any `json:"status,omitempty" note:"-"`
}

type PodSpec struct {
	Containers                    []Container         `json:"containers"`
	InitContainers                []Container         `json:"initContainers,omitempty"`
	Volumes                       []Volume            `json:"volumes,omitempty"`
	RestartPolicy                 string              `json:"restartPolicy,omitempty"`                 // Always, OnFailure or Never
	TerminationGracePeriodSeconds *int64              `json:"terminationGracePeriodSeconds,omitempty"` // nil = 30
	Hostname                      string              `json:"hostname,omitempty"`
	HostNetwork                   bool                `json:"hostNetwork,omitempty"`
	HostIPC                       bool                `json:"hostIPC,omitempty"`
	HostAliases                   []HostAlias         `json:"hostAliases,omitempty"`
	DNSPolicy                     string              `json:"dnsPolicy,omitempty"`
	DNSConfig                     *DNSConfig          `json:"dnsConfig,omitempty"`
	SecurityContext               *PodSecurityContext `json:"securityContext,omitempty"`
	AutomountServiceAccountToken  any                 `json:"automountServiceAccountToken,omitempty" note:"-"`
	EnableServiceLinks            any                 `json:"enableServiceLinks,omitempty" note:"-"`
	ServiceAccountName            any                 `json:"serviceAccountName,omitempty" note:"there is no cluster to ask"`
	SchedulerName                 any                 `json:"schedulerName,omitempty" note:"-"`
	NodeSelector                  any                 `json:"nodeSelector,omitempty" note:"there is one machine, this one"`
	Tolerations                   any                 `json:"tolerations,omitempty" note:"there is one machine, this one"`
}

type HostAlias struct {
	IP        string   `json:"ip"`
	Hostnames []string `json:"hostnames"`
}

type DNSConfig struct {
	Nameservers []string    `json:"nameservers,omitempty"`
	Searches    []string    `json:"searches,omitempty"`
	Options     []DNSOption `json:"options,omitempty"`
}

type DNSOption struct {
	Name  string `json:"name"`
	Value string `json:"value,omitempty"`
}

type PodSecurityContext struct {
	RunAsUser           *int64          `json:"runAsUser,omitempty"`
	RunAsGroup          *int64          `json:"runAsGroup,omitempty"`
	RunAsNonRoot        *bool           `json:"runAsNonRoot,omitempty"`
	SeccompProfile      *SeccompProfile `json:"seccompProfile,omitempty"`
	SupplementalGroups  []int64         `json:"supplementalGroups,omitempty"`
	Sysctls             []Sysctl        `json:"sysctls,omitempty"`
	SELinuxOptions      any             `json:"seLinuxOptions,omitempty" note:"no label is set here"`
	FSGroup             *int64          `json:"fsGroup,omitempty"`
	FSGroupChangePolicy any             `json:"fsGroupChangePolicy,omitempty" note:"-"`
}

type Sysctl struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type SeccompProfile struct {
	Type             string `json:"type"` // RuntimeDefault, Unconfined or Localhost
	LocalhostProfile string `json:"localhostProfile,omitempty"`
}

type Container struct {
	Name                     string           `json:"name"`
	Image                    string           `json:"image"`
	ImagePullPolicy          string           `json:"imagePullPolicy,omitempty"` // Always, IfNotPresent or Never
	Command                  []string         `json:"command,omitempty"`
	Args                     []string         `json:"args,omitempty"`
	WorkingDir               string           `json:"workingDir,omitempty"`
	Env                      []EnvVar         `json:"env,omitempty"`
	EnvFrom                  []EnvFrom        `json:"envFrom,omitempty"`
	Ports                    []Port           `json:"ports,omitempty"`
	Resources                Resources        `json:"resources,omitzero"`
	VolumeMounts             []VolumeMount    `json:"volumeMounts,omitempty"`
	LivenessProbe            *Probe           `json:"livenessProbe,omitempty"`
	ReadinessProbe           any              `json:"readinessProbe,omitempty" note:"nobody asks whether it is ready, as there are no services"`
	SecurityContext          *SecurityContext `json:"securityContext,omitempty"`
	Stdin                    bool             `json:"stdin,omitempty"`
	TTY                      bool             `json:"tty,omitempty"`
	TerminationMessagePath   any              `json:"terminationMessagePath,omitempty" note:"-"`
	TerminationMessagePolicy any              `json:"terminationMessagePolicy,omitempty" note:"-"`
}

type EnvVar struct {
	Name      string     `json:"name"`
	Value     string     `json:"value,omitempty"`
	ValueFrom *EnvSource `json:"valueFrom,omitempty"`
}

type EnvSource struct {
	ConfigMapKeyRef *KeyRef   `json:"configMapKeyRef,omitempty"`
	SecretKeyRef    *KeyRef   `json:"secretKeyRef,omitempty"`
	FieldRef        *FieldRef `json:"fieldRef,omitempty"`
}

type KeyRef struct {
	Name     string `json:"name"`
	Key      string `json:"key"`
	Optional bool   `json:"optional,omitempty"`
}

type FieldRef struct {
	APIVersion any    `json:"apiVersion,omitempty" note:"-"`
	FieldPath  string `json:"fieldPath"`
}

type EnvFrom struct {
	Prefix       string  `json:"prefix,omitempty"`
	ConfigMapRef *MapRef `json:"configMapRef,omitempty"`
	SecretRef    *MapRef `json:"secretRef,omitempty"`
}

type MapRef struct {
	Name     string `json:"name"`
	Optional bool   `json:"optional,omitempty"`
}

type Port struct {
	Name          string `json:"name,omitempty" note:"-"`
	ContainerPort int64  `json:"containerPort"`
	HostPort      int64  `json:"hostPort,omitempty"`
	HostIP        string `json:"hostIP,omitempty"`
	Protocol      string `json:"protocol,omitempty"` // TCP or UDP
}

// Quantity is a number with a unit, 64Mi or 500m. It may be written as a number.
type Quantity string

func (q *Quantity) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] != '"' {
		*q = Quantity(b)
		return nil
	}
	return json.Unmarshal(b, (*string)(q))
}

type Resources struct {
	Limits   map[string]Quantity `json:"limits,omitempty"`
	Requests map[string]Quantity `json:"requests,omitempty"`
}

type VolumeMount struct {
	Name      string `json:"name"`
	MountPath string `json:"mountPath"`
	ReadOnly  bool   `json:"readOnly,omitempty"`
	SubPath   string `json:"subPath,omitempty"`
}

type Probe struct {
	Exec                *ExecAction `json:"exec,omitempty"`
	InitialDelaySeconds int64       `json:"initialDelaySeconds,omitempty"`
	PeriodSeconds       int64       `json:"periodSeconds,omitempty"`  // 0 = 10
	TimeoutSeconds      int64       `json:"timeoutSeconds,omitempty"` // 0 = 1
	FailureThreshold    int64       `json:"failureThreshold,omitempty"`
	SuccessThreshold    any         `json:"successThreshold,omitempty" note:"-"`
}

type ExecAction struct {
	Command []string `json:"command"`
}

type SecurityContext struct {
	RunAsUser                *int64          `json:"runAsUser,omitempty"`
	RunAsGroup               *int64          `json:"runAsGroup,omitempty"`
	RunAsNonRoot             *bool           `json:"runAsNonRoot,omitempty"`
	ReadOnlyRootFilesystem   bool            `json:"readOnlyRootFilesystem,omitempty"`
	AllowPrivilegeEscalation *bool           `json:"allowPrivilegeEscalation,omitempty"`
	Privileged               bool            `json:"privileged,omitempty"`
	Capabilities             *Capabilities   `json:"capabilities,omitempty"`
	SeccompProfile           *SeccompProfile `json:"seccompProfile,omitempty"`
	ProcMount                string          `json:"procMount,omitempty"` // Default or Unmasked
	SELinuxOptions           any             `json:"seLinuxOptions,omitempty" note:"no label is set here"`
}

type Capabilities struct {
	Add  []string `json:"add,omitempty"`
	Drop []string `json:"drop,omitempty"`
}

type Volume struct {
	Name                  string       `json:"name"`
	EmptyDir              *EmptyDir    `json:"emptyDir,omitempty"`
	HostPath              *HostPath    `json:"hostPath,omitempty"`
	PersistentVolumeClaim *ClaimRef    `json:"persistentVolumeClaim,omitempty"`
	ConfigMap             *FilesOf     `json:"configMap,omitempty"`
	Secret                *SecretFiles `json:"secret,omitempty"`
}

type EmptyDir struct {
	Medium    string   `json:"medium,omitempty"` // "" or Memory
	SizeLimit Quantity `json:"sizeLimit,omitempty"`
}

type HostPath struct {
	Path string `json:"path"`
	Type string `json:"type,omitempty"`
}

type ClaimRef struct {
	ClaimName string `json:"claimName"`
	ReadOnly  bool   `json:"readOnly,omitempty"`
}

type FilesOf struct {
	Name        string      `json:"name"`
	Items       []KeyToPath `json:"items,omitempty"`
	DefaultMode *int64      `json:"defaultMode,omitempty"`
	Optional    bool        `json:"optional,omitempty"`
}

type SecretFiles struct {
	SecretName  string      `json:"secretName"`
	Items       []KeyToPath `json:"items,omitempty"`
	DefaultMode *int64      `json:"defaultMode,omitempty"`
	Optional    bool        `json:"optional,omitempty"`
}

type KeyToPath struct {
	Key  string `json:"key"`
	Path string `json:"path"`
	Mode *int64 `json:"mode,omitempty"`
}

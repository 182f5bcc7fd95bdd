// What is the pod's that `tiffin generate kube` writes, and no single container's: network, names,
// labels, and when it is started again.

package cli

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
	"tiffin/internal/kube"
	"tiffin/internal/network"
	"tiffin/ns"
)

// around: what is the pod's. Of several containers the first decides.
func (x *exporting) around(ctr *disk.Container, k *kube.Container, first bool, ic *ocispec.ImageConfig) error {
	p, owner := &x.pod.Spec, ctr
	if id := ctr.Shares(); id != "" {
		var err error
		if owner, err = findContainer(id); err != nil {
			return fmt.Errorf("its network: %w", err)
		}
		if owner.Labels[kube.LabelContainer] != kube.InfraContainer && first {
			return errs.Hint(fmt.Errorf("it shares the network of container %s", owner.Name), "name that one, too, and first")
		}
	}
	if owner == ctr || first {
		for _, port := range owner.Ports {
			out := kube.Port{ContainerPort: int64(port.Container), HostPort: int64(port.Host), Protocol: strings.ToUpper(port.Protocol)}
			if port.IP.IsValid() {
				out.HostIP = port.IP.String()
			}
			if port.Host == 0 || port.HostLast != 0 {
				x.note(ctr, "port %d has any free port of this machine, and in a pod none", port.Container)
				out.HostPort = 0
			}
			k.Ports = append(k.Ports, out)
		}
		k.Ports = append(k.Ports, served(owner, ic)...)
	}
	policy := map[string]string{"": "Never", disk.RestartOnFailure: "OnFailure"}[ctr.Restart.Policy]
	if policy == "" {
		policy = "Always"
	}
	grace := int64(10)
	if ctr.StopTimeout != nil {
		grace = int64(*ctr.StopTimeout)
	}
	if !first {
		if policy != p.RestartPolicy && !begins(ctr) || grace != *p.TerminationGracePeriodSeconds || owner == ctr && ctr.Network != x.network() || ctr.HostIPC != p.HostIPC {
			x.note(ctr, "restart, stop-timeout, network and ipc of a pod are those of its first container")
		}
		return nil
	}
	p.RestartPolicy, p.TerminationGracePeriodSeconds, p.HostIPC = policy, &grace, ctr.HostIPC
	x.pod.Metadata.Name = k.Name + "-pod"
	if own := ctr.Labels[kube.LabelPod]; own != "" {
		x.pod.Metadata.Name = own
	}
	x.labels(ctr, ic.Labels)
	switch p.HostNetwork = owner.Network == "host"; owner.Network {
	case "", "user", "host":
	default:
		x.note(ctr, "a pod cannot say --network %s: give that to play kube", owner.Network)
	}
	if owner.Hostname != owner.Short() && owner.Hostname != x.pod.Metadata.Name && !p.HostNetwork {
		p.Hostname = owner.Hostname
	}
	for _, h := range owner.Hosts {
		p.HostAliases = append(p.HostAliases, kube.HostAlias{IP: h.IP.String(), Hostnames: []string{h.Name}})
	}
	x.names(owner)
	x.context(ctr, owner)
	return nil
}

// served are the ports that the container names and does not publish, but for those of its image.
func served(ctr *disk.Container, ic *ocispec.ImageConfig) (ports []kube.Port) {
	known := map[string]bool{}
	for s := range ic.ExposedPorts {
		all, _ := network.ParseExposed(s) // one that cannot be read exposes nothing
		for _, port := range all {
			known[port] = true
		}
	}
	for _, p := range ctr.Ports {
		known[p.Exposed()] = true
	}
	for _, port := range ctr.Exposed {
		number, protocol, _ := strings.Cut(port, "/")
		if n, err := strconv.ParseInt(number, 10, 64); err == nil && !known[port] {
			ports = append(ports, kube.Port{ContainerPort: n, Protocol: strings.ToUpper(protocol)})
		}
	}
	return ports
}

// network is that of the first container, as a container's configuration has it.
func (x *exporting) network() string {
	if x.pod.Spec.HostNetwork {
		return "host"
	}
	return "user"
}

// labelValue is what a label of Kubernetes may be: "Labels and Selectors".
var labelValue = regexp.MustCompile(`^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$`)

// labels are those that were given to the container.
func (x *exporting) labels(ctr *disk.Container, image map[string]string) {
	for key, value := range ctr.Labels {
		domain, name, both := strings.Cut(key, "/")
		if !both {
			domain, name = "", key
		}
		switch v, there := image[key]; {
		case there && v == value, strings.HasPrefix(key, kube.LabelPrefix):
		case name == "" || !labelValue.MatchString(name) || !labelValue.MatchString(value) || both && kubeName(domain) != strings.ReplaceAll(domain, ".", "-"):
			x.note(ctr, "label %s is none of Kubernetes: 63 letters, digits, -, _ and .", key)
		default:
			if x.pod.Metadata.Labels == nil {
				x.pod.Metadata.Labels = map[string]string{}
			}
			x.pod.Metadata.Labels[key] = value
		}
	}
}

// names: whom it asks for names.
func (x *exporting) names(ctr *disk.Container) {
	if len(ctr.DNS)+len(ctr.DNSSearch)+len(ctr.DNSOptions) == 0 {
		return
	}
	d := &kube.DNSConfig{Searches: ctr.DNSSearch}
	for _, ip := range ctr.DNS {
		x.pod.Spec.DNSPolicy = "None"
		d.Nameservers = append(d.Nameservers, ip.String())
	}
	for _, o := range ctr.DNSOptions {
		name, value, _ := strings.Cut(o, ":")
		d.Options = append(d.Options, kube.DNSOption{Name: name, Value: value})
	}
	x.pod.Spec.DNSConfig = d
}

// context: rights that are the pod's.
func (x *exporting) context(ctr, owner *disk.Container) {
	s := new(kube.PodSecurityContext)
	for _, g := range ctr.Groups {
		if n, err := strconv.ParseInt(g, 10, 32); err == nil && g != ns.KeepGroups {
			s.SupplementalGroups = append(s.SupplementalGroups, n)
		} else {
			x.note(ctr, "group %s is no number, and in a pod it is one", g)
		}
	}
	for _, set := range owner.Sysctls {
		s.Sysctls = append(s.Sysctls, kube.Sysctl{Name: set.Name, Value: set.Value})
	}
	if len(s.SupplementalGroups)+len(s.Sysctls) > 0 {
		x.pod.Spec.SecurityContext = s
	}
}

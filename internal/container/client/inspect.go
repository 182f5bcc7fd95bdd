// What inspect shows of a container, in docker's words.

package client

import (
	"cmp"
	"net/netip"
	"path/filepath"
	"time"

	"tiffin/internal/container/disk"
	"tiffin/internal/network"
	"tiffin/ns"
)

// Inspection is what `tiffin inspect` prints of a container. Its fields have
// docker's names, so that templates written for docker work; those that tiffin
// has nothing to say about are left out.
type Inspection struct {
	ID           string `json:"Id"`
	Created      time.Time
	Path         string
	Args         []string
	State        InspectState
	Image        string
	LogPath      string
	Name         string
	Platform     string
	RestartCount int
	HostConfig   InspectHost

	NetworkSettings InspectNetwork
	GraphDriver     InspectDriver
	Mounts          []InspectMount
	Config          InspectConfig
	Notes           []ns.Note `json:",omitempty"`
}

type InspectState struct {
	Status                disk.Status
	Running, Paused       bool
	Restarting            bool
	OOMKilled             bool
	Pid                   int
	SupervisorPid         int
	ExitCode              int
	Error                 string
	StartedAt, FinishedAt time.Time
	Health                *disk.Health `json:",omitempty"`
}

type InspectHost struct {
	Binds          []string
	NetworkMode    string
	RestartPolicy  InspectRestart
	AutoRemove     bool
	ReadonlyRootfs bool
	Init           bool
	UsernsMode     string            // as --userns takes it; "" = auto
	IpcMode        string            // as --ipc takes it
	CapAdd         []string          `json:",omitempty"`
	CapDrop        []string          `json:",omitempty"`
	GroupAdd       []string          `json:",omitempty"`
	SecurityOpt    []string          `json:",omitempty"`
	ShmSize        int64             `json:",omitempty"` // bytes
	Ulimits        []ns.Rlimit       `json:",omitempty"`
	Tmpfs          map[string]string `json:",omitempty"`
	ExtraHosts     []string          `json:",omitempty"`

	PortBindings    InspectPorts // as they were asked for
	PublishAllPorts bool
	Dns             []netip.Addr `json:",omitempty"`
	DnsSearch       []string     `json:",omitempty"`
	DnsOptions      []string     `json:",omitempty"`

	Memory, MemorySwap, MemoryReservation int64 // bytes
	NanoCpus, CpuShares                   int64
	CpusetCpus                            string
	PidsLimit, BlkioWeight                int64
	CgroupParent                          string `json:",omitempty"` // that its control group is in, while it runs
}

type InspectRestart struct {
	Name              string // "no" = never
	MaximumRetryCount int
}

// InspectPorts are the host's sides by the container's, such as "80/tcp".
type InspectPorts map[string][]InspectBinding

type InspectBinding struct{ HostIp, HostPort string }

type InspectDriver struct {
	Name string
	Data map[string]string
}

type InspectMount struct {
	Type              string // volume, bind or tmpfs
	Name              string `json:",omitempty"`
	Source            string
	Destination       string
	Driver            string `json:",omitempty"`
	Mode, Propagation string
	RW                bool
}

type InspectConfig struct {
	Hostname, Domainname string
	User                 string
	Tty, OpenStdin       bool
	Env, Cmd, Entrypoint []string
	Image, WorkingDir    string
	ExposedPorts         map[string]struct{} `json:",omitempty"`
	Labels               map[string]string
	StopSignal           string            `json:",omitempty"`
	StopTimeout          *int              `json:",omitempty"`
	Healthcheck          *disk.Healthcheck `json:",omitempty"`
}

// Inspect tells everything about the container.
func Inspect(c *disk.Container) (*Inspection, error) {
	s, err := c.State()
	if err != nil {
		return nil, err
	}
	supervisor := s.Supervisor
	if s.Status != disk.Running {
		supervisor = 0
	}
	x := &Inspection{
		ID: c.ID, Created: c.Created, Image: c.ImageID, Name: "/" + c.Name, Platform: "linux", RestartCount: s.Restarts,
		LogPath: c.Path("log"), Notes: s.Notes, Args: []string{}, Mounts: []InspectMount{},
		State: InspectState{Status: s.Shown(), Running: s.Alive(), Restarting: s.Status == disk.Restarting, Paused: s.Paused, OOMKilled: s.OOMKilled, Pid: s.Pid, SupervisorPid: supervisor,
			ExitCode: s.ExitCode, Error: s.Error, StartedAt: s.Started, FinishedAt: s.Finished, Health: c.Health()},
		HostConfig: InspectHost{Binds: []string{}, NetworkMode: c.Network, RestartPolicy: InspectRestart{cmp.Or(c.Restart.Policy, "no"), c.Restart.Max}, AutoRemove: c.AutoRemove, ReadonlyRootfs: c.ReadOnly, Init: c.Init,
			UsernsMode: c.UsernsMode(), IpcMode: c.IpcMode(), CapAdd: c.CapAdd, CapDrop: c.CapDrop, GroupAdd: c.Groups, SecurityOpt: c.SecurityOptions(), ShmSize: c.ShmSize, Ulimits: c.Rlimits,
			Dns: c.DNS, DnsSearch: c.DNSSearch, DnsOptions: c.DNSOptions,
			Memory: c.Limits.Memory, MemorySwap: c.Limits.MemorySwap, MemoryReservation: c.Limits.MemoryReservation, NanoCpus: c.Limits.NanoCPUs,
			CpuShares: c.Limits.CPUShares, CpusetCpus: c.Limits.Cpuset, PidsLimit: c.Limits.Pids, BlkioWeight: c.Limits.BlkioWeight},
		GraphDriver: InspectDriver{c.DriverName(), map[string]string{"UpperDir": c.UpperDir(), "WorkDir": c.WorkDir(), "Attributes": c.Attributes()}},
		Config: InspectConfig{Hostname: c.Hostname, Domainname: c.Domainname, User: c.User, Tty: c.TTY, OpenStdin: c.Stdin, Env: c.Env, Cmd: c.Cmd,
			Entrypoint: c.Entrypoint, Image: c.Image, WorkingDir: c.Config.Dir, Labels: c.Labels, StopSignal: c.StopSignal, StopTimeout: c.StopTimeout, Healthcheck: c.Healthcheck},
	}
	if s.Cgroup != "" && s.Status == disk.Running {
		x.HostConfig.CgroupParent = filepath.Dir(s.Cgroup)
	}
	if args := c.Args(); len(args) > 0 {
		x.Path, x.Args = args[0], args[1:]
	}
	x.addPorts(c, &s)
	x.NetworkSettings.add(c, &s)
	for _, h := range c.Hosts {
		x.HostConfig.ExtraHosts = append(x.HostConfig.ExtraHosts, h.String())
	}
	for _, v := range c.Volumes {
		x.addVolume(v)
	}
	return x, nil
}

func (x *Inspection) addPorts(c *disk.Container, s *disk.State) {
	x.Config.ExposedPorts, x.HostConfig.PublishAllPorts = map[string]struct{}{}, c.PublishAll
	x.HostConfig.PortBindings, x.NetworkSettings.Ports = InspectPorts{}, InspectPorts{}
	for _, port := range c.Exposed {
		x.Config.ExposedPorts[port] = struct{}{}
		x.NetworkSettings.Ports[port] = nil
	}
	for _, p := range c.Ports {
		x.Config.ExposedPorts[p.Exposed()] = struct{}{}
		x.HostConfig.PortBindings.add(p)
	}
	for _, p := range s.Ports {
		x.NetworkSettings.Ports.add(p)
	}
}

func (x InspectPorts) add(p network.Port) {
	var b InspectBinding
	if p.IP.IsValid() {
		b.HostIp = p.IP.String()
	}
	if p.Host != 0 {
		b.HostPort = p.HostRange()
	}
	x[p.Exposed()] = append(x[p.Exposed()], b)
}

func (x *Inspection) addVolume(v disk.Volume) {
	m := InspectMount{Type: v.Kind(), Name: v.Name, Source: v.Source, Destination: v.Target, RW: !v.ReadOnly, Mode: v.Options}
	from := v.Source
	switch m.Type {
	case "tmpfs":
		if x.HostConfig.Tmpfs == nil {
			x.HostConfig.Tmpfs = map[string]string{}
		}
		x.HostConfig.Tmpfs[v.Target] = v.Options
	case "volume":
		m.Driver, from = "local", v.Name
	case "bind":
		m.Propagation = "rprivate"
	}
	if m.Type != "tmpfs" && !v.Anonymous {
		bind := from + ":" + v.Target
		if v.ReadOnly {
			m.Mode = "ro"
			bind += ":ro"
		}
		x.HostConfig.Binds = append(x.HostConfig.Binds, bind)
	}
	x.Mounts = append(x.Mounts, m)
}

// The files config.json and state.json: what a container is, and how it is.

package disk

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"tiffin/internal/network"
	"tiffin/internal/wire"
	"tiffin/ns"
	"tiffin/ns/cgroup"
)

// Who keeps the limits of a container: see Config.LimitsBy. If it is "", a control group, which is
// made only if there is a limit.
const (
	LimitsCgroup     = "cgroup"      // a control group is made even without a limit
	LimitsBestEffort = "best-effort" // limits of processes, if there can be no control group
)

// Config is config.json: what the container is. Only the name and the limits in it ever change.
// The image's config and the flags of `run` are already merged in it.
type Config struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
	Image   string    `json:"image"`   // as the user named it
	ImageID string    `json:"imageID"` // digest of its config

	Entrypoint wire.Strings `json:"entrypoint,omitempty"` // the command is Entrypoint, then Cmd
	Cmd        wire.Strings `json:"cmd,omitempty"`
	Env        wire.Strings `json:"env,omitempty"`
	Dir        string       `json:"dir,omitempty"`  // working directory, "" = "/"
	User       string       `json:"user,omitempty"` // user[:group], "" = root
	TTY        bool         `json:"tty,omitempty"`
	Stdin      bool         `json:"stdin,omitempty"` // keep standard input open

	Hostname    string            `json:"hostname"`
	Network     string            `json:"network"` // see network.ParseChoice
	ReadOnly    bool              `json:"readOnly,omitempty"`
	Init        bool              `json:"init,omitempty"`
	AutoRemove  bool              `json:"autoRemove,omitempty"`
	Transient   bool              `json:"transient,omitempty"` // deleted when nobody holds it: see HoldTransient
	NoLog       bool              `json:"noLog,omitempty"`
	Log         LogOptions        `json:"log,omitzero"`
	SingleID    bool              `json:"singleID,omitempty"`      // map no subordinate ids
	KeepID      string            `json:"keepID,omitempty"`        // --userns keep-id: who the user is inside, "UID:GID"
	Accounts    []ns.File         `json:"accounts,omitempty"`      // passwd(5) and group(5) that take the place of the image's
	Emulation   string            `json:"rootEmulation,omitempty"` // "on", "off"; "" = where one id is mapped
	Volumes     []Volume          `json:"volumes,omitempty"`
	Ports       []network.Port    `json:"ports,omitempty"`       // published, as far as the user has said where
	Exposed     []string          `json:"exposed,omitempty"`     // ports that the image or the user names, "80/tcp"
	PublishAll  bool              `json:"publishAll,omitempty"`  // Ports has those of Exposed, too
	StopSignal  string            `json:"stopSignal,omitempty"`  // "" = SIGTERM
	StopTimeout *int              `json:"stopTimeout,omitempty"` // seconds, nil = 10
	Labels      map[string]string `json:"labels,omitempty"`
	Healthcheck *Healthcheck      `json:"healthcheck,omitempty"` // nil = none
	Shell       []string          `json:"shell,omitempty"`       // that runs a line of it, nil = sh -c
	Driver      string            `json:"driver,omitempty"`      // "" = DriverFUSE
	Upper       string            `json:"upper,omitempty"`       // options of the tmpfs that has it, see InMemory; "" = on disk
	Rights
	Naming
	// Networks are those with a name that it joins. If Network is one, that is the first.
	Networks []Membership  `json:"networks,omitempty"`
	Restart  Restart       `json:"restart,omitzero"`
	Limits   cgroup.Limits `json:"limits,omitzero"`
	LimitsBy string        `json:"limitsBy,omitempty"` // "", LimitsCgroup or LimitsBestEffort
	Without  []string      `json:"without,omitempty"`  // steps of the runner to leave out, see ns.ParseWithout
}

// What Config.Emulation can say besides "".
const (
	EmulationOn   = "on"
	EmulationFull = "full" // stat(2) shows owners, too
	EmulationOff  = "off"
)

// Volume is a host directory or file, a volume of the store, or a tmpfs, that the container has at
// Target.
type Volume struct {
	Source    string `json:"source,omitempty"` // absolute path on the host; "" = a tmpfs
	Target    string `json:"target"`
	ReadOnly  bool   `json:"readOnly,omitempty"`
	Options   string `json:"options,omitempty"`   // of a tmpfs, see mount(8)
	Name      string `json:"name,omitempty"`      // of a volume of the store: StoredVolume
	Anonymous bool   `json:"anonymous,omitempty"` // it goes with the container; Create gives the name
	NoCopy    bool   `json:"noCopy,omitempty"`    // an empty one stays empty
	Owner     *Owner `json:"owner,omitempty"`     // Source gets it when the container starts
}

// Owner is who has a file, as the container sees it, and what may be done with it.
type Owner struct {
	UID  uint32 `json:"uid"`
	GID  uint32 `json:"gid"`
	Mode uint32 `json:"mode"` // permission bits, inode(7)
}

// IsRoot tells whether the command's user is root, whatever the image says.
func (c *Config) IsRoot() bool {
	return c.User == "" || c.User == "0" || c.User == "root" || c.User == "0:0"
}

// UsernsMode is the --userns that makes such a container.
func (c *Config) UsernsMode() string {
	if uid, gid, keep := strings.Cut(c.KeepID, ":"); keep {
		return "keep-id:uid=" + uid + ",gid=" + gid
	}
	if c.SingleID {
		return "single"
	}
	return ""
}

// IpcMode is the --ipc that makes such a container.
func (c *Config) IpcMode() string {
	if c.HostIPC {
		return "host"
	}
	return "private"
}

// WantsCgroup tells whether the container is to have a control group.
func (c *Config) WantsCgroup() bool {
	return c.LimitsBy == LimitsCgroup || c.Limits != cgroup.Limits{}
}

// Shares is the ID of the container whose network this one shares, "" if it does not.
func (c *Config) Shares() string {
	id, _ := strings.CutPrefix(c.Network, ns.SharedNetwork)
	if id == c.Network {
		return ""
	}
	return id
}

// Args is the command's argument vector.
func (c *Config) Args() []string {
	return append(append([]string(nil), c.Entrypoint...), c.Cmd...)
}

// Status is the phase of life a container is in.
type Status string

const (
	Created Status = "created" // has never run, or failed to start
	Running Status = "running"
	Exited  Status = "exited"
	// Restarting has ended, and its keeper is going to start it again.
	Restarting Status = "restarting"
	Paused     Status = "paused" // Running with State.Paused, as people see it: State.Shown
)

// State is state.json: how the container is. Its last writer is the
// supervisor; if that was killed, State of Container tells so.
type State struct {
	Status Status `json:"status"`
	// Pid is the container's PID 1 and Supervisor the process above it, both as
	// the host numbers them. A number alone may belong to another process by
	// now, so each comes with its start time, field 22 of /proc/pid/stat, proc(5).
	Pid             int       `json:"pid,omitempty"`
	PidStart        uint64    `json:"pidStart,omitempty"` // clock ticks since boot
	Supervisor      int       `json:"supervisor,omitempty"`
	SupervisorStart uint64    `json:"supervisorStart,omitempty"`
	Started         time.Time `json:"started,omitzero"`
	Finished        time.Time `json:"finished,omitzero"`
	ExitCode        int       `json:"exitCode"`
	Restarts        int       `json:"restarts,omitempty"` // by its keeper, since somebody has started it
	Error           string    `json:"error,omitempty"`    // why it could not start or be kept
	Paused          bool      `json:"paused,omitempty"`
	OOMKilled       bool      `json:"oomKilled,omitempty"` // the kernel has killed a process at the limit of memory
	Cgroup          string    `json:"cgroup,omitempty"`    // directory of its control group, while it runs
	// Ports are those of Config, one for each address on which the host listens.
	Ports    []network.Port `json:"ports,omitempty"`
	Networks []Attachment   `json:"networks,omitempty"`
	Private  bool           `json:"private,omitempty"` // it has the addresses network.Private, too

	Log   LogLoss   `json:"log,omitzero"`    // what its log has lost
	Notes []ns.Note `json:"notes,omitempty"` // what this machine could not do for it
	// Made are paths that had to be made in the image's tree to mount something
	// on; as long as they are empty they are no change of the user's.
	Made []string `json:"made,omitempty"`
}

// Shown is the status in docker's words.
func (s *State) Shown() Status {
	if s.Status == Running && s.Paused {
		return Paused
	}
	return s.Status
}

// Container is a directory that holds a container.
type Container struct {
	Config
	dir    string
	images string // root of the store that has its image; "" = it has the container, too
}

// Dir is the container's directory, an absolute path.
func (c *Container) Dir() string { return c.dir }

// Root is the root directory of the store that has the container's image.
func (c *Container) Root() string {
	if c.images != "" {
		return c.images
	}
	return filepath.Dir(filepath.Dir(c.dir))
}

// Set is the set that the container is in.
func (c *Container) Set() *Set { return At(c.Root(), filepath.Dir(filepath.Dir(c.dir))) }

// Path is that of a file in the container's directory.
func (c *Container) Path(name string) string { return filepath.Join(c.dir, name) }

// Short is the ID that people see: its first 12 digits.
func (c *Container) Short() string { return c.ID[:12] }

// State reads how the container is. A container that says it is running
// while nobody holds its lock has lost its supervisor, and everything below
// that with it: it is shown as ended by SIGKILL.
func (c *Container) State() (State, error) {
	s, err := c.ReadState()
	if err != nil || !s.Alive() || c.Locked() {
		return s, err
	}
	// It may have ended between the two looks.
	if s, err = c.ReadState(); err != nil || !s.Alive() {
		return s, err
	}
	if s.Status == Restarting { // whoever was to start it again was killed
		s.Status, s.Ports = Exited, nil
		return s, nil
	}
	var last time.Time
	if fi, err := os.Stat(c.Path("state.json")); err == nil {
		last = fi.ModTime() // no later moment is known
	}
	s.Killed(last)
	return s, nil
}

// Alive tells whether somebody looks after the container: it runs, or is going to again.
func (s *State) Alive() bool { return s.Status == Running || s.Status == Restarting }

// Killed makes of the state of a container that runs that of one whose supervisor was killed.
func (s *State) Killed(at time.Time) {
	s.Status, s.ExitCode, s.Pid, s.Supervisor, s.Ports = Exited, 128+9, 0, 0, nil
	s.Paused, s.Error, s.Finished = false, "its supervisor was killed", at
}

func (c *Container) ReadState() (State, error) {
	var s State
	b, err := os.ReadFile(c.Path("state.json"))
	if err != nil {
		return s, fmt.Errorf("read the state of container %s: %w", c.Name, err)
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("read the state of container %s: %w", c.Name, err)
	}
	return s, nil
}

// WriteState replaces state.json as a whole. It is not synced to disk: after a
// power cut nothing runs, whatever a file says. How the container has ended is written into the
// room that Reserve has kept.
func (c *Container) WriteState(s State) error {
	err := error(os.ErrNotExist)
	if s.Status != Running {
		err = replaceJSON(c.Path("state.json"), c.Path("state.last"), 0, s)
	}
	if err != nil {
		err = ReplaceJSON(c.Path("state.json"), s)
	}
	if err != nil {
		return fmt.Errorf("record the state of container %s: %w", c.Name, err)
	}
	return nil
}

// Reserve keeps room on the disk for the last state, which grows out of s: if a container fills the
// disk, how it ended must not be lost. The file exists already and has its blocks, so that neither
// a free inode nor free space is needed at the end.
func (c *Container) Reserve(s State) error {
	b, err := json.Marshal(s)
	if err == nil {
		err = os.WriteFile(c.Path("state.last"), make([]byte, len(b)+stateGrowth), 0o600)
	}
	if err != nil {
		return fmt.Errorf("keep room for the state of container %s: %w", c.Name, err)
	}
	return nil
}

// stateGrowth is how much longer state.json may be at the end than at the start, in bytes: by
// an error, and by notes.
const stateGrowth = 8 << 10

// ReplaceJSON replaces a file as a whole, without syncing it to disk.
func ReplaceJSON(path string, v any) error {
	return replaceJSON(path, path+".new", os.O_CREATE, v)
}

// replaceJSON writes v over what is in the file fresh, opened with flags, and renames it to path.
func replaceJSON(path, fresh string, flags int, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(fresh, os.O_WRONLY|flags, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err == nil {
		err = f.Truncate(int64(len(b)) + 1)
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	return os.Rename(fresh, path)
}

// Open reads the container in dir. It returns an error wrapping os.ErrNotExist
// if there is none, or one that is not complete yet.
func Open(dir string) (*Container, error) {
	b, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		return nil, fmt.Errorf("open container: %w", err)
	}
	c := &Container{dir: dir}
	if err := json.Unmarshal(b, &c.Config); err != nil {
		return nil, fmt.Errorf("open container %s: config.json: %w", filepath.Base(dir), err)
	}
	if c.ID != filepath.Base(dir) {
		return nil, fmt.Errorf("open container %s: its config.json is that of %q", filepath.Base(dir), c.ID)
	}
	for i := range c.Volumes { // the store may have been moved
		if v := &c.Volumes[i]; v.Name != "" {
			v.Source = In(filepath.Dir(filepath.Dir(dir))).VolumeData(v.Name)
		}
	}
	return c, nil
}

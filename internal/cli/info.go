// The command tiffin info: where the store is and what is in it, what the settings say, and the
// machine. What the machine lacks, `tiffin doctor` tells.

package cli

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/docker/go-units"
	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"tiffin/image"
	"tiffin/internal/container/client"
	"tiffin/internal/container/disk"
	"tiffin/ns/cgroup"
)

// about has docker's fields where docker has them.
type about struct {
	Containers, ContainersRunning, ContainersPaused, ContainersStopped, Images int

	StoreRoot, RunRoot, ImagePath, Driver string

	SettingsFile, Network string // config.toml, and what --network is if it is not given
	settings              string // all of them, as flags

	Name, OperatingSystem, OSType, Architecture, KernelVersion, CgroupVersion, ServerVersion string

	NCPU     int
	MemTotal int64 // bytes
}

func infoCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage:   "[-f TEMPLATE]",
		Description: "What is missing on this machine, and who can change it, is told by `tiffin doctor`.",
		Flags:       []cli.Flag{&cli.StringFlag{Name: "format", Aliases: []string{"f"}, Usage: "`TEMPLATE` of Go, or json"}},
		Action: takes(0, 0, "no arguments", inStore(func(c *cli.Context, store *image.Store) error {
			a, damaged := look(store)
			switch format := c.String("format"); format {
			case "":
				a.print()
			case "json":
				return errors.Join(printJSON(stdout, a, ""), damaged)
			default:
				tmpl, err := parseFormat(format)
				if err == nil {
					err = executeEither(tmpl, a)
				}
				return errors.Join(err, damaged)
			}
			return damaged
		})),
	}
}

// look gathers what there is to tell. What could not be read is an error beside it.
func look(store *image.Store) (*about, error) {
	set, err := containersOf(store.Root())
	if err != nil {
		return nil, err
	}
	run, e := disk.RunRoot(store.Root())
	err = errors.Join(err, e)
	s, e := readSettings()
	err = errors.Join(err, e)
	imgs, e := store.List()
	err = errors.Join(err, e)
	a := &about{
		Images: len(imgs), StoreRoot: store.Root(), RunRoot: run, ImagePath: os.Getenv("TIFFIN_IMAGE_PATH"),
		SettingsFile: s.file, Network: s.Run.Network, settings: s.String(),
		OSType: runtime.GOOS, Architecture: runtime.GOARCH, NCPU: runtime.NumCPU(), CgroupVersion: "1", ServerVersion: thisVersion().Version,
		OperatingSystem: distribution(),
	}
	var fresh disk.Config
	fresh.Driver, _ = client.PickDriver(run, false, true) // why it is not fuse, doctor tells
	a.Driver = fresh.DriverName()
	all, e := set.All()
	err = errors.Join(err, e)
	for _, ctr := range all {
		state, e := ctr.State()
		err = errors.Join(err, e)
		a.Containers++
		switch {
		case state.Status != disk.Running:
			a.ContainersStopped++
		case state.Paused:
			a.ContainersPaused++
		default:
			a.ContainersRunning++
		}
	}
	if cgroup.Hierarchy() != "" {
		a.CgroupVersion = "2"
	}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		a.Name, a.KernelVersion = unix.ByteSliceToString(name.Nodename[:]), unix.ByteSliceToString(name.Release[:])
	}
	var machine unix.Sysinfo_t
	if unix.Sysinfo(&machine) == nil {
		a.MemTotal = int64(machine.Totalram) * int64(machine.Unit)
	}
	return a, err
}

// distribution is PRETTY_NAME of os-release(5).
func distribution() string {
	text, _ := os.ReadFile("/etc/os-release")
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
			return strings.Trim(strings.TrimSpace(name), `"'`)
		}
	}
	return runtime.GOOS
}

func (a *about) print() {
	line := func(title string, value any) { fmt.Fprintf(stdout, "%-18s %v\n", title+":", value) }
	line("Containers", a.Containers)
	line("  Running", a.ContainersRunning)
	line("  Paused", a.ContainersPaused)
	line("  Stopped", a.ContainersStopped)
	line("Images", a.Images)
	line("Store", a.StoreRoot)
	if a.RunRoot != a.StoreRoot {
		line("Containers in", a.RunRoot)
	}
	if a.ImagePath != "" {
		line("Further stores", a.ImagePath)
	}
	line("Driver", a.Driver)
	settings := a.settings
	if a.SettingsFile != "" {
		settings += ", " + a.SettingsFile
	}
	line("Settings", settings)
	line("Version", a.ServerVersion)
	line("Kernel Version", a.KernelVersion)
	line("Operating System", a.OperatingSystem)
	line("OSType", a.OSType)
	line("Architecture", a.Architecture)
	line("Cgroup Version", a.CgroupVersion)
	line("CPUs", a.NCPU)
	line("Total Memory", units.BytesSize(float64(a.MemTotal)))
	line("Name", a.Name)
}

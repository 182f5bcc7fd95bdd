// The command tiffin version: which tiffin this is, what it was built from, and the programs it
// carries.

package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"

	"tiffin/internal/programs"
)

// Version is set by the linker: -ldflags "-X tiffin/internal/cli.Version=1.2".
var Version = ""

// versionInfo is what `version --format json` prints.
type versionInfo struct {
	Version  string // of the release, or what Go makes of the commit
	Commit   string // "" if it was not built in a repository; with "+changes" if there were some
	Go       string
	Platform string // OS/ARCH
	Programs []programs.Program
}

// Client is where docker's templates look.
func (v *versionInfo) Client() *versionInfo { return v }

func versionCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[--format json|TEMPLATE]",
		Description: "The programs are what starts with a container (runtime) and what tiffin/base consists of (userland). A tiffin that a bare `go build` made has none.\n" +
			"Templates have .Version .Commit .Go .Platform .Programs; .Client is the same, and there is no server.",
		Flags: []cli.Flag{&cli.StringFlag{Name: "format", Usage: "`TEMPLATE` of Go, or json"}},
		Action: takes(0, 0, "no arguments", func(c *cli.Context) error {
			v := thisVersion()
			if f := c.String("format"); f != "" {
				return printRows(stdout, f, "", nil, []*versionInfo{&v})
			}
			fmt.Fprintf(stdout, "tiffin %s %s %s\n", v.Version, v.Go, v.Platform)
			if v.Commit != "" {
				fmt.Fprintf(stdout, "commit %s\n", v.Commit)
			}
			for _, p := range v.Programs {
				fmt.Fprintf(stdout, "%-8s %s  %d bytes\n", p.Name, p.Digest, p.Size)
			}
			if s, err := readSettings(); err != nil {
				return err
			} else if s.file != "" {
				fmt.Fprintf(stdout, "settings %s: %s\n", s.file, &s)
			}
			if len(v.Programs) == 0 {
				fmt.Fprintln(stdout, "no programs are embedded: scripts/setup does that")
			}
			return nil
		}),
	}
}

func thisVersion() versionInfo {
	v := versionInfo{Version: Version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, Programs: programs.Embedded()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if v.Version == "" {
		v.Version = info.Main.Version
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	v.Commit = settings["vcs.revision"]
	if settings["vcs.modified"] == "true" {
		v.Commit += "+changes"
	}
	return v
}

// tiffin version: which tiffin this is, and what it was built from.

package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"
)

// Version is set by the linker: -ldflags "-X tiffin/internal/cli.Version=1.2".
var Version = ""

func versionCommand() *cli.Command {
	return &cli.Command{
		Action: func(*cli.Context) error {
			v := Version
			if info, ok := debug.ReadBuildInfo(); v == "" && ok {
				v = info.Main.Version
			}
			fmt.Fprintf(stdout, "tiffin %s %s %s/%s\n", v, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return nil
		},
	}
}

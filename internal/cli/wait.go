// The command tiffin wait: containers end, and their exit statuses are printed.

package cli

import (
	"fmt"

	"tiffin/internal/container/client"

	"github.com/urfave/cli/v2"
)

func waitCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "CONTAINER…",
		Action: takes(1, -1, "one or more containers", func(c *cli.Context) error {
			return eachArg(c, func(ref string) error {
				ctr, err := findContainer(ref)
				if err != nil {
					return err
				}
				code, err := client.Wait(ctr)
				if err != nil {
					return err
				}
				fmt.Fprintln(stdout, code)
				return nil
			})
		}),
	}
}

// The command tiffin logout: the password for a registry is forgotten.

package cli

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"tiffin/image/registry"
)

func logoutCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[REGISTRY]",
		Action: takes(0, 1, "at most one registry", func(c *cli.Context) error {
			domain, err := registry.Domain(c.Args().First())
			if err != nil {
				return err
			}
			err = registry.Logout(c.Context, domain)
			if errors.Is(err, registry.ErrNotLoggedIn) {
				fmt.Fprintf(stdout, "Not logged in to %s\n", domain)
				return nil
			}
			if err == nil {
				fmt.Fprintf(stdout, "Removing login credentials for %s\n", domain)
			}
			return err
		}),
	}
}

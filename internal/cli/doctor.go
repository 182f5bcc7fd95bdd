// The command tiffin doctor: what this machine allows, and for what it does not allow the line that
// an administrator has to type.

package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"tiffin/image/store"
	"tiffin/internal/container/client"
	"tiffin/internal/container/disk"
	"tiffin/ns/probe"
)

func doctorCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[--format json]",
		Description: "Tries each thing that a container needs, and says what is in the way and which line of an administrator changes it.\n" +
			"The disk of the store ($TIFFIN_ROOT) and that of the containers ($TIFFIN_RUN_ROOT, or the same) are tried in a\n" +
			"directory that is removed again.\n" +
			"The exit status is 1 if containers cannot run here. What is only optional does not count.",
		Flags: []cli.Flag{
			jsonFlag(),
		},
		Action: takes(0, 0, "no arguments", func(c *cli.Context) error {
			asJSON, err := wantsJSON(c)
			if err != nil {
				return err
			}
			results := probe.All()
			root, err := store.DefaultRoot()
			run := root
			if err == nil {
				run, err = disk.RunRoot(root)
			}
			if err != nil {
				return err
			}
			results = append(results, append(client.TryStore(root, run), driverOf(run))...)
			if !asJSON {
				printResults(stdout, results)
			} else if err := printJSON(stdout, results, "    "); err != nil {
				return err
			}
			for _, r := range results {
				if !r.OK && r.Level == probe.Required {
					return exitStatus(exitFailure)
				}
			}
			return nil
		}),
	}
}

// driverOf says which driver a new container would get.
func driverOf(run string) probe.Result {
	r := probe.Result{Name: "driver", OK: true, Level: probe.Optional, Page: "the book, chapter 3, \"When something is missing\""}
	var cfg disk.Config
	var err error
	cfg.Driver, err = client.PickDriver(run, false, true)
	r.Found = "a new container gets --driver " + cfg.DriverName()
	if err != nil {
		r.Found += fmt.Sprintf(": %v", err)
	}
	return r
}

// printResults prints a line for each check, and below one that failed what to do.
func printResults(w io.Writer, results []probe.Result) {
	missing := 0
	for _, r := range results {
		mark, what := "ok     ", r.Found
		if !r.OK {
			mark, what = "missing", r.Why
			if r.Level == probe.Required {
				mark = "FAILED "
				missing++
			}
		}
		fmt.Fprintf(w, "%s  %-18s %s\n", mark, r.Name, what)
		if r.OK {
			continue
		}
		if r.Fix != "" {
			if !strings.HasPrefix(r.Fix, "export ") {
				fmt.Fprintf(w, "%28s an administrator can change that:\n", "")
			}
			for line := range strings.Lines(r.Fix) {
				fmt.Fprintf(w, "%28s   %s\n", "", strings.TrimRight(line, "\n"))
			}
		}
		if r.Page != "" {
			fmt.Fprintf(w, "%28s see %s\n", "", r.Page)
		}
	}
	if missing > 0 {
		fmt.Fprintf(w, "\nContainers cannot run here: see what FAILED.\n")
		return
	}
	fmt.Fprintf(w, "\nContainers can run here.\n")
}

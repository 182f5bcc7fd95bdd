// The flags about what all processes of a container may use together, and the command tiffin
// update, which changes them: docker's words, docker-run(1).

package cli

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"github.com/docker/go-units"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/urfave/cli/v2"

	"tiffin/internal/container/client"
	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
	"tiffin/ns/cgroup"
)

// limitFlags are those of run, create and update. Each needs a control group.
func limitFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "memory", Aliases: []string{"m"}, Usage: "all processes together have `SIZE` of memory at most, such as 64m or 1g"},
		&cli.StringFlag{Name: "memory-swap", Usage: "memory and swap together: `SIZE`, -1 for swap without limit; twice --memory if not given"},
		&cli.StringFlag{Name: "memory-reservation", Usage: "the last `SIZE` of memory is taken away only if nothing else is left"},
		&cli.StringFlag{Name: "cpus", Usage: "`NUMBER` of CPUs' time, such as 1.5"},
		&cli.StringFlag{Name: "cpu-shares", Aliases: []string{"c"}, Usage: "share of the CPUs when they are busy: `NUMBER` from 2 to 262144, 1024 is usual"},
		&cli.StringFlag{Name: "cpuset-cpus", Usage: "only CPUs in `LIST`, such as 0-2,5"},
		&cli.StringFlag{Name: "pids-limit", Usage: "`NUMBER` of processes and threads at most, -1 for no limit"},
		&cli.StringFlag{Name: "blkio-weight", Usage: "share of the disks when they are busy: `NUMBER` from 10 to 1000"},
	}
}

// limitsByFlag is of run and create.
func limitsByFlag() cli.Flag {
	return &cli.StringFlag{Name: "limits", Usage: "who keeps the limits: `cgroup` makes a control group even without one; best-effort: where there can be none, limits of each process"}
}

// parseLimits changes l as the flags say.
func parseLimits(c *cli.Context, l *cgroup.Limits) error {
	size := func(s string) (int64, error) {
		if s == "-1" {
			return -1, nil
		}
		return units.RAMInBytes(s)
	}
	number := func(s string) (int64, error) { return strconv.ParseInt(s, 10, 64) }
	for _, f := range []struct {
		flag  string
		to    *int64
		parse func(string) (int64, error)
		hint  string
	}{
		{"memory", &l.Memory, size, "such as 64m or 1g"},
		{"memory-swap", &l.MemorySwap, size, "such as 64m or 1g, or -1"},
		{"memory-reservation", &l.MemoryReservation, size, "such as 64m or 1g"},
		{"cpus", &l.NanoCPUs, nanoCPUs, "such as 1.5"},
		{"cpu-shares", &l.CPUShares, number, "such as 512"},
		{"pids-limit", &l.Pids, number, "such as 100"},
		{"blkio-weight", &l.BlkioWeight, number, "such as 300"},
	} {
		if !c.IsSet(f.flag) {
			continue
		}
		n, err := f.parse(c.String(f.flag))
		if err != nil {
			return errs.Hint(fmt.Errorf("--%s %s: it is no number", f.flag, c.String(f.flag)), f.hint)
		}
		*f.to = n
	}
	if c.IsSet("cpuset-cpus") {
		l.Cpuset = c.String("cpuset-cpus")
	}
	return l.Check()
}

// nanoCPUs reads a decimal number in billionths.
func nanoCPUs(s string) (int64, error) {
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		return 0, strconv.ErrSyntax
	}
	r.Mul(r, big.NewRat(1e9, 1))
	if !r.IsInt() || !r.Num().IsInt64() {
		return 0, strconv.ErrRange
	}
	return r.Num().Int64(), nil
}

// setLimits reads the flags of run and create.
func setLimits(cfg *disk.Config, c *cli.Context, _ ocispec.ImageConfig) error {
	switch by := c.String("limits"); by {
	case "", disk.LimitsCgroup, disk.LimitsBestEffort:
		cfg.LimitsBy = by
	default:
		return fmt.Errorf("--limits %q is neither cgroup nor best-effort", by)
	}
	err := parseLimits(c, &cfg.Limits)
	cfg.Limits = cfg.Limits.Bounding()
	return err
}

func updateCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "FLAGS CONTAINER…",
		Description: "What is not given stays as it is. A container that runs has the new limits at once, if it was started with a\n" +
			"control group (any limit, or --limits cgroup); else it has to be stopped first.",
		Flags: append(limitFlags(), restartFlag()),
		Action: func(c *cli.Context) error {
			if c.NumFlags() == 0 {
				return usagef("nothing to change was given")
			}
			return onContainers(c, func(ctr *disk.Container) error {
				if c.IsSet("restart") {
					if err := updateRestart(ctr, c.String("restart")); err != nil || c.NumFlags() == 1 {
						return err
					}
				}
				l := ctr.Limits
				if err := parseLimits(c, &l); err != nil {
					return err
				}
				for _, name := range c.FlagNames() {
					if strings.Trim(c.String(name), "0") != "" {
						continue
					}
					switch name { // docker-run(1) has 0 for no limit
					case "cpus":
						l.NanoCPUs = -1
					case "blkio-weight":
						l.BlkioWeight = -1
					default:
						flag := "--" + name
						if len(name) == 1 {
							flag = "-" + name
						}
						return errs.Hint(fmt.Errorf("%s %s changes nothing", flag, c.String(name)),
							"no limit is -1 for memory and processes, 0 for --cpus and --blkio-weight; 1024 CPU shares are usual, and --cpuset-cpus takes all of them")
					}
				}
				return client.Update(ctr, l)
			})
		},
	}
}

// The command tiffin stats: what running containers use, in docker's columns.

package cli

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/docker/go-units"
	"github.com/urfave/cli/v2"

	"tiffin/internal/container/client"
	"tiffin/internal/container/disk"
)

func statsCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] [CONTAINER…]",
		Description: "What a control group has counted, if the container has one (any limit, or --limits cgroup); else what its\n" +
			"living processes add up to: memory that they share is counted for each, and BLOCK I/O is not known.\n" +
			"MEM is without pages of files that were not used lately, its limit that of the machine if there is no other.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "also those that do not run"},
			&cli.BoolFlag{Name: "no-stream", Usage: "once, not again and again"},
			&cli.BoolFlag{Name: "no-trunc", Usage: "whole ids"},
			&cli.StringFlag{Name: "format", Usage: "`TEMPLATE` of Go for each, table TEMPLATE, or json"},
		},
		Action: runStats,
	}
}

// statsRow is a container as stats shows it, for templates too: docker's names.
type statsRow struct {
	Container, ID, Name                              string
	CPUPerc, MemUsage, MemPerc, NetIO, BlockIO, PIDs string
}

const statsTable = "table {{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}"

var statsHeader = statsRow{
	Container: "CONTAINER", ID: "CONTAINER ID", Name: "NAME", CPUPerc: "CPU %", MemUsage: "MEM USAGE / LIMIT", MemPerc: "MEM %",
	NetIO: "NET I/O", BlockIO: "BLOCK I/O", PIDs: "PIDS",
}

// statsPeriod is how far two looks are apart, of which the share of CPUs is computed.
const statsPeriod = time.Second

func runStats(c *cli.Context) error {
	set, err := containers()
	if err != nil {
		return err
	}
	before := map[string]client.Usage{}
	for first := true; ; first = false {
		watched, err := statsOf(c, set)
		if err != nil {
			return err
		}
		if first {
			before = measure(watched)
			time.Sleep(statsPeriod)
		}
		now := measure(watched)
		var rows []*statsRow
		for _, ctr := range watched {
			rows = append(rows, newStatsRow(ctr, before[ctr.ID], now[ctr.ID], !c.Bool("no-trunc")))
		}
		if !c.Bool("no-stream") && c.String("format") != "json" && isTerminal(os.Stdout) {
			fmt.Fprint(os.Stdout, "\x1b[2J\x1b[H") // console_codes(4), ED and CUP; stdout would escape it
		}
		if err := printRows(stdout, c.String("format"), statsTable, &statsHeader, rows); err != nil || c.Bool("no-stream") {
			return err
		}
		if err := stdout.lost(); err != nil {
			return err
		}
		before = now
		time.Sleep(statsPeriod)
	}
}

// statsOf are the containers to show: those named, or all that run.
func statsOf(c *cli.Context, set *disk.Set) (all []*disk.Container, err error) {
	for _, ref := range c.Args().Slice() {
		ctr, err := set.Find(ref)
		if err != nil {
			return nil, err
		}
		all = append(all, ctr)
	}
	if c.Args().Present() {
		return all, nil
	}
	all, err = set.All()
	return slices.DeleteFunc(all, func(ctr *disk.Container) bool {
		s, e := ctr.State()
		return e != nil || s.Status != disk.Running && !c.Bool("all")
	}), err
}

// measure looks at all of them at once. One that does not run is left out.
func measure(all []*disk.Container) map[string]client.Usage {
	var mu sync.Mutex
	var looks sync.WaitGroup
	out, processes := map[string]client.Usage{}, disk.ReadProcesses()
	for _, ctr := range all {
		looks.Go(func() {
			if u, err := client.Measure(ctr, processes); err == nil {
				mu.Lock()
				defer mu.Unlock()
				out[ctr.ID] = u
			}
		})
	}
	looks.Wait()
	return out
}

func newStatsRow(ctr *disk.Container, before, now client.Usage, short bool) *statsRow {
	r := &statsRow{Container: ctr.ID, ID: ctr.ID, Name: ctr.Name, CPUPerc: "--", MemUsage: "-- / --", MemPerc: "--", NetIO: "--", BlockIO: "--", PIDs: "--"}
	if short {
		r.ID = ctr.Short()
	}
	if now.At.IsZero() {
		return r
	}
	percent := func(part, whole float64) string { return fmt.Sprintf("%.2f%%", 100*part/max(whole, 1)) }
	size := func(n uint64) string { return units.HumanSizeWithPrecision(float64(n), 3) }
	used, passed := now.CPU-before.CPU, now.At.Sub(before.At)
	if before.At.IsZero() || used < 0 { // started, or a process has ended, in between
		used = 0
	}
	r.CPUPerc = percent(float64(used), float64(passed))
	r.MemUsage = units.BytesSize(float64(now.Memory)) + " / " + units.BytesSize(float64(now.MemoryLimit))
	r.MemPerc = percent(float64(now.Memory), float64(now.MemoryLimit))
	r.NetIO = size(now.NetIn) + " / " + size(now.NetOut)
	if now.Grouped {
		r.BlockIO = size(now.Read) + " / " + size(now.Write)
	}
	r.PIDs = fmt.Sprint(now.Pids)
	return r
}

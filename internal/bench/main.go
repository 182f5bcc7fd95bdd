// Command fsbench is the part of scripts/bench-fs that has to be a program: it
// makes the image that is measured, does the work that is timed, inside the
// container, and turns the times into a table with the targets beside them.
//
//	fsbench image [-name NAME] [-files N] [-big MIB] [-base LAYOUT] [-later SECONDS] DIR
//	                         write an OCI layout with the image
//	fsbench unpack LAYOUT DIR  unpack its layers for overlayfs: DIR/0 is the bottom
//	fsbench run WORKLOAD     do it in /bench, print NAME, nanoseconds and count
//	fsbench list             print the names of the workloads
//	fsbench table FILE       medians, ratios and targets of collected times
//	fsbench serve PORT       the servers of scripts/bench net, at four ports
//	fsbench load ADDRESS…    measure those at four addresses
//	fsbench pull NAME=PID=URL…  -clients pull an image at once, from each server in -rounds
//	fsbench evict DIR        put what is below it out of the page cache
//	fsbench tree DIR         the large context of scripts/bench build: -files N, -big MIB in all
//
// Every workload starts on a fresh mount with an empty upper directory, so what
// it does first is cold: the kernel knows no name of the tree yet. Whether the
// bytes below come from the disk is another matter; scripts/bench-fs --drop
// empties the page cache too, and needs root.
//
// The program is static and times its own system calls, made without the
// runtime's bookkeeping (see raw.go): a warm stat(2) takes half a microsecond,
// and what is measured must not be Go.
package main

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "fsbench:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		args = []string{""}
	}
	fl := flag.NewFlagSet(args[0], flag.ContinueOnError)
	switch args[0] {
	case "image":
		size := defaultSize
		fl.IntVar(&size.files, "files", size.files, "files in the large tree")
		fl.IntVar(&size.bigMiB, "big", size.bigMiB, "size of the large file in `MiB`")
		name := fl.String("name", "fsbench", "`name` of the image")
		later := fl.Int("later", 0, "`seconds` that all files are younger, which makes other layers of the same content")
		base := fl.String("base", "", "OCI `layout` of an image with cp, tar, git, python3 and gcc, to put it on")
		if err := fl.Parse(args[1:]); err != nil {
			return err
		}
		epoch = epoch.Add(time.Duration(*later) * time.Second)
		return makeImage(fl.Arg(0), *name, *base, size)
	case "tree":
		count, mib := fl.Int("files", 20000, ""), fl.Int("big", 1024, "")
		if err := fl.Parse(args[1:]); err != nil {
			return err
		}
		return makeTree(fl.Arg(0), *count, *mib)
	case "evict":
		return evict(args[1:])
	case "unpack":
		if err := fl.Parse(args[1:]); err != nil {
			return err
		}
		return unpackImage(fl.Arg(0), fl.Arg(1))
	case "run":
		if err := fl.Parse(args[1:]); err != nil {
			return err
		}
		return runWorkload(fl.Arg(0))
	case "list":
		for _, w := range workloads {
			fmt.Println(w.name)
		}
		return nil
	case "table":
		if err := fl.Parse(args[1:]); err != nil {
			return err
		}
		return printTable(os.Stdout, fl.Arg(0))
	case "serve": // the servers of scripts/bench net
		base, err := strconv.Atoi(args[len(args)-1])
		if err != nil {
			return err
		}
		return netServe(base)
	case "load":
		return netLoad(args[1:])
	case "pull":
		clients, rounds := fl.Int("clients", 200, ""), fl.Int("rounds", 3, "")
		if err := fl.Parse(args[1:]); err != nil {
			return err
		}
		return netPull(*clients, *rounds, fl.Args())
	case "true":
		return nil // a process that does nothing, for the time of a mount
	}
	return fmt.Errorf("unknown command %q: see the comment in main.go", args[0])
}

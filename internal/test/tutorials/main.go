// Command tutorials types the lines of tutorials for docker, with each of several engines in its
// place, and prints which worked. It is for scripts/tutorial, which says what the files look like.
//
//	tutorials ENGINE=DIR… FILE…
//
// DIR has the engine under the name docker, and is first in PATH. The exit status is 1 if a line of
// the first engine failed, the others are there to compare with.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// engine is what is typed at.
type engine struct{ name, dir string }

func main() {
	var engines []engine
	var files []string
	for _, arg := range os.Args[1:] {
		if name, dir, found := strings.Cut(arg, "="); found {
			engines = append(engines, engine{name, dir})
		} else {
			files = append(files, arg)
		}
	}
	good, total, all := map[string][]int{}, map[string]int{}, true
	for _, file := range files {
		text, err := os.ReadFile(file)
		check(err)
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		items, err := parse(string(text))
		if err != nil {
			check(fmt.Errorf("%s: %w", file, err))
		}
		results := make([][]error, len(engines))
		for i, e := range engines {
			results[i] = e.play(name, items)
			good[name] = append(good[name], count(results[i]))
		}
		total[name] = len(results[0])
		all = all && good[name][0] == total[name]
		printTutorial(name, engines, items, results)
	}
	printTotals(engines, files, good, total)
	if !all {
		os.Exit(1)
	}
}

// play types a tutorial in a directory of its own, and returns what is wrong with each line.
func (e engine) play(name string, items []item) []error {
	dir, err := os.MkdirTemp(e.dir, name+"-")
	check(err)
	defer e.shell(dir, `docker ps -aq | xargs -r docker rm -f -v; docker volume ls -q | xargs -r docker volume rm`).Run()
	var results []error
	for _, it := range items {
		if it.file != "" {
			path := filepath.Join(dir, it.file)
			check(os.MkdirAll(filepath.Dir(path), 0o755))
			check(os.WriteFile(path, []byte(it.text), 0o644))
			continue
		}
		results = append(results, it.try(e.shell(dir, it.command)))
	}
	return results
}

// shell is the shell that gets a line.
func (e engine) shell(dir, line string) *exec.Cmd {
	cmd := exec.Command("bash", "-o", "pipefail", "-c", line)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+e.dir+":"+os.Getenv("PATH"), "TERM=xterm")
	cmd.WaitDelay = time.Minute // what goes on in the background and keeps the output
	return cmd
}

func count(results []error) (good int) {
	for _, err := range results {
		if err == nil {
			good++
		}
	}
	return good
}

const width = 86 // columns of a line in the table

func printTutorial(name string, engines []engine, items []item, results [][]error) {
	fmt.Printf("%-*s", width+2, name)
	for _, e := range engines {
		fmt.Printf("  %-6s", e.name)
	}
	fmt.Println()
	n := 0
	for _, it := range items {
		if it.file != "" {
			continue
		}
		line := it.command
		if len(line) > width {
			line = line[:width-3] + "..."
		}
		fmt.Printf("  %-*s", width, line)
		for i := range engines {
			word := "ok"
			if results[i][n] != nil {
				word = "FAILED"
			}
			fmt.Printf("  %-6s", word)
		}
		fmt.Println()
		for i, e := range engines {
			if err := results[i][n]; err != nil {
				fmt.Printf("      %s: %v\n", e.name, err)
			}
		}
		n++
	}
	fmt.Println()
}

func printTotals(engines []engine, files []string, good map[string][]int, total map[string]int) {
	fmt.Printf("%-20s %8s", "tutorial", "lines")
	for _, e := range engines {
		fmt.Printf(" %8s", e.name)
	}
	fmt.Println()
	sums, lines := make([]int, len(engines)), 0
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		fmt.Printf("%-20s %8d", name, total[name])
		lines += total[name]
		for i, n := range good[name] {
			fmt.Printf(" %8d", n)
			sums[i] += n
		}
		fmt.Println()
	}
	fmt.Printf("%-20s %8d", "all", lines)
	for _, n := range sums {
		fmt.Printf(" %8d", n)
	}
	fmt.Println()
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "tutorials:", err)
		os.Exit(2)
	}
}

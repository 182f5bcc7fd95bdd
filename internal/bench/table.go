// The table. Its input has one line for each time that
// was taken: MODE, CANDIDATE, PHASE, nanoseconds, count, with tabs in between;
// MODE is "free" or "pinned", CANDIDATE one of candidates. A phase whose name
// ends in " KiB" has a size in the place of the time.

package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

var candidates = []string{"plain", "overlay", "fuse-overlayfs", "tiffin", "tiffin-overlay", "tiffin-unpacked"}

// target is what a phase is to reach: tiffin's median is at most most times
// that of the peer, or at most most itself, in milliseconds (or MiB).
type target struct {
	phase, peer string
	most        float64
	mode        string // "": both
}

const (
	kernel = "overlay"
	fuse   = "fuse-overlayfs"
)

var targets = []target{
	{"stat, warm", kernel, 1.2, ""},
	{"open+read+close, warm", kernel, 1.2, ""},
	{"open+read+close, warm", fuse, 1 / 10., ""},
	{"open+close, warm", fuse, 1 / 10., ""},
	{"readdir, warm", kernel, 1.2, ""},
	{"exec, warm", kernel, 1.2, ""},
	{"find with stat, cold", fuse, 1 / 3., ""},
	{"find with stat, cold", kernel, 2, ""},
	{"find + read all files, cold", fuse, 1 / 3., ""},
	{"find + read all files, cold", kernel, 2, ""},
	{"rename", fuse, 1 / 4., ""},
	{"unlink", fuse, 1 / 4., ""},
	{"create + write 1 KiB + close", fuse, 1 / 2.5, "free"},
	{"create + write 1 KiB + close", fuse, 1 / 1.5, "pinned"},
	{"mkdir", fuse, 1 / 2.5, "free"},
	{"mkdir", fuse, 1 / 1.5, "pinned"},
	{"4 KiB sequential writes", kernel, 1.3, ""},
	{"4 KiB random writes", kernel, 1.3, ""},
	{"sequential write, with close", fuse, 1 / 2., ""},
	{"read a big file, cold", fuse, 1 / 2., ""},
	{"make of 100 C files", kernel, 1.15, ""},
	{"python imports, warm", kernel, 1.15, ""},
	{"python imports, cold", kernel, 1.15, ""},
	{"chmod 1 lower big file", kernel, 1 / 100., ""},
	{"chmod 1 lower big file", fuse, 1 / 100., ""},
	{"chown 1 lower big file", kernel, 1 / 100., ""},
	{"chown 1 lower big file", fuse, 1 / 100., ""},
	{"utimes 1 lower big file", kernel, 1 / 100., ""},
	{"utimes 1 lower big file", fuse, 1 / 100., ""},
	{"mv of a lower directory", kernel, 1 / 100., ""},
	{"mv of a lower directory", fuse, 1 / 100., ""},
	{"append to 1 lower big file", kernel, 1, ""},
	{"append to 1 lower big file", fuse, 1 / 2., ""},
	{"mount, beyond a small image", "", 10, ""},
	{"server memory after a walk, KiB", "", 20, ""},
}

type sample struct {
	value float64 // milliseconds, or MiB
	count int
}

// results has the samples of a mode by phase and candidate.
type results struct {
	phases []string // in the order of their first appearance
	of     map[string]map[string][]sample
}

func readResults(file string) (map[string]*results, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	modes := map[string]*results{}
	for sc := bufio.NewScanner(f); sc.Scan(); {
		w := strings.Split(sc.Text(), "\t")
		if len(w) != 5 {
			return nil, fmt.Errorf("%s: line %q does not have five fields", file, sc.Text())
		}
		n, err := strconv.ParseFloat(w[3], 64)
		if err != nil {
			return nil, err
		}
		s := sample{value: n / 1e6}
		if strings.HasSuffix(w[2], " KiB") {
			s.value = n / 1024
		}
		s.count, _ = strconv.Atoi(w[4])
		m := modes[w[0]]
		if m == nil {
			m = &results{of: map[string]map[string][]sample{}}
			modes[w[0]] = m
		}
		if m.of[w[2]] == nil {
			m.of[w[2]] = map[string][]sample{}
			m.phases = append(m.phases, w[2])
		}
		m.of[w[2]][w[1]] = append(m.of[w[2]][w[1]], s)
	}
	return modes, nil
}

// median of the samples; ok is false if there are none.
func median(s []sample) (m float64, ok bool) {
	if len(s) == 0 {
		return 0, false
	}
	v := make([]float64, len(s))
	for i := range s {
		v[i] = s[i].value
	}
	slices.Sort(v)
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2, true
}

// printTable prints the medians of each mode, tiffin's ratio to each of the
// others, and whether each target was reached.
func printTable(out io.Writer, file string) error {
	modes, err := readResults(file)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(out)
	for _, mode := range []string{"free", "pinned"} {
		if m := modes[mode]; m != nil {
			m.print(w, mode)
		}
	}
	return w.Flush()
}

func (m *results) print(w io.Writer, mode string) {
	fmt.Fprintf(w, "\n== %s; medians in ms (sizes in MiB); x PEER = tiffin's in units of the peer's: less is better\n\n%-36s", mode, "")
	var present []string
	for _, c := range candidates {
		if slices.ContainsFunc(m.phases, func(p string) bool { return len(m.of[p][c]) > 0 }) {
			present = append(present, c)
			fmt.Fprintf(w, "%16s", c)
		}
	}
	for _, c := range present {
		if c != "tiffin" {
			fmt.Fprintf(w, "%18s", "x "+strings.TrimSuffix(c, "-overlayfs"))
		}
	}
	fmt.Fprintf(w, "  targets\n")
	missed, met := 0, 0
	for _, p := range m.phases {
		own, ok := median(m.of[p]["tiffin"])
		fmt.Fprintf(w, "%-36s", p)
		for _, c := range present {
			printNumber(w, "%16.*f", m.of[p][c])
		}
		for _, c := range present {
			if c == "tiffin" {
				continue
			}
			if v, has := median(m.of[p][c]); has && ok && v > 0 {
				fmt.Fprintf(w, "%18.3g", own/v)
			} else {
				fmt.Fprintf(w, "%18s", "-")
			}
		}
		a, b := m.printTargets(w, mode, p)
		missed, met = missed+a, met+b
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "\n%s: %d targets reached, %d missed\n", mode, met, missed)
}

func printNumber(w io.Writer, format string, s []sample) {
	v, ok := median(s)
	if !ok {
		fmt.Fprintf(w, "%16s", "-")
		return
	}
	digits := 0
	for x := v; x < 100 && digits < 3; x *= 10 {
		digits++
	}
	fmt.Fprintf(w, format, digits, v)
}

func (m *results) printTargets(w io.Writer, mode, phase string) (missed, met int) {
	own, ok := median(m.of[phase]["tiffin"])
	for _, t := range targets {
		if t.phase != phase || t.mode != "" && t.mode != mode || !ok {
			continue
		}
		limit := t.most
		what := fmt.Sprintf("<= %g", t.most)
		if t.peer != "" {
			v, has := median(m.of[phase][t.peer])
			if !has {
				continue
			}
			limit *= v
			what = fmt.Sprintf("<= %.3g x %s", t.most, t.peer)
		}
		verdict := "ok"
		if own > limit {
			verdict = "MISSED"
			missed++
		} else {
			met++
		}
		fmt.Fprintf(w, "  %s %s;", what, verdict)
	}
	return missed, met
}

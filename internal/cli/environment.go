// The environment of a command, as flags give it: --env-host, --env-file, -e.

package cli

import (
	"bufio"
	"fmt"
	"os"
	"path"
	"strings"

	"github.com/urfave/cli/v2"

	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
)

func envHostFlag() cli.Flag {
	return &cli.StringSliceFlag{Name: "env-host", Usage: "hand on from here what these `PATTERNS` name: SLURM_*,PMI*"}
}

// givenEnvironment is what all three say. What names a variable has the last word, then a file.
func givenEnvironment(c *cli.Context) ([]string, error) {
	host, err := hostEnvironment(c.StringSlice("env-host"), os.Environ())
	if err != nil {
		return nil, err
	}
	env, err := environment(c.StringSlice("env"), c.StringSlice("env-file"))
	return disk.MergeEnv(host, env), err
}

// hostEnvironment are the variables of environ that one of the patterns names; lists has several of
// them in each, with commas between. *, ? and [a-z] are as in a shell, path.Match.
func hostEnvironment(lists, environ []string) (env []string, err error) {
	var patterns []string
	for _, list := range lists {
		for p := range strings.SplitSeq(list, ",") {
			if _, err := path.Match(p, ""); err != nil || p == "" || strings.Contains(p, "=") {
				return nil, errs.Hint(fmt.Errorf("--env-host: %q names no variables", p), "write names or patterns, with commas between: 'SLURM_*,PMI*'")
			}
			patterns = append(patterns, p)
		}
	}
	// A slash is a character as any other, and no pattern has a NUL.
	whole := func(s string) string { return strings.ReplaceAll(s, "/", "\x00") }
	for _, v := range environ {
		name, _, ok := strings.Cut(v, "=")
		if !ok || name == "" { // execve(2) takes any strings
			continue
		}
		for _, p := range patterns {
			if match, _ := path.Match(whole(p), whole(name)); match {
				env = append(env, v)
				break
			}
		}
	}
	return env, nil
}

// environment is what -e and --env-file say. A variable without a value is
// taken from tiffin's own environment, if it is there.
func environment(vars, files []string) ([]string, error) {
	var env []string
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("read the environment: %w", err)
		}
		defer f.Close()
		s := bufio.NewScanner(f)
		s.Buffer(nil, 1<<20)
		for n := 1; s.Scan(); n++ {
			line := strings.TrimLeft(s.Text(), " \t")
			if line == "" || line[0] == '#' {
				continue
			}
			if env, err = addVariable(env, line); err != nil {
				return nil, fmt.Errorf("%s, line %d: %w", name, n, err)
			}
		}
		if err := s.Err(); err != nil {
			return nil, fmt.Errorf("read the environment from %s: %w", name, err)
		}
	}
	for _, v := range vars {
		var err error
		if env, err = addVariable(env, v); err != nil {
			return nil, err
		}
	}
	return env, nil
}

func addVariable(env []string, v string) ([]string, error) {
	name, _, hasValue := strings.Cut(v, "=")
	if name == "" || strings.ContainsAny(name, " \t") {
		return nil, fmt.Errorf("%q is no environment variable", v)
	}
	if !hasValue {
		value, ok := os.LookupEnv(name)
		if !ok {
			return env, nil
		}
		v += "=" + value
	}
	return append(env, v), nil
}

// Instructions of a Dockerfile that change a config.

package image

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/internal/errs"
)

// ApplyChanges applies instructions of a Dockerfile to a config, as the option
// -c of commit and import takes them: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL,
// STOPSIGNAL, USER, VOLUME and WORKDIR, in either of their forms, by docker's
// rules. c is unchanged if it fails.
func ApplyChanges(c *ocispec.ImageConfig, changes []string) error {
	// The caller's slices and maps must not change if a later instruction fails.
	next := *c
	next.Env = slices.Clone(c.Env)
	next.Labels = cloneMap(c.Labels)
	next.ExposedPorts = cloneMap(c.ExposedPorts)
	next.Volumes = cloneMap(c.Volumes)
	cmdSet := false
	for _, line := range changes {
		if err := applyChange(&next, line, &cmdSet); err != nil {
			return fmt.Errorf("change %q: %w", line, err)
		}
	}
	*c = next
	return nil
}

func cloneMap[V any](m map[string]V) map[string]V {
	n := make(map[string]V, len(m))
	for k, v := range m {
		n[k] = v
	}
	return n
}

func applyChange(c *ocispec.ImageConfig, line string, cmdSet *bool) error {
	name, args, _ := strings.Cut(strings.TrimSpace(line), " ")
	if i := strings.IndexByte(name, '\t'); i >= 0 {
		name, args = name[:i], name[i+1:]+" "+args
	}
	name, args = strings.ToUpper(name), strings.TrimSpace(args)
	if args == "" && name != "CMD" && name != "ENTRYPOINT" {
		return errs.Hint(fmt.Errorf("%s needs an argument", name), changeHint)
	}
	switch name {
	case "CMD":
		c.Cmd, *cmdSet = command(args), true
	case "ENTRYPOINT":
		c.Entrypoint = command(args)
		if !*cmdSet {
			c.Cmd = nil // it was made for the old entry point; the Dockerfile reference, "ENTRYPOINT"
		}
	case "ENV":
		return eachPair(c, args, func(k, v string) { c.Env = setEnv(c.Env, k, v) })
	case "LABEL":
		return eachPair(c, args, func(k, v string) { c.Labels[k] = v })
	case "EXPOSE":
		return expose(c, args)
	case "STOPSIGNAL":
		return stopSignal(c, args)
	case "USER":
		return oneWord(c, args, func(v string) { c.User = v })
	case "WORKDIR":
		return oneWord(c, args, func(v string) { c.WorkingDir = path.Join("/", relativeTo(c.WorkingDir, v)) })
	case "VOLUME":
		return volume(c, args)
	default:
		return errs.Hint(fmt.Errorf("%s cannot be changed", name), changeHint)
	}
	return nil
}

const changeHint = `use CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME or WORKDIR, such as -c 'CMD ["sh"]' -c 'ENV LANG=C'`

// command is the exec form, a JSON array of strings, or else the shell form,
// which is left to the image's shell.
func command(args string) []string {
	if args == "" {
		return nil
	}
	if list, ok := jsonList(args); ok {
		return list
	}
	return []string{"/bin/sh", "-c", args}
}

func jsonList(s string) ([]string, bool) {
	var list []string
	if !strings.HasPrefix(s, "[") || json.Unmarshal([]byte(s), &list) != nil {
		return nil, false
	}
	return list, true
}

func relativeTo(dir, p string) string {
	if path.IsAbs(p) {
		return p
	}
	return path.Join(dir, p)
}

// oneWord takes the whole argument as one value, spaces included.
func oneWord(c *ocispec.ImageConfig, args string, set func(string)) error {
	v, err := expand(args, c.Env)
	if err == nil {
		set(v)
	}
	return err
}

// eachPair reads "K=V K2=V2 …", or the old form "K V", where V is all the rest.
func eachPair(c *ocispec.ImageConfig, args string, set func(k, v string)) error {
	ws, err := words(args)
	if err != nil {
		return err
	}
	env := slices.Clone(c.Env) // all values of one line see what was before it
	if !strings.Contains(ws[0], "=") {
		k, rest, ok := strings.Cut(args, " ")
		if !ok {
			return fmt.Errorf("%q is no KEY=VALUE", args)
		}
		v, err := expand(strings.TrimSpace(rest), env)
		if err == nil {
			set(k, v)
		}
		return err
	}
	for _, w := range ws {
		k, v, ok := strings.Cut(w, "=")
		if !ok || k == "" {
			return fmt.Errorf("%q is no KEY=VALUE", w)
		}
		if k, err = expand(k, env); err != nil {
			return err
		}
		if v, err = expand(v, env); err != nil {
			return err
		}
		set(k, v)
	}
	return nil
}

// setEnv sets a variable where it stands, or at the end.
func setEnv(env []string, k, v string) []string {
	for i, e := range env {
		if name, _, _ := strings.Cut(e, "="); name == k {
			env[i] = k + "=" + v
			return env
		}
	}
	return append(env, k+"="+v)
}

func expose(c *ocispec.ImageConfig, args string) error {
	ws, err := words(args)
	if err != nil {
		return err
	}
	for _, w := range ws {
		if w, err = expand(w, c.Env); err != nil {
			return err
		}
		ports, proto, ok := strings.Cut(w, "/")
		if proto = strings.ToLower(proto); !ok {
			proto = "tcp"
		}
		if proto != "tcp" && proto != "udp" && proto != "sctp" {
			return fmt.Errorf("%q: the protocol is tcp, udp or sctp", w)
		}
		first, last, isRange := strings.Cut(ports, "-")
		if !isRange {
			last = first
		}
		lo, err1 := strconv.ParseUint(first, 10, 16)
		hi, err2 := strconv.ParseUint(last, 10, 16)
		if err1 != nil || err2 != nil || lo > hi {
			return fmt.Errorf("%q is no port or range of ports", w)
		}
		for p := lo; p <= hi; p++ {
			c.ExposedPorts[fmt.Sprintf("%d/%s", p, proto)] = struct{}{}
		}
	}
	return nil
}

// stopSignal takes a number or a name; what the name means is decided where
// the signal is sent.
func stopSignal(c *ocispec.ImageConfig, args string) error {
	v, err := expand(args, c.Env)
	if err != nil {
		return err
	}
	if n, err := strconv.Atoi(v); err == nil {
		if n < 1 || n > 64 {
			return fmt.Errorf("%q is no signal: they are numbered from 1 to 64", v)
		}
	} else if strings.Trim(strings.ToUpper(v), "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-") != "" || len(v) > 16 {
		return fmt.Errorf("%q is no signal, such as SIGTERM", v)
	}
	c.StopSignal = v
	return nil
}

func volume(c *ocispec.ImageConfig, args string) error {
	ws, ok := jsonList(args)
	if !ok {
		var err error
		if ws, err = words(args); err != nil {
			return err
		}
	}
	for _, w := range ws {
		w, err := expand(w, c.Env)
		if err != nil {
			return err
		}
		if w = strings.TrimSpace(w); w == "" {
			return fmt.Errorf("a volume's path cannot be empty")
		}
		c.Volumes[w] = struct{}{}
	}
	return nil
}

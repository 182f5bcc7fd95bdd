// What an instruction does to the config of an image, and how the history tells it. The Dockerfile
// reference has the rules.

package build

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image"
	"tiffin/internal/dockerfile"
)

// configure applies an instruction that makes no layer.
func configure(s *state, in *dockerfile.Instruction) error {
	c := &s.config.Config
	switch in.Name {
	case "arg": // the reader of the Dockerfile has used it
	case "env":
		for _, p := range in.Pairs {
			c.Env = setEnv(c.Env, p.Key, *p.Value)
		}
	case "label":
		for _, p := range in.Pairs {
			c.Labels[p.Key] = *p.Value
		}
	case "cmd":
		c.Cmd, s.cmdSet = s.command(in), true
	case "entrypoint":
		c.Entrypoint = s.command(in)
		if !s.cmdSet {
			c.Cmd = nil // it was made for the old entry point; "ENTRYPOINT"
		}
	case "shell":
		c.Shell = in.Words
	case "user":
		c.User = in.Value
	case "volume":
		for _, v := range in.Words {
			c.Volumes[v] = struct{}{}
		}
	case "expose":
		return expose(c, in.Words)
	case "stopsignal":
		return stopSignal(c, in.Value)
	case "maintainer":
		s.config.Author = in.Value
	case "onbuild":
		c.OnBuild = append(c.OnBuild, in.Value)
	case "healthcheck":
		h := in.Health
		c.Healthcheck = &dockerspec.HealthcheckConfig{
			Test: h.Test, Interval: h.Interval, Timeout: h.Timeout, StartPeriod: h.StartPeriod, StartInterval: h.StartInterval, Retries: h.Retries,
		}
	default:
		return errors.New("there is no such instruction")
	}
	return nil
}

// command is what RUN, CMD or ENTRYPOINT runs: its words, or the shell with them.
func (s *state) command(in *dockerfile.Instruction) []string {
	if !in.Shell || len(in.Words) == 0 {
		return in.Words
	}
	shell := s.config.Config.Shell
	if len(shell) == 0 {
		shell = []string{"/bin/sh", "-c"}
	}
	return append(append([]string{}, shell...), strings.Join(in.Words, " "))
}

// setEnv sets a variable where it stands, or at the end.
func setEnv(env []string, key, value string) []string {
	for i, e := range env {
		if name, _, _ := strings.Cut(e, "="); name == key {
			env[i] = key + "=" + value
			return env
		}
	}
	return append(env, key+"="+value)
}

// expose adds ports and ranges of them: "EXPOSE".
func expose(c *dockerspec.DockerOCIImageConfig, words []string) error {
	for _, w := range words {
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
func stopSignal(c *dockerspec.DockerOCIImageConfig, v string) error {
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

// describe is an instruction in the history, with its variables replaced, as docker writes it.
func describe(s *state, in *dockerfile.Instruction) string {
	name := strings.ToUpper(in.Name)
	switch {
	case in.Name == "run":
		text := strings.Join(s.command(in), " ")
		if len(in.Args) > 0 {
			text = fmt.Sprintf("|%d %s %s", len(in.Args), strings.Join(in.Args, " "), text)
		}
		return name + " " + text
	case in.Name == "cmd" || in.Name == "entrypoint":
		return name + " " + list(s.command(in))
	case in.Name == "shell" || in.Name == "volume":
		return name + " " + list(in.Words)
	case in.Name == "expose":
		return name + " " + strings.Join(in.Words, " ")
	case len(in.Pairs) > 0:
		var words []string
		for _, p := range in.Pairs {
			w := p.Key
			if p.Value != nil {
				w += "=" + *p.Value
			}
			words = append(words, w)
		}
		return name + " " + strings.Join(words, " ")
	case in.Value != "":
		return name + " " + in.Value
	}
	return in.Text
}

// list is a list of words as the exec form has it.
func list(words []string) string {
	b, _ := json.Marshal(append([]string{}, words...)) // strings alone
	return string(b)
}

// comment is what the history says made an entry.
const comment = "tiffin build"

// record adds an instruction without a layer to the history. It has the time of the last layer, so
// that the same build has the same digest when nothing had to be done again.
func (s *state) record(text string) { s.enter(text, s.time(), true) }

// time is when the last layer was made.
func (s *state) time() time.Time {
	if s.config.Created != nil {
		return *s.config.Created
	}
	return image.SourceDate()
}

// enter adds an entry to the history.
func (s *state) enter(text string, at time.Time, empty bool) {
	s.config.Created = &at
	s.config.History = append(s.config.History, ocispec.History{Created: &at, CreatedBy: text, Comment: comment, EmptyLayer: empty})
}

// absolute is a path of the image as WORKDIR and COPY have it: "WORKDIR".
func (s *state) absolute(p string) string {
	if !path.IsAbs(p) {
		p = path.Join("/", s.config.Config.WorkingDir, p)
	}
	return path.Clean(p)
}

// Changes of a config without a layer: the option -c of commit and import.

package build

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"

	"tiffin/image/oci"
	"tiffin/internal/dockerfile"
	"tiffin/internal/errs"
)

// changeable are the instructions that Changes takes: podman-commit(1), --change.
var changeable = []string{"CMD", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "ONBUILD", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"}

// Changes reads instructions of a Dockerfile, and returns what applies them to a config. Variables
// in them are those of env, VAR=VALUE; root is that of the store.
func Changes(root string, env, lines []string) (func(*dockerspec.DockerOCIImageConfig) error, error) {
	if len(lines) == 0 {
		return func(*dockerspec.DockerOCIImageConfig) error { return nil }, nil
	}
	text := "FROM scratch\n"
	for _, l := range lines {
		name, _, _ := strings.Cut(strings.ReplaceAll(strings.TrimSpace(l), "\t", " "), " ")
		if !slices.Contains(changeable, strings.ToUpper(name)) {
			return nil, errs.Hint(fmt.Errorf("change %q: %s cannot be changed", l, name), "use "+strings.Join(changeable, ", ")+`, such as -c 'CMD ["sh"]' -c 'ENV LANG=C'`)
		}
		if strings.ContainsAny(l, "\n\r") {
			return nil, fmt.Errorf("change %q: one instruction is one line", l)
		}
		text += l + "\n"
	}
	r, err := dockerfile.Open(root, "-c")
	if err != nil {
		return nil, err
	}
	defer r.Close()
	here := oci.ThisMachine().String()
	_, err = r.Parse(dockerfile.Parse{Text: []byte(text), Platform: here, System: here})
	var all []dockerfile.Instruction
	if err == nil {
		all, err = r.Instructions(dockerfile.Base{Env: env})
	}
	var note *dockerfile.Note
	if errors.As(err, &note) && note.Line > 1 && note.Line <= len(lines)+1 {
		err = fmt.Errorf("change %q: %s", lines[note.Line-2], note.Message)
	}
	if err == nil && len(all) != len(lines) {
		err = errors.New("change: a line that ends with a backslash is not one instruction")
	}
	if err != nil {
		return nil, err
	}
	return func(c *dockerspec.DockerOCIImageConfig) error {
		s := &state{}
		s.config.Config = *c
		s = s.clone()
		for i := range all {
			if err := change(s, &all[i]); err != nil {
				return fmt.Errorf("change %q: %w", all[i].Text, err)
			}
		}
		*c = s.config.Config
		return nil
	}, nil
}

func change(s *state, in *dockerfile.Instruction) error {
	if in.Name == "workdir" { // its directory is made when the image is run
		s.config.Config.WorkingDir = s.absolute(in.Value)
		return nil
	}
	return configure(s, in)
}

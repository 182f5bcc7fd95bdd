// What a user has laid down for all containers: config.toml.

package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/BurntSushi/toml"

	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
	"tiffin/internal/network"
)

// settings are what config.toml says, or its defaults: appendix A of the book, "Settings".
type settings struct {
	Run struct {
		Network string   `toml:"network"`
		Driver  string   `toml:"driver"`
		Mounts  []string `toml:"mounts"`
		Env     []string `toml:"env"`
	} `toml:"run"`
	Here struct {
		Image string `toml:"image"`
	} `toml:"here"`

	file string // "" = there is none
}

// String is the settings as flags of run.
func (s *settings) String() string {
	text := "--network " + s.Run.Network
	if s.Run.Driver != "" {
		text += " --driver " + s.Run.Driver
	}
	for _, m := range s.Run.Mounts {
		text += " -v " + m
	}
	for _, e := range s.Run.Env {
		text += " -e " + e
	}
	return oneLine(text, true)
}

// readSettings reads the file, once. A key that nobody knows is a mistake in writing, and an error.
var readSettings = sync.OnceValues(loadSettings)

func loadSettings() (settings, error) {
	var s settings
	s.Run.Network, s.Here.Image = network.User, baseName
	dir, err := os.UserConfigDir()
	if err != nil {
		return s, nil // there is no home directory
	}
	file := filepath.Join(dir, "tiffin", "config.toml")
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) && os.Getenv("XDG_CONFIG_HOME") == "" {
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("read your settings: %w", err)
	}
	s.file = file
	meta, err := toml.Decode(string(text), &s)
	if at, ok := errors.AsType[toml.ParseError](err); ok {
		return s, fmt.Errorf("%s:%d: %s", file, at.Position.Line, at.Message)
	}
	if err == nil && len(meta.Undecoded()) > 0 {
		err = errs.Hint(fmt.Errorf("%s is not known", meta.Undecoded()[0]), "there are network, driver, mounts and env in [run], and image in [here]")
	}
	if err == nil {
		_, err = network.ParseChoice(s.Run.Network)
	}
	if err == nil {
		_, err = disk.ParseDriver(s.Run.Driver)
	}
	for _, m := range s.Run.Mounts {
		if err == nil {
			_, err = parseVolume(m, true)
		}
	}
	for _, e := range s.Run.Env {
		if err == nil {
			_, err = addVariable(nil, e)
		}
	}
	if err != nil {
		return s, fmt.Errorf("%s: %w", file, err)
	}
	return s, nil
}

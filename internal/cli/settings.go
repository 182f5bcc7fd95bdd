// What a user has laid down for all containers: config.toml.

package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/BurntSushi/toml"

	"tiffin/internal/errs"
	"tiffin/internal/network"
)

// settings are what $XDG_CONFIG_HOME/tiffin/config.toml says, or its defaults:
//
//	[run]
//	network = "user" # what --network is if it is not given
type settings struct {
	Run struct {
		Network string `toml:"network"`
	} `toml:"run"`

	file string // "" = there is none
}

// readSettings reads the file. A key that nobody knows is a mistake in writing, and an error.
func readSettings() (settings, error) {
	var s settings
	s.Run.Network = network.User
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
		err = errs.Hint(fmt.Errorf("%s is not known", meta.Undecoded()[0]), "there is network, in [run]")
	}
	if err == nil {
		_, err = network.ParseChoice(s.Run.Network)
	}
	if err != nil {
		return s, fmt.Errorf("%s: %w", file, err)
	}
	return s, nil
}

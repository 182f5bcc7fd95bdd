// Package gradebook writes the result of a check in the formats that other programs read.
package gradebook

import (
	"fmt"
	"slices"
	"strings"

	"tiffin/tutorial"
)

// formats turn a result into what another program reads.
var formats = []struct {
	name string
	make func(*tutorial.Result) ([]byte, error)
}{
	{"json", func(r *tutorial.Result) ([]byte, error) { return tutorial.JSON(r) }},
	{"junit", junit},
	{"tap", tap},
	{"gradescope", gradescope},
}

// Formats are the names of the formats.
func Formats() []string {
	var names []string
	for _, f := range formats {
		names = append(names, f.name)
	}
	return names
}

// CheckFormat fails if there is no such format.
func CheckFormat(name string) error {
	if !slices.Contains(Formats(), name) {
		return fmt.Errorf("format %q is none of %s", name, strings.Join(Formats(), ", "))
	}
	return nil
}

// Format writes a result in a format.
func Format(r *tutorial.Result, name string) ([]byte, error) {
	if err := CheckFormat(name); err != nil {
		return nil, err
	}
	i := slices.Index(Formats(), name)
	return formats[i].make(r)
}

// The result of a check in the formats that other programs read.

package tutorial

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// formats turn a result into what another program reads.
var formats = []struct {
	name string
	make func(*Result) ([]byte, error)
}{
	{"json", (*Result).json},
	{"junit", (*Result).junit},
	{"tap", (*Result).tap},
	{"gradescope", (*Result).gradescope},
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

// Format writes the result in a format.
func (r *Result) Format(name string) ([]byte, error) {
	if err := CheckFormat(name); err != nil {
		return nil, err
	}
	i := slices.Index(Formats(), name)
	return formats[i].make(r)
}

func (r *Result) json() ([]byte, error) { return marshal(r) }

// marshal writes JSON as a person would.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(v)
	return b.Bytes(), err
}

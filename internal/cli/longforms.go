// Docker's longer commands: "container ls", "image rm". Each means a short one, and is rewritten to
// it before that is looked up.

package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// longForms has the short command for the first word and the second.
var longForms = map[string]map[string]string{
	"container": with(map[string]string{"ls": "ps", "list": "ps", "ps": "ps", "inspect": "inspect --type container", "prune": "prune --containers"},
		"attach commit cp create diff exec export kill logs pause port rename restart rm run start stats stop top unpause update wait"),
	"image": with(map[string]string{"ls": "images", "list": "images", "rm": "rmi", "remove": "rmi", "inspect": "inspect --type image"},
		"build history import load prune pull push save tag"),
	"builder": {"build": "build", "prune": "prune --build"},
}

// with adds commands that have the same name in both forms.
func with(forms map[string]string, same string) map[string]string {
	for name := range strings.FieldsSeq(same) {
		forms[name] = name
	}
	return forms
}

// shortForm rewrites a long form; other command lines stay as they are. A first word alone prints
// what may follow it, and there are no arguments left.
func shortForm(args []string) ([]string, error) {
	forms, long := longForms[args[0]]
	if !long {
		return args, nil
	}
	seconds := strings.Join(slices.Sorted(maps.Keys(forms)), ", ")
	if len(args) == 1 || args[1] == "--help" || args[1] == "-h" {
		_, err := fmt.Fprintf(stdout, "usage: tiffin %s COMMAND [ARGUMENTS]\n\nAs the short commands of that name: %s\n", args[0], seconds)
		return nil, err
	}
	if short := forms[args[1]]; short != "" {
		return append(strings.Fields(short), args[2:]...), nil
	}
	return nil, usagef("there is no command %s %s: use %s", args[0], args[1], seconds)
}

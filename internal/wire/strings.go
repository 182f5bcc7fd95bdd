// Strings that need not be UTF-8, in JSON.

package wire

import (
	"encoding/json"
	"unicode/utf8"
)

// Strings are words of a command or of an environment: any bytes but 0. In JSON one that is UTF-8
// is a string, and another one is {"bytes": BASE64}, so that nothing is changed on the way.
type Strings []string

type bytesOf struct {
	Bytes []byte `json:"bytes"`
}

// MarshalJSON writes them.
func (s Strings) MarshalJSON() ([]byte, error) {
	all := make([]any, len(s))
	for i, w := range s {
		if all[i] = w; !utf8.ValidString(w) {
			all[i] = bytesOf{[]byte(w)}
		}
	}
	if s == nil {
		return []byte("null"), nil
	}
	return json.Marshal(all)
}

// UnmarshalJSON reads what MarshalJSON has written, and plain strings.
func (s *Strings) UnmarshalJSON(b []byte) error {
	var all []json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil {
		return err
	}
	*s = nil
	if all != nil {
		*s = make(Strings, len(all))
	}
	for i, raw := range all {
		var word bytesOf
		if len(raw) > 0 && raw[0] == '{' {
			if err := json.Unmarshal(raw, &word); err != nil {
				return err
			}
			(*s)[i] = string(word.Bytes)
		} else if err := json.Unmarshal(raw, &(*s)[i]); err != nil {
			return err
		}
	}
	return nil
}

// UTF8 tells whether all of them are UTF-8, so that whoever reads JSON can have them.
func (s Strings) UTF8() bool {
	for _, w := range s {
		if !utf8.ValidString(w) {
			return false
		}
	}
	return true
}

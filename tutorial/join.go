// The student's side of a class: who one is in it, and what is one's own there.

package tutorial

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"tiffin/internal/errs"
)

// Joined is the file class.json of a student's directory: the class, and who the student is.
type Joined struct {
	Class Class  `json:"class"`
	ID    string `json:"id"`
	Token Token  `json:"token"`
}

func (s *Student) joinedPath() string { return filepath.Join(s.Dir, "class.json") }

// Joined is the class that the student has joined, nil if there is none.
func (s *Student) Joined() (*Joined, error) {
	b, err := os.ReadFile(s.joinedPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	j := &Joined{}
	if err == nil {
		err = json.Unmarshal(b, j)
	}
	if err != nil {
		return nil, fmt.Errorf("read the class that was joined: %w", err)
	}
	return j, nil
}

// Join makes the directory that of a student in a class: the seed and the key come of the token. To
// do it again with the same token brings in the class's new deadlines.
func (s *Student) Join(c *Class, id, token string) error {
	t := Token(strings.ToLower(strings.ReplaceAll(token, "-", "")))
	if !t.fits(c.Name, id) {
		return errs.Hint(fmt.Errorf("the token is not that of %s in the class %s", quoted(id), c.Name), "copy both from what your teacher sent you: the token has 28 letters and digits")
	}
	old, err := s.Joined()
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(s.Dir, "seed")); err == nil && (old == nil || old.Token != t) {
		return errs.Hint(fmt.Errorf("%s has labs that were begun otherwise", s.Dir), "move it away, or set TIFFIN_LABS to another directory")
	}
	if _, err := s.Seed(t.seed("")); err != nil {
		return err
	}
	if err := s.writeKey(t.key()); err != nil {
		return err
	}
	text, err := JSON(Joined{*c, id, t})
	if err != nil {
		return err
	}
	return writeFile(s.joinedPath(), string(text), 0o600)
}

// seedOf is what a lab draws its names and numbers from.
func (s *Student) seedOf(l *Lab) (string, error) {
	seed, err := s.Seed("")
	if err != nil {
		return "", err
	}
	if j, err := s.Joined(); err != nil || j == nil {
		return seed, err
	} else {
		return j.Token.seed(l.Name), nil
	}
}

// The student's progress: a record for each lab that was begun, signed, so that what was edited
// into one by hand does not count.

package tutorial

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Stage is how far a student is with a lab.
type Stage string

const (
	NotStarted Stage = "-"
	Started    Stage = "started"
	Done       Stage = "passed"
)

// Entry is the record of a lab, the file record/NN-name.json of the student's directory. If its
// signature does not fit, all that it says beyond "started" is taken for not said.
type Entry struct {
	Lab        string    `json:"lab"`
	State      Stage     `json:"state"`
	Points     int       `json:"points"` // of the last check, or of the one that passed
	Of         int       `json:"of"`
	Hints      int       `json:"hints"`                // seen so far
	StageHints [9]int    `json:"stage_hints,omitzero"` // of each stage, if the lab has stages
	Checks     int       `json:"checks"`               // how often it was checked until it passed
	Begun      time.Time `json:"begun,omitzero"`
	Checked    time.Time `json:"checked,omitzero"` // last, until it passed
	Start      *Start    `json:"start,omitempty"`
	Signature  string    `json:"signature"` // Ed25519 (RFC 8032) of this text without it, in base64
}

// again is the record when the lab is begun, maybe not for the first time.
func (e *Entry) again(start *Start) {
	*e = Entry{Lab: e.Lab, State: Started, Hints: e.Hints, Checks: e.Checks, Begun: e.Begun, Start: start}
	if e.Begun.IsZero() {
		e.Begun = now()
	}
}

// now is the time of records, to a second.
func now() time.Time { return time.Now().UTC().Truncate(time.Second) }

// key is the student's: it signs records and what is handed in, so that several hand-ins of one
// person can be told from those of others. Who has the account has the key.
func (s *Student) key() (ed25519.PrivateKey, error) {
	b, err := os.ReadFile(s.keyPath())
	if seed, bad := base64.StdEncoding.DecodeString(strings.TrimSpace(string(b))); err == nil && bad == nil && len(seed) == ed25519.SeedSize {
		return ed25519.NewKeyFromSeed(seed), nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the key of the records: %w", err)
	}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	return key, s.writeKey(key)
}

func (s *Student) writeKey(key ed25519.PrivateKey) error {
	if err := os.MkdirAll(filepath.Dir(s.keyPath()), 0o755); err != nil {
		return fmt.Errorf("make the directory of the records: %w", err)
	}
	return writeFile(s.keyPath(), base64.StdEncoding.EncodeToString(key.Seed())+"\n", 0o600)
}

func (s *Student) keyPath() string { return filepath.Join(s.Dir, "record", "key") }

// signed is the text that the signature is of.
func (e Entry) signed() ([]byte, error) {
	e.Signature = ""
	return JSON(e)
}

// Entry reads the record of a lab; it is not started if there is none.
func (s *Student) Entry(lab string) (*Entry, error) {
	b, err := os.ReadFile(s.recordPath(lab))
	if errors.Is(err, fs.ErrNotExist) {
		return &Entry{Lab: lab, State: NotStarted}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the record of lab %s: %w", lab, err)
	}
	key, err := s.key()
	if err != nil {
		return nil, err
	}
	e := &Entry{}
	if json.Unmarshal(b, e) == nil && e.Lab == lab {
		text, err := e.signed()
		if err != nil {
			return nil, err
		}
		signature, _ := base64.StdEncoding.DecodeString(e.Signature) // one that cannot be read does not fit
		if ed25519.Verify(key.Public().(ed25519.PublicKey), text, signature) {
			return e, nil
		}
	}
	return &Entry{Lab: lab, State: Started}, nil
}

func (s *Student) recordPath(lab string) string {
	return filepath.Join(s.Dir, "record", lab+".json")
}

// note changes a lab's record, and makes it the current one.
func (s *Student) note(l *Lab, change func(*Entry)) error {
	e, err := s.Entry(l.Name)
	if err != nil {
		return err
	}
	if change(e); e.State == NotStarted {
		e.State = Started
	}
	key, err := s.key()
	if err != nil {
		return err
	}
	text, err := e.signed()
	if err != nil {
		return err
	}
	e.Signature = base64.StdEncoding.EncodeToString(ed25519.Sign(key, text))
	if text, err = JSON(e); err != nil {
		return err
	}
	if err := writeFile(s.recordPath(l.Name), string(text), 0o644); err != nil {
		return err
	}
	return writeFile(filepath.Join(s.Dir, "current"), l.Name+"\n", 0o644)
}

// Current is the lab that is meant when none is named: the one whose work directory this process
// is in, or else the last one used. It is nil if there is neither.
func (s *Student) Current(labs []*Lab) *Lab {
	b, _ := os.ReadFile(filepath.Join(s.Dir, "current")) // without it there is no such lab
	name := strings.TrimSpace(string(b))
	if wd, err := os.Getwd(); err == nil {
		if dir, err := filepath.EvalSymlinks(s.Dir); err == nil {
			if wd, err = filepath.EvalSymlinks(wd); err == nil {
				if rel, err := filepath.Rel(dir, wd); err == nil && labName().MatchString(firstPart(rel)) {
					name = firstPart(rel)
				}
			}
		}
	}
	for _, l := range labs {
		if l.Name == name {
			return l
		}
	}
	return nil
}

// Next are the labs that are not passed: first those after the current one.
func (s *Student) Next(labs []*Lab) ([]*Lab, error) {
	at := 1 + slices.Index(labs, s.Current(labs))
	var open []*Lab
	for _, l := range slices.Concat(labs[at:], labs[:at]) {
		e, err := s.Entry(l.Name)
		if err != nil {
			return nil, err
		}
		if e.State != Done {
			open = append(open, l)
		}
	}
	return open, nil
}

func firstPart(path string) string {
	first, _, _ := strings.Cut(path, "/")
	return first
}

// Use makes a lab the current one.
func (s *Student) Use(l *Lab) error { return s.note(l, func(*Entry) {}) }

// JSON writes JSON as a person would.
func JSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(v)
	return b.Bytes(), err
}

// What a student hands in: for each lab the script that solves it, and the files that the lab
// names, in one file that is signed.

package tutorial

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tiffin/internal/errs"
)

// Submission is what one student hands in, as JSON. `lab grade` replays it with another seed: the
// records of the checks in it tell how the student got there, and give no points.
type Submission struct {
	Version   int       `json:"version"` // 1
	Class     string    `json:"class,omitempty"`
	Student   string    `json:"student,omitempty"` // the id in the class
	Seed      string    `json:"seed"`              // the student's
	Made      time.Time `json:"made"`
	Labs      []Handed  `json:"labs"`
	Key       string    `json:"key"`       // the student's public key, in base64
	Signature string    `json:"signature"` // Ed25519 (RFC 8032) of this text without it, in base64
}

// Handed is what is handed in for one lab.
type Handed struct {
	Lab    string            `json:"lab"`
	Record Entry             `json:"record"`
	Files  map[string][]byte `json:"files"` // solve.sh, and those that the lab names
}

const (
	SolveScript = "solve.sh" // what a lab is solved with
	maxHanded   = 8 << 20    // bytes, of one file
	maxSubmit   = 32 << 20   // bytes, of a submission
	maxLabs     = 100        // of a submission: their numbers have two digits
)

// Submit packs what is to be handed in for the labs that have a solve.sh in their work directory.
func (s *Student) Submit(labs []*Lab) ([]byte, []*Lab, error) {
	seed, err := s.Seed("")
	if err != nil {
		return nil, nil, err
	}
	sub := Submission{Version: 1, Seed: seed, Made: now()}
	if j, err := s.Joined(); err != nil {
		return nil, nil, err
	} else if j != nil {
		sub.Class, sub.Student = j.Class.Name, j.ID
	}
	var packed []*Lab
	for _, l := range labs {
		if _, err := os.Stat(filepath.Join(s.Work(l), SolveScript)); err != nil {
			continue
		}
		h := Handed{Lab: l.Name, Files: map[string][]byte{}}
		for _, name := range append([]string{SolveScript}, l.Files...) {
			if h.Files[name], err = readHanded(filepath.Join(s.Work(l), name)); err != nil {
				return nil, nil, err
			}
		}
		e, err := s.Entry(l.Name)
		if err != nil {
			return nil, nil, err
		}
		h.Record = *e
		h.Record.Start, h.Record.Signature = nil, ""
		sub.Labs, packed = append(sub.Labs, h), append(packed, l)
	}
	if len(packed) == 0 {
		return nil, nil, errs.Hint(errors.New("there is nothing to hand in"), "write the commands that solve a lab into solve.sh in its work directory, with $KEY for each value of yours: `tiffin lab submit --help`")
	}
	key, err := s.key()
	if err != nil {
		return nil, nil, err
	}
	text, err := sub.seal(key)
	return text, packed, err
}

// seal signs a submission, and makes the text that is handed in.
func (s Submission) seal(key ed25519.PrivateKey) ([]byte, error) {
	s.Key = base64.StdEncoding.EncodeToString(key.Public().(ed25519.PublicKey))
	text, err := s.signed()
	if err != nil {
		return nil, err
	}
	s.Signature = base64.StdEncoding.EncodeToString(ed25519.Sign(key, text))
	return JSON(s)
}

func (s Submission) signed() ([]byte, error) {
	s.Signature = ""
	return JSON(s)
}

func readHanded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("pack what is to be handed in: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxHanded+1))
	if err == nil && len(b) > maxHanded {
		err = fmt.Errorf("%s has more than %d bytes", path, maxHanded)
	}
	return b, err
}

// ReadSubmission reads what somebody handed in, and refuses it if it was changed since.
func ReadSubmission(path string) (*Submission, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	dec := json.NewDecoder(io.LimitReader(f, maxSubmit))
	dec.DisallowUnknownFields()
	var sub Submission
	if err := dec.Decode(&sub); err != nil || sub.Version != 1 {
		return nil, fmt.Errorf("%s is not what `tiffin lab submit` writes", path)
	}
	text, err := sub.signed()
	if err != nil {
		return nil, err
	}
	key, _ := base64.StdEncoding.DecodeString(sub.Key) // one that cannot be read fits nothing
	signature, _ := base64.StdEncoding.DecodeString(sub.Signature)
	if len(key) != ed25519.PublicKeySize || !ed25519.Verify(bytes.Clone(key), text, signature) {
		return nil, fmt.Errorf("%s was changed after it was made: its signature does not fit", path)
	}
	labs := map[string]bool{}
	for _, h := range sub.Labs { // each is a replay, and a file has room for a million
		if labs[h.Lab] || len(labs) == maxLabs {
			return nil, fmt.Errorf("%s has lab %s twice, or more than %d labs", path, quoted(h.Lab), maxLabs)
		}
		labs[h.Lab] = true
	}
	return &sub, nil
}

// Values are the variables that solve.sh of a lab has, with the student's values, a line for each.
func (s *Student) Values(ctx context.Context, l *Lab) (string, error) {
	var list strings.Builder
	names := keys(l.Lesson)
	slices.Sort(names)
	for _, k := range names {
		fmt.Fprintf(&list, "%s={{%s}}\n", k, k)
	}
	return s.replace(ctx, l, list.String())
}

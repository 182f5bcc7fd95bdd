// What a lesson claims, and the evidence for it: a test, a page, or a check of the lab. lab test
// follows each of them.

package tutorial

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// Claim is what a lesson says and why one may believe it: a test of tiffin, a
// section of a manual page or specification, or a check of the lab itself.
type Claim struct {
	Text          string
	Test, Package string // "TestName", "ns": a test in a directory of the repository
	Check         string // the name of a check
	Page          string // a citation
}

var (
	testEvidence  = pattern(`^(Test[A-Za-z0-9_]*)(?:/\S+)? \(([a-z0-9_./-]+)\)$`)
	checkEvidence = pattern(`^check (.+)$`)
	// user_namespaces(7), "User and group ID mappings"; clone(2), ERRORS
	manEvidence = pattern(`^[A-Za-z_][A-Za-z0-9_.+-]*\([1-8][a-z]*\)(, ("[^"]+"|[A-Z][A-Z ]+))?$`)
	// OCI image-spec v1.1 layer.md, "Whiteouts"
	specEvidence = pattern(`^(OCI|POSIX|RFC|Documentation)[^"]*, "[^"]+"$`)
)

// claims reads claims.txt: lines `claim | evidence`.
func (l *Lab) claims() ([]Claim, error) {
	text, err := fs.ReadFile(l.files, "claims.txt")
	if err != nil {
		return nil, err
	}
	var all []Claim
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		claim, evidence, ok := strings.Cut(line, "|")
		claim, evidence = strings.TrimSpace(claim), strings.TrimSpace(evidence)
		if !ok || claim == "" {
			return nil, fmt.Errorf("%q is not `claim | evidence`", line)
		}
		c := Claim{Text: claim}
		if m := testEvidence().FindStringSubmatch(evidence); m != nil {
			c.Test, c.Package = m[1], strings.TrimPrefix(m[2], "./")
		} else if m := checkEvidence().FindStringSubmatch(evidence); m != nil {
			c.Check = squeeze(strings.Trim(m[1], `"`))
		} else if manEvidence().MatchString(evidence) || specEvidence().MatchString(evidence) {
			c.Page = evidence
		} else {
			return nil, fmt.Errorf("evidence %q is none of: TestName (package), page(section), \"Section\", check NAME", evidence)
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, errors.New("there is no claim")
	}
	return all, nil
}

// Who may push and delete where.

package server

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"tiffin/image/reference"
	"tiffin/image/registry/token"
)

// Rights say where users may push and delete; every user with a password may read everything. A
// user without a line may push and delete below NAME/…, and nowhere else. A line gives more or
// less:
//
//	# USER    where
//	teacher   *                   everywhere
//	tutor     course/*  exam      below course, and the repository exam
//	guest                         nowhere: a reader
//
// What stands below docker.io is named as tiffin prints it, without docker.io/ and library/.
type Rights map[string][]string

// ReadRights reads such a file about the users of p.
func ReadRights(name string, p *Passwords) (Rights, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read the rights: %w", err)
	}
	defer f.Close()
	r := Rights{}
	s := bufio.NewScanner(f)
	for n := 1; s.Scan(); n++ {
		line, _, _ := strings.Cut(s.Text(), "#")
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		user := fields[0]
		if _, ok := p.hashes[user]; !ok {
			return nil, fmt.Errorf("%s, line %d: there is no password of a user %s", name, n, user)
		}
		if _, twice := r[user]; twice {
			return nil, fmt.Errorf("%s, line %d: %s has a line already", name, n, user)
		}
		for _, where := range fields[1:] {
			if err := checkPattern(where); err != nil {
				return nil, fmt.Errorf("%s, line %d: %w", name, n, err)
			}
		}
		r[user] = fields[1:]
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("read the rights from %s: %w", name, err)
	}
	return r, nil
}

// checkPattern wants *, NAME/* or NAME, where NAME is as images are printed.
func checkPattern(where string) error {
	if where == "*" {
		return nil
	}
	name, below := strings.CutSuffix(where, "/*")
	if below {
		name += "/x"
	}
	if r, err := reference.ParseRepository(name); err != nil || r.FamiliarName() != name {
		return fmt.Errorf("%q is neither *, NAME nor NAME/*", where)
	}
	return nil
}

// mayWrite tells whether a user may push and delete in a repository; the zero Reference stands for
// all of them, and for what has no name.
func (r Rights) mayWrite(user string, repo reference.Reference) bool {
	all, own := r[user]
	if !own {
		all = []string{user + "/*"}
	}
	if repo == (reference.Reference{}) {
		return slices.Contains(all, "*")
	}
	name := repo.FamiliarName()
	return slices.ContainsFunc(all, func(where string) bool {
		below, ok := strings.CutSuffix(where, "*")
		return ok && strings.HasPrefix(name, below) || name == where
	})
}

// mayWrite tells whether the sender of a request may push and delete in a repository.
func (s *Server) mayWrite(x *exchange, repo reference.Reference) bool {
	if s.Auth != nil {
		return s.Rights.mayWrite(x.log.User, repo)
	}
	return s.Open || x.log.User == token.User
}

// idle are the users who cannot push anywhere although they have no line: no repository can have
// their name.
func (s *Server) idle() (users []string) {
	if s.Auth == nil || s.ReadOnly {
		return nil
	}
	for _, user := range slices.Sorted(maps.Keys(s.Auth.hashes)) {
		if _, own := s.Rights[user]; own {
			continue
		}
		r, err := reference.ParseRepository(user + "/x")
		if err != nil || !s.Rights.mayWrite(user, r) {
			users = append(users, user)
		}
	}
	return users
}

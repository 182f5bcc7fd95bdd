// The file of users and their passwords.

package server

import (
	"bufio"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"

	"golang.org/x/crypto/bcrypt"

	"tiffin/internal/errs"
)

// Passwords are those of an htpasswd file: a line for each user, USER:HASH, as
// `htpasswd -B` writes it (Apache httpd 2.4, htpasswd(1)). Only bcrypt is taken: the
// other kinds were made when computers were slower.
type Passwords struct {
	hashes map[string][]byte
	none   []byte        // of no password: what an unknown user is compared with
	slots  chan struct{} // one for each comparison that runs
	key    [32]byte

	mu    sync.Mutex
	right map[[sha256.Size]byte]bool // keyed hashes of what was right before
}

// maxCost is of bcrypt: 2^14 rounds are a second of work.
const maxCost = 14

var errPassword = errors.New("wrong user or password, or none")

// ReadPasswords reads an htpasswd file.
func ReadPasswords(name string) (*Passwords, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read the passwords: %w", err)
	}
	defer f.Close()
	p := &Passwords{hashes: map[string][]byte{}, right: map[[sha256.Size]byte]bool{}, slots: make(chan struct{}, runtime.GOMAXPROCS(0))}
	cost := bcrypt.MinCost
	s := bufio.NewScanner(f)
	for n := 1; s.Scan(); n++ {
		line := strings.TrimSpace(s.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		user, hash, ok := strings.Cut(line, ":")
		if !ok || user == "" {
			return nil, fmt.Errorf("%s, line %d: not USER:HASH", name, n)
		}
		c, err := bcrypt.Cost([]byte(hash))
		if err != nil {
			return nil, errs.Hint(fmt.Errorf("%s, line %d: the password of %s is %s, and only bcrypt is taken", name, n, user, hashKind(hash)),
				"htpasswd -B "+name+" "+user+" makes such a line")
		}
		if c > maxCost {
			return nil, fmt.Errorf("%s, line %d: a bcrypt cost of %d takes seconds for each login; %d is allowed", name, n, c, maxCost)
		}
		cost = max(cost, c)
		p.hashes[user] = []byte(hash)
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("read the passwords from %s: %w", name, err)
	}
	if len(p.hashes) == 0 {
		return nil, fmt.Errorf("%s names no user: nobody could log in", name)
	}
	if _, err := rand.Read(p.key[:]); err != nil {
		return nil, err
	}
	// As expensive as the others, so that the time an answer takes does not
	// tell whether there is such a user.
	p.none, err = bcrypt.GenerateFromPassword([]byte(rand.Text()), cost)
	return p, err
}

// hashKind names what is not bcrypt.
func hashKind(hash string) string {
	for _, k := range []struct{ prefix, name string }{
		{"$apr1$", "Apache's MD5"}, {"$1$", "MD5"}, {"{SHA}", "SHA-1 without salt"}, {"$5$", "crypt's SHA-256"}, {"$6$", "crypt's SHA-512"}, {"$2", "a damaged bcrypt hash"},
	} {
		if strings.HasPrefix(hash, k.prefix) {
			return k.name
		}
	}
	return "not encrypted, or by crypt(3)'s DES"
}

// user is who a request comes from. RFC 7617.
func (p *Passwords) user(r *http.Request) (string, error) {
	user, password, ok := r.BasicAuth()
	if !ok {
		return "", errPassword
	}
	mac := hmac.New(sha256.New, p.key[:])
	fmt.Fprintf(mac, "%d:%s:%s", len(user), user, password)
	seen := [sha256.Size]byte(mac.Sum(nil))
	p.mu.Lock()
	known := p.right[seen]
	p.mu.Unlock()
	if known {
		return user, nil
	}
	hash, exists := p.hashes[user]
	if !exists {
		hash = p.none
	}
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-r.Context().Done():
		return "", errPassword
	}
	// bcrypt: the comparison takes the same time whatever is wrong.
	if bcrypt.CompareHashAndPassword(hash, []byte(password)) != nil || !exists {
		return "", errPassword
	}
	p.mu.Lock()
	p.right[seen] = true
	p.mu.Unlock()
	return user, nil
}

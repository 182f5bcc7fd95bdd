// The roster of a class, and what students get of its secret.

package tutorial

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// Member is a student of a class, a line of its roster.
type Member struct{ ID, Name, Email string }

const (
	rosterFile = "roster.csv"
	maxRoster  = 4 << 20 // bytes, more than any class has
)

// memberID is what an id may be: it stands in commands, and in names of files.
var memberID = pattern(`^[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}$`)

// ParseRoster reads a roster: CSV (RFC 4180) in UTF-8, whose first line names the columns. id must
// be there, name and email may be; others are left alone. Spreadsheets write semicolons or tabs
// between the columns in some languages, and a byte order mark before the first: both are known.
// Errors say the line.
func ParseRoster(b []byte) ([]Member, error) {
	b = bytes.TrimPrefix(b, []byte("\ufeff"))
	first, _, _ := bytes.Cut(b, []byte("\n"))
	r := csv.NewReader(bytes.NewReader(b))
	for _, comma := range []rune{';', '\t'} {
		if bytes.ContainsRune(first, comma) {
			r.Comma = comma
		}
	}
	head, err := r.Read()
	if err != nil {
		return nil, errors.New("the first line must name the columns: id,name,email")
	}
	column := map[string]int{"name": -1, "email": -1}
	for i, h := range head {
		column[strings.ToLower(strings.TrimSpace(h))] = i
	}
	if _, ok := column["id"]; !ok {
		return nil, fmt.Errorf("line 1 names no column id: it is %s", quoted(strings.TrimSpace(string(first))))
	}
	var all []Member
	lines := map[string]int{}
	for {
		f, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, rosterError(err)
		}
		line, _ := r.FieldPos(0)
		field := func(name string) string {
			if i := column[name]; i >= 0 {
				return strings.TrimSpace(f[i])
			}
			return ""
		}
		m := Member{field("id"), field("name"), field("email")}
		for _, text := range []string{m.ID, m.Name, m.Email} {
			switch {
			case !utf8.ValidString(text):
				return nil, fmt.Errorf("line %d is not UTF-8: save the table as \"CSV UTF-8\"", line)
			case clean(text) != text || strings.ContainsAny(text, "\n\t"):
				return nil, fmt.Errorf("line %d has characters that are no text: %s", line, quoted(text))
			}
		}
		if !memberID().MatchString(m.ID) {
			return nil, fmt.Errorf("line %d: %s cannot be an id: use letters, digits and . _ @ + -", line, quoted(m.ID))
		}
		same := strings.ToLower(m.ID)
		if before := lines[same]; before > 0 {
			return nil, fmt.Errorf("line %d: the id %s is that of line %d", line, quoted(m.ID), before)
		}
		lines[same] = line
		all = append(all, m)
	}
	if len(all) == 0 {
		return nil, errors.New("it has no students")
	}
	return all, nil
}

func rosterError(err error) error {
	var p *csv.ParseError
	if !errors.As(err, &p) {
		return err
	}
	if errors.Is(err, csv.ErrFieldCount) {
		return fmt.Errorf("line %d has another number of columns than line 1", p.Line)
	}
	return fmt.Errorf("line %d: %w", p.Line, p.Err)
}

// quoted is a stranger's text in a message.
func quoted(s string) string { return fmt.Sprintf("%q", clean(s)) }

// ReadRoster reads a roster from a file, and returns its text, too.
func ReadRoster(path string) ([]Member, []byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("read the roster: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxRoster+1))
	if err == nil && len(b) > maxRoster {
		err = fmt.Errorf("it has more than %d bytes", maxRoster)
	}
	var all []Member
	if err == nil {
		all, err = ParseRoster(b)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read the roster %s: %w", path, err)
	}
	return all, b, nil
}

// Secret is a class's, 32 bytes by chance: who has it can work out every student's values, and hand
// in as any of them.
type Secret []byte

// readSecret reads the secret of an instructor's directory.
func readSecret(dir string) (Secret, error) {
	b, err := os.ReadFile(filepath.Join(dir, "secret"))
	if err != nil {
		return nil, fmt.Errorf("read the secret of the class: %w", err)
	}
	s, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(b)))
	if err != nil || len(s) != sha256.Size {
		return nil, fmt.Errorf("%s/secret is not what `tiffin class new` has written", dir)
	}
	return s, nil
}

// Token is what a student has of the secret: 120 bits of HMAC-SHA256 (RFC 2104) of class and id,
// as 24 letters and digits, and four more by which a mistyped one is seen. All that is a student's
// own comes of it, so that students know theirs and nothing of each other's.
type Token string

// Token makes the token of a member.
func (s Secret) Token(class, id string) Token {
	id = strings.ToLower(id)
	core := letters(mac(s, "token", class, id))[:24]
	return Token(core + proof(class, id, core))
}

// proof is no secret: whoever has the rest can make it.
func proof(class, id, core string) string { return letters(mac(nil, class, id, core))[:4] }

func letters(b []byte) string {
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b))
}

// fits tells whether a token is that of an id in a class, as far as can be told without the secret.
func (t Token) fits(class, id string) bool {
	return len(t) == 28 && string(t[24:]) == proof(class, strings.ToLower(id), string(t[:24]))
}

// seed is what a lab draws names and numbers from, 16 digits; "" is for what is not in the class.
func (t Token) seed(lab string) string { return hex.EncodeToString(mac([]byte(t), "seed", lab)[:8]) }

// key signs what the student hands in: the instructor can make it, too, and compares.
func (t Token) key() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(mac([]byte(t), "key"))
}

// mac is HMAC-SHA256 of words, none of which has a zero byte in it.
func mac(key []byte, words ...string) []byte {
	h := hmac.New(sha256.New, key)
	_, _ = io.WriteString(h, strings.Join(words, "\x00")) // a hash takes all: package hash
	return h.Sum(nil)
}

// MakeClass writes an instructor's directory, which must not be there yet, and returns the number
// of students.
func MakeClass(dir string, c *Class, roster string) (int, error) {
	members, text, err := ReadRoster(roster)
	if err != nil {
		return 0, err
	}
	class, err := JSON(c)
	if err != nil {
		return 0, err
	}
	secret := make(Secret, sha256.Size)
	rand.Read(secret)                            // never fails: package rand
	if err := os.Mkdir(dir, 0o700); err != nil { // names and addresses of people are in it
		return 0, fmt.Errorf("make the directory of the class: %w", err)
	}
	for name, b := range map[string][]byte{
		"class.json": class, rosterFile: text, "secret": []byte(base64.StdEncoding.EncodeToString(secret) + "\n"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			return 0, err
		}
	}
	return len(members), writeTokens(dir, c, members)
}

// WriteTokens writes tokens.csv anew, after the roster was changed.
func WriteTokens(dir string) (int, error) {
	c, err := ReadClass(dir)
	if err != nil {
		return 0, err
	}
	members, _, err := ReadRoster(filepath.Join(dir, rosterFile))
	if err != nil {
		return 0, err
	}
	return len(members), writeTokens(dir, c, members)
}

func writeTokens(dir string, c *Class, members []Member) error {
	secret, err := readSecret(dir)
	if err != nil {
		return err
	}
	var b strings.Builder
	w := csv.NewWriter(&b)
	_ = w.Write([]string{"id", "name", "email", "token"}) // a strings.Builder takes all
	for _, m := range members {
		_ = w.Write([]string{m.ID, Inert(m.Name), Inert(m.Email), string(secret.Token(c.Name, m.ID))})
	}
	w.Flush()
	return writeFile(filepath.Join(dir, "tokens.csv"), b.String(), 0o600)
}

// Inert keeps a stranger's text from being a formula to a spreadsheet, which opens it as one after
// these characters: OWASP, "CSV Injection".
func Inert(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}

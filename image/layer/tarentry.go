// The entries of a tarball: headers of ustar, PAX and GNU tar, taken together. Sizes and numbers
// are checked before they are believed.

package layer

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
)

// Typeflags, POSIX.1-2017 pax "ustar Interchange Format"; letters are GNU's.
const (
	typeFile    = '0'
	typeOldFile = 0
	typeLink    = '1'
	typeSymlink = '2'
	typeChar    = '3'
	typeBlock   = '4'
	typeDir     = '5'
	typeFifo    = '6'
	typeContig  = '7'
	typePAX     = 'x'
	typeGlobal  = 'g'
	typeLongN   = 'L'
	typeLongL   = 'K'
	typeSparse  = 'S'
	typeVolume  = 'V'
)

// member is one entry of a tarball with everything its headers say.
type member struct {
	name, link   string
	typ          byte
	mode         int64
	uid, gid     int64
	major, minor int64
	sec          int64
	nsec         uint32
	size         int64 // of the file, bytes
	stored       int64 // bytes in the stream, without padding
	offset       int64 // in the stream
	xattrs       []Xattr
	sparse       *sparseInfo // nil for an ordinary file
}

// tarReader takes a stream apart into members.
type tarReader struct {
	stream
	m member // the last one
}

// bad is a member with something wrong in it.
func (m *member) bad(format string, args ...any) error {
	return fmt.Errorf("tar entry %.300q: %w", m.name, fmt.Errorf(format, args...))
}

// read returns the next member with the stream at the end of its data, or
// io.EOF at the end of the archive. The member is valid until the next call.
func (t *tarReader) read() (*member, error) {
	var pax, longName, longLink string
	headers := 0 // that wait for the entry they describe
	for ; ; headers++ {
		m := &t.m
		*m = member{}
		b, err := t.header(m)
		if err != nil {
			if err == io.EOF && headers > 0 {
				err = errors.New("the archive ends after an extended header")
			}
			return nil, err
		}
		switch m.typ {
		case typePAX:
			pax, err = t.meta(m.size)
		case typeLongN:
			longName, err = t.meta(m.size)
		case typeLongL:
			longLink, err = t.meta(m.size)
		case typeGlobal, typeVolume:
			// Values for all entries that follow, or a label. Docker, podman and
			// umoci ignore them too; git archive writes the commit there.
			if m.size < 0 {
				err = errors.New("its size is negative")
			} else {
				err = t.skip(padded(m.size))
			}
			pax, longName, longLink, headers = "", "", "", -1
		default:
			if err = m.extend(pax, longName, longLink); err == nil {
				err = t.data(m, b)
			}
			if err == nil {
				return m, nil
			}
		}
		if err != nil {
			return nil, t.wrap(m, err)
		}
	}
}

// wrap names the member and makes an unexpected end readable.
func (t *tarReader) wrap(m *member, err error) error {
	if noEOF(err) == io.ErrUnexpectedEOF {
		return m.bad("the archive is truncated at byte %d: %w", t.off, io.ErrUnexpectedEOF)
	}
	return m.bad("%w", err)
}

// header reads a header block into m, and returns a copy of it if it holds
// the map of an old GNU sparse file. Two zero blocks, or the end of the
// stream at the start of a block, are the end of the archive (io.EOF).
func (t *tarReader) header(m *member) ([]byte, error) {
	at := t.off
	b, err := t.next(blockSize)
	if err == nil && allZero(b) {
		if b, err = t.next(blockSize); err == nil && allZero(b) {
			return nil, io.EOF
		}
		if err == nil {
			return nil, fmt.Errorf("tar header at byte %d: a block of zeros, then more entries", at)
		}
	}
	if err == io.ErrUnexpectedEOF {
		return nil, fmt.Errorf("the archive is truncated in the tar header at byte %d: %w", at, err)
	}
	if err != nil {
		return nil, err
	}
	if !checksum(b) {
		return nil, fmt.Errorf("tar header at byte %d: its checksum is wrong; this is no tarball, or a damaged one", at)
	}
	m.name, m.link, m.typ = text(b[0:100]), text(b[157:257]), b[156]
	f := form(b)
	fields := []struct {
		v        *int64
		from, to int
	}{{&m.mode, 100, 108}, {&m.uid, 108, 116}, {&m.gid, 116, 124}, {&m.size, 124, 136}, {&m.sec, 136, 148},
		{&m.major, 329, 337}, {&m.minor, 337, 345}}
	if f == formV7 {
		fields = fields[:5]
	}
	for _, d := range fields {
		if *d.v, err = number(b[d.from:d.to]); err != nil {
			return nil, m.bad("%w", err)
		}
	}
	prefix := ""
	switch f {
	case formUSTAR:
		prefix = text(b[345:500])
	case formSTAR:
		prefix = text(b[345:476])
	}
	if prefix != "" {
		m.name = prefix + "/" + m.name
	}
	if m.typ == typeSparse {
		if f != formGNU {
			return nil, m.bad("a sparse file (type S) that is not in GNU form")
		}
		return append([]byte(nil), b...), nil
	}
	return nil, nil
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// extend puts what the extended headers say over what the header block says.
func (m *member) extend(pax, longName, longLink string) error {
	for rest := pax; rest != ""; {
		key, value, r, err := paxRecord(rest)
		if err != nil {
			return err
		}
		rest = r
		if err := m.record(key, value); err != nil {
			return fmt.Errorf("PAX record %.100q is %.100q: %w", key, value, err)
		}
	}
	if longName != "" {
		m.name = text([]byte(longName))
	}
	if longLink != "" {
		m.link = text([]byte(longLink))
	}
	if m.sparse != nil && m.sparse.name != "" && m.sparse.isMap() {
		m.name = m.sparse.name
	}
	if m.typ == typeOldFile || m.typ == typeContig {
		if m.typ == typeOldFile && strings.HasSuffix(m.name, "/") {
			m.typ = typeDir // as programs older than POSIX wrote directories
		} else {
			m.typ = typeFile
		}
	}
	return nil
}

// paxRecord takes "LENGTH KEY=VALUE\n" off the front of s. LENGTH counts the
// whole record. POSIX.1-2017, pax, "pax Extended Header".
func paxRecord(s string) (key, value, rest string, err error) {
	bad := fmt.Errorf("its PAX header is malformed at %.40q", s)
	digits, _, ok := strings.Cut(s[:min(len(s), 20)], " ")
	n, e := strconv.ParseUint(digits, 10, 31)
	if !ok || e != nil || int(n) > len(s) || int(n) < len(digits)+3 || s[n-1] != '\n' {
		return "", "", "", bad
	}
	key, value, ok = strings.Cut(s[len(digits)+1:n-1], "=")
	if !ok || key == "" || strings.Contains(key, "\x00") {
		return "", "", "", bad
	}
	return key, value, s[n:], nil
}

// record applies one PAX record; unknown ones are ignored.
func (m *member) record(key, value string) (err error) {
	if name, ok := strings.CutPrefix(key, "SCHILY.xattr."); ok {
		m.setXattr(name, value)
		return nil
	}
	if value == "" {
		return nil // "delete any header block value": like archive/tar, keep it
	}
	switch key {
	case "path":
		m.name, err = value, noNUL(value)
	case "linkpath":
		m.link, err = value, noNUL(value)
	case "uid":
		m.uid, err = decimal(value)
	case "gid":
		m.gid, err = decimal(value)
	case "size":
		m.size, err = decimal(value)
	case "mtime":
		m.sec, m.nsec, err = paxTime(value)
	default:
		if k, ok := strings.CutPrefix(key, "GNU.sparse."); ok {
			return m.sparseRecord(k, value)
		}
		if k, ok := strings.CutPrefix(key, "LIBARCHIVE.xattr."); ok {
			return m.libarchiveXattr(k, value)
		}
		if name := aclAttrs[key]; name != "" {
			if value, err = encodeACL(value); err == nil && (len(value) > aclOfMode || key != "SCHILY.acl.access") {
				m.setXattr(name, value)
			}
		}
	}
	return err
}

// libarchiveXattr is bsdtar's way: name in URL encoding, value in base64. It
// usually writes SCHILY.xattr as well, which wins because it is exact.
func (m *member) libarchiveXattr(key, value string) error {
	name, err := url.PathUnescape(key)
	if err != nil {
		return err
	}
	for _, a := range m.xattrs {
		if a.Name == name {
			return nil
		}
	}
	v, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(value, "="))
	if err != nil {
		return err
	}
	m.setXattr(name, string(v))
	return nil
}

func (m *member) setXattr(name, value string) {
	for i := range m.xattrs {
		if m.xattrs[i].Name == name {
			m.xattrs[i].Value = value
			return
		}
	}
	m.xattrs = append(m.xattrs, Xattr{name, value})
}

func noNUL(s string) error {
	if strings.Contains(s, "\x00") {
		return errors.New("it contains a NUL byte")
	}
	return nil
}

func decimal(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, errors.New("not a decimal number of 64 bits")
	}
	return n, nil
}

// paxTime reads decimal seconds with a fraction of any length. -1.5 is one and
// a half seconds before 1970; nsec is always counted forwards, timespec(3).
func paxTime(s string) (sec int64, nsec uint32, err error) {
	whole, frac, _ := strings.Cut(s, ".")
	if sec, err = decimal(whole); err != nil || sec < -1<<60 || sec > 1<<60 {
		return 0, 0, errors.New("not a time in seconds")
	}
	for i := range 9 {
		nsec *= 10
		if i < len(frac) {
			nsec += uint32(frac[i] - '0')
		}
	}
	for _, c := range frac {
		if c < '0' || c > '9' {
			return 0, 0, errors.New("not a time in seconds")
		}
	}
	if whole[0] == '-' && nsec > 0 {
		return sec - 1, 1e9 - nsec, nil
	}
	return sec, nsec, nil
}

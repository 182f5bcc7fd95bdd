// An entry as it stands in the archive: headers of PAX or GNU tar, the header block, padded data.

package tartest

import (
	"archive/tar"
	"fmt"
	"strings"
	"time"
)

// blockSize is the unit of a tarball in bytes.
const blockSize = 512

// bytes is the entry as it stands in the archive: PAX or GNU headers first,
// then the header block, then the data padded to whole blocks.
func (e Entry) bytes() ([]byte, error) {
	if e.raw != nil {
		return e.raw, nil
	}
	var b []byte
	if e.gnu {
		if len(e.Name) > 100 {
			b = append(b, special('L', "././@LongLink", e.Name+"\x00", true)...)
		}
		if len(e.Link) > 100 {
			b = append(b, special('K', "././@LongLink", e.Link+"\x00", true)...)
		}
	}
	if recs := e.paxRecords(); recs != "" {
		b = append(b, special('x', "PaxHeaders/"+clip(e.Name, 80), recs, false)...)
	}
	h, err := e.header()
	if err != nil {
		return nil, err
	}
	return append(append(b, h...), pad(e.extensions()+e.Data)...), nil
}

// paxRecords are the records given, after those for values that the header
// block has no room for.
func (e Entry) paxRecords() string {
	var s string
	if !e.gnu {
		if len(e.Name) > 100 {
			s += record("path", e.Name)
		}
		if len(e.Link) > 100 {
			s += record("linkpath", e.Link)
		}
		for _, n := range []struct {
			key string
			v   int64
			max int64
		}{{"uid", e.UID, 1 << 21}, {"gid", e.GID, 1 << 21}, {"size", e.Size, 1 << 33}} {
			if n.v >= n.max {
				s += record(n.key, fmt.Sprint(n.v))
			}
		}
		if e.Mtime.Nanosecond() != 0 || e.Mtime.Unix() < 0 {
			s += record("mtime", paxTime(e.Mtime))
		}
	}
	for _, r := range e.records {
		s += record(r[0], r[1])
	}
	return s
}

// paxTime writes seconds as a decimal fraction without trailing zeros.
func paxTime(t time.Time) string {
	sec, ns, sign := t.Unix(), int64(t.Nanosecond()), ""
	if sec < 0 {
		sign, sec = "-", -sec
		if ns > 0 {
			sec, ns = sec-1, 1e9-ns
		}
	}
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%s%d.%09d", sign, sec, ns), "0"), ".")
}

// record is "LENGTH KEY=VALUE\n", where LENGTH counts its own digits too.
// POSIX.1-2017, pax, "pax Extended Header".
func record(key, value string) string {
	rest := " " + key + "=" + value + "\n"
	n := len(rest) + 1
	for len(fmt.Sprint(n))+len(rest) != n {
		n = len(fmt.Sprint(n)) + len(rest)
	}
	return fmt.Sprint(n) + rest
}

// special is an entry whose data describes the entry after it.
func special(typ byte, name, data string, gnu bool) []byte {
	e := Entry{Name: name, Type: typ, Mode: 0o644, Data: data, Size: int64(len(data)), Mtime: time.Unix(0, 0), gnu: gnu}
	h, err := e.header()
	if err != nil {
		panic(err) // none of its fields comes from the test
	}
	return append(h, pad(data)...)
}

func pad(data string) string {
	return data + strings.Repeat("\x00", -len(data)&(blockSize-1))
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}

// header is the 512-byte block. Offsets as in POSIX.1-2017, pax, "ustar
// Interchange Format", and GNU tar's manual, "Basic Tar Format".
func (e Entry) header() ([]byte, error) {
	b := make([]byte, blockSize)
	copy(b[0:100], e.Name)
	copy(b[157:257], e.Link)
	b[156] = e.Type
	mtime := e.Mtime.Unix()
	if !e.gnu && mtime < 0 {
		mtime = 0 // said by the PAX record
	}
	for _, f := range []struct {
		at, n int
		v     int64
	}{{100, 8, e.Mode}, {108, 8, e.UID}, {116, 8, e.GID}, {124, 12, e.Size}, {136, 12, mtime}} {
		e.number(b[f.at:f.at+f.n], f.v)
	}
	if e.gnu {
		copy(b[257:], "ustar  \x00")
	} else {
		copy(b[257:], "ustar\x0000")
	}
	if e.Type == tar.TypeChar || e.Type == tar.TypeBlock {
		e.number(b[329:337], e.Major)
		e.number(b[337:345], e.Minor)
	}
	if e.Type == tar.TypeGNUSparse {
		e.oldSparse(b)
	}
	sum := 0
	copy(b[148:156], "        ")
	for _, c := range b {
		sum += int(c)
	}
	copy(b[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return b, nil
}

// number writes v in octal, or in base 256 for GNU if it does not fit.
func (e Entry) number(f []byte, v int64) {
	if v >= 0 && v < 1<<(3*(len(f)-1)) {
		copy(f, fmt.Sprintf("%0*o\x00", len(f)-1, v))
		return
	}
	if !e.gnu {
		copy(f, fmt.Sprintf("%0*o\x00", len(f)-1, 0)) // said by the PAX record
		return
	}
	for i := len(f) - 1; i >= 0; i-- {
		f[i] = byte(v)
		v >>= 8
	}
	f[0] |= 0x80
}

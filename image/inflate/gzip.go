// The members of a gzip file around the compressed data, with their checks. RFC 1952.

package inflate

import "io"

// Flags of a member's header: RFC 1952, 2.3.1.
const (
	flagHeaderCRC = 1 << 1
	flagExtra     = 1 << 2
	flagName      = 1 << 3
	flagComment   = 1 << 4
)

// header reads the header of a member. RFC 1952, 2.3.
func (r *Reader) header() error {
	var h [10]byte // ID1 ID2 CM FLG MTIME(4) XFL OS
	for i := range h {
		v, err := r.take(8)
		if err != nil {
			return err
		}
		h[i] = byte(v)
	}
	if h[0] != 0x1f || h[1] != 0x8b || h[2] != 8 {
		return ErrHeader
	}
	if h[3]&flagExtra != 0 {
		n, err := r.take(16)
		if err != nil {
			return err
		}
		if err := r.skip(int(n)); err != nil {
			return err
		}
	}
	for _, flag := range [...]byte{flagName, flagComment} {
		if h[3]&flag == 0 {
			continue
		}
		if err := r.skipString(); err != nil {
			return err
		}
	}
	if h[3]&flagHeaderCRC != 0 {
		// Nothing that the header says is used.
		if err := r.skip(2); err != nil {
			return err
		}
	}
	r.first, r.crc, r.length = r.made, 0, 0
	r.state = (*Reader).block
	return nil
}

func (r *Reader) skip(n int) error {
	for ; n > 0; n-- {
		if _, err := r.take(8); err != nil {
			return err
		}
	}
	return nil
}

// skipString skips bytes up to a zero.
func (r *Reader) skipString() error {
	for {
		if v, err := r.take(8); v == 0 || err != nil {
			return err
		}
	}
}

// trailer reads what follows a member: its CRC-32 and its length. Then there may
// be another member: RFC 1952, 2.2.
func (r *Reader) trailer() error {
	r.align()
	r.sum()
	for _, want := range [...]uint32{r.crc, r.length} {
		low, err := r.take(16)
		if err != nil {
			return err
		}
		high, err := r.take(16)
		if err != nil {
			return err
		}
		if uint32(low|high<<16) != want {
			return ErrChecksum
		}
	}
	if err := r.load(); err != nil {
		return err
	}
	if r.eof && r.used() == r.end {
		return io.EOF
	}
	r.state = (*Reader).header
	return nil
}

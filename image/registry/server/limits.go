// How much one user may take of what all share: places for uploads, and disk that no image has yet.
// No user waits for the network of another: a place for work is held while bytes that have come are
// worked on, not while they are waited for.

package server

import (
	"fmt"
	"net"
	"net/http"
	"time"

	units "github.com/docker/go-units"
	digest "github.com/opencontainers/go-digest"

	"tiffin/image/store"
)

const (
	maxUploads     = 512 // begun and not ended
	maxUserUploads = 32  // of one user; clients have 3 to 6 at once
	maxWorking     = 16  // uploads whose bytes are inflated and written
	uploadBuffer   = 32 << 10

	// defaultUnnamed is the disk, in bytes, that one user's blobs may fill before a manifest names
	// them, those of begun uploads and what they inflate to included.
	defaultUnnamed = 16 << 30
)

// waiting is a blob that no manifest has named yet.
type waiting struct {
	account string
	disk    int64 // bytes
	since   time.Time
}

// account says whom a request is counted for: the user, or on a server without passwords the
// address.
func (x *exchange) account() string {
	if x.log.User != "" {
		return x.log.User
	}
	host, _, _ := net.SplitHostPort(x.r.RemoteAddr)
	return "at " + host
}

// room makes sure that a user may begin one more upload. If there are too many, the oldest one that
// the user has abandoned is dropped.
func (s *Server) room(x *exchange) error {
	s.mu.Lock()
	all, mine := len(s.uploads), 0
	var oldest *upload
	for _, u := range s.uploads {
		if u.account != x.account() {
			continue
		}
		mine++
		if used := u.used.Load(); used != 0 && len(u.busy) == 0 && (oldest == nil || used < oldest.used.Load()) {
			oldest = u
		}
	}
	s.mu.Unlock()
	switch {
	case mine < maxUserUploads && all < maxUploads:
		return nil
	case mine >= maxUserUploads && oldest != nil:
		s.expire(oldest)
		return nil
	}
	x.Header().Set("Retry-After", "30") // seconds
	return refuse(http.StatusTooManyRequests, "TOOMANYREQUESTS", "too many uploads have been begun and not ended")
}

// take works on bytes that have come.
func (s *Server) take(u *upload, b []byte) error {
	s.working <- struct{}{}
	defer func() { <-s.working }()
	if _, err := u.up.Write(b); err != nil {
		return err
	}
	u.disk.Store(u.up.Disk())
	if used, most := s.unnamed(u.account), s.maxUnnamed(); used > most {
		return refuse(http.StatusForbidden, "DENIED", fmt.Sprintf("uploads of this user that no manifest has named fill %s of the disk, and may fill %s",
			units.HumanSize(float64(used)), units.HumanSize(float64(most))))
	}
	return nil
}

// unnamed is what a user's blobs fill that no manifest has named, in bytes.
func (s *Server) unnamed(account string) (bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.uploads {
		if u.account == account {
			bytes += u.disk.Load()
		}
	}
	for d, w := range s.waiting {
		switch {
		case time.Since(w.since) > store.IncomingAge:
			delete(s.waiting, d)
		case w.account == account:
			bytes += w.disk
		}
	}
	return bytes
}

func (s *Server) maxUnnamed() int64 {
	if s.Unnamed > 0 {
		return s.Unnamed
	}
	return defaultUnnamed
}

// waits notes that a blob has come, and waits for a manifest.
func (s *Server) waits(u *upload, d digest.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, there := s.waiting[d]; !there { // whoever sent it first
		s.waiting[d] = waiting{u.account, u.up.Disk(), time.Now()}
	}
}

// named notes that a manifest has named blobs.
func (s *Server) named(ds []digest.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range ds {
		delete(s.waiting, d)
	}
}

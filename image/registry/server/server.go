// The server as a whole: its settings, its limits, and the way of a request through it.

package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	digest "github.com/opencontainers/go-digest"

	"tiffin/image"
	"tiffin/image/store"
	"tiffin/internal/errs"
)

// Server answers requests about a store. Its fields must not change any more
// when it has been asked the first time.
type Server struct {
	Store    *image.Store
	ReadOnly bool
	Auth     *Passwords // nil: all may read, and only the person who runs the server pushes
	// Token is the secret of the person who runs the server: token.User with it may do
	// everything. Only without Auth; "" if there is none.
	Token string
	// Open lets everybody push. May only be set without Auth.
	Open bool
	// Rights say where the users of Auth may write; see MayWrite.
	Rights Rights
	// Unnamed is the disk, in bytes, that one user's uploads may fill before a manifest names them.
	// 0: 16 GiB.
	Unnamed int64
	// Names are those that the server is called by besides localhost and addresses, in lower case.
	Names []string
	// Log is told of every request when it has been answered. May be nil.
	Log func(Request)
	// Warn is told what goes wrong outside of requests, such as a client that
	// does not trust the certificate. May be nil.
	Warn func(string)

	once    sync.Once
	working chan struct{} // one for each upload whose bytes are worked on
	mu      sync.Mutex
	uploads map[string]*upload // by ID
	waiting map[digest.Digest]waiting
	active  atomic.Int64
}

// Request is one that has been answered.
type Request struct {
	Time     time.Time // when it came
	Remote   string    // address; "" if it came by a socket
	User     string    // "" if nobody is logged in
	Method   string
	Path     string
	Status   int
	Received int64 // bytes of the body
	Sent     int64
	Took     time.Duration
	Err      error // why it was refused; nil if it was not
}

const (
	maxManifest = 4 << 20 // bytes; OCI distribution-spec v1.1, "Pushing Manifests": at least that
	uploadAge   = time.Hour
	stall       = time.Minute
)

func (s *Server) init() {
	s.once.Do(func() {
		s.working, s.uploads, s.waiting = make(chan struct{}, maxWorking), map[string]*upload{}, map[digest.Digest]waiting{}
	})
}

// Active is how many requests are being answered.
func (s *Server) Active() int { return int(s.active.Load()) }

// Close gives up the uploads that have not ended.
func (s *Server) Close() {
	s.init()
	s.mu.Lock()
	all := slices.Collect(maps.Values(s.uploads))
	s.mu.Unlock()
	for _, u := range all {
		s.drop(u)
	}
}

// exchange is one request and its answer.
type exchange struct {
	http.ResponseWriter
	r *http.Request
	route
	log  Request
	body *counter
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.init()
	s.active.Add(1)
	defer s.active.Add(-1)
	x := &exchange{ResponseWriter: w, r: r, body: &counter{r: r.Body, control: http.NewResponseController(w)}}
	x.log = Request{Time: time.Now(), Remote: r.RemoteAddr, Method: r.Method, Path: r.URL.Path}
	s.answer(x)
	x.log.Received, x.log.Took = x.body.n, time.Since(x.log.Time)
	if s.Log != nil {
		s.Log(x.log)
	}
}

// WriteHeader notes the status for the log.
func (x *exchange) WriteHeader(status int) {
	if x.log.Status == 0 {
		x.log.Status = status
	}
	x.ResponseWriter.WriteHeader(status)
}

func (x *exchange) Write(b []byte) (int, error) {
	if x.log.Status == 0 {
		x.log.Status = http.StatusOK
	}
	n, err := x.ResponseWriter.Write(b)
	x.log.Sent += int64(n)
	return n, err
}

// ReadFrom hands files on to sendfile(2).
func (x *exchange) ReadFrom(r io.Reader) (int64, error) {
	if x.log.Status == 0 {
		x.log.Status = http.StatusOK
	}
	n, err := io.Copy(x.ResponseWriter, r)
	x.log.Sent += n
	return n, err
}

// counter counts the bytes of a body, and ends it when they stop coming.
type counter struct {
	r       io.Reader
	n       int64
	control *http.ResponseController
}

func (c *counter) Read(p []byte) (int, error) {
	// Where there are no deadlines, as in a test, there is no network either.
	_ = c.control.SetReadDeadline(time.Now().Add(stall))
	n, err := c.r.Read(p)
	c.n += int64(n)
	if err == io.EOF {
		_ = c.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

// fault is an answer that says what went wrong. OCI distribution-spec v1.1, "Error Codes".
type fault struct {
	status int
	code   string
	err    error
}

func (f *fault) Error() string { return f.err.Error() }
func (f *fault) Unwrap() error { return f.err }

func refuse(status int, code, message string) error {
	return &fault{status, code, errors.New(message)}
}

// answer has a request handled, and reports an error to the client.
func (s *Server) answer(x *exchange) {
	// docker's registry has it, and some clients look for it.
	x.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	x.Header().Set("X-Content-Type-Options", "nosniff")
	err := s.handle(x)
	if err == nil {
		return
	}
	f := asFault(err)
	x.log.Err = f
	h := x.Header()
	h.Set("Content-Type", "application/json")
	message := f.Error()
	if hint := errs.HintOf(f); hint != "" && f.status < 500 {
		message += "; " + hint
	}
	type entry struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	b, _ := json.Marshal(map[string][]entry{"errors": {{f.code, message}}})
	x.WriteHeader(f.status)
	if x.r.Method != http.MethodHead {
		_, _ = io.Copy(x, bytes.NewReader(b))
	}
}

// asFault is the answer for an error.
func asFault(err error) *fault {
	var f *fault
	switch {
	case errors.As(err, &f):
		return f
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return &fault{http.StatusInsufficientStorage, "DENIED", err}
	case errors.Is(err, errNoBlob):
		return &fault{http.StatusBadRequest, "MANIFEST_BLOB_UNKNOWN", err}
	case errors.Is(err, store.ErrReadOnly):
		return &fault{http.StatusForbidden, "DENIED", err}
	}
	return &fault{http.StatusInternalServerError, "UNKNOWN", err}
}

// handle answers a request, or returns why not: it checks who asks, finds the method and calls it.
func (s *Server) handle(x *exchange) error {
	if err := s.checkName(x); err != nil {
		return err
	}
	if err := s.identify(x); err != nil {
		return err
	}
	var err error
	if x.route, err = parsePath(x.r.URL.Path); err != nil {
		return &fault{http.StatusBadRequest, "NAME_INVALID", err}
	}
	read := x.r.Method == http.MethodGet || x.r.Method == http.MethodHead
	if !read {
		if err := s.checkWrite(x); err != nil {
			return err
		}
	}
	methods := s.methods(x.kind)
	if methods == nil {
		return refuse(http.StatusNotFound, "UNSUPPORTED", "there is nothing at this path")
	}
	for _, m := range methods {
		if m.name == x.r.Method || m.name == http.MethodGet && x.r.Method == http.MethodHead {
			return m.do(x)
		}
	}
	for _, m := range methods { // RFC 9110, 15.5.6
		x.Header().Add("Allow", m.name)
	}
	return refuse(http.StatusMethodNotAllowed, "UNSUPPORTED", x.r.Method+" is not supported here")
}

// method is a request method and what answers it.
type method struct {
	name string
	do   func(*exchange) error
}

// methods are those of a kind of path.
func (s *Server) methods(k kind) []method {
	switch k {
	case kindBase:
		return []method{{http.MethodGet, s.base}}
	case kindCatalog:
		return []method{{http.MethodGet, s.catalog}}
	case kindTags:
		return []method{{http.MethodGet, s.tags}}
	case kindManifest:
		return []method{{http.MethodGet, s.getManifest}, {http.MethodPut, s.putManifest}, {http.MethodDelete, s.deleteManifest}}
	case kindBlob:
		return []method{{http.MethodGet, s.getBlob}, {http.MethodDelete, s.deleteBlob}}
	case kindReferrers:
		return []method{{http.MethodGet, s.referrers}}
	case kindUploads:
		return []method{{http.MethodPost, s.beginUpload}}
	case kindUpload:
		return []method{{http.MethodGet, s.held(s.uploadStatus)}, {http.MethodPatch, s.held(s.uploadChunk)},
			{http.MethodPut, s.held(s.finish)}, {http.MethodDelete, s.held(s.cancelUpload)}}
	}
	return nil
}

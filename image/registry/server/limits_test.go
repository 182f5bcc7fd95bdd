package server

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	digest "github.com/opencontainers/go-digest"

	"tiffin/internal/test/tartest"
)

// TestATrickleHoldsNothing that others need: more slow uploads than places for work, and a push
// in the middle of them.
func TestATrickleHoldsNothing(t *testing.T) {
	h := start(t, &Server{})
	var started atomic.Int32
	end, ended := make(chan bool), make(chan bool)
	slow := func(at string) {
		defer func() { ended <- true }()
		r, w := io.Pipe()
		go func() {
			for n := 0; ; n++ {
				if n == 1 {
					started.Add(1)
				}
				select {
				case <-end:
					w.CloseWithError(io.ErrClosedPipe)
					return
				case <-time.After(20 * time.Millisecond):
					w.Write([]byte("x"))
				}
			}
		}()
		req, _ := http.NewRequest("PATCH", h.URL+at, r)
		if resp, err := h.Client().Do(req); err == nil {
			resp.Body.Close()
		}
	}
	const many = maxUserUploads - 2 // more than maxWorking
	for range many {
		go slow(h.do(t, "POST", "/v2/x/blobs/uploads/", nil).want(t, 202).Header.Get("Location"))
	}
	for started.Load() < many {
		time.Sleep(time.Millisecond)
	}
	h.push(t, "x", "v1", newFixture(t, "a", thisArch()))
	close(end)
	for range many {
		<-ended
	}
}

// TestAbandonedUploads: they give way to their user's next, and are nothing to others.
func TestAbandonedUploads(t *testing.T) {
	h, as := room(t)
	begin := func(user string) reply { return h.do(t, "POST", "/v2/"+user+"/x/blobs/uploads/", nil, as(user)...) }
	first := begin("anna").want(t, 202).Header.Get("Location")
	for range maxUploads {
		begin("anna").want(t, 202)
	}
	begin("otto").want(t, 202)
	h.do(t, "GET", first, nil, as("anna")...).want(t, 404)
	h.srv.mu.Lock()
	n := len(h.srv.uploads)
	h.srv.mu.Unlock()
	if n > maxUserUploads+1 {
		t.Errorf("%d uploads are open", n)
	}
	// Those that are sent to do not give way.
	h.srv.mu.Lock()
	for _, u := range h.srv.uploads {
		u.busy <- struct{}{}
	}
	h.srv.mu.Unlock()
	if r := begin("anna").want(t, 429, "TOOMANYREQUESTS"); r.Header.Get("Retry-After") == "" {
		t.Error("it does not say when to come again")
	}
	h.srv.mu.Lock()
	for _, u := range h.srv.uploads {
		<-u.busy
	}
	h.srv.mu.Unlock()
}

// TestBytesWithoutAManifestHaveALimit: those of a user, with what they inflate to, until a manifest
// names them.
func TestBytesWithoutAManifestHaveALimit(t *testing.T) {
	h, as := room(t)
	h.srv.Unnamed = 1 << 20
	bomb := gz(tartest.Of(t, tartest.File("zeros", string(make([]byte, 4<<20))))) // 4 kB
	post := func(user string, b []byte) reply {
		return h.do(t, "POST", "/v2/"+user+"/x/blobs/uploads/?digest="+digest.FromBytes(b).String(), b, as(user)...)
	}
	post("anna", bomb).want(t, 201) // it was small when it was looked at, but now
	post("anna", []byte("{}")).want(t, 403, "DENIED", "4.", "may fill 1.049MB")
	at := h.do(t, "POST", "/v2/anna/x/blobs/uploads/", nil, as("anna")...).want(t, 202).Header.Get("Location")
	h.do(t, "PATCH", at, bytes.Repeat([]byte("x"), 1000), as("anna")...).want(t, 403, "DENIED")
	h.do(t, "GET", at, nil, as("anna")...).want(t, 404)

	f := newFixture(t, "a", thisArch())
	for range 40 { // otto's are named each time, and never too much
		if got := h.pushAs(t, as("otto"), "otto/x", "v1", f); got[len(got)-1] != 201 {
			t.Fatal(got)
		}
		h.do(t, "DELETE", "/v2/otto/x/manifests/v1", nil, as("otto")...).want(t, 202)
	}
	for d, w := range h.srv.waiting {
		w.since = time.Now().Add(-25 * time.Hour)
		h.srv.waiting[d] = w
	}
	post("anna", []byte("{}")).want(t, 201)
}

// TestWhoIsNobodyIsAnAddress: where everybody may push, limits are those of an address.
func TestWhoIsNobodyIsAnAddress(t *testing.T) {
	for remote, want := range map[string]string{"192.0.2.7:5": "at 192.0.2.7", "[2001:db8::1]:5": "at 2001:db8::1"} {
		if x := (&exchange{r: &http.Request{RemoteAddr: remote}}); x.account() != want {
			t.Errorf("%s is %s", remote, x.account())
		}
	}
	if x := (&exchange{r: &http.Request{RemoteAddr: "192.0.2.7:5"}, log: Request{User: "anna"}}); strings.Contains(x.account(), " ") || x.account() != "anna" {
		t.Error(x.account())
	}
}

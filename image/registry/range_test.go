package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"tiffin/image/transfer"
)

// TestAPartOfABlob: it is asked for by its bytes, and an answer of other ones is refused.
func TestAPartOfABlob(t *testing.T) {
	f, l := bigFixture(t, bytes.Clone)
	all := f.blobs[l.Digest]
	answer := func(status int, contentRange string, b []byte) func(int, http.ResponseWriter, *http.Request) bool {
		return func(_ int, w http.ResponseWriter, r *http.Request) bool {
			if got := r.Header.Get("Range"); got != "bytes=1000-1099" {
				t.Errorf("asked for %q", got)
			}
			if contentRange != "" {
				w.Header().Set("Content-Range", contentRange)
			}
			w.WriteHeader(status)
			w.Write(b)
			return true
		}
	}
	right := fmt.Sprintf("bytes 1000-1099/%d", l.Size)
	for _, c := range []struct {
		name  string
		fault func(int, http.ResponseWriter, *http.Request) bool
		want  error // nil: it is read
	}{
		{"as it should be", nil, nil},
		{"an open length", answer(206, "bytes 1000-1099/*", all[1000:1100]), nil},
		{"all of it", answer(200, "", all), transfer.ErrStartOver},
		{"another range", answer(206, fmt.Sprintf("bytes 0-99/%d", l.Size), all[:100]), transfer.ErrWrongAnswer},
		{"a longer range", answer(206, fmt.Sprintf("bytes 1000-1199/%d", l.Size), all[1000:1200]), transfer.ErrWrongAnswer},
		{"another blob", answer(206, "bytes 1000-1099/5000", all[1000:1100]), transfer.ErrWrongAnswer},
		{"no range", answer(206, "", all[1000:1100]), transfer.ErrWrongAnswer},
		{"fewer bytes", answer(206, right, all[1000:1050]), transfer.ErrWrongAnswer},
		{"not so long", answer(416, "", nil), transfer.ErrWrongAnswer},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := serve(t, f)
			new(blobRequests).note(srv, l.Digest, c.fault)
			from, err := new(warnings).client().Remote(context.Background(), ref(t, srv.host()+"/team/app:v1"))
			if err != nil {
				t.Fatal(err)
			}
			r, err := from.(transfer.Ranger).Range(context.Background(), l, 1000, 100)
			if !errors.Is(err, c.want) {
				t.Fatalf("error %v instead of %v", err, c.want)
			}
			if err != nil {
				return
			}
			defer r.Close()
			if b, err := io.ReadAll(r); err != nil || !bytes.Equal(b, all[1000:1100]) {
				t.Errorf("%d bytes, %v", len(b), err)
			}
		})
	}
}

// TestAPartComesFromAnotherHost, by redirect, which sees the range that is asked for and no
// password, and which is believed no more than the registry.
func TestAPartComesFromAnotherHost(t *testing.T) {
	f, l := bigFixture(t, bytes.Clone)
	all := f.blobs[l.Digest]
	srv := serve(t, f)
	part, asked := all[1000:1100], 0
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		if r.Header.Get("Authorization") != "" || r.Header.Get("Cookie") != "" || r.Header.Get("Range") != "bytes=1000-1099" {
			t.Errorf("it was told %v", r.Header)
		}
		w.Header().Set("Content-Range", fmt.Sprintf("bytes 1000-%d/%d", 1000+len(part)-1, l.Size))
		w.WriteHeader(http.StatusPartialContent)
		w.Write(part)
	}))
	defer other.Close()
	srv.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if wantBasic(w, r) {
			return true
		}
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "open"})
		http.Redirect(w, r, other.URL+r.URL.Path, http.StatusTemporaryRedirect)
		return true
	}
	withConfig(t, loggedIn(srv.host()))
	from, err := new(warnings).client().Remote(context.Background(), ref(t, srv.host()+"/team/app:v1"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := from.(transfer.Ranger).Range(context.Background(), l, 1000, 100)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if b, err := io.ReadAll(r); err != nil || !bytes.Equal(b, part) || asked != 1 {
		t.Errorf("%d bytes, %v, asked %d times", len(b), err, asked)
	}
	part = all[1000:1200]
	if _, err := from.(transfer.Ranger).Range(context.Background(), l, 1000, 100); !errors.Is(err, transfer.ErrWrongAnswer) {
		t.Errorf("a longer range: %v", err)
	}
}

// TestASilentServer is given up while somebody who waits for a part has patience left, before it
// answers and in the middle.
func TestASilentServer(t *testing.T) {
	f, l := bigFixture(t, bytes.Clone)
	srv := serve(t, f)
	begun := false
	srv.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Range") == "" {
			return false
		}
		if begun {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 1000-1099/%d", l.Size))
			w.WriteHeader(http.StatusPartialContent)
			w.(http.Flusher).Flush()
		}
		<-r.Context().Done()
		return true
	}
	c := new(warnings).client()
	c.stall = 50 * time.Millisecond
	from, err := c.Remote(context.Background(), ref(t, srv.host()+"/team/app:v1"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if _, err := from.(transfer.Ranger).Range(ctx, l, 1000, 100); !errors.Is(err, errSilent) || !errors.Is(err, transfer.ErrInterrupted) {
		t.Errorf("no answer: %v", err)
	}
	begun, c.stall = true, 500*time.Millisecond
	r, err := from.(transfer.Ranger).Range(ctx, l, 1000, 100)
	if err == nil { // on a machine that stalls, the answer is late, too
		defer r.Close()
		_, err = io.ReadAll(r)
	}
	if !errors.Is(err, errSilent) {
		t.Errorf("no bytes: %v", err)
	}
}

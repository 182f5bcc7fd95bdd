// When a request is sent again, and after how long.

package registry

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"
)

// retries says when a request is sent again: if the server is overloaded or
// restarting, or the connection broke, it is sent up to maxTries times, with growing
// pauses or when the server says. It is a retry.Policy of oras-go.
type retries struct {
	warn  func(string)
	first time.Duration // before the second try; doubles
	tries int
}

const (
	maxTries  = 6
	firstWait = 250 * time.Millisecond
	// maxRetryAfter is how long a person is kept waiting. Docker Hub asks those
	// who have used up their share to come back in hours.
	maxRetryAfter = time.Minute
)

// Retry returns how long to wait, or less than 0 for what is final.
func (r retries) Retry(attempt int, resp *http.Response, err error) (time.Duration, error) {
	if after, ok := retryAfter(resp); ok {
		if told, ok := resp.Request.Context().Value(toldKey{}).(*told); ok {
			told.after = &after
		}
	}
	if attempt+1 >= r.tries || !transient(resp, err) {
		return -1, nil
	}
	if err != nil && attempt > 0 && isTimeout(err) {
		return -1, nil // it has been waited for long enough already
	}
	// The randomness keeps a room full of clients from coming back at once.
	wait := r.first<<attempt + rand.N(r.first)
	if after, ok := retryAfter(resp); ok {
		if wait = after; wait > maxRetryAfter {
			return -1, nil
		}
	}
	if wait >= time.Second && r.warn != nil {
		why := "the connection broke"
		if resp != nil {
			why = fmt.Sprintf("%s says %s", resp.Request.URL.Host, resp.Status)
		}
		r.warn(fmt.Sprintf("%s: trying again in %s", why, wait.Round(time.Second)))
	}
	return wait, nil
}

// told records when a server wants to be asked again, for callers that repeat
// requests themselves.
type told struct{ after *time.Duration }

// toldKey is where the context of a request has a *told.
type toldKey struct{}

// transient tells what may go away by itself.
func transient(resp *http.Response, err error) bool {
	if err != nil {
		return isTimeout(err) ||
			errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
			errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	}
	switch resp.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// retryAfter reads when to come back: RFC 9110, 10.2.3, in seconds or as a date.
func retryAfter(resp *http.Response) (time.Duration, bool) {
	if resp == nil {
		return 0, false
	}
	v := resp.Header.Get("Retry-After")
	if n, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(n) * time.Second, true
	}
	if t, err := http.ParseTime(v); err == nil {
		return max(0, time.Until(t)), true
	}
	return 0, false
}

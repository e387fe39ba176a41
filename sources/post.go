package sources

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/clock"
)

// postTime is how long a client may take to send the body of a post: notifications are small.
const postTime = 30 * time.Second

// ReadPost reads the body of an event that is posted to a mounted handler. A request that is no post, is
// larger than limit bytes or is not sent in 30 s is answered, and ok is false.
func ReadPost(w http.ResponseWriter, r *http.Request, c clock.Clock, limit int64) (body []byte, ok bool) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "events are taken by POST", http.StatusMethodNotAllowed)
		return nil, false
	}
	// The deadline of a connection is in the system's time; one that has long passed works by any clock.
	late := c.AfterFunc(postTime, func() {
		_ = http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0))
	})
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var large *http.MaxBytesError
	switch {
	case !late.Stop():
		http.Error(w, fmt.Sprintf("the body did not arrive in %v", postTime), http.StatusRequestTimeout)
	case errors.As(err, &large):
		http.Error(w, fmt.Sprintf("the body is over the limit of %d bytes", limit), http.StatusRequestEntityTooLarge)
	case err != nil:
		http.Error(w, "the body was cut off", http.StatusBadRequest)
	default:
		return body, true
	}
	return nil, false
}

// Refuse answers a post whose event Hub.Accept did not take: 413 or 422 if it never will, otherwise 503, on
// which the sender tries again.
func Refuse(w http.ResponseWriter, err error) {
	var e *executor.Error
	after := time.Second
	if errors.As(err, &e) {
		switch e.Kind { //nolint:exhaustive // every other kind may heal
		case executor.TooLarge:
			http.Error(w, "the event is too large for its function: "+err.Error(), http.StatusRequestEntityTooLarge)
			return
		case executor.Refused:
			http.Error(w, "the event is refused for good: "+err.Error(), http.StatusUnprocessableEntity)
			return
		}
		after = max(after, e.RetryAfter)
	}
	w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(after.Seconds()))))
	http.Error(w, "the event was not accepted, try again later: "+err.Error(), http.StatusServiceUnavailable)
}

// IsPattern reports whether s is a pattern that Hub.Mount takes: a path, or a host and a path.
func IsPattern(s string) bool {
	return strings.Contains(s, "/") && !strings.Contains(s, "://") && !strings.ContainsAny(s, " \t\r\n{}?#")
}

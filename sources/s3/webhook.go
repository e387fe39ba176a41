package s3

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/plugin"
	"github.com/millrace/millrace/sources"
)

// maxPost bounds a post. Stores send one record at a time, of a few kilobytes.
const maxPost = 1 << 20

// webhook takes the posts of a store.
type webhook struct {
	config   Config
	deps     plugin.Deps
	unheeded *prometheus.CounterVec // by reason
}

func (s *webhook) Run(ctx context.Context, hub sources.Hub) error {
	unmount, err := hub.Mount(s.config.Listen, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.serve(w, r, hub)
	}))
	if err != nil {
		return err
	}
	<-ctx.Done()
	unmount()
	return nil
}

func (s *webhook) serve(w http.ResponseWriter, r *http.Request, hub sources.Hub) {
	if !s.authorized(r) {
		s.unheeded.WithLabelValues("unauthorized").Inc()
		w.Header().Set("WWW-Authenticate", "Bearer")
		http.Error(w, "the post does not carry the trigger's token", http.StatusUnauthorized)
		return
	}
	body, ok := sources.ReadPost(w, r, s.deps.Clock, maxPost)
	if !ok {
		return
	}
	records, err := event.ParseS3(body, event.S3Vendor(s.config.Vendor))
	if err != nil {
		s.unheeded.WithLabelValues("invalid").Inc()
		s.deps.Log.Warn("a post is not a notification", "from", r.RemoteAddr, "error", err)
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	// The event is taken even if the client has gone meanwhile: not every store tries again.
	ctx := context.WithoutCancel(r.Context())
	for i := range records {
		rec := &records[i]
		if !s.config.wants(rec.Name, rec.Bucket, rec.Key) {
			s.unheeded.WithLabelValues("filtered").Inc()
			continue
		}
		if rec.Region == "" {
			rec.Region = s.deps.Region
		}
		if rec.Time.IsZero() {
			rec.Time = s.deps.Clock.Now()
		}
		if rec.ConfigurationID == "" {
			rec.ConfigurationID = s.deps.Name
		}
		// One record is one event, as on AWS. If a later one is refused, the sender repeats all of them.
		err := hub.Accept(ctx, executor.Request{
			Payload:     event.AppendS3(nil, records[i:i+1]),
			TraceID:     r.Header.Get("X-Amzn-Trace-Id"),
			TraceParent: r.Header.Get("Traceparent"),
		})
		if err != nil {
			s.deps.Log.Warn("an event was not accepted", "bucket", rec.Bucket, "key", rec.Key, "error", err)
			sources.Refuse(w, err)
			return
		}
	}
	w.WriteHeader(http.StatusOK)
}

// authorized compares hashes, so that the time it takes tells nothing of the token, not even its length.
func (s *webhook) authorized(r *http.Request) bool {
	if s.config.Token == "" {
		return true
	}
	want := sha256.Sum256([]byte(s.config.Token))
	same := func(token string) bool {
		have := sha256.Sum256([]byte(token))
		return subtle.ConstantTimeCompare(have[:], want[:]) == 1
	}
	if _, password, ok := r.BasicAuth(); ok && same(password) {
		return true
	}
	header := r.Header.Get("Authorization")
	if scheme, token, ok := strings.Cut(header, " "); ok && strings.EqualFold(scheme, "Bearer") && same(token) {
		return true
	}
	return same(header) // MinIO sends a token of two words as it is
}

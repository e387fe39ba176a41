package wire

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// all has a member of each kind that the protocols carry.
type all struct {
	Text    string            `json:"Text,omitzero"`
	Maybe   *string           `json:"Maybe,omitzero"`
	Number  int64             `json:"Number,omitzero"`
	Small   *int32            `json:"Small,omitzero"`
	Real    float64           `json:"Real,omitzero"`
	Flag    bool              `json:"Flag,omitzero"`
	Choice  *bool             `json:"Choice,omitzero"`
	Blob    []byte            `json:"Blob,omitzero"`
	At      Time              `json:"At,omitzero"`
	Until   *Time             `json:"Until,omitzero"`
	List    []string          `json:"List,omitzero"`
	Flat    []string          `json:"Flat,omitzero" query:"FlatName,flat"`
	Map     map[string]string `json:"Map,omitzero"`
	Entries map[string]nested `json:"Entries,omitzero" query:"Entries,entry,Name,Value"`
	FlatMap map[string]string `json:"FlatMap,omitzero" query:"FlatEntry,flat,Name,Value"`
	Nested  *nested           `json:"Nested,omitzero"`
	Batch   []nested          `json:"Batch,omitzero"`
	Pairs   []*nested         `json:"Pairs,omitzero" query:"Pair,flat"`
	hidden  string            //nolint:unused // what is not exported is no member
	Private string            `json:"-"`
}

type nested struct {
	ID    string            `json:"Id,omitzero"`
	Count int               `json:"Count,omitzero"`
	Blob  []byte            `json:"Blob,omitzero"`
	Tags  map[string]string `json:"Tags,omitzero" query:"Tag,flat,Key,Value"`
	More  []nested          `json:"More,omitzero"`
}

func ptr[T any](v T) *T { return &v }

// echoes is an operation whose output is its input.
func echoes(name string) Operation {
	return Op(name, func(_ context.Context, _ *Request, in *all) (*all, error) { return in, nil })
}

// whoami is an operation that tells what it has been told.
func whoami(name string, seen func(*Request)) Operation {
	return Op(name, func(_ context.Context, r *Request, _ *None) (*None, error) {
		seen(r)
		return new(None), nil
	})
}

// failing is an operation that answers with an error.
func failing(name string, err error) Operation {
	return Op(name, func(context.Context, *Request, *None) (*None, error) { return nil, err })
}

func dispatcher(services ...Service) *Dispatcher {
	return NewDispatcher(Config{
		Services: services, Region: "us-east-1", Account: "000000000000", Log: slog.New(slog.DiscardHandler),
	})
}

// reply is an answer that has been read.
type reply struct {
	status int
	header http.Header
	body   string
}

func send(t testing.TB, h http.Handler, method, target, body string, header ...string) reply {
	t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req := httptest.NewRequest(method, target, r)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	res := w.Result()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{res.StatusCode, res.Header, string(b)}
}

// credential is an Authorization header that names a service, and signs nothing.
func credential(key, region, service string) string {
	return "AWS4-HMAC-SHA256 Credential=" + key + "/20260102/" + region + "/" + service +
		"/aws4_request, SignedHeaders=host, Signature=00"
}

const formType = "application/x-www-form-urlencoded; charset=utf-8"

var noon = time.Date(2026, 1, 2, 12, 0, 0, 250e6, time.UTC)

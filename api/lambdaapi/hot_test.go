package lambdaapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/millrace/millrace/executor"
)

func FuzzRequest(f *testing.F) {
	f.Add("POST", "/2015-03-31/functions/echo/invocations", "Qualifier=%24LATEST", "Event", "e30=", "Tail", "t", "", "{}")
	f.Add("POST", "/2014-11-13/functions/arn:aws:lambda:us-east-1:123456789012:function:echo:1/invoke-async/", "", "", "", "", "", "x", "{")
	f.Add("POST", "/2021-11-15/functions/broken/response-streaming-invocations", "Qualifier=%", "DryRun", "!", "None", "\x00", "", "\x80")
	f.Add("GET", "/2015-03-31/functions/", "Marker=echo&MaxItems=1", "", "", "", "", "", "")
	f.Add("GET", "/2015-03-31/functions/:::/configuration", "", "", "", "", "", "", "")
	f.Add("GET", "/2016-08-19/account-settings", "", "", "", "", "", "", "")
	f.Fuzz(func(t *testing.T, method, path, query, invocationType, clientContext, logType, tenant, id, body string) {
		h := newHub()
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/", strings.NewReader(body))
		r.Method, r.URL = method, &url.URL{Path: path, RawQuery: query}
		for name, value := range map[string]string{"X-Amz-Invocation-Type": invocationType, "X-Amz-Client-Context": clientContext,
			"X-Amz-Log-Type": logType, "X-Amz-Tenant-Id": tenant, "X-Amzn-Requestid": id} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		w := httptest.NewRecorder()
		h.handler(t).ServeHTTP(w, r)
		code := raw(w, "x-amzn-ErrorType")
		switch {
		case raw(w, "x-amzn-RequestId") == "":
			t.Error("no request id")
		case w.Code >= 400 && (code == "" || !json.Valid(w.Body.Bytes())), w.Code < 400 && code != "":
			t.Errorf("%d %q %s", w.Code, code, w.Body)
		case w.Code >= 500:
			t.Errorf("%d %s: nothing is broken but the request", w.Code, w.Body)
		}
		for _, req := range h.seen {
			if !json.Valid(req.Payload) || !strings.HasPrefix(req.ARN, arn("")) || strings.ContainsAny(req.ARN, "!\x00 ") {
				t.Errorf("a function got %+v", req)
			}
		}
	})
}

// The floor is a server that only moves the bytes.
func BenchmarkInvoke(b *testing.B) {
	body := []byte(`{"key":"` + strings.Repeat("value ", 160) + `"}`)
	answer := func(context.Context, executor.Request) (executor.Response, error) {
		return executor.Response{Payload: body, Version: "$LATEST"}, nil
	}
	h := &hub{functions: map[string]executor.Function{"echo": invoke(answer)}}
	for name, handler := range map[string]http.Handler{
		"api": h.quiet(b),
		"floor": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			w.Write(body)
		}),
	} {
		b.Run("handler/"+name, func(b *testing.B) {
			r := httptest.NewRequestWithContext(b.Context(), "POST", invocations, nil)
			reader := bytes.NewReader(nil)
			r.Body, r.ContentLength = io.NopCloser(reader), int64(len(body))
			b.ReportAllocs()
			for b.Loop() {
				reader.Reset(body)
				handler.ServeHTTP(&discard{header: http.Header{}}, r)
			}
		})
		b.Run("server/"+name, func(b *testing.B) {
			server := httptest.NewServer(handler)
			defer server.Close()
			client := server.Client()
			b.ReportAllocs()
			for b.Loop() {
				response, err := client.Post(server.URL+invocations, "application/json", bytes.NewReader(body))
				if err != nil {
					b.Fatal(err)
				}
				io.Copy(io.Discard, response.Body)
				response.Body.Close()
			}
		})
	}
}

type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(int)             {}

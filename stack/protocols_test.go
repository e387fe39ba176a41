package stack_test

import (
	"net/http"
	"testing"

	"github.com/millrace/millrace/stack"
)

// The SDK for JavaScript speaks HTTP/2 to Kinesis, to a plain http:// endpoint too, and begins with it at once.
func TestHTTP2WithoutTLS(t *testing.T) {
	t.Parallel()
	s, err := stack.Start(stack.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: p}
	defer transport.CloseIdleConnections()
	r, err := (&http.Client{Transport: transport}).Get(s.URL() + "/_millrace/health")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if r.ProtoMajor != 2 || r.StatusCode != http.StatusOK {
		t.Errorf("got %s by %s", r.Status, r.Proto)
	}
}

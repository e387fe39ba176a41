package process

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// tape is a connection that yields a text, a few bytes at a time, and forgets what is written.
type tape struct {
	net.Conn
	text []byte
	step int
}

func (t *tape) Read(p []byte) (int, error) {
	if len(t.text) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), t.step)], t.text)
	t.text = t.text[n:]
	return n, nil
}

func (t *tape) Write(p []byte) (int, error) { return len(p), nil }

// requests reads requests until the text ends or makes no sense.
func requests(text []byte, step int) (bodies []string, err error) {
	s := &stream{Conn: &tape{text: text, step: step}}
	for {
		h, err := s.head()
		if err != nil {
			return bodies, err
		}
		b, err := s.body(h)
		if err != nil {
			return bodies, err
		}
		got, err := b.all(1 << 20)
		if errors.Is(err, errTooLarge) {
			err = b.drain()
		}
		if err != nil {
			return bodies, err
		}
		bodies = append(bodies, h.method+" "+h.path+" "+string(got))
	}
}

// FuzzRequests checks that what is read does not depend on how the text is cut, that no fault but the known
// ones comes up, and that net/http reads the same body where both read one.
func FuzzRequests(f *testing.F) {
	for _, text := range []string{
		"GET /a HTTP/1.1\r\nHost: x\r\n\r\n",
		"POST /a HTTP/1.1\r\nContent-Length: 5\r\n\r\nhelloGET /b HTTP/1.1\r\n\r\n",
		"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTrailer: A\r\n\r\n5;x=y\r\nhello\r\n0\r\nLambda-Runtime-Function-Error-Type: x\r\n\r\n",
		"POST /a HTTP/1.0\r\nConnection: keep-alive\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
		"POST /a HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello",
		"POST /a HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\nhello",
		"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nhello",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		whole, err := requests(text, len(text)+1)
		r := (*refusal)(nil)
		if !errors.Is(err, io.EOF) && !errors.As(err, &r) {
			t.Fatalf("error is %v", err)
		}
		cut, _ := requests(text, 1)
		if strings.Join(whole, "\x00") != strings.Join(cut, "\x00") {
			t.Fatalf("in one piece %q, byte by byte %q", whole, cut)
		}
		if len(whole) == 0 {
			return
		}
		req, err := http.ReadRequest(newReader(text))
		if err != nil {
			return
		}
		defer req.Body.Close()
		body, err := io.ReadAll(req.Body)
		if err == nil && len(body) < 1<<20 && !strings.HasSuffix(whole[0], " "+string(body)) {
			t.Fatalf("read %q, net/http reads %q", whole[0], body)
		}
	})
}

func TestHeadsAreReadWithoutRoomToSpare(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", maxHead-200)
	got, err := requests([]byte("POST /a HTTP/1.1\r\nA: "+long+"\r\nContent-Length: 2\r\n\r\nhiPOST /b HTTP/1.1\r\nContent-Length: 1\r\n\r\n!"), 1000)
	if !errors.Is(err, io.EOF) || len(got) != 2 || got[0] != "POST /a hi" || got[1] != "POST /b !" {
		t.Errorf("read %q, %v", got, err)
	}
}

func BenchmarkRequest(b *testing.B) {
	text := []byte("POST /2018-06-01/runtime/invocation/8476a536-e9f4-11e8-9739-2dfe598c3fcd/response HTTP/1.1\r\nHost: 127.0.0.1:9001\r\n" +
		"User-Agent: aws-lambda-go/go1.26\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\nTrailer: Lambda-Runtime-Function-Error-Body,Lambda-Runtime-Function-Error-Type\r\n\r\n" +
		"5\r\nhello\r\n0\r\n\r\n")
	s := &stream{Conn: &tape{step: 1 << 20}}
	b.ReportAllocs()
	for b.Loop() {
		s.Conn.(*tape).text = text
		h, err := s.head()
		if err != nil {
			b.Fatal(err)
		}
		body, err := s.body(h)
		if err != nil {
			b.Fatal(err)
		}
		if got, err := body.all(100); err != nil || !bytes.Equal(got, []byte("hello")) {
			b.Fatal(err)
		}
	}
}

func newReader(text []byte) *bufio.Reader { return bufio.NewReader(bytes.NewReader(text)) }

package events

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"testing"
	"unicode/utf8"

	"github.com/millrace/millrace/stack/env"
	"github.com/millrace/millrace/stack/stacktest"
	"github.com/millrace/millrace/stack/wire"
)

// What is taken for a detail is a JSON object, and keeps its meaning.
func FuzzDetail(f *testing.F) {
	for _, s := range []string{`{}`, ` { "a" : [1, 2.0e3, "x\u00e4 \"" ] } `, `{"a":1,"a":2}`, `[]`, `"x"`, `{`, `{"a":}`, "{\"a\":\"\xff\"}", `{} {}`, `null`} {
		f.Add(s)
	}
	text := "x"
	f.Fuzz(func(t *testing.T, detail string) {
		in := putEventsEntry{Source: &text, DetailType: &text, Detail: &detail}
		got, refusal := in.refuse()
		valid := json.Valid([]byte(detail)) && utf8.ValidString(detail) && bytes.TrimSpace([]byte(detail))[0] == '{'
		if refusal.ErrorCode != "" {
			if valid && !tooDeep([]byte(detail)) && !lone(detail) {
				t.Fatalf("%q is refused: %+v", detail, refusal)
			}
			return
		}
		var want bytes.Buffer
		if !valid || json.Compact(&want, []byte(detail)) != nil || want.String() != string(got) {
			t.Fatalf("%q became %q", detail, got)
		}
	})
}

// lone reports whether a text may have half of a surrogate pair, which encoding/json lets pass.
func lone(s string) bool { return bytes.Contains(bytes.ToLower([]byte(s)), []byte(`\ud`)) }

// What services deliver to a bus is an event or is refused.
func FuzzDeliver(f *testing.F) {
	k := stacktest.New(f)
	s, err := New(k.Env)
	if err != nil {
		f.Fatal(err)
	}
	const bus = "arn:aws:events:us-east-1:000000000000:event-bus/default"
	for _, s := range []string{`{"id":"1","source":"s","detail":{}}`, `{"id":"1","source":"s","time":"2026-01-02T03:04:05Z","resources":["a"],"detail":null}`,
		`{"id":1}`, `[]`, ``, `{"id":"1","source":"s"`} {
		f.Add(s, "arn:aws:events:eu-west-1:000000000000:rule/r")
		f.Add(s, "arn:aws:s3:::b")
	}
	f.Fuzz(func(t *testing.T, body, from string) {
		err := s.Deliver(context.Background(), bus, env.Message{Body: body, From: from})
		var refused *wire.Error
		if err != nil && (!errors.As(err, &refused) || refused.Status >= 500) {
			t.Fatalf("%q: %v", body, err)
		}
	})
}

// ARNs and names are read without panics, and what is read of an ARN makes it again.
func FuzzARN(f *testing.F) {
	for _, s := range []string{"arn:aws:events:r:a:event-bus/b", "arn:aws:events:::event-bus/", "default", "arn:::::", "arn:aws:sqs:r:a:q.fifo"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, arn string) {
		if p, name, ok := parseBus(arn); ok && arn[:4] == "arn:" && arn[4:8] == "aws:" && p.arn("event-bus/"+name) != arn {
			t.Errorf("%q was read as %+v and %q", arn, p, name)
		}
		k, _, err := kindOf(arn)
		if (err == nil) != (k != unsupported) {
			t.Errorf("%q is of the kind %d: %v", arn, k, err)
		}
	})
}

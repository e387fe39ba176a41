package sqs

import (
	"maps"
	"testing"
	"unicode/utf8"

	"github.com/millrace/millrace/stack/wire"
)

func FuzzReceipt(f *testing.F) {
	f.Add(receipt{queue: queueID{1, 2}, order: 3, number: 4}.String())
	f.Add("garbage")
	f.Add("AQEBAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, s string) {
		r, ok := parseReceipt(s)
		if ok && r.String() != s {
			t.Errorf("%q reads as %q", s, r)
		}
	})
}

func FuzzMessageRecord(f *testing.F) {
	f.Add(encodeMessage(&message{id: "i", body: "b", attributes: []attribute{{"n", "Binary", "\x00"}}, group: "g", grouped: true, sent: 1, total: 2}, 3))
	f.Add([]byte{messageVersion})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, visible, err := decodeMessage(b)
		if err != nil {
			return
		}
		again, v, err := decodeMessage(encodeMessage(m, visible))
		if err != nil || v != visible || again.body != m.body || again.total != m.total || again.grouped != m.grouped || len(again.attributes) != len(m.attributes) {
			t.Errorf("%+v was written and read as %+v: %v", m, again, err)
		}
	})
}

// FuzzAttributes: what normalize takes makes settings, and once more the same ones.
func FuzzAttributes(f *testing.F) {
	for _, s := range [][2]string{
		{"RedrivePolicy", `{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:q","maxReceiveCount":"3"}`},
		{"RedriveAllowPolicy", `{"redrivePermission":"byQueue","sourceQueueArns":["arn:aws:sqs:us-east-1:000000000000:q"]}`},
		{"Policy", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":["sqs:*"]}}`},
		{"VisibilityTimeout", "+030"}, {"FifoQueue", "TRUE"}, {"KmsMasterKeyId", "k"}, {"DeduplicationScope", "messageGroup"},
	} {
		f.Add(s[0], s[1], true)
		f.Add(s[0], s[1], false)
	}
	f.Fuzz(func(t *testing.T, name, value string, fifo bool) {
		given, err := normalize(map[string]string{name: value}, fifo)
		if err != nil {
			return
		}
		set, err := with(defaults(fifo), given)
		if err != nil {
			return
		}
		again, err := newSettings(set.values)
		if err != nil || !maps.Equal(again.values, set.values) || again.fifo != fifo {
			t.Errorf("%s=%q was taken, and then not: %v", name, value, err)
		}
		twice, err := normalize(given, fifo)
		if err != nil || !maps.Equal(twice, given) {
			t.Errorf("%v becomes %v: %v", given, twice, err)
		}
	})
}

func FuzzGrant(f *testing.F) {
	f.Add(`{"Version":"2012-10-17","Statement":[{"Sid":"a","Effect":"Deny","NotPrincipal":{"AWS":"1"},"NotAction":"sqs:SendMessage"}]}`)
	f.Add("")
	q := newQueue(place{"000000000000", "us-east-1", "q"}, queueID{}, 0)
	f.Fuzz(func(t *testing.T, text string) {
		if text != "" {
			if _, err := parsePolicy(text); err != nil {
				return
			}
		}
		granted, err := q.grant(text, "new", []string{"111111111111"}, []string{"SendMessage"})
		if err != nil {
			return
		}
		if _, err := parsePolicy(granted); err != nil {
			t.Fatalf("AddPermission makes %s: %v", granted, err)
		}
		if _, err := revoke(granted, "new"); err != nil {
			t.Errorf("RemovePermission does not undo %s: %v", granted, err)
		}
	})
}

func FuzzQueueURL(f *testing.F) {
	for _, s := range []string{"http://h/000000000000/q", "q", "http://h", "//", "/queue/r/000000000000/q", "http://h/000000000000/q?x=%2f"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r := &wire.Request{Region: "us-east-1", Account: "000000000000", Endpoint: "http://h"}
		p, err := placeOf(r, s)
		if err != nil {
			return
		}
		if p.name == "" || !isAccount(p.account) {
			t.Errorf("%q is %+v", s, p)
		}
	})
}

func FuzzText(f *testing.F) {
	f.Add("a\x00\uffff\xff")
	f.Fuzz(func(t *testing.T, s string) {
		_, bad := badCharacter(s)
		want := !utf8.ValidString(s)
		for _, r := range s {
			want = want || !(r == 9 || r == 0xA || r == 0xD || r >= 0x20 && r <= 0xD7FF || r >= 0xE000 && r <= 0xFFFD || r >= 0x10000)
		}
		if bad != want {
			t.Errorf("%q: %v", s, bad)
		}
	})
}

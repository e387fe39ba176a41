package local

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/millrace/millrace/async"
	"github.com/millrace/millrace/destinations"
)

// FuzzDecode reads any bytes as each kind of value. What is read without error must come back the same when
// it is written and read again.
func FuzzDecode(f *testing.F) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	ev := async.Event{ID: "i", Function: "f", ARN: "a", Trigger: "t", Accepted: at, TenantID: "x", TraceID: "r", TraceParent: "p", Depth: 3}
	as := []async.Attempt{{Number: 1, Started: at, Duration: 5, Result: "error", Type: "E", Message: "m"}}
	f.Add(appendEvent(nil, &ev))
	f.Add(appendProgress(nil, &async.Progress{Attempts: as, Invokes: 1, Next: at, Last: &async.Response{Payload: []byte("1"), Version: "2", Failed: true}}))
	f.Add(appendFinished(nil, &finished{Entry: async.Entry{Event: ev, State: async.Failed, Attempts: as, Deliveries: []async.Delivery{{Destination: "d", Last: at}}}, kept: 5}))
	f.Add(appendRecord(nil, &destinations.Record{ID: "i", Success: true, Body: []byte("{}")}))
	f.Add(appendDelivery(nil, &async.Delivery{Destination: "d", State: "pending", Tries: 2, Last: at, Error: "e"}, at))
	f.Add(appendCounts(nil, &counts{async.Counts{Accepted: 300}, 7}))
	f.Fuzz(func(t *testing.T, v []byte) {
		for name, through := range map[string]func(*decoder) []byte{
			"event":    func(d *decoder) []byte { e := d.event(); return appendEvent(nil, &e) },
			"progress": func(d *decoder) []byte { p := d.progress(); return appendProgress(nil, &p) },
			"finished": func(d *decoder) []byte { e := d.finished(); return appendFinished(nil, &e) },
			"record":   func(d *decoder) []byte { return appendRecord(nil, d.record()) },
			"delivery": func(d *decoder) []byte { v, since := d.delivery(); return appendDelivery(nil, &v, since) },
			"counts":   func(d *decoder) []byte { c := d.counts(); return appendCounts(nil, &c) },
		} {
			d := decoder{b: v}
			once := through(&d)
			if d.err != nil {
				continue
			}
			d = decoder{b: once}
			if twice := through(&d); d.err != nil || !bytes.Equal(once, twice) {
				t.Errorf("%s: %x, then %x, %v", name, once, twice, d.err)
			}
		}
	})
}

// FuzzRedact replaces members in any document. What comes out must be JSON, without the members and with
// everything else as it was.
func FuzzRedact(f *testing.F) {
	for _, s := range []string{`{"a":1,"b":[{"a":{"c":2}}]}`, ` { "\u0061" : "x\"}" , "b" : { "c" : [ 1 , 2 ] } } `, `[]`, `"a"`, `{"b":{"c":null},"a":""}`, `{`, `1e5`} {
		f.Add([]byte(s))
	}
	rules := []rule{{anywhere: "a"}, {path: []string{"b", "c"}}}
	f.Fuzz(func(t *testing.T, doc []byte) {
		out, changed := redact(doc, rules)
		if len(doc) == 0 {
			return
		}
		if !json.Valid(out) {
			t.Fatalf("%q became %q", doc, out)
		}
		if !changed && !bytes.Equal(doc, out) {
			t.Errorf("%q became %q and is said to be unchanged", doc, out)
		}
		again, changedAgain := redact(out, rules)
		if changedAgain && !bytes.Equal(again, out) {
			t.Errorf("%q has something left: %q", out, again)
		}
	})
}

func TestPlacesAreASet(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	p, want := places{}, map[uint64]bool{}
	for range 20000 {
		seq := r.Uint64N(10000)
		if r.IntN(2) == 0 {
			p.add(seq)
			want[seq] = true
		} else if p.remove(seq) != want[seq] {
			t.Fatalf("remove(%d) is wrong", seq)
		} else {
			delete(want, seq)
		}
	}
	for seq := range uint64(10000) {
		if p.has(seq) != want[seq] {
			t.Fatalf("has(%d) = %v", seq, p.has(seq))
		}
		p.remove(seq)
	}
	if len(p) != 0 {
		t.Errorf("%d blocks are left of an empty set", len(p))
	}
}

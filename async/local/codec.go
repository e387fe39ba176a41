package local

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/millrace/millrace/async"
	"github.com/millrace/millrace/destinations"
)

// Values are sequences of unsigned varints, texts (length and bytes) and times (signed varint of
// nanoseconds, 0 for none), in the order in which the append functions write them.

// errDamaged is a value that these functions did not write.
var errDamaged = errors.New("a value of the store is damaged")

func appendText[T string | []byte](dst []byte, s T) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

func appendTime(dst []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(dst, 0)
	}
	return binary.AppendVarint(dst, t.UnixNano())
}

func appendBool(dst []byte, b bool) []byte {
	if b {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// decoder reads a value; after the first fault it reads zeros.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail() {
	d.b, d.err = nil, errDamaged
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) int() int {
	v := d.uint()
	if v > 1<<40 {
		d.fail()
		return 0
	}
	return int(v)
}

// bytes returns a part of the value.
func (d *decoder) bytes() []byte {
	n := d.uint()
	if n > uint64(len(d.b)) {
		d.fail()
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) text() string { return string(d.bytes()) }

func (d *decoder) bool() bool { return d.uint() != 0 }

func (d *decoder) time() time.Time {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail()
		return time.Time{}
	}
	d.b = d.b[n:]
	if v == 0 {
		return time.Time{}
	}
	return time.Unix(0, v).UTC()
}

// count is the number of elements that follow, each of at least one byte.
func (d *decoder) count() int {
	n := d.uint()
	if n > uint64(len(d.b)) {
		d.fail()
		return 0
	}
	return int(n)
}

// appendEvent writes an event without its payload.
func appendEvent(dst []byte, ev *async.Event) []byte {
	dst = appendTime(dst, ev.Accepted)
	dst = appendText(dst, ev.ID)
	dst = appendText(dst, ev.Function)
	dst = appendText(dst, ev.ARN)
	dst = appendText(dst, ev.Trigger)
	dst = appendText(dst, ev.TenantID)
	dst = appendText(dst, ev.TraceID)
	dst = appendText(dst, ev.TraceParent)
	return binary.AppendUvarint(dst, uint64(ev.Depth))
}

func (d *decoder) event() async.Event {
	return async.Event{
		Accepted: d.time(), ID: d.text(), Function: d.text(), ARN: d.text(), Trigger: d.text(),
		TenantID: d.text(), TraceID: d.text(), TraceParent: d.text(), Depth: d.int(),
	}
}

func appendAttempts(dst []byte, as []async.Attempt) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(as)))
	for i := range as {
		a := &as[i]
		dst = binary.AppendUvarint(dst, uint64(a.Number))
		dst = appendTime(dst, a.Started)
		dst = binary.AppendUvarint(dst, uint64(max(0, a.Duration)))
		dst = appendText(dst, a.Result)
		dst = appendText(dst, a.Type)
		dst = appendText(dst, a.Message)
	}
	return dst
}

func (d *decoder) attempts() []async.Attempt {
	n := d.count()
	if n == 0 {
		return nil
	}
	as := make([]async.Attempt, 0, min(n, async.MaxAttempts))
	for range n {
		as = append(as, async.Attempt{
			Number: d.int(), Started: d.time(), Duration: time.Duration(d.uint()), Result: d.text(), Type: d.text(), Message: d.text(),
		})
		if d.err != nil {
			return nil
		}
	}
	return as
}

func appendProgress(dst []byte, p *async.Progress) []byte {
	dst = appendTime(dst, p.Next)
	dst = binary.AppendUvarint(dst, uint64(p.Invokes))
	dst = binary.AppendUvarint(dst, uint64(p.Delays))
	dst = appendAttempts(dst, p.Attempts)
	dst = appendBool(dst, p.Last != nil)
	if p.Last != nil {
		dst = appendBool(dst, p.Last.Failed)
		dst = appendText(dst, p.Last.Version)
		dst = appendText(dst, p.Last.Payload)
	}
	return dst
}

func (d *decoder) progress() async.Progress {
	p := async.Progress{Next: d.time(), Invokes: d.int(), Delays: d.int(), Attempts: d.attempts()}
	if d.bool() {
		p.Last = &async.Response{Failed: d.bool(), Version: d.text(), Payload: append([]byte(nil), d.bytes()...)}
	}
	return p
}

// finished is an entry of the ledger, as stored; its payload and response have a value of their own.
type finished struct {
	async.Entry
	kept int // bytes of the value of payload and response
}

var states = [...]async.State{async.Queued, async.Running, async.Succeeded, async.Failed, async.Discarded}

func appendFinished(dst []byte, e *finished) []byte {
	dst = appendEvent(dst, &e.Event)
	for i, s := range states {
		if s == e.State {
			dst = append(dst, byte(i))
		}
	}
	dst = appendText(dst, e.Condition)
	dst = appendTime(dst, e.Finished)
	dst = binary.AppendUvarint(dst, uint64(e.Invokes))
	dst = binary.AppendUvarint(dst, uint64(e.Size))
	dst = appendBool(dst, e.HasPayload)
	dst = appendBool(dst, e.Redacted)
	dst = binary.AppendUvarint(dst, uint64(e.kept))
	dst = appendAttempts(dst, e.Attempts)
	dst = binary.AppendUvarint(dst, uint64(len(e.Deliveries)))
	for i := range e.Deliveries {
		dst = appendDelivery(dst, &e.Deliveries[i], time.Time{})
	}
	return dst
}

func (d *decoder) finished() finished {
	var e finished
	e.Event = d.event()
	state := d.int()
	if state >= len(states) {
		d.fail()
		return e
	}
	e.State = states[state]
	e.Condition, e.Finished, e.Invokes, e.Size = d.text(), d.time(), d.int(), d.int()
	e.HasPayload, e.Redacted, e.kept = d.bool(), d.bool(), d.int()
	e.Attempts = d.attempts()
	for range d.count() {
		v, _ := d.delivery()
		e.Deliveries = append(e.Deliveries, v)
		if d.err != nil {
			break
		}
	}
	return e
}

func appendRecord(dst []byte, r *destinations.Record) []byte {
	dst = appendText(dst, r.ID)
	dst = appendText(dst, r.Function)
	dst = appendText(dst, r.ARN)
	dst = appendBool(dst, r.Success)
	dst = appendText(dst, r.TraceID)
	dst = appendText(dst, r.TraceParent)
	dst = binary.AppendUvarint(dst, uint64(r.Depth))
	return appendText(dst, r.Body)
}

func (d *decoder) record() *destinations.Record {
	return &destinations.Record{
		ID: d.text(), Function: d.text(), ARN: d.text(), Success: d.bool(), TraceID: d.text(), TraceParent: d.text(),
		Depth: d.int(), Body: append([]byte(nil), d.bytes()...),
	}
}

// appendDelivery writes a delivery and, if it is pending by itself, when its event ended.
func appendDelivery(dst []byte, v *async.Delivery, since time.Time) []byte {
	dst = appendText(dst, v.Destination)
	dst = appendText(dst, v.State)
	dst = binary.AppendUvarint(dst, uint64(v.Tries))
	dst = appendTime(dst, v.Last)
	dst = appendText(dst, v.Error)
	return appendTime(dst, since)
}

func (d *decoder) delivery() (v async.Delivery, since time.Time) {
	v = async.Delivery{Destination: d.text(), State: d.text(), Tries: d.int(), Last: d.time(), Error: d.text()}
	return v, d.time()
}

// counts is what the store counts of one function.
type counts struct {
	async.Counts
	size int // bytes of its waiting events
}

func appendCounts(dst []byte, c *counts) []byte {
	for _, v := range []uint64{c.Accepted, c.Succeeded, c.Failed, c.Discarded, uint64(c.size)} {
		dst = binary.AppendUvarint(dst, v)
	}
	return dst
}

func (d *decoder) counts() counts {
	return counts{async.Counts{Accepted: d.uint(), Succeeded: d.uint(), Failed: d.uint(), Discarded: d.uint()}, d.int()}
}

// Keys: one letter, then the place of the event or what else the letter is for.
const (
	keyQueued    = 'q' // place, number of the function: event and payload, until it is over; written once
	keyProgress  = 't' // place: progress of an unfinished event that has been tried
	keyFinished  = 'l' // place: entry of an event that succeeded or was discarded
	keyFailed    = 'x' // place: entry of an event that failed
	keyKept      = 'p' // place: payload and response of an event that is over, as far as they are kept
	keyRecord    = 'd' // place: record for the destinations
	keyParcel    = 'e' // place, index: a pending delivery of that record
	keyDelivered = 'y' // place, index: a delivery that is no longer pending
	keyID        = 'i' // request id: place
	keyCounts    = 'c' // number of a function: counts
	keyFunction  = 'f' // number of a function: name
	keyTotals    = 'k' // last place, bytes kept by the ledger
	keyFormat    = 'v' // format of the store
	formatNumber = "1"
)

type key [13]byte

func placeKey(kind byte, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(append(make([]byte, 0, len(key{})), kind), seq)
}

func numberKey(kind byte, n uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{kind}, n)
}

func idKey(id string) []byte { return append([]byte{keyID}, id...) }

// place is the event of a key that has one.
func place(k []byte) uint64 {
	if len(k) < 9 {
		return 0
	}
	return binary.BigEndian.Uint64(k[1:])
}

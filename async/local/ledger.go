package local

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/cockroachdb/pebble/v2"

	"github.com/millrace/millrace/async"
)

// defaultLimit is how many entries List returns if the query does not say.
const defaultLimit = 100

// List implements async.Store. The three kinds of entry are read side by side, newest first.
func (s *Store) List(ctx context.Context, q async.Query) (_ []async.Entry, _ string, err error) {
	below := uint64(math.MaxUint64)
	if q.After != "" {
		if below, err = strconv.ParseUint(q.After, 36, 64); err != nil {
			return nil, "", fmt.Errorf("%q is not a cursor that List returned", q.After)
		}
	}
	limit := q.Limit
	if limit <= 0 {
		limit = defaultLimit
	}
	if q.ID != "" {
		e, err := s.Get(ctx, q.ID)
		switch {
		case errors.Is(err, async.ErrNotFound):
			return nil, "", nil
		case err != nil:
			return nil, "", err
		case q.After != "" || !matches(&q, &e) || !wants(&q, e.State):
			return nil, "", nil
		}
		e.Payload, e.Response = nil, nil
		return []async.Entry{e}, "", nil
	}
	if err := s.settle(); err != nil {
		return nil, "", err
	}
	snap := s.db.NewSnapshot()
	defer func() { err = errors.Join(err, snap.Close()) }()
	var its []*pebble.Iterator
	defer func() {
		for _, it := range its {
			err = errors.Join(err, it.Close())
		}
	}()
	for _, kind := range kinds(&q) {
		it, err := snap.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: []byte{kind}, UpperBound: []byte{kind + 1}})
		if err != nil {
			return nil, "", err
		}
		its = append(its, it)
		it.SeekLT(placeKey(kind, below))
	}
	var found []async.Entry
	for {
		var newest *pebble.Iterator
		for _, it := range its {
			if it.Valid() && (newest == nil || place(it.Key()) > place(newest.Key())) {
				newest = it
			}
		}
		if newest == nil {
			return found, "", nil
		}
		e, err := s.decode(snap, newest)
		if err != nil {
			return nil, "", err
		}
		if matches(&q, &e) && wants(&q, e.State) {
			e.Response = nil
			found = append(found, e)
		}
		if len(found) == limit {
			return found, strconv.FormatUint(place(newest.Key()), 36), nil
		}
		if err := ctx.Err(); err != nil {
			return nil, "", err
		}
		newest.Prev()
	}
}

// kinds are the kinds of key that hold what q asks for.
func kinds(q *async.Query) []byte {
	if len(q.States) == 0 {
		return []byte{keyQueued, keyFinished, keyFailed}
	}
	var ks []byte
	for _, st := range q.States {
		k := byte(keyFinished)
		switch st { //nolint:exhaustive // the others are finished
		case async.Queued, async.Running:
			k = keyQueued
		case async.Failed:
			k = keyFailed
		}
		if !slices.Contains(ks, k) {
			ks = append(ks, k)
		}
	}
	return ks
}

func wants(q *async.Query, st async.State) bool {
	return len(q.States) == 0 || slices.Contains(q.States, st)
}

// matches tells whether q selects e, its state aside.
func matches(q *async.Query, e *async.Entry) bool {
	return (q.Function == "" || q.Function == e.Function) && (q.ID == "" || q.ID == e.ID) &&
		(q.Since.IsZero() || !e.Accepted.Before(q.Since)) && (q.Until.IsZero() || e.Accepted.Before(q.Until))
}

// decode reads the entry at an iterator, without payload and response.
func (s *Store) decode(db pebble.Reader, it *pebble.Iterator) (async.Entry, error) {
	v, err := it.ValueAndErr()
	if err != nil {
		return async.Entry{}, fmt.Errorf("reading an entry of the ledger: %w", err)
	}
	d := decoder{b: v}
	if it.Key()[0] != keyQueued {
		e := d.finished()
		if d.err != nil || len(e.Deliveries) == 0 {
			return e.Entry, d.err
		}
		return e.Entry, deliveries(db, place(it.Key()), e.Deliveries)
	}
	e := async.Entry{Event: d.event(), State: async.Queued, Size: len(d.b), HasPayload: true}
	if d.err != nil {
		return e, d.err
	}
	return e, progressOf(db, place(it.Key()), &e)
}

// deliveries brings those of an entry, as they were when the event ended, up to date.
func deliveries(db pebble.Reader, seq uint64, ds []async.Delivery) error {
	for _, kind := range []byte{keyParcel, keyDelivered} {
		err := scanRange(db, placeKey(kind, seq), placeKey(kind, seq+1), func(k, v []byte) error {
			d := decoder{b: v}
			if i := int(k[len(k)-1]); i < len(ds) {
				ds[i], _ = d.delivery()
			}
			return d.err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// progressOf fills in how far an unfinished event has come.
func progressOf(db pebble.Reader, seq uint64, e *async.Entry) error {
	v, err := get(db, placeKey(keyProgress, seq))
	if v == nil || err != nil {
		return err
	}
	d := decoder{b: v}
	p := d.progress()
	e.Attempts, e.Invokes, e.Next = p.Attempts, p.Invokes, p.Next
	if p.Last != nil {
		e.Response = p.Last.Payload
	}
	return d.err
}

// Get implements async.Store.
func (s *Store) Get(ctx context.Context, id string) (_ async.Entry, err error) {
	if err := s.settle(); err != nil {
		return async.Entry{}, err
	}
	snap := s.db.NewSnapshot()
	defer func() { err = errors.Join(err, snap.Close()) }()
	v, err := get(snap, idKey(id))
	if err != nil {
		return async.Entry{}, fmt.Errorf("looking up an event: %w", err)
	}
	if len(v) != 8 {
		return async.Entry{}, async.ErrNotFound
	}
	seq := binary.BigEndian.Uint64(v)
	for _, kind := range []byte{keyQueued, keyFailed, keyFinished} {
		e, ok, err := s.at(ctx, snap, kind, seq)
		if ok || err != nil {
			return e, err
		}
	}
	return async.Entry{}, async.ErrNotFound
}

// at reads the entry of one kind at a place, with payload and response.
func (s *Store) at(ctx context.Context, db *pebble.Snapshot, kind byte, seq uint64) (e async.Entry, ok bool, err error) {
	it, err := db.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: placeKey(kind, seq), UpperBound: placeKey(kind, seq+1)})
	if err != nil {
		return e, false, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	if !it.First() {
		return e, false, it.Error()
	}
	if e, err = s.decode(db, it); err != nil {
		return e, false, err
	}
	if kind == keyQueued {
		v, err := it.ValueAndErr()
		if err != nil {
			return e, false, err
		}
		e.Payload = append([]byte(nil), v[len(v)-e.Size:]...)
		return e, true, nil
	}
	v, err := get(db, placeKey(keyKept, seq))
	if err != nil || v == nil {
		return e, err == nil, err
	}
	d := decoder{b: v}
	e.Payload, e.Response = d.bytes(), d.bytes()
	return e, d.err == nil, d.err
}

// Changes to many entries are made so many, or so many bytes of payload, at a time.
const (
	chunkEntries = 256
	chunkBytes   = 4 << 20
)

type found struct {
	seq uint64
	finished
}

// failedAfter returns a chunk of the failed entries from a place on that q selects, oldest first, and the place
// from which to go on; it is 0 at the end.
func (s *Store) failedAfter(ctx context.Context, q *async.Query, from uint64, most int) (fs []found, next uint64, err error) {
	if err := s.settle(); err != nil {
		return nil, 0, err
	}
	if q.ID != "" { // one place at most
		v, err := get(s.db, idKey(q.ID))
		if err != nil || len(v) != 8 {
			return nil, 0, err
		}
		from = binary.BigEndian.Uint64(v)
	}
	it, err := s.db.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: placeKey(keyFailed, from), UpperBound: []byte{keyFailed + 1}})
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	bytes := 0
	for it.First(); it.Valid(); it.Next() {
		if err := ctx.Err(); err != nil {
			return nil, 0, err
		}
		seq := place(it.Key())
		if len(fs) == most || len(fs) == chunkEntries || bytes > chunkBytes {
			return fs, seq, nil
		}
		v, err := it.ValueAndErr()
		if err != nil {
			return nil, 0, err
		}
		d := decoder{b: v}
		e := found{seq, d.finished()}
		if d.err != nil {
			return nil, 0, d.err
		}
		if matches(q, &e.Entry) {
			fs = append(fs, e)
			bytes += e.kept
		}
		if q.ID != "" {
			break
		}
	}
	return fs, 0, it.Error()
}

// eachFailed calls do with chunks of the failed entries that q selects, oldest first, until do has taken
// q.Limit of them. do is called with s.edit held and returns how many it took.
func (s *Store) eachFailed(ctx context.Context, q *async.Query, do func([]found) (int, error)) error {
	left := q.Limit
	if left <= 0 {
		left = math.MaxInt
	}
	s.mu.Lock()
	end := s.seq // entries that fail again meanwhile are not taken twice
	s.mu.Unlock()
	for from := uint64(1); left > 0; {
		next, err := func() (uint64, error) {
			s.edit.Lock()
			defer s.edit.Unlock()
			fs, next, err := s.failedAfter(ctx, q, from, left)
			if err != nil {
				return 0, err
			}
			for len(fs) > 0 && fs[len(fs)-1].seq > end {
				fs, next = fs[:len(fs)-1], 0
			}
			if len(fs) == 0 {
				return next, nil
			}
			n, err := do(fs)
			left -= n
			return next, err
		}()
		if err != nil {
			return err
		}
		if next == 0 || next > end {
			return nil
		}
		from = next
	}
	return nil
}

// Redrive implements async.Store.
func (s *Store) Redrive(ctx context.Context, q async.Query, may func(string) bool, queued func([]async.Pending)) error {
	return s.eachFailed(ctx, &q, func(fs []found) (int, error) {
		var again []async.Stored
		var old []found
		for _, f := range fs {
			if !f.HasPayload || f.Redacted || !may(f.Function) {
				continue
			}
			v, err := get(s.db, placeKey(keyKept, f.seq))
			if err != nil {
				return 0, err
			}
			if v == nil {
				continue
			}
			d := decoder{b: v}
			e := async.Stored{Event: f.Event, Progress: async.Progress{Attempts: f.Attempts}}
			if e.Payload = d.bytes(); d.err != nil {
				return 0, d.err
			}
			e.Accepted = s.clock.Now().UTC()
			again, old = append(again, e), append(old, f)
		}
		if len(again) == 0 {
			return 0, nil
		}
		ps := make([]async.Pending, len(again))
		err := s.change(true, func(g *group) {
			for i := range again {
				e := &again[i]
				fn := s.function(e.Function)
				s.seq++
				s.putQueued(g, s.seq, fn, &e.Event)
				if len(e.Attempts) > 0 {
					s.tried.add(s.seq)
					g.check(g.rest.Set(placeKey(keyProgress, s.seq), appendProgress(nil, &e.Progress), nil))
				}
				s.forget(g, keyFailed, &old[i])
				fn.Failed--
				n := size(&e.Event)
				fn.size += n
				s.waiting += n
				g.touch(fn)
				ps[i] = async.Pending{Seq: s.seq, Function: e.Function, Accepted: e.Accepted}
			}
		})
		if err != nil {
			return 0, err
		}
		queued(ps)
		return len(ps), nil
	})
}

// Purge implements async.Store.
func (s *Store) Purge(ctx context.Context, q async.Query) (map[string]int, error) {
	n := map[string]int{}
	err := s.eachFailed(ctx, &q, func(fs []found) (int, error) {
		err := s.change(true, func(g *group) {
			for i := range fs {
				f := &fs[i]
				s.drop(g, keyFailed, f)
				f.State, f.HasPayload, f.Redacted, f.kept = async.Discarded, false, false, 0
				v := appendFinished(nil, &f.finished)
				g.check(g.rest.Set(placeKey(keyFinished, f.seq), v, nil))
				s.kept += len(v)
				fn := s.function(f.Function)
				fn.Failed--
				fn.Discarded++
				g.touch(fn)
			}
		})
		if err != nil {
			return 0, err
		}
		for i := range fs {
			n[fs[i].Function]++
		}
		return len(fs), nil
	})
	return n, err
}

// forget deletes an entry of the ledger, with what was kept and its deliveries; those that are pending go on.
// The caller holds s.mu.
func (s *Store) forget(g *group, kind byte, f *found) {
	s.drop(g, kind, f)
	if len(f.Deliveries) > 0 {
		g.check(g.rest.DeleteRange(placeKey(keyDelivered, f.seq), placeKey(keyDelivered, f.seq+1), nil))
		if p, ok := s.parcels[f.seq]; ok {
			p.alone = true
			s.parcels[f.seq] = p
		}
	}
}

// drop deletes an entry and what was kept with it. The caller holds s.mu.
func (s *Store) drop(g *group, kind byte, f *found) {
	g.check(g.rest.Delete(placeKey(kind, f.seq), nil))
	if f.kept > 0 {
		g.check(g.rest.SingleDelete(placeKey(keyKept, f.seq), nil)) // it was written once
	}
	s.kept -= len(appendFinished(nil, &f.finished)) + f.kept
}

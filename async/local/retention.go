package local

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/millrace/millrace/internal/clock"
)

// Retention looks for what to drop once in a while, and drops it a little at a time so that acceptances do
// not have to wait.
const (
	retainEvery = 30 * time.Second
	retainPause = 10 * time.Millisecond
)

// retain drops entries of the ledger that are too old or too many, until ctx is done.
func (s *Store) retain(ctx context.Context) {
	for {
		if clock.Sleep(ctx, s.clock, retainEvery) != nil {
			return
		}
		if err := s.prune(ctx); err != nil && ctx.Err() == nil {
			s.log.Error("dropping old entries of the ledger goes wrong and is tried again", "dir", s.dir, "error", err)
		}
	}
}

// prune drops what is too old, and then the oldest while there is too much: those that succeeded first.
func (s *Store) prune(ctx context.Context) error {
	for _, kind := range []byte{keyFinished, keyFailed} {
		from := uint64(1)
		for from != 0 {
			var err error
			if from, err = s.pruneChunk(ctx, kind, from); err != nil {
				return err
			}
			if err := clock.Sleep(ctx, s.clock, retainPause); err != nil {
				return err
			}
		}
	}
	return nil
}

// pruneChunk drops entries from a place on, and returns the place from which to go on; 0 is the end.
func (s *Store) pruneChunk(ctx context.Context, kind byte, from uint64) (next uint64, err error) {
	s.edit.Lock()
	defer s.edit.Unlock()
	if err := s.settle(); err != nil {
		return 0, err
	}
	old := s.clock.Now().Add(-s.conf.Retention.Age)
	s.mu.Lock()
	excess := s.kept - int(s.conf.Retention.Size)
	s.mu.Unlock()

	it, err := s.db.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: placeKey(kind, from), UpperBound: []byte{kind + 1}})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	var drop []found
	for it.First(); it.Valid(); it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return 0, err
		}
		d := decoder{b: v}
		f := found{place(it.Key()), d.finished()}
		if d.err != nil {
			return 0, d.err
		}
		if len(drop) == chunkEntries {
			next = f.seq
			break
		}
		if excess <= 0 && !f.Accepted.Before(old) {
			break // those that follow were accepted later still, and so ended later
		}
		if excess > 0 || f.Finished.Before(old) {
			drop = append(drop, f)
			excess -= len(v) + f.kept
		}
	}
	if err := it.Error(); err != nil || len(drop) == 0 {
		return 0, err
	}
	owners := make([]bool, len(drop))
	for i := range drop {
		v, err := get(s.db, idKey(drop[i].ID))
		if err != nil {
			return 0, err
		}
		owners[i] = len(v) == 8 && binary.BigEndian.Uint64(v) == drop[i].seq
	}
	return next, s.change(false, func(g *group) {
		for i := range drop {
			s.forget(g, kind, &drop[i])
			if owners[i] {
				g.check(g.rest.Delete(idKey(drop[i].ID), nil))
			}
		}
	})
}

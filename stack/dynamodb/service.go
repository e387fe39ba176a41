// Package dynamodb is DynamoDB and DynamoDB Streams for the local stack: tables and indexes, items with conditions and
// transactions, queries and scans, expiry, and change streams whose shards close, succeed one another and are trimmed.
//
// The judge of what it does is https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/Welcome.html. It differs
// in this:
//
//   - A change of a table is done when the call returns; the answer still says CREATING, UPDATING or DELETING.
//   - Indexes are never behind their table, and every read is consistent.
//   - Provisioned throughput is kept and reported, and decides how many shards a stream has, but does not throttle.
//   - Items are deleted within seconds after they expire.
//   - Expiry may be switched on and off as often as one likes.
//   - Encryption and table classes are kept and reported. Nothing is encrypted.
//   - Replicas, backups, exports, resource policies, limits of on-demand throughput, and PartiQL are refused.
package dynamodb

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/millrace/millrace/stack/alarm"
	"github.com/millrace/millrace/stack/dynamodb/attr"
	"github.com/millrace/millrace/stack/dynamodb/expr"
	"github.com/millrace/millrace/stack/env"
	"github.com/millrace/millrace/stack/store"
	"github.com/millrace/millrace/stack/wire"
)

// Service is both services. Its methods may be called concurrently.
type Service struct {
	env      env.Env
	expiries *alarm.Alarm[*table]
	ends     *alarm.Alarm[*stream]
	tokens   *tokens

	mu      sync.RWMutex // a table's or a stream's may be locked while it is held
	tables  map[tableKey]*table
	streams map[string]*stream // by ARN
}

type tableKey struct {
	place
	name string
}

// New returns the service with what is in the store.
func New(e env.Env) (*Service, error) {
	s := &Service{env: e, tokens: newTokens(), tables: map[tableKey]*table{}, streams: map[string]*stream{}}
	s.expiries = alarm.New(e.Clock, e.Go, s.sweep)
	s.ends = alarm.New(e.Clock, e.Go, s.endStream)
	return s, s.load()
}

// Reset forgets all tables and streams.
func (s *Service) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expiries.Clear()
	s.ends.Clear()
	for _, t := range s.tables {
		t.mu.Lock()
		t.gone = true
		t.mu.Unlock()
	}
	for _, st := range s.streams {
		st.mu.Lock()
		st.gone = true
		st.mu.Unlock()
	}
	s.tables, s.streams = map[tableKey]*table{}, map[string]*stream{}
	s.tokens.reset()
	var b store.Batch
	b.DeletePrefix(root)
	c := s.env.Store.Commit(&b)
	if err := c.Wait(); err != nil {
		s.env.Log.Error("the tables could not be removed from the disk", "error", err)
	}
}

const errorSpace = "com.amazonaws.dynamodb.v20120810#"

// API lists the operations of DynamoDB and of DynamoDB Streams.
func (s *Service) API() []wire.Service {
	return []wire.Service{{
		Name: "dynamodb", Target: "DynamoDB_20120810", JSONVersion: "1.0", ErrorSpace: errorSpace,
		Throttled: wire.Error{Code: "ProvisionedThroughputExceededException", Message: "The level of configured provisioned throughput " +
			"for the table was exceeded. Consider increasing your provisioning level with the UpdateTable API."},
		Operations: []wire.Operation{
			wire.Op("BatchGetItem", s.batchGetItem),
			wire.Op("BatchWriteItem", s.batchWriteItem),
			wire.Op("CreateTable", s.createTable),
			wire.Op("DeleteItem", s.deleteItem),
			wire.Op("DeleteTable", s.deleteTable),
			wire.Op("DescribeContinuousBackups", s.describeContinuousBackups),
			wire.Op("DescribeEndpoints", s.describeEndpoints),
			wire.Op("DescribeLimits", s.describeLimits),
			wire.Op("DescribeTable", s.describeTable),
			wire.Op("DescribeTimeToLive", s.describeTimeToLive),
			wire.Op("GetItem", s.getItem),
			wire.Op("ListTables", s.listTables),
			wire.Op("ListTagsOfResource", s.listTagsOfResource),
			wire.Op("PutItem", s.putItem),
			wire.Op("Query", s.query),
			wire.Op("Scan", s.scan),
			wire.Op("TagResource", s.tagResource),
			wire.Op("TransactGetItems", s.transactGetItems),
			wire.Op("TransactWriteItems", s.transactWriteItems),
			wire.Op("UntagResource", s.untagResource),
			wire.Op("UpdateItem", s.updateItem),
			wire.Op("UpdateTable", s.updateTable),
			wire.Op("UpdateTimeToLive", s.updateTimeToLive),
		},
	}, {
		Name: "dynamodbstreams", Target: "DynamoDBStreams_20120810", JSONVersion: "1.0", ErrorSpace: errorSpace,
		Throttled: wire.Error{Code: "LimitExceededException", Message: "The request rate is too high."},
		Operations: []wire.Operation{
			wire.Op("DescribeStream", s.describeStream),
			wire.Op("GetRecords", s.getRecords).Twice(),
			wire.Op("GetShardIterator", s.getShardIterator),
			wire.Op("ListStreams", s.listStreams),
		},
	}}
}

// refused turns DynamoDB's message about an expression into a refusal, and leaves other errors alone.
func refused(err error) error {
	var e *expr.Error
	if errors.As(err, &e) {
		return invalid(e.Message)
	}
	return err
}

func invalid(message string) error { return &wire.Error{Code: "ValidationException", Message: message} }

func invalidf(format string, args ...any) error {
	return wire.Errorf("ValidationException", format, args...)
}

// parametersInvalid is what most of DynamoDB's refusals begin with.
const parametersInvalid = "One or more parameter values were invalid: "

// notFound is the refusal of operations on items; those on tables name the table.
func notFound(name string) error {
	if name == "" {
		return wire.Errorf("ResourceNotFoundException", "Requested resource not found")
	}
	return wire.Errorf("ResourceNotFoundException", "Requested resource not found: Table: %s not found", name)
}

// locate reads a table's name or ARN.
func locate(r *wire.Request, name string) tableKey {
	k := tableKey{place{r.Account, r.Region}, name}
	if parts := strings.SplitN(name, ":", 6); len(parts) == 6 && parts[0] == "arn" {
		if n, ok := strings.CutPrefix(parts[5], "table/"); ok {
			k = tableKey{place{parts[4], parts[3]}, n}
		}
	}
	return k
}

// table finds a table by its name or ARN.
func (s *Service) table(r *wire.Request, name string) *table {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.tables[locate(r, name)]
}

// writing is a set of changes of locked tables that become durable together: begin, write and end while the tables are
// locked, wait when they are not.
type writing struct {
	s       *Service
	now     time.Time
	tables  []*table
	batch   store.Batch
	commit  store.Commit
	streams []written // in a durable stack
}

// written is how far a stream was written.
type written struct {
	stream   *stream
	sequence uint64
}

// begin begins changes of tables whose mu the caller holds, and locks their streams.
func (s *Service) begin(now time.Time, tables ...*table) *writing {
	x := &writing{s: s, now: now, tables: tables}
	for _, t := range tables {
		if t.stream != nil {
			t.stream.mu.Lock()
			if t.stream.durable {
				t.stream.batch = &x.batch
			}
		}
	}
	return x
}

// write changes an item: old is what is in its place, new what will be, nil for nothing. A change that changes nothing
// leaves no trace.
func (x *writing) write(t *table, key string, old *entry, new attr.Item, expired bool) {
	var before attr.Item
	if old != nil {
		before = old.item
	}
	if before == nil && new == nil || before != nil && new != nil && before.Equal(new) {
		return
	}
	t.set(key, old, new)
	if x.s.env.Store.Durable() {
		if new == nil {
			x.batch.Delete(itemKey(t.ID, key))
		} else {
			x.batch.Set(itemKey(t.ID, key), new.AppendJSON(nil))
		}
	}
	if t.stream != nil {
		t.stream.write(key, before, new, expired, x.now)
	}
}

// end puts the changes in line for the disk, in the order in which the tables were locked, and unlocks the streams.
func (x *writing) end() {
	x.commit = x.s.env.Store.Commit(&x.batch)
	if x.batch.Empty() { // what the answer rests on may be another request's
		x.commit = x.s.env.Store.Barrier()
	}
	for _, t := range x.tables {
		if st := t.stream; st != nil {
			if st.durable {
				st.batch = nil
				x.streams = append(x.streams, written{st, st.sequence})
			}
			st.mu.Unlock()
		}
		x.s.watch(t)
	}
}

// wait returns once the changes are durable.
func (x *writing) wait() error {
	if err := x.commit.Wait(); err != nil {
		return err
	}
	for _, w := range x.streams {
		w.stream.synced(w.sequence)
	}
	return nil
}

// sortForLocking brings tables into the order in which all transactions lock them.
func sortForLocking(tables []*table) {
	slices.SortFunc(tables, func(a, b *table) int { return cmp.Compare(a.ID, b.ID) })
}

// lockAll locks tables for writing.
func lockAll(tables []*table) (unlock func()) {
	sortForLocking(tables)
	for _, t := range tables {
		t.mu.Lock()
	}
	return func() {
		for _, t := range tables {
			t.mu.Unlock()
		}
	}
}

// readLockAll locks tables for reading.
func readLockAll(tables []*table) (unlock func()) {
	sortForLocking(tables)
	for _, t := range tables {
		t.mu.RLock()
	}
	return func() {
		for _, t := range tables {
			t.mu.RUnlock()
		}
	}
}

// endStream removes a stream that was disabled a day ago.
func (s *Service) endStream(_ context.Context, st *stream, _ time.Time) {
	commit := s.dropStream(st)
	if err := commit.Wait(); err != nil {
		s.env.Log.Error("a stream that has ended could not be removed from the disk", "stream", st.arn, "error", err)
	}
}

func (s *Service) dropStream(st *stream) (c store.Commit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.gone {
		return c
	}
	if !st.ended(s.env.Clock.Now()) {
		s.ends.Set(st, st.Disabled.Add(retention))
		return c
	}
	st.gone = true
	delete(s.streams, st.arn)
	var b store.Batch
	st.erase(&b)
	return s.env.Store.Commit(&b)
}

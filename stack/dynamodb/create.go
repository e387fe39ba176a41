package dynamodb

import (
	"context"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/stack/store"
	"github.com/millrace/millrace/stack/wire"
)

// encryption is what a table's SSESpecification makes of what it has.
func (s *Service) encryption(p place, in *sseSpecification, old *sseDescription) (*sseDescription, error) {
	enabled := in.Enabled != nil && *in.Enabled
	switch {
	case !enabled && in.SSEType != "":
		return nil, invalid(parametersInvalid + "SSEType can not be specified if Enabled is false")
	case !enabled && in.KMSMasterKeyID != "":
		return nil, invalid(parametersInvalid + "KMSMasterKeyId can not be specified if Enabled is false")
	case in.SSEType == "AES256":
		return nil, invalid(parametersInvalid + "SSEType AES256 is not supported")
	case !enabled:
		return nil, nil
	}
	key := in.KMSMasterKeyID
	switch {
	case key == "" && old != nil:
		return old, nil
	case key == "":
		key = "arn:aws:kms:" + p.region + ":" + p.account + ":key/" + uuid.NewString()
	case strings.HasPrefix(key, "alias/"):
		key = "arn:aws:kms:" + p.region + ":" + p.account + ":" + key
	case !strings.HasPrefix(key, "arn:"):
		key = "arn:aws:kms:" + p.region + ":" + p.account + ":key/" + key
	}
	return &sseDescription{Status: "ENABLED", SSEType: "KMS", KMSMasterKeyArn: key}, nil
}

func (s *Service) createTable(_ context.Context, r *wire.Request, in *createTableInput) (*tableOutput, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	d, err := in.define()
	if err != nil {
		return nil, err
	}
	where := place{r.Account, r.Region}
	if in.SSESpecification != nil {
		if d.SSE, err = s.encryption(where, in.SSESpecification, nil); err != nil {
			return nil, err
		}
	}
	now := s.now()
	d.ID, d.Created = uuid.NewString(), now
	if d.OnDemand {
		d.OnDemandSince = now
	}
	t := newTable(where, d)

	s.mu.Lock()
	if s.tables[tableKey{where, d.Name}] != nil {
		s.mu.Unlock()
		return nil, wire.Errorf("ResourceInUseException", "Table already exists: %s", d.Name)
	}
	if s.countTables(where) >= maxTables {
		s.mu.Unlock()
		return nil, wire.Errorf("LimitExceededException",
			"Subscriber limit exceeded: There is a limit of %d tables per subscriber", maxTables)
	}
	var b store.Batch
	if spec := in.StreamSpecification; spec != nil && *spec.StreamEnabled {
		s.enableStream(t, viewType(spec.StreamViewType), now, &b)
	}
	t.keep(&b)
	s.tables[tableKey{where, d.Name}] = t
	out := t.describe(now)
	commit := s.env.Store.Commit(&b)
	s.mu.Unlock()
	if err := commit.Wait(); err != nil {
		return nil, err
	}
	out.creating()
	return &tableOutput{out}, nil
}

func (s *Service) countTables(p place) int {
	n := 0
	for k := range s.tables {
		if k.place == p {
			n++
		}
	}
	return n
}

// now is the stack's time as DynamoDB shows it, in milliseconds.
func (s *Service) now() time.Time { return s.env.Clock.Now().UTC().Truncate(time.Millisecond) }

func (s *Service) newStream(p place, d streamDefinition) *stream {
	return &stream{place: p, arn: tableARN(p, d.Table) + "/stream/" + d.Label, durable: s.env.Store.Durable(), streamDefinition: d}
}

// enableStream gives a table a new stream. The caller holds s.mu, and t.mu unless the table is new.
func (s *Service) enableStream(t *table, view viewType, now time.Time, b *store.Batch) {
	d := streamDefinition{ID: uuid.NewString(), Table: t.Name, View: view, Keys: t.Keys, Created: now}
	for at := now; ; at = at.Add(time.Millisecond) { // two streams of one name may not have the same label
		d.Label = at.Format(labelLayout)
		if s.streams[tableARN(t.place, t.Name)+"/stream/"+d.Label] == nil {
			break
		}
	}
	st := s.newStream(t.place, d)
	if st.durable {
		st.batch = b
	}
	st.keep()
	st.openShards(t.partitions(), now)
	st.batch = nil
	s.streams[st.arn] = st
	t.stream, t.StreamID, t.StreamLabel = st, st.ID, st.Label
}

// partitions is how many partitions AWS gives a table, of which each has a shard in its stream: one for 1,000 writes
// or 3,000 reads a second.
func (d *definition) partitions() int {
	read, write := d.Read, d.Write
	if d.OnDemand {
		read, write = onDemandRead, onDemandWrite
	}
	if d.Warm != nil {
		read, write = max(read, d.Warm.ReadUnitsPerSecond), max(write, d.Warm.WriteUnitsPerSecond)
	}
	most := max((read+2999)/3000, (write+999)/1000, 1)
	return int(min(most, 128))
}

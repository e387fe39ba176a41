package sqs

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/millrace/millrace/stack/store"
)

// What a durable stack keeps. All keys begin with "sqs/" and a letter:
//
//	sqs/q/<queue>          a queue's attributes and tags (queueRecord)
//	sqs/m/<queue>/<order>  a message
//	sqs/r/<queue>/<order>  how often the message has been received
//	sqs/d/<queue>/<id>     a deduplication id
//	sqs/n/<queue>          the order that has been reserved
//	sqs/t/<queue>          the tasks that move the queue's messages
//	sqs/x/<place>          when a queue of that name was deleted
//
// Queues are named by their id, orders are 8 bytes, the highest first. A message that is received stays as it is, and
// is visible again after a restart.
const (
	keyQueue     = "sqs/q/"
	keyMessage   = "sqs/m/"
	keyReceipt   = "sqs/r/"
	keyDedup     = "sqs/d/"
	keyReserved  = "sqs/n/"
	keyTasks     = "sqs/t/"
	keyDeleted   = "sqs/x/"
	reserveOrder = 1 << 12 // orders that one write reserves
)

func (id queueID) String() string { return hex.EncodeToString(id[:]) }

func parseQueueID(s string) (id queueID, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(id) {
		return id, fmt.Errorf("%q is not the id of a queue", s)
	}
	copy(id[:], b)
	return id, nil
}

func (q *queue) messageKey(kind string, order uint64) string {
	b := make([]byte, 0, len(kind)+2*len(q.id)+9)
	b = append(b, kind...)
	b = hex.AppendEncode(b, q.id[:])
	b = append(b, '/')
	return string(binary.BigEndian.AppendUint64(b, order))
}

// reserve makes sure that no order is given twice, also after a crash.
func (q *queue) reserve() {
	if q.last <= q.reserved || !q.store.Durable() {
		return
	}
	q.reserved = q.last + reserveOrder
	q.changes.Set(keyReserved+q.id.String(), binary.BigEndian.AppendUint64(nil, q.reserved))
}

func (q *queue) saveMessage(m *message, visible int64) {
	if q.store.Durable() {
		q.changes.Set(q.messageKey(keyMessage, m.order), encodeMessage(m, visible))
	}
}

func (q *queue) saveReceipt(m *message) {
	if q.store.Durable() {
		q.changes.Set(q.messageKey(keyReceipt, m.order), encodeReceipt(m))
	}
}

func (q *queue) eraseMessage(m *message) { q.eraseFor(q, m) }

// eraseFor erases a message of q together with the changes of another queue, to which it moves.
func (q *queue) eraseFor(to *queue, m *message) {
	if q.store.Durable() {
		to.changes.Delete(q.messageKey(keyMessage, m.order))
		if m.handle > 0 {
			to.changes.Delete(q.messageKey(keyReceipt, m.order))
		}
	}
}

// eraseAll erases the messages, and which have been sent.
func (q *queue) eraseAll() {
	if q.store.Durable() {
		for _, kind := range []string{keyMessage, keyReceipt, keyDedup} {
			q.changes.DeletePrefix(kind + q.id.String() + "/")
		}
	}
}

func (q *queue) dedupKey(e *sentBefore) string {
	return keyDedup + q.id.String() + "/" + e.key.group + " " + e.key.id // ids have no spaces
}

func (q *queue) saveSent(e *sentBefore) {
	if q.store.Durable() {
		b := binary.AppendVarint(nil, e.expires)
		b = binary.AppendUvarint(b, e.order)
		q.changes.Set(q.dedupKey(e), append(b, e.message...))
	}
}

func (q *queue) eraseSent(e *sentBefore) {
	if q.store.Durable() {
		q.changes.Delete(q.dedupKey(e))
	}
}

// queueRecord is what is kept of a queue.
type queueRecord struct {
	Account, Region, Name     string
	Created, Modified, Purged int64
	Attributes, Tags          map[string]string
}

func (q *queue) saveQueue() error {
	if !q.store.Durable() {
		return nil
	}
	b, err := json.Marshal(queueRecord{
		Account: q.account, Region: q.region, Name: q.name, Created: q.created, Modified: q.modified, Purged: q.purged,
		Attributes: q.settings.Load().values, Tags: q.tags,
	})
	if err != nil {
		return fmt.Errorf("encoding the queue %s: %w", q.name, err)
	}
	q.changes.Set(keyQueue+q.id.String(), b)
	return nil
}

func (q *queue) eraseQueue() {
	if q.store.Durable() {
		q.eraseAll()
		for _, kind := range []string{keyQueue, keyReserved, keyTasks} {
			q.changes.Delete(kind + q.id.String())
		}
	}
}

const messageVersion = 1

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func encodeMessage(m *message, visible int64) []byte {
	b := make([]byte, 0, len(m.body)+160)
	b = append(b, messageVersion)
	b = appendString(b, m.id)
	b = appendString(b, m.body)
	b = binary.AppendUvarint(b, uint64(len(m.attributes)))
	for i := range m.attributes {
		a := &m.attributes[i]
		b = appendString(b, a.name)
		b = appendString(b, a.dataType)
		b = appendString(b, a.value)
	}
	for _, s := range []string{m.trace, m.group, m.dedup, m.sender, m.source} {
		b = appendString(b, s)
	}
	grouped := uint64(0)
	if m.grouped {
		grouped = 1
	}
	b = binary.AppendUvarint(b, grouped)
	for _, n := range []int64{m.sent, visible, int64(m.total), int64(m.received), m.first} {
		b = binary.AppendVarint(b, n)
	}
	return b
}

var errRecord = errors.New("it is cut short or not of this version")

// reader reads what the append functions have written. After a fault it returns zeros.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) string() string {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return ""
	}
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

func decodeMessage(b []byte) (m *message, visible int64, err error) {
	if len(b) == 0 || b[0] != messageVersion {
		return nil, 0, errRecord
	}
	r := reader{b: b[1:]}
	m = &message{id: r.string(), body: r.string()}
	n := r.uvarint()
	if n > maxAttributes {
		return nil, 0, errRecord
	}
	for range n {
		m.attributes = append(m.attributes, attribute{name: r.string(), dataType: r.string(), value: r.string()})
	}
	m.trace, m.group, m.dedup, m.sender, m.source = r.string(), r.string(), r.string(), r.string(), r.string()
	m.grouped = r.uvarint() == 1
	m.sent, visible = r.varint(), r.varint()
	m.total, m.received, m.first = int(r.varint()), int(r.varint()), r.varint()
	if r.bad || len(r.b) > 0 {
		return nil, 0, errRecord
	}
	m.md5, m.attributesMD5 = md5Hex(m.body), attributesDigest(m.attributes)
	return m, visible, nil
}

func encodeReceipt(m *message) []byte {
	b := binary.AppendVarint(nil, int64(m.total))
	b = binary.AppendVarint(b, int64(m.received))
	b = binary.AppendUvarint(b, uint64(m.handle))
	b = binary.AppendVarint(b, m.first)
	return binary.AppendVarint(b, m.last)
}

func (m *message) decodeReceipt(b []byte) error {
	r := reader{b: b}
	m.total, m.received, m.handle, m.first, m.last = int(r.varint()), int(r.varint()), uint32(r.uvarint()), r.varint(), r.varint()
	if r.bad || len(r.b) > 0 {
		return errRecord
	}
	return nil
}

// load reads the state back.
func (s *Service) load() error {
	if !s.env.Store.Durable() {
		return nil
	}
	now := s.env.Clock.Now().UnixNano()
	byID := map[string]*queue{}
	// each calls f for the keys of a kind, with the queue's id and what follows it.
	each := func(kind string, f func(q *queue, rest string, value []byte) error) error {
		return s.env.Store.Load(kind, func(key string, value []byte) error {
			id, rest, _ := strings.Cut(key[len(kind):], "/")
			q := byID[id]
			if q == nil {
				return nil // of a queue that was deleted while it was written
			}
			if err := f(q, rest, value); err != nil {
				return fmt.Errorf("reading the queue %s back: the record %q: %w", q.name, kind, err)
			}
			return nil
		})
	}
	return errors.Join(
		s.env.Store.Load(keyQueue, func(key string, value []byte) error {
			q, err := s.loadQueue(key[len(keyQueue):], value)
			if err != nil {
				return fmt.Errorf("reading a queue back: %w", err)
			}
			byID[q.id.String()] = q
			return nil
		}),
		each(keyReserved, func(q *queue, _ string, value []byte) error {
			if len(value) != 8 {
				return errRecord
			}
			q.reserved = binary.BigEndian.Uint64(value)
			q.last = q.reserved
			return nil
		}),
		each(keyMessage, func(q *queue, rest string, value []byte) error {
			m, visible, err := decodeMessage(value)
			if err != nil || len(rest) != 8 {
				return errors.Join(err, errRecord)
			}
			m.order = binary.BigEndian.Uint64([]byte(rest))
			q.insert(m, now, visible)
			q.received[m.order] = m
			return nil
		}),
		each(keyReceipt, func(q *queue, rest string, value []byte) error {
			if len(rest) != 8 {
				return errRecord
			}
			m := q.received[binary.BigEndian.Uint64([]byte(rest))]
			if m == nil {
				return nil
			}
			return m.decodeReceipt(value)
		}),
		each(keyDedup, func(q *queue, rest string, value []byte) error {
			group, id, _ := strings.Cut(rest, " ")
			r := reader{b: value}
			e := &sentBefore{key: dedupID{group, id}, expires: r.varint(), order: r.uvarint()}
			e.message = string(r.b)
			if r.bad {
				return errRecord
			}
			q.dedup.add(e)
			return nil
		}),
		each(keyTasks, func(q *queue, _ string, value []byte) error { return q.loadTasks(value) }),
		s.env.Store.Load(keyDeleted, func(key string, value []byte) error {
			p := strings.Split(key[len(keyDeleted):], "/")
			r := reader{b: value}
			if at := r.varint(); len(p) == 3 && !r.bad {
				s.deleted[place{p[0], p[1], p[2]}] = at
			}
			return nil
		}),
		s.resume(byID),
	)
}

// resume finishes what load has read: it orders what was read by key, and goes on with the tasks.
func (s *Service) resume(all map[string]*queue) error {
	for _, q := range all {
		slices.SortFunc(q.dedup.fifo, func(a, b *sentBefore) int { return int(min(1, max(-1, a.expires-b.expires))) })
		for _, t := range q.tasks {
			if t.status == taskRunning {
				s.run(q, t)
			}
		}
	}
	return nil
}

func (s *Service) loadQueue(id string, value []byte) (*queue, error) {
	var r queueRecord
	if err := json.Unmarshal(value, &r); err != nil {
		return nil, err
	}
	qid, err := parseQueueID(id)
	if err != nil {
		return nil, err
	}
	set, err := newSettings(r.Attributes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.Name, err)
	}
	q := s.newQueue(place{r.Account, r.Region, r.Name}, qid, r.Created)
	q.modified, q.purged, q.fifo = r.Modified, r.Purged, set.fifo
	if r.Tags != nil {
		q.tags = r.Tags
	}
	q.settings.Store(set)
	s.queues[q.place] = q
	return q, nil
}

func (s *Service) saveDeleted(b *store.Batch, p place, at int64) {
	if s.env.Store.Durable() {
		b.Set(keyDeleted+p.account+"/"+p.region+"/"+p.name, binary.AppendVarint(nil, at))
	}
}

func (s *Service) eraseDeleted(b *store.Batch, p place) {
	if s.env.Store.Durable() {
		b.Delete(keyDeleted + p.account + "/" + p.region + "/" + p.name)
	}
}

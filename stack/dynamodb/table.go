package dynamodb

import (
	"slices"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/tidwall/btree"

	"github.com/millrace/millrace/stack/dynamodb/attr"
)

// place is where tables live: names are unique in it.
type place struct{ account, region string }

// keyAttr is an attribute of a key.
type keyAttr struct {
	name string
	typ  attr.Type
}

// table is a table with its items.
type table struct {
	place
	arn string

	// mu orders the changes of everything below. Whoever holds it may lock one stream's, not the other way round.
	mu   sync.RWMutex
	gone bool // deleted: nothing may be written any more
	definition

	hash  keyAttr
	sort  keyAttr // without a name if the table has none
	types map[string]attr.Type

	items    btree.Map[string, *entry] // by key
	size     int64                     // of the items, in bytes
	indexes  []*index
	stream   *stream                   // nil if none is enabled
	expiring btree.Map[string, *entry] // by time and key, if items expire
	watched  time.Time                 // when expired items are looked for next; zero if they are not
}

// entry is an item in its place. It is guarded by the table's mu.
type entry struct {
	item attr.Item // never changes; a new one takes its place
	size int
}

// index is a secondary index. It is guarded by the table's mu.
type index struct {
	indexDefinition
	hash, sort keyAttr
	projected  []string // names of attributes; nil if all are
	items      btree.Map[string, *entry]
	size       int64
}

// definition is what a table was made with and what was changed since: what is kept on the disk besides the items.
type definition struct {
	Name, ID   string
	Created    time.Time
	Attributes []attributeDefinition
	Keys       []keyElement
	throughputState
	OnDemand      bool
	OnDemandSince time.Time // zero if it never was
	Warm          *warmDescription
	Local         []indexDefinition
	Global        []indexDefinition
	StreamID      string // of the stream that is enabled, empty if none is
	StreamLabel   string // of the latest stream
	TTL           string // the attribute by which items expire, empty if they do not
	Tags          []tag
	Protected     bool
	Class         string
	ClassChanged  time.Time
	SSE           *sseDescription
}

// throughputState is the provisioned throughput of a table or index.
type throughputState struct {
	Read, Write          int64
	Increased, Decreased time.Time
	DecreasesToday       int64 // on the day of Decreased
}

type indexDefinition struct {
	Name       string
	Keys       []keyElement
	Projection projection
	Global     bool
	throughputState
	Warm *warmDescription
}

// newTable makes a table of its definition, without items.
func newTable(p place, d definition) *table {
	t := &table{place: p, arn: tableARN(p, d.Name), definition: d}
	t.setTypes()
	t.hash, t.sort = t.keyAttrs(d.Keys)
	for _, def := range slices.Concat(d.Local, d.Global) {
		t.indexes = append(t.indexes, t.newIndex(def))
	}
	return t
}

func tableARN(p place, name string) string {
	return "arn:aws:dynamodb:" + p.region + ":" + p.account + ":table/" + name
}

func (t *table) setTypes() {
	t.types = make(map[string]attr.Type, len(t.Attributes))
	for _, a := range t.Attributes {
		t.types[a.AttributeName], _ = attr.ParseType(a.AttributeType)
	}
}

func (t *table) keyAttrs(keys []keyElement) (hash, sort keyAttr) {
	hash = keyAttr{keys[0].AttributeName, t.types[keys[0].AttributeName]}
	if len(keys) > 1 {
		sort = keyAttr{keys[1].AttributeName, t.types[keys[1].AttributeName]}
	}
	return hash, sort
}

func (t *table) newIndex(def indexDefinition) *index {
	x := &index{indexDefinition: def}
	x.hash, x.sort = t.keyAttrs(def.Keys)
	if def.Projection.ProjectionType != "ALL" {
		x.projected = append([]string{x.hash.name, t.hash.name}, def.Projection.NonKeyAttributes...)
		for _, k := range []keyAttr{x.sort, t.sort} {
			if k.name != "" {
				x.projected = append(x.projected, k.name)
			}
		}
		slices.Sort(x.projected)
		x.projected = slices.Compact(x.projected)
	}
	return x
}

// fill puts all items of the table into an index.
func (t *table) fill(x *index) {
	t.items.Scan(func(_ string, e *entry) bool {
		if key, ok := t.indexKey(x, e.item); ok {
			x.items.Set(key, e)
			x.size += int64(x.project(e.item).Size())
		}
		return true
	})
}

func (t *table) index(name string) *index {
	for _, x := range t.indexes {
		if x.Name == name {
			return x
		}
	}
	return nil
}

// keyNames are the names of the table's key attributes.
func (t *table) keyNames() []string {
	if t.sort.name == "" {
		return []string{t.hash.name}
	}
	return []string{t.hash.name, t.sort.name}
}

// appendHash appends what the keys of all items of one partition key begin with. Partitions are spread by a hash, which
// a scan's segments and a stream's shards divide.
func appendHash(dst []byte, v attr.Value) []byte {
	h := xxhash.Sum64String(v.Text())
	for shift := 56; shift >= 0; shift -= 8 {
		dst = append(dst, byte(h>>shift))
	}
	return v.AppendKey(dst)
}

// hashOf is the hash that a key begins with.
func hashOf(key string) uint64 {
	var h uint64
	for i := range 8 {
		h = h<<8 | uint64(key[i])
	}
	return h
}

// key is where an item is in the table. Its key attributes must be there.
func (t *table) key(item attr.Item) string {
	var buf [128]byte
	v, _ := item.Get(t.hash.name)
	b := appendHash(buf[:0], v)
	if t.sort.name != "" {
		v, _ = item.Get(t.sort.name)
		b = v.AppendKey(b)
	}
	return string(b)
}

// indexKey is where an item is in an index, if it is there: items without one of the index's keys are not.
func (t *table) indexKey(x *index, item attr.Item) (string, bool) {
	var buf [256]byte
	v, ok := item.Get(x.hash.name)
	if !ok || v.Type() != x.hash.typ {
		return "", false
	}
	b := appendHash(buf[:0], v)
	if x.sort.name != "" {
		v, ok := item.Get(x.sort.name)
		if !ok || v.Type() != x.sort.typ {
			return "", false
		}
		b = v.AppendKey(b)
	}
	v, _ = item.Get(t.hash.name)
	b = v.AppendKey(b)
	if t.sort.name != "" {
		v, _ = item.Get(t.sort.name)
		b = v.AppendKey(b)
	}
	return string(b), true
}

// project is what the index has of an item.
func (x *index) project(item attr.Item) attr.Item {
	if x.projected == nil {
		return item
	}
	return item.Only(x.projected...)
}

// set puts an item into the table and its indexes, or takes it out if item is nil. old is what is there.
func (t *table) set(key string, old *entry, item attr.Item) {
	var before attr.Item
	if old != nil {
		before = old.item
		t.size -= int64(old.size)
	}
	e := old
	switch {
	case item == nil:
		t.items.Delete(key)
	case old == nil:
		e = &entry{}
		t.items.Set(key, e)
	}
	for _, x := range t.indexes {
		t.setIndex(x, e, before, item)
	}
	if t.TTL != "" {
		t.setExpiry(key, e, before, item)
	}
	if item != nil {
		e.item, e.size = item, item.Size()
		t.size += int64(e.size)
	}
}

func (t *table) setIndex(x *index, e *entry, before, after attr.Item) {
	var from, to string
	var was, is bool
	if before != nil {
		if from, was = t.indexKey(x, before); was {
			x.size -= int64(x.project(before).Size())
		}
	}
	if after != nil {
		if to, is = t.indexKey(x, after); is {
			x.size += int64(x.project(after).Size())
		}
	}
	if was && (!is || from != to) {
		x.items.Delete(from)
	}
	if is && (!was || from != to) {
		x.items.Set(to, e)
	}
}

// next is the least string that is after all strings with a prefix, "" if there is none.
func next(prefix string) string {
	b := []byte(prefix)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i]++; b[i] != 0 {
			return string(b[:i+1])
		}
	}
	return ""
}

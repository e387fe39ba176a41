package dynamodb

import (
	"context"
	"slices"

	"github.com/millrace/millrace/stack/dynamodb/attr"
	"github.com/millrace/millrace/stack/wire"
)

// Limits of batches.
const (
	maxBatchGet   = 100
	maxBatchWrite = 25
	maxBatchBytes = 16 << 20
)

const duplicateKeys = "Provided list of item keys contains duplicates"

func (s *Service) batchGetItem(_ context.Context, r *wire.Request, in *batchGetItemInput) (*batchGetItemOutput, error) {
	names := sortedNames(in.RequestItems)
	var c wire.Check
	checkEnum(&c, "returnConsumedCapacity", in.ReturnConsumedCapacity, returnCapacity)
	c.Required("requestItems", in.RequestItems != nil)
	if in.RequestItems != nil && len(names) == 0 {
		c.Count("requestItems", "{}", 0, 1, 0)
	}
	total := 0
	for _, name := range names {
		member := "requestItems." + name + ".member."
		checkTable(&c, "requestItems", name)
		c.Required(member+"keys", in.RequestItems[name].Keys != nil)
		n := len(in.RequestItems[name].Keys)
		if in.RequestItems[name].Keys != nil && (n == 0 || n > maxBatchGet) {
			c.Count(member+"keys", shown(n), n, 1, maxBatchGet)
		}
		checkAttributesToGet(&c, member+"attributesToGet", in.RequestItems[name].AttributesToGet)
		total += n
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	if total > maxBatchGet {
		return nil, invalid("Too many items requested for the BatchGetItem call")
	}
	out := &batchGetItemOutput{Responses: map[string][]attr.Item{}, UnprocessedKeys: map[string]keysAndAttributes{}}
	used := &consumption{level: in.ReturnConsumedCapacity}
	room := maxBatchBytes
	for _, name := range names {
		if err := s.batchGetTable(r, name, in.RequestItems[name], out, used, &room); err != nil {
			return nil, err
		}
	}
	out.ConsumedCapacity = used.all()
	return out, nil
}

func (s *Service) batchGetTable(r *wire.Request, name string, in keysAndAttributes, out *batchGetItemOutput, used *consumption, room *int) error {
	chosen, err := choose(in.AttributesToGet, in.ProjectionExpression, in.ExpressionAttributeNames, "")
	if err != nil {
		return err
	}
	for i, key := range in.Keys {
		if err := problem(key.Problem()); err != nil {
			return err
		}
		if slices.ContainsFunc(in.Keys[:i], key.Equal) {
			return invalid(duplicateKeys)
		}
	}
	t := s.table(r, name)
	if t == nil {
		return notFound("")
	}
	list := []attr.Item{}
	t.mu.RLock()
	defer t.mu.RUnlock()
	for i, key := range in.Keys {
		item, err := t.get(key, chosen)
		if err != nil {
			return err
		}
		if *room -= item.Size(); *room < 0 {
			in.Keys = in.Keys[i:]
			out.UnprocessedKeys[name] = in
			break
		}
		used.take(t, nil, readUnits(item.Size(), in.ConsistentRead))
		if item == nil {
			continue
		}
		if chosen != nil {
			item = chosen.Apply(item)
		}
		list = append(list, item)
	}
	out.Responses[name] = list
	return nil
}

func (s *Service) batchWriteItem(_ context.Context, r *wire.Request, in *batchWriteItemInput) (*batchWriteItemOutput, error) {
	names := sortedNames(in.RequestItems)
	if err := in.check(names); err != nil {
		return nil, err
	}
	tables := make([]*table, 0, len(names))
	writes := make([][]mutation, 0, len(names))
	for _, name := range names {
		t := s.table(r, name)
		if t == nil {
			return nil, notFound("")
		}
		list := make([]mutation, len(in.RequestItems[name]))
		for i, w := range in.RequestItems[name] {
			list[i] = mutation{table: t, name: name}
			if w.PutRequest != nil {
				list[i].kind, list[i].item = put, w.PutRequest.Item
			} else {
				list[i].kind, list[i].keyItem = del, w.DeleteRequest.Key
			}
		}
		tables = append(tables, t)
		writes = append(writes, list)
	}
	// Everything is checked before anything is written, though the writes are not one transaction.
	for i, t := range tables {
		if err := t.batchError(writes[i]); err != nil {
			return nil, err
		}
	}
	out := &batchWriteItemOutput{UnprocessedItems: map[string][]writeRequest{}}
	used := &consumption{level: in.ReturnConsumedCapacity}
	written := make([]*writing, len(tables))
	for i, t := range tables {
		t.mu.Lock()
		if t.gone {
			t.mu.Unlock()
			return nil, notFound("")
		}
		x := s.begin(s.env.Clock.Now(), t)
		for j := range writes[i] {
			m := &writes[i][j]
			old, _ := t.items.Get(m.key)
			var before attr.Item
			if old != nil {
				before = old.item
			}
			x.write(t, m.key, old, m.item, false)
			used.write(t, before, m.item)
			if c := t.collection(m.keyItem); c != nil && in.ReturnItemCollectionMetrics == "SIZE" {
				if out.ItemCollectionMetrics == nil {
					out.ItemCollectionMetrics = map[string][]*collectionMetrics{}
				}
				out.ItemCollectionMetrics[m.name] = append(out.ItemCollectionMetrics[m.name], c)
			}
		}
		x.end()
		written[i] = x
		t.mu.Unlock()
	}
	for _, x := range written {
		if err := x.wait(); err != nil {
			return nil, err
		}
	}
	out.ConsumedCapacity = used.all()
	return out, nil
}

// batchError checks the writes to one table.
func (t *table) batchError(list []mutation) error {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for i := range list {
		m := &list[i]
		if m.kind == put {
			for _, k := range t.keyAttrsOf() {
				if v, ok := m.item.Get(k.name); !ok || v.Type() != k.typ {
					return invalid(keyMismatch)
				}
			}
		}
		if err := m.bind(); err != nil {
			return err
		}
		for j := range i {
			if list[j].key == m.key {
				return invalid(duplicateKeys)
			}
		}
	}
	return nil
}

func (in *batchWriteItemInput) check(names []string) error {
	var c wire.Check
	checkEnum(&c, "returnConsumedCapacity", in.ReturnConsumedCapacity, returnCapacity)
	checkEnum(&c, "returnItemCollectionMetrics", in.ReturnItemCollectionMetrics, returnMetrics)
	c.Required("requestItems", in.RequestItems != nil)
	if in.RequestItems != nil && len(names) == 0 {
		c.Count("requestItems", "{}", 0, 1, 0)
	}
	total := 0
	for _, name := range names {
		checkTable(&c, "requestItems", name)
		n := len(in.RequestItems[name])
		if n == 0 || n > maxBatchWrite {
			c.Count("requestItems."+name, shown(n), n, 1, maxBatchWrite)
		}
		total += n
	}
	if err := c.Err(); err != nil {
		return err
	}
	if total > maxBatchWrite {
		return invalid("Too many items requested for the BatchWriteItem call")
	}
	for _, name := range names {
		for _, w := range in.RequestItems[name] {
			if (w.PutRequest == nil) == (w.DeleteRequest == nil) {
				return invalid("Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes")
			}
			var of attr.Item
			if w.PutRequest != nil {
				of = w.PutRequest.Item
			} else {
				of = w.DeleteRequest.Key
			}
			if err := problem(of.Problem()); err != nil {
				return err
			}
			if of.Size() > maxItem {
				return invalid(itemTooBig)
			}
		}
	}
	return nil
}

package dynamodb

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/millrace/millrace/stack/dynamodb/attr"
	"github.com/millrace/millrace/stack/dynamodb/expr"
	"github.com/millrace/millrace/stack/wire"
)

// Limits of transactions.
const (
	maxTransaction      = 100
	maxTransactionBytes = 4 << 20
)

func (s *Service) transactWriteItems(_ context.Context, r *wire.Request, in *transactWriteItemsInput) (*transactWriteItemsOutput, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	list, err := s.actions(r, in.TransactItems)
	if err != nil {
		return nil, err
	}
	if in.ClientRequestToken == nil {
		return s.transact(list, in, "")
	}
	name := r.Account + "/" + r.Region + "/" + *in.ClientRequestToken
	done, err := s.tokens.begin(name, sha256.Sum256(encode(in.TransactItems)), s.env.Clock.Now())
	if err != nil {
		return nil, err
	}
	if done {
		commit := s.env.Store.Barrier() // the first may still be on its way to the disk
		return s.transacted(list, in), commit.Wait()
	}
	out, err := s.transact(list, in, name)
	if err != nil {
		s.tokens.fail(name)
	}
	return out, err
}

func (in *transactWriteItemsInput) check() error {
	var c wire.Check
	c.Required("transactItems", in.TransactItems != nil)
	if n := len(in.TransactItems); in.TransactItems != nil && (n == 0 || n > maxTransaction) {
		c.Count("transactItems", shown(n), n, 1, maxTransaction)
	}
	checkEnum(&c, "returnConsumedCapacity", in.ReturnConsumedCapacity, returnCapacity)
	checkEnum(&c, "returnItemCollectionMetrics", in.ReturnItemCollectionMetrics, returnMetrics)
	if in.ClientRequestToken != nil {
		c.Length("clientRequestToken", *in.ClientRequestToken, 1, 36)
	}
	for i, a := range in.TransactItems {
		for _, x := range []struct {
			name string
			w    *transactWrite
			put  bool
		}{{"conditionCheck", a.ConditionCheck, false}, {"put", a.Put, true}, {"delete", a.Delete, false}, {"update", a.Update, false}} {
			if x.w == nil {
				continue
			}
			member := fmt.Sprintf("transactItems.%d.member.%s.", i+1, x.name)
			checkTable(&c, member+"tableName", x.w.TableName)
			if x.put {
				c.Required(member+"item", x.w.Item != nil)
			} else {
				c.Required(member+"key", x.w.Key != nil)
			}
			if x.name == "conditionCheck" {
				c.Required(member+"conditionExpression", x.w.ConditionExpression != nil)
			}
			if x.name == "update" {
				c.Required(member+"updateExpression", x.w.UpdateExpression != nil)
			}
			checkEnum(&c, member+"returnValuesOnConditionCheckFailure", x.w.ReturnValuesOnConditionCheckFailure, returnOnFailure)
		}
	}
	return c.Err()
}

// actions checks the actions of a transaction as far as that is possible without the items.
func (s *Service) actions(r *wire.Request, in []transactWriteItem) ([]*mutation, error) {
	list := make([]*mutation, len(in))
	size := 0
	for i, a := range in {
		var w *transactWrite
		m := &mutation{}
		n := 0
		for _, x := range []struct {
			kind mutationKind
			w    *transactWrite
		}{{check, a.ConditionCheck}, {put, a.Put}, {del, a.Delete}, {update, a.Update}} {
			if x.w != nil {
				w, m.kind = x.w, x.kind
				n++
			}
		}
		if n != 1 {
			return nil, invalid("TransactItems can only contain one of Check, Put, Update or Delete")
		}
		if err := w.mutation(m); err != nil {
			return nil, err
		}
		size += w.Item.Size() + w.Key.Size() + w.ExpressionAttributeValues.Size()
		if m.table = s.table(r, w.TableName); m.table == nil {
			return nil, notFound("")
		}
		list[i] = m
	}
	if size > maxTransactionBytes {
		return nil, invalid("Transaction payload size cannot exceed 4194304 bytes")
	}
	return list, nil
}

func (w *transactWrite) mutation(m *mutation) error {
	m.name, m.item, m.keyItem = w.TableName, w.Item, w.Key
	m.tell = w.ReturnValuesOnConditionCheckFailure == "ALL_OLD"
	expressions := given(parameter{"UpdateExpression", w.UpdateExpression != nil}, parameter{"ConditionExpression", w.ConditionExpression != nil})
	scope, err := placeholders{w.ExpressionAttributeNames, w.ExpressionAttributeValues}.scope(expressions, "UpdateExpression", "ConditionExpression")
	if err != nil {
		return err
	}
	if err := problem(w.Item.Problem() + w.Key.Problem()); err != nil {
		return err
	}
	if w.Item.Size() > maxItem {
		return invalid(itemTooBig)
	}
	if m.kind == update {
		if m.update, err = expr.ParseUpdate(*w.UpdateExpression, scope); err != nil {
			return refused(err)
		}
	}
	if w.ConditionExpression != nil {
		if m.condition, err = expr.ParseCondition("ConditionExpression", *w.ConditionExpression, scope); err != nil {
			return refused(err)
		}
	}
	return refused(scope.Unused())
}

// tablesOf are the tables of a transaction, each once.
func tablesOf(list []*mutation) []*table {
	var tables []*table
	for _, m := range list {
		if !slices.Contains(tables, m.table) {
			tables = append(tables, m.table)
		}
	}
	return tables
}

// transact makes all changes or none.
func (s *Service) transact(list []*mutation, in *transactWriteItemsInput, token string) (*transactWriteItemsOutput, error) {
	tables := tablesOf(list)
	unlock := lockAll(tables)
	old := make([]*entry, len(list))
	after := make([]attr.Item, len(list))
	reasons := make([]cancellationReason, len(list))
	canceled := false
	seen := make(map[*table]map[string]bool, len(tables))
	for i, m := range list {
		var err error
		old[i], _, after[i], err = m.prepare()
		if m.table.gone {
			unlock()
			return nil, notFound("")
		}
		if m.key != "" {
			if seen[m.table] == nil {
				seen[m.table] = map[string]bool{}
			}
			if seen[m.table][m.key] {
				unlock()
				return nil, invalid("Transaction request cannot include multiple operations on one item")
			}
			seen[m.table][m.key] = true
		}
		reasons[i] = reason(err)
		canceled = canceled || err != nil
	}
	if canceled {
		unlock()
		return nil, cancellation(reasons)
	}
	now := s.env.Clock.Now()
	x := s.begin(now, tables...)
	used := &consumption{level: in.ReturnConsumedCapacity, transact: true}
	out := &transactWriteItemsOutput{}
	for i, m := range list {
		var before attr.Item
		if old[i] != nil {
			before = old[i].item
		}
		if m.kind != check {
			x.write(m.table, m.key, old[i], after[i], false)
		}
		used.write(m.table, before, after[i])
		if c := m.table.collection(m.keyItem); c != nil && m.kind != check && in.ReturnItemCollectionMetrics == "SIZE" {
			if out.ItemCollectionMetrics == nil {
				out.ItemCollectionMetrics = map[string][]*collectionMetrics{}
			}
			out.ItemCollectionMetrics[m.name] = append(out.ItemCollectionMetrics[m.name], c)
		}
	}
	if token != "" {
		s.tokens.succeed(token, now, &x.batch)
	}
	x.end()
	unlock()
	if err := x.wait(); err != nil {
		return nil, err
	}
	out.ConsumedCapacity = used.all()
	return out, nil
}

// transacted answers a transaction that was made before: that took only reading the items.
func (s *Service) transacted(list []*mutation, in *transactWriteItemsInput) *transactWriteItemsOutput {
	used := &consumption{level: in.ReturnConsumedCapacity, transact: true, read: true}
	for _, m := range list {
		m.table.mu.RLock()
		size := 0
		if m.bind() == nil {
			if e, ok := m.table.items.Get(m.key); ok {
				size = e.size
			}
		}
		m.table.mu.RUnlock()
		used.take(m.table, nil, units(size, readUnit))
	}
	return &transactWriteItemsOutput{ConsumedCapacity: used.all()}
}

// reason tells what became of one action.
func reason(err error) cancellationReason {
	var e *wire.Error
	switch {
	case !errors.As(err, &e):
		return cancellationReason{Code: "None"}
	case e.Code == "ConditionalCheckFailedException":
		item, _ := e.Members["Item"].(attr.Item)
		return cancellationReason{Code: "ConditionalCheckFailed", Message: e.Message, Item: item}
	}
	return cancellationReason{Code: "ValidationError", Message: e.Message}
}

// cancellation is the refusal of a transaction. Its message is spelled in capitals, unlike those of other errors.
func cancellation(reasons []cancellationReason) error {
	codes := make([]string, len(reasons))
	for i, r := range reasons {
		codes[i] = r.Code
	}
	return &wire.Error{Code: "TransactionCanceledException", Members: map[string]any{
		"Message":             "Transaction cancelled, please refer cancellation reasons for specific reasons [" + strings.Join(codes, ", ") + "]",
		"CancellationReasons": reasons,
	}}
}

func (s *Service) transactGetItems(_ context.Context, r *wire.Request, in *transactGetItemsInput) (*transactGetItemsOutput, error) {
	var c wire.Check
	c.Required("transactItems", in.TransactItems != nil)
	if n := len(in.TransactItems); in.TransactItems != nil && (n == 0 || n > maxTransaction) {
		c.Count("transactItems", shown(n), n, 1, maxTransaction)
	}
	checkEnum(&c, "returnConsumedCapacity", in.ReturnConsumedCapacity, returnCapacity)
	for i, a := range in.TransactItems {
		member := fmt.Sprintf("transactItems.%d.member.get", i+1)
		c.Required(member, a.Get != nil)
		if a.Get != nil {
			checkTable(&c, member+".tableName", a.Get.TableName)
			c.Required(member+".key", a.Get.Key != nil)
		}
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	var tables []*table
	of := make([]*table, len(in.TransactItems))
	chosen := make([]*expr.Projection, len(in.TransactItems))
	for i, a := range in.TransactItems {
		var err error
		if chosen[i], err = choose(nil, a.Get.ProjectionExpression, a.Get.ExpressionAttributeNames, a.Get.Key.Problem()); err != nil {
			return nil, err
		}
		if of[i] = s.table(r, a.Get.TableName); of[i] == nil {
			return nil, notFound("")
		}
		if !slices.Contains(tables, of[i]) {
			tables = append(tables, of[i])
		}
	}
	unlock := readLockAll(tables)
	defer unlock()
	used := &consumption{level: in.ReturnConsumedCapacity, transact: true, read: true}
	out := &transactGetItemsOutput{Responses: make([]itemResponse, len(in.TransactItems))}
	reasons := make([]cancellationReason, len(in.TransactItems))
	canceled := false
	for i, a := range in.TransactItems {
		item, err := of[i].get(a.Get.Key, chosen[i])
		if of[i].gone {
			return nil, err
		}
		reasons[i] = reason(err)
		canceled = canceled || err != nil
		used.take(of[i], nil, units(item.Size(), readUnit))
		if item != nil && chosen[i] != nil {
			item = chosen[i].Apply(item)
		}
		out.Responses[i].Item = item
	}
	if canceled {
		return nil, cancellation(reasons)
	}
	out.ConsumedCapacity = used.all()
	return out, nil
}

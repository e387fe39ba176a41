package dynamodb

import (
	"github.com/millrace/millrace/stack/dynamodb/attr"
	"github.com/millrace/millrace/stack/dynamodb/expr"
	"github.com/millrace/millrace/stack/wire"
)

// mutation is a change of one item that is checked, as far as it can be without the item.
type mutation struct {
	table     *table
	name      string // of the table, as the request has it
	kind      mutationKind
	key       string
	keyItem   attr.Item
	item      attr.Item // of put
	update    *expr.Update
	condition *expr.Condition // nil if there is none
	// tell makes a condition that fails tell the item.
	tell bool
}

type mutationKind uint8

const (
	put mutationKind = iota
	update
	del
	check // changes nothing
)

// bind checks a mutation against its table. The caller holds the table's mu, and the key is good afterwards.
func (m *mutation) bind() error {
	t := m.table
	if t.gone {
		return notFound("")
	}
	if m.kind == put {
		if err := t.itemError(m.item); err != nil {
			return err
		}
		m.keyItem = m.item
	} else if err := t.keyError(m.keyItem); err != nil {
		return err
	}
	if m.update != nil {
		if err := t.updateError(m.update); err != nil {
			return err
		}
	}
	if m.condition != nil {
		if err := t.pathsError(m.condition.Attributes); err != nil {
			return err
		}
	}
	m.key = t.key(m.keyItem)
	return nil
}

// failed is the refusal if the item does not fulfil the condition, nil if it does.
func (m *mutation) failed(before attr.Item) *wire.Error {
	if m.condition == nil || m.condition.Match(before) {
		return nil
	}
	e := &wire.Error{Code: "ConditionalCheckFailedException", Message: "The conditional request failed"}
	if m.tell && before != nil {
		e.Members = map[string]any{"Item": before}
	}
	return e
}

const emptyUpdatedKey = "One or more parameter values are not valid. The update expression attempted to update a secondary index key " +
	"to a value that is not supported. The AttributeValue for a key attribute cannot contain an empty string value."

// after is the item that the mutation leaves, nil if none.
func (m *mutation) after(before attr.Item) (attr.Item, error) {
	switch m.kind {
	case put:
		return m.item, nil
	case del:
		return nil, nil
	case check:
		return before, nil
	case update:
	}
	was := before
	if before == nil {
		before = m.keyItem
	}
	if m.update == nil {
		return before, nil
	}
	after, err := m.update.Apply(before)
	if err != nil {
		return nil, refused(err)
	}
	if was == nil && m.update.OnlyRemoves() {
		return nil, nil
	}
	if err := m.table.indexKeysError(after, emptyUpdatedKey); err != nil {
		return nil, err
	}
	if after.Size() > maxItem {
		return nil, invalid("Item size to update has exceeded the maximum allowed size")
	}
	return after, nil
}

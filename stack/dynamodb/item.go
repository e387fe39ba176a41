package dynamodb

import (
	"context"
	"slices"
	"strings"

	"github.com/millrace/millrace/stack/dynamodb/attr"
	"github.com/millrace/millrace/stack/dynamodb/expr"
	"github.com/millrace/millrace/stack/wire"
)

// Values of parameters, in the order in which DynamoDB lists them.
var (
	returnCapacity    = []string{"INDEXES", "TOTAL", "NONE"}
	returnValues      = []string{"ALL_NEW", "UPDATED_OLD", "ALL_OLD", "NONE", "UPDATED_NEW"}
	returnMetrics     = []string{"SIZE", "NONE"}
	returnOnFailure   = []string{"ALL_OLD", "NONE"}
	conditionalValues = []string{"OR", "AND"}
)

// checkTable checks the name of a table as operations on items do.
func checkTable(c *wire.Check, member, name string) {
	switch {
	case name == "":
		c.Required(member, false)
	case strings.HasPrefix(name, "arn:"):
		c.Length(member, name, 1, 1024)
	default:
		if !namePattern.MatchString(name) {
			c.Pattern(member, name, namePattern, patternShown)
		}
		if len(name) < 3 || len(name) > 255 {
			c.Length(member, name, 3, 255)
		}
	}
}

func checkEnum(c *wire.Check, member, value string, allowed []string) {
	if value != "" && !slices.Contains(allowed, value) {
		c.Enum(member, value, allowed...)
	}
}

// writeParameters are what the three operations that write one item have in common.
type writeParameters struct {
	table, returnValues, capacity, metrics, onFailure, conditionalOperator string
	expected                                                               map[string]expectedValue
	condition                                                              *string
}

func (p *writeParameters) check(c *wire.Check) {
	checkEnum(c, "returnConsumedCapacity", p.capacity, returnCapacity)
	checkTable(c, "tableName", p.table)
	checkEnum(c, "returnItemCollectionMetrics", p.metrics, returnMetrics)
	checkEnum(c, "returnValues", p.returnValues, returnValues)
	checkEnum(c, "conditionalOperator", p.conditionalOperator, conditionalValues)
	checkEnum(c, "returnValuesOnConditionCheckFailure", p.onFailure, returnOnFailure)
	checkExpected(c, p.expected)
}

// old are the parameters from before expressions that the request has.
func (p *writeParameters) old(others ...parameter) []string {
	return given(append(others, parameter{"Expected", p.expected != nil}, parameter{"ConditionalOperator", p.conditionalOperator != ""})...)
}

// mutate checks conditions and makes a mutation.
func (p *writeParameters) mutation(s *expr.Scope) (*mutation, error) {
	m := &mutation{name: p.table, tell: p.onFailure == "ALL_OLD"}
	if p.condition != nil {
		c, err := expr.ParseCondition("ConditionExpression", *p.condition, s)
		if err != nil {
			return nil, refused(err)
		}
		m.condition = c
		return m, nil
	}
	c, err := expectedCondition(p.expected, p.conditionalOperator)
	m.condition = c
	return m, err
}

// mixedError refuses requests that use expressions and what was before them.
func mixedError(old, expressions []string) error {
	if len(old) == 0 || len(expressions) == 0 {
		return nil
	}
	return invalidf("Can not use both expression and non-expression parameters in the same request: "+
		"Non-expression parameters: {%s} Expression parameters: {%s}", strings.Join(old, ", "), strings.Join(expressions, ", "))
}

// scope checks the placeholders of a request that may have expressions with names, and of those some with values.
func (p placeholders) scope(expressions []string, withValues ...string) (*expr.Scope, error) {
	if p.ExpressionAttributeNames == nil && p.ExpressionAttributeValues == nil {
		s, err := expr.NewScope(nil, nil)
		return s, refused(err)
	}
	if p.ExpressionAttributeNames != nil && len(expressions) == 0 {
		return nil, invalid("ExpressionAttributeNames can only be specified when using expressions")
	}
	if p.ExpressionAttributeValues != nil && !slices.ContainsFunc(expressions, func(e string) bool { return slices.Contains(withValues, e) }) {
		verb := "is"
		if len(withValues) > 1 {
			verb = "are"
		}
		return nil, invalidf("ExpressionAttributeValues can only be specified when using expressions: %s %s null",
			strings.Join(withValues, " and "), verb)
	}
	s, err := expr.NewScope(p.ExpressionAttributeNames, p.ExpressionAttributeValues)
	return s, refused(err)
}

// parameter is a parameter of a request, which may be there.
type parameter struct {
	name  string
	there bool
}

// given lists which of the parameters are there.
func given(parameters ...parameter) []string {
	var list []string
	for _, p := range parameters {
		if p.there {
			list = append(list, p.name)
		}
	}
	return list
}

func problem(text string) error {
	if text == "" {
		return nil
	}
	return invalid(text)
}

func (s *Service) putItem(_ context.Context, r *wire.Request, in *putItemInput) (*writeOutput, error) {
	p := writeParameters{in.TableName, in.ReturnValues, in.ReturnConsumedCapacity, in.ReturnItemCollectionMetrics,
		in.ReturnValuesOnConditionCheckFailure, in.ConditionalOperator, in.Expected, in.ConditionExpression}
	var c wire.Check
	p.check(&c)
	c.Required("item", in.Item != nil)
	if err := c.Err(); err != nil {
		return nil, err
	}
	expressions := given(parameter{"ConditionExpression", in.ConditionExpression != nil})
	if err := mixedError(p.old(), expressions); err != nil {
		return nil, err
	}
	scope, err := in.scope(expressions, "ConditionExpression")
	if err != nil {
		return nil, err
	}
	if err := problem(in.Item.Problem()); err != nil {
		return nil, err
	}
	if in.ReturnValues != "" && in.ReturnValues != "ALL_OLD" && in.ReturnValues != "NONE" {
		return nil, invalid("ReturnValues can only be ALL_OLD or NONE")
	}
	if in.Item.Size() > maxItem {
		return nil, invalid(itemTooBig)
	}
	m, err := p.mutation(scope)
	if err != nil {
		return nil, err
	}
	if err := refused(scope.Unused()); err != nil {
		return nil, err
	}
	m.kind, m.item = put, in.Item
	return s.mutate(r, m, &p)
}

func (s *Service) deleteItem(_ context.Context, r *wire.Request, in *deleteItemInput) (*writeOutput, error) {
	p := writeParameters{in.TableName, in.ReturnValues, in.ReturnConsumedCapacity, in.ReturnItemCollectionMetrics,
		in.ReturnValuesOnConditionCheckFailure, in.ConditionalOperator, in.Expected, in.ConditionExpression}
	var c wire.Check
	p.check(&c)
	c.Required("key", in.Key != nil)
	if err := c.Err(); err != nil {
		return nil, err
	}
	expressions := given(parameter{"ConditionExpression", in.ConditionExpression != nil})
	if err := mixedError(p.old(), expressions); err != nil {
		return nil, err
	}
	scope, err := in.scope(expressions, "ConditionExpression")
	if err != nil {
		return nil, err
	}
	if err := problem(in.Key.Problem()); err != nil {
		return nil, err
	}
	if in.ReturnValues != "" && in.ReturnValues != "ALL_OLD" && in.ReturnValues != "NONE" {
		return nil, invalid("ReturnValues can only be ALL_OLD or NONE")
	}
	m, err := p.mutation(scope)
	if err != nil {
		return nil, err
	}
	if err := refused(scope.Unused()); err != nil {
		return nil, err
	}
	m.kind, m.keyItem = del, in.Key
	return s.mutate(r, m, &p)
}

func (s *Service) updateItem(_ context.Context, r *wire.Request, in *updateItemInput) (*writeOutput, error) {
	p := writeParameters{in.TableName, in.ReturnValues, in.ReturnConsumedCapacity, in.ReturnItemCollectionMetrics,
		in.ReturnValuesOnConditionCheckFailure, in.ConditionalOperator, in.Expected, in.ConditionExpression}
	var c wire.Check
	p.check(&c)
	c.Required("key", in.Key != nil)
	for _, name := range sortedNames(in.AttributeUpdates) {
		checkEnum(&c, "attributeUpdates."+name+".member.action", in.AttributeUpdates[name].Action, []string{"ADD", "PUT", "DELETE"})
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	expressions := given(parameter{"UpdateExpression", in.UpdateExpression != nil}, parameter{"ConditionExpression", in.ConditionExpression != nil})
	if err := mixedError(p.old(parameter{"AttributeUpdates", in.AttributeUpdates != nil}), expressions); err != nil {
		return nil, err
	}
	scope, err := in.scope(expressions, "UpdateExpression", "ConditionExpression")
	if err != nil {
		return nil, err
	}
	if err := problem(in.Key.Problem()); err != nil {
		return nil, err
	}
	u, err := in.parseUpdate(scope)
	if err != nil {
		return nil, err
	}
	m, err := p.mutation(scope)
	if err != nil {
		return nil, err
	}
	if err := refused(scope.Unused()); err != nil {
		return nil, err
	}
	m.kind, m.keyItem, m.update = update, in.Key, u
	return s.mutate(r, m, &p)
}

func (in *updateItemInput) parseUpdate(s *expr.Scope) (*expr.Update, error) {
	if in.UpdateExpression != nil {
		u, err := expr.ParseUpdate(*in.UpdateExpression, s)
		return u, refused(err)
	}
	return attributeUpdates(in.AttributeUpdates)
}

// mutate makes a mutation of one item and answers.
func (s *Service) mutate(r *wire.Request, m *mutation, p *writeParameters) (*writeOutput, error) {
	t := s.table(r, p.table)
	if t == nil {
		return nil, notFound("")
	}
	m.table = t
	t.mu.Lock()
	old, before, after, err := m.prepare()
	if err != nil {
		t.mu.Unlock()
		return nil, err
	}
	x := s.begin(s.env.Clock.Now(), t)
	x.write(t, m.key, old, after, false)
	x.end()
	used := consumption{level: p.capacity}
	used.write(t, before, after)
	out := &writeOutput{ConsumedCapacity: used.one()}
	if p.metrics == "SIZE" {
		out.ItemCollectionMetrics = t.collection(m.keyItem)
	}
	t.mu.Unlock()
	if err := x.wait(); err != nil {
		return nil, err
	}
	out.Attributes = returned(p.returnValues, m.update, before, after)
	return out, nil
}

// prepare finds the item and works out what the mutation leaves of it. The caller holds the table's mu.
func (m *mutation) prepare() (old *entry, before, after attr.Item, err error) {
	if err := m.bind(); err != nil {
		return nil, nil, nil, err
	}
	old, _ = m.table.items.Get(m.key)
	if old != nil {
		before = old.item
	}
	if failed := m.failed(before); failed != nil {
		return nil, nil, nil, failed
	}
	after, err = m.after(before)
	return old, before, after, err
}

// returned is what ReturnValues asks for, nil if nothing.
func returned(what string, u *expr.Update, before, after attr.Item) attr.Item {
	var of attr.Item
	switch what {
	case "ALL_OLD":
		return before
	case "ALL_NEW":
		return after
	case "UPDATED_OLD":
		of = before
	case "UPDATED_NEW":
		of = after
	}
	if of == nil || u == nil {
		return nil
	}
	if part := expr.NewProjection(u.Paths()).Apply(of); len(part) > 0 {
		return part
	}
	return nil
}

func (s *Service) getItem(_ context.Context, r *wire.Request, in *getItemInput) (*getItemOutput, error) {
	var c wire.Check
	checkEnum(&c, "returnConsumedCapacity", in.ReturnConsumedCapacity, returnCapacity)
	checkTable(&c, "tableName", in.TableName)
	c.Required("key", in.Key != nil)
	checkAttributesToGet(&c, "attributesToGet", in.AttributesToGet)
	if err := c.Err(); err != nil {
		return nil, err
	}
	chosen, err := choose(in.AttributesToGet, in.ProjectionExpression, in.ExpressionAttributeNames, in.Key.Problem())
	if err != nil {
		return nil, err
	}
	t := s.table(r, in.TableName)
	if t == nil {
		return nil, notFound("")
	}
	t.mu.RLock()
	item, err := t.get(in.Key, chosen)
	t.mu.RUnlock()
	if err != nil {
		return nil, err
	}
	used := consumption{level: in.ReturnConsumedCapacity}
	used.take(t, nil, readUnits(item.Size(), in.ConsistentRead))
	if item != nil && chosen != nil {
		item = chosen.Apply(item)
	}
	return &getItemOutput{Item: item, ConsumedCapacity: used.one()}, nil
}

func checkAttributesToGet(c *wire.Check, member string, names []string) {
	if names != nil && len(names) == 0 {
		c.Count(member, shown(0), 0, 1, 0)
	}
}

// choose is the projection that a request asks for, nil if it wants everything. Its problem is another part's, whose turn
// comes in between.
func choose(names []string, expression *string, aliases map[string]string, problemOfKey string) (*expr.Projection, error) {
	expressions := given(parameter{"ProjectionExpression", expression != nil})
	if err := mixedError(given(parameter{"AttributesToGet", names != nil}), expressions); err != nil {
		return nil, err
	}
	scope, err := placeholders{ExpressionAttributeNames: aliases}.scope(expressions)
	if err != nil {
		return nil, err
	}
	if err := problem(problemOfKey); err != nil {
		return nil, err
	}
	if names != nil {
		return attributesToGet(names)
	}
	if expression == nil {
		return nil, nil
	}
	p, err := expr.ParseProjection(*expression, scope)
	if err != nil {
		return nil, refused(err)
	}
	return p, refused(scope.Unused())
}

// attributesToGet is the projection that AttributesToGet asks for.
func attributesToGet(names []string) (*expr.Projection, error) {
	for i, n := range names {
		if slices.Contains(names[:i], n) {
			return nil, invalid(parametersInvalid + "Duplicate value in attribute name: " + n)
		}
	}
	return expr.Attributes(names...), nil
}

// get is an item, nil if there is none. The caller holds t.mu.
func (t *table) get(key attr.Item, chosen *expr.Projection) (attr.Item, error) {
	if t.gone {
		return nil, notFound("")
	}
	if err := t.keyError(key); err != nil {
		return nil, err
	}
	if chosen != nil {
		if err := t.pathsError(func(f func(expr.Path)) {
			for _, p := range chosen.Paths() {
				f(p)
			}
		}); err != nil {
			return nil, err
		}
	}
	if e, ok := t.items.Get(t.key(key)); ok {
		return e.item, nil
	}
	return nil, nil
}

// shown stands in messages for a list of n elements, where Java would show their innards.
func shown(n int) string {
	if n == 0 {
		return "[]"
	}
	return "[...]"
}

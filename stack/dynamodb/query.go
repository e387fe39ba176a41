package dynamodb

import (
	"context"
	"encoding/binary"
	"math/bits"
	"slices"
	"strings"

	"github.com/tidwall/btree"

	"github.com/millrace/millrace/stack/dynamodb/attr"
	"github.com/millrace/millrace/stack/dynamodb/expr"
	"github.com/millrace/millrace/stack/wire"
)

// maxPage is how many bytes of items a Query or Scan looks at.
const maxPage = 1 << 20

var selects = []string{"SPECIFIC_ATTRIBUTES", "COUNT", "ALL_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES"}

// reading is a Query or Scan that is checked, as far as it can be without the table.
type reading struct {
	*readInput
	chosen *expr.Projection // nil for everything
	filter *expr.Condition  // nil for every item
	// filterName is what messages call the filter.
	filterName string
	// keys are a Query's key conditions; nil for a Scan.
	keys     []expr.Comparison
	backward bool

	segment, segments uint64 // of a Scan; 0 of 0 is all
}

func (in *readInput) check(c *wire.Check) {
	checkEnum(c, "select", in.Select, selects)
	checkEnum(c, "returnConsumedCapacity", in.ReturnConsumedCapacity, returnCapacity)
	checkTable(c, "tableName", in.TableName)
	if in.IndexName != nil {
		c.Pattern("indexName", *in.IndexName, namePattern, patternShown)
		c.Length("indexName", *in.IndexName, 3, 255)
	}
	if in.Limit != nil && *in.Limit < 1 {
		c.Range("limit", *in.Limit, 1, 1<<31-1)
	}
	checkEnum(c, "conditionalOperator", in.ConditionalOperator, conditionalValues)
	checkAttributesToGet(c, "attributesToGet", in.AttributesToGet)
}

// read checks what Query and Scan have in common. Of their own parameters, old ones are from before expressions; key
// reads those that are about keys, after the others.
func (in *readInput) read(x *reading, old, own []parameter, withValues []string, filter map[string]condition, key func(*expr.Scope) error) error {
	old = append([]parameter{{"AttributesToGet", in.AttributesToGet != nil}}, old...)
	old = append(old, parameter{"ConditionalOperator", in.ConditionalOperator != ""})
	expressions := given(append([]parameter{{"ProjectionExpression", in.ProjectionExpression != nil}, {"FilterExpression", in.FilterExpression != nil}}, own...)...)
	if err := mixedError(given(old...), expressions); err != nil {
		return err
	}
	scope, err := in.scope(expressions, withValues...)
	if err != nil {
		return err
	}
	if err := in.selectError(); err != nil {
		return err
	}
	if p := in.ExclusiveStartKey.Problem(); p != "" {
		return invalid("The provided starting key is invalid: " + p)
	}
	if in.FilterExpression == nil {
		if x.filter, err = filterCondition(filter, in.ConditionalOperator); err != nil {
			return err
		}
	} else if x.filter, err = expr.ParseCondition("FilterExpression", *in.FilterExpression, scope); err != nil {
		return refused(err)
	}
	if in.AttributesToGet != nil {
		if x.chosen, err = attributesToGet(in.AttributesToGet); err != nil {
			return err
		}
	}
	if in.ProjectionExpression != nil {
		if x.chosen, err = expr.ParseProjection(*in.ProjectionExpression, scope); err != nil {
			return refused(err)
		}
	}
	if err := key(scope); err != nil {
		return refused(err)
	}
	return refused(scope.Unused())
}

// selectError checks that Select goes with what else is asked for.
func (in *readInput) selectError() error {
	parameter := "ProjectionExpression"
	specific := in.ProjectionExpression != nil
	if in.AttributesToGet != nil {
		parameter, specific = "AttributesToGet", true
	}
	switch {
	case in.Select == "SPECIFIC_ATTRIBUTES" && !specific:
		return invalid(parametersInvalid + "Must specify the AttributesToGet or ProjectionExpression when choosing to get SPECIFIC_ATTRIBUTES")
	case in.Select != "" && in.Select != "SPECIFIC_ATTRIBUTES" && specific:
		return invalid(parametersInvalid + "Cannot specify the " + parameter + " when choosing to get " + in.Select)
	case in.Select == "ALL_PROJECTED_ATTRIBUTES" && in.IndexName == nil:
		return invalid(parametersInvalid + "ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName")
	}
	return nil
}

func (s *Service) query(_ context.Context, r *wire.Request, in *queryInput) (*readOutput, error) {
	var c wire.Check
	in.check(&c)
	checkConditions(&c, "keyConditions", in.KeyConditions)
	checkConditions(&c, "queryFilter", in.QueryFilter)
	if err := c.Err(); err != nil {
		return nil, err
	}
	x := &reading{readInput: &in.readInput, filterName: "Filter Expression", backward: in.ScanIndexForward != nil && !*in.ScanIndexForward}
	if in.QueryFilter != nil {
		x.filterName = "QueryFilter"
	}
	expressed := in.KeyConditionExpression != nil
	old := []parameter{{"QueryFilter", in.QueryFilter != nil}, {"KeyConditions", in.KeyConditions != nil && expressed}}
	own := []parameter{{"KeyConditionExpression", expressed}}
	err := in.read(x, old, own, []string{"FilterExpression", "KeyConditionExpression"}, in.QueryFilter, func(scope *expr.Scope) (err error) {
		switch {
		case expressed:
			x.keys, err = expr.ParseKeyCondition(*in.KeyConditionExpression, scope)
		case in.KeyConditions != nil:
			x.keys, err = comparisons(in.KeyConditions)
		default:
			return invalid("Either the KeyConditions or KeyConditionExpression parameter must be specified in the request.")
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, k := range x.keys {
		if err := operandsError(k.Operator, k.Values); err != nil {
			return nil, err
		}
	}
	if n := len(x.keys); n != 1 && n != 2 {
		return nil, invalid("Conditions can be of length 1 or 2 only")
	}
	return s.readPage(r, x)
}

func (s *Service) scan(_ context.Context, r *wire.Request, in *scanInput) (*readOutput, error) {
	var c wire.Check
	in.check(&c)
	checkConditions(&c, "scanFilter", in.ScanFilter)
	if in.TotalSegments != nil {
		c.Range("totalSegments", *in.TotalSegments, 1, 1_000_000)
	}
	if in.Segment != nil {
		c.Range("segment", *in.Segment, 0, 999_999)
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	x := &reading{readInput: &in.readInput}
	switch {
	case in.Segment != nil && in.TotalSegments == nil:
		return nil, invalid("The TotalSegments parameter is required but was not present in the request when Segment parameter is present")
	case in.Segment == nil && in.TotalSegments != nil:
		return nil, invalid("The Segment parameter is required but was not present in the request when parameter TotalSegments is present")
	case in.Segment != nil && *in.Segment >= *in.TotalSegments:
		return nil, invalidf("The Segment parameter is zero-based and must be less than parameter TotalSegments: "+
			"Segment: %d is not less than TotalSegments: %d", *in.Segment, *in.TotalSegments)
	case in.Segment != nil:
		x.segment, x.segments = uint64(*in.Segment), uint64(*in.TotalSegments)
	}
	err := in.read(x, []parameter{{"ScanFilter", in.ScanFilter != nil}}, nil, []string{"FilterExpression"}, in.ScanFilter, func(*expr.Scope) error { return nil })
	if err != nil {
		return nil, err
	}
	return s.readPage(r, x)
}

// view is the table or index that is read.
type view struct {
	t          *table
	x          *index // nil for the table
	items      *btree.Map[string, *entry]
	hash, sort keyAttr
}

// open finds what is to be read and checks the request against it. The caller holds the table's mu.
func (r *reading) open(t *table) (view, error) {
	v := view{t: t, items: &t.items, hash: t.hash, sort: t.sort}
	if t.gone {
		return v, notFound("")
	}
	if r.IndexName != nil {
		if v.x = t.index(*r.IndexName); v.x == nil {
			return v, invalid("The table does not have the specified index: " + *r.IndexName)
		}
		v.items, v.hash, v.sort = &v.x.items, v.x.hash, v.x.sort
		if err := r.indexError(v.x); err != nil {
			return v, err
		}
	}
	if r.chosen != nil {
		if err := t.pathsError(func(f func(expr.Path)) {
			for _, p := range r.chosen.Paths() {
				f(p)
			}
		}); err != nil {
			return v, err
		}
	}
	if r.filter == nil {
		return v, nil
	}
	if r.keys != nil {
		var err error
		r.filter.Attributes(func(p expr.Path) {
			if err == nil && (p[0].Name == v.hash.name || p[0].Name == v.sort.name) {
				err = invalidf("%s can only contain non-primary key attributes: Primary key attribute: %s", r.filterName, p[0].Name)
			}
		})
		if err != nil {
			return v, err
		}
	}
	return v, t.pathsError(r.filter.Attributes)
}

func (r *reading) indexError(x *index) error {
	if !x.Global {
		return nil
	}
	if r.ConsistentRead {
		return invalid("Consistent reads are not supported on global secondary indexes")
	}
	if x.projected == nil {
		return nil
	}
	if r.Select == "ALL_ATTRIBUTES" {
		return invalidf(parametersInvalid+"Select type ALL_ATTRIBUTES is not supported for global secondary index %s because its projection type is not ALL", x.Name)
	}
	if r.chosen != nil {
		var missing []string
		for _, p := range r.chosen.Paths() {
			if !slices.Contains(x.projected, p[0].Name) {
				missing = append(missing, p[0].Name)
			}
		}
		if missing != nil {
			return invalidf(parametersInvalid+"Global secondary index %s does not project [%s]", x.Name, strings.Join(missing, ", "))
		}
	}
	return nil
}

// span is a range of keys: from low on and before high; an empty high is the end.
type span struct{ low, high string }

func prefixed(prefix string) span { return span{prefix, next(prefix)} }

// segmentSpan is what a segment of a Scan has of the hashes that keys begin with.
func segmentSpan(segment, segments uint64) span {
	bound := func(i uint64) string {
		if i == 0 || i == segments {
			return ""
		}
		n, _ := bits.Div64(i, 0, segments) // i * 2^64 / segments
		return string(binary.BigEndian.AppendUint64(nil, n))
	}
	return span{bound(segment), bound(segment + 1)}
}

// span is the range of keys that fulfil a Query's conditions, or that a Scan is to look at.
func (r *reading) span(v view) (span, error) {
	if r.keys == nil {
		if r.segments == 0 {
			return span{}, nil
		}
		return segmentSpan(r.segment, r.segments), nil
	}
	var hash, sort *expr.Comparison
	for i := range r.keys {
		switch k := &r.keys[i]; k.Attribute {
		case v.hash.name:
			hash = k
		case v.sort.name:
			sort = k
		}
	}
	switch {
	case v.sort.name == "" && len(r.keys) > 1:
		return span{}, invalid("Query key condition not supported")
	case hash == nil:
		return span{}, invalid("Query condition missed key schema element: " + v.hash.name)
	case sort == nil && len(r.keys) > 1:
		return span{}, invalid("Query condition missed key schema element: " + v.sort.name)
	}
	for _, k := range []struct {
		c *expr.Comparison
		a keyAttr
	}{{hash, v.hash}, {sort, v.sort}} {
		if k.c == nil {
			continue
		}
		if !indexable(k.c.Operator) {
			return span{}, invalid("Attempted conditional constraint is not an indexable operation")
		}
		for _, value := range k.c.Values {
			switch {
			case value.Type() != k.a.typ:
				return span{}, invalid(parametersInvalid + "Condition parameter type does not match schema type")
			case isEmpty(value) && (k.c == hash || k.c.Operator == expr.EQ):
				return span{}, invalid("One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty " +
					emptyName(k.a.typ) + " value. Key: " + k.a.name)
			}
		}
	}
	if hash.Operator != expr.EQ {
		return span{}, invalid("Query key condition not supported")
	}
	partition := string(appendHash(nil, hash.Values[0]))
	if sort == nil {
		return prefixed(partition), nil
	}
	return sortSpan(partition, sort), nil
}

func indexable(op expr.Operator) bool {
	switch op {
	case expr.EQ, expr.LT, expr.LE, expr.GT, expr.GE, expr.Between, expr.BeginsWith:
		return true
	default:
		return false
	}
}

func sortSpan(partition string, c *expr.Comparison) span {
	all := prefixed(partition)
	at := prefixed(partition + string(c.Values[0].AppendKey(nil)))
	switch c.Operator {
	case expr.EQ:
		return at
	case expr.LT:
		return span{all.low, at.low}
	case expr.LE:
		return span{all.low, at.high}
	case expr.GT:
		return span{at.high, all.high}
	case expr.GE:
		return span{at.low, all.high}
	case expr.Between:
		return span{at.low, prefixed(partition + string(c.Values[1].AppendKey(nil))).high}
	default:
		return prefixed(partition + string(c.Values[0].AppendKeyPrefix(nil)))
	}
}

func (s span) contains(key string) bool { return key >= s.low && (s.high == "" || key < s.high) }

// start narrows a span to what follows ExclusiveStartKey.
func (r *reading) start(v view, s span) (span, error) {
	from := r.ExclusiveStartKey
	if len(from) == 0 {
		return s, nil
	}
	if err := v.startError(from); err != nil {
		return s, err
	}
	key := v.t.key(from)
	if v.x != nil {
		key, _ = v.t.indexKey(v.x, from)
	}
	if !s.contains(key) {
		if r.keys == nil {
			return s, invalidf("The provided starting key is invalid: Invalid ExclusiveStartKey. Please use ExclusiveStartKey with correct Segment. "+
				"TotalSegments: %d Segment: %d", r.segments, r.segment)
		}
		if len(r.keys) == 2 {
			return s, invalid("The provided starting key does not match the range key predicate")
		}
		return s, invalid("The provided starting key is outside query boundaries based on provided conditions")
	}
	if r.backward {
		return span{s.low, key}, nil
	}
	return span{key + "\x00", s.high}, nil
}

const badStart = "The provided starting key is invalid"

// startError checks a start key: it has the keys of the index and of the table and nothing else.
func (v view) startError(from attr.Item) error {
	attrs := v.t.keyAttrsOf()
	if v.x != nil {
		for _, k := range []keyAttr{v.hash, v.sort} {
			if k.name != "" && !slices.Contains(attrs, k) {
				attrs = append(attrs, k)
			}
		}
	}
	if len(from) != len(attrs) {
		if v.x == nil {
			return invalid(badStart + ": " + keyMismatch)
		}
		return invalid(badStart)
	}
	for _, k := range attrs {
		value, ok := from.Get(k.name)
		switch {
		case !ok && v.x != nil:
			return invalid(badStart)
		case !ok || value.Type() != k.typ:
			return invalid(badStart + ": " + keyMismatch)
		}
	}
	return nil
}

// found is an item that a reading has come by, with what it takes of a page.
type found struct {
	item attr.Item
	size int
}

// collect gathers a page. full tells that the page ended before the span did, or with it.
func (r *reading) collect(v view, s span, limit int) (list []found, size int, full bool) {
	take := func(e *entry) bool {
		f := found{e.item, e.size}
		if v.x != nil && v.x.projected != nil {
			f.item = v.x.project(e.item)
			f.size = f.item.Size()
			if r.wantsTable(v) {
				f.item = e.item
			}
		}
		list = append(list, f)
		size += f.size
		full = len(list) == limit || size >= maxPage
		return !full
	}
	if r.backward {
		from := s.high
		visit := func(key string, e *entry) bool {
			if key >= s.high && s.high != "" {
				return true
			}
			return key >= s.low && take(e)
		}
		if from == "" {
			v.items.Reverse(visit)
		} else {
			v.items.Descend(from, visit)
		}
		return list, size, full
	}
	v.items.Ascend(s.low, func(key string, e *entry) bool {
		return (s.high == "" || key < s.high) && take(e)
	})
	return list, size, full
}

// wantsTable reports whether a reading of a local index wants attributes that only the table has.
func (r *reading) wantsTable(v view) bool {
	if v.x.Global {
		return false
	}
	if r.Select == "ALL_ATTRIBUTES" {
		return true
	}
	return r.chosen != nil && slices.ContainsFunc(r.chosen.Paths(), func(p expr.Path) bool { return !slices.Contains(v.x.projected, p[0].Name) })
}

// readPage reads a page and answers.
func (s *Service) readPage(r *wire.Request, x *reading) (*readOutput, error) {
	t := s.table(r, x.TableName)
	if t == nil {
		return nil, notFound("")
	}
	limit := 0
	if x.Limit != nil {
		limit = int(*x.Limit)
	}
	t.mu.RLock()
	v, err := x.open(t)
	var at span
	if err == nil {
		at, err = x.span(v)
	}
	if err == nil {
		at, err = x.start(v, at)
	}
	if err != nil {
		t.mu.RUnlock()
		return nil, err
	}
	list, size, full := x.collect(v, at, limit)
	t.mu.RUnlock()

	out := &readOutput{ScannedCount: len(list)}
	if full {
		out.LastEvaluatedKey = v.startKey(list[len(list)-1].item)
	}
	items := make([]attr.Item, 0, len(list))
	fetched := 0
	for _, f := range list {
		if x.filter != nil && !x.filter.Match(f.item) {
			continue
		}
		fetched += f.item.Size() - f.size
		if x.chosen != nil {
			f.item = x.chosen.Apply(f.item)
		}
		items = append(items, f.item)
	}
	out.Count = len(items)
	if x.Select != "COUNT" {
		out.Items = items
	}
	used := consumption{level: x.ReturnConsumedCapacity}
	used.take(t, v.x, readUnits(size, x.ConsistentRead))
	if v.x != nil && used.wanted() {
		if x.ReturnConsumedCapacity == "INDEXES" {
			used.take(t, nil, 0)
		}
		if fetched > 0 {
			used.take(t, nil, readUnits(size+fetched, x.ConsistentRead))
		}
	}
	out.ConsumedCapacity = used.one()
	return out, nil
}

// startKey is what an item has of the keys of the table and of the index.
func (v view) startKey(item attr.Item) attr.Item {
	names := v.t.keyNames()
	if v.x != nil {
		for _, k := range []keyAttr{v.hash, v.sort} {
			if k.name != "" && !slices.Contains(names, k.name) {
				names = append(names, k.name)
			}
		}
	}
	return item.Only(names...)
}

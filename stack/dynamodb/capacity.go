package dynamodb

import (
	"maps"
	"slices"

	"github.com/millrace/millrace/stack/dynamodb/attr"
)

const (
	writeUnit = 1024
	readUnit  = 4096
)

func units(size, unit int) float64 { return float64(max((size+unit-1)/unit, 1)) }

// readUnits is what reading so many bytes at once takes: half as much if it need not be consistent.
func readUnits(size int, consistent bool) float64 {
	u := units(size, readUnit)
	if !consistent {
		u /= 2
	}
	return u
}

// indexUnits is what a write takes of an index: nothing if it changes nothing there.
func (t *table) indexUnits(x *index, before, after attr.Item) float64 {
	var from, to string
	var was, is bool
	if before != nil {
		from, was = t.indexKey(x, before)
	}
	if after != nil {
		to, is = t.indexKey(x, after)
	}
	old, new := x.project(before), x.project(after)
	switch {
	case !was && !is:
		return 0
	case !was:
		return units(new.Size(), writeUnit)
	case !is:
		return units(old.Size(), writeUnit)
	case from != to:
		return units(old.Size(), writeUnit) + units(new.Size(), writeUnit)
	case old.Equal(new):
		return 0
	default:
		return units(max(old.Size(), new.Size()), writeUnit)
	}
}

// consumption adds up what the operations of a request take of each table.
type consumption struct {
	level    string // ReturnConsumedCapacity
	transact bool   // it is a transaction: everything takes twice as much, and reads or writes are told apart
	read     bool   // the transaction reads
	tables   map[string]*consumedCapacity
}

func (c *consumption) wanted() bool { return c.level == "TOTAL" || c.level == "INDEXES" }

func (c *consumption) of(name string) *consumedCapacity {
	if c.tables == nil {
		c.tables = map[string]*consumedCapacity{}
	}
	if c.tables[name] == nil {
		c.tables[name] = &consumedCapacity{TableName: name}
	}
	return c.tables[name]
}

func (c *consumption) add(to *capacity, n float64) {
	to.CapacityUnits += n
	switch {
	case c.transact && c.read:
		to.ReadCapacityUnits += n
	case c.transact:
		to.WriteCapacityUnits += n
	}
}

// take notes that an operation took so much of a table or, if x is not nil, of an index.
func (c *consumption) take(t *table, x *index, n float64) {
	if !c.wanted() {
		return
	}
	if c.transact {
		n *= 2
	}
	of := c.of(t.Name)
	c.add(&of.capacity, n)
	if c.level != "INDEXES" {
		return
	}
	if of.Table == nil {
		of.Table = &capacity{}
	}
	if x == nil {
		c.add(of.Table, n)
		return
	}
	list := &of.LocalSecondaryIndexes
	if x.Global {
		list = &of.GlobalSecondaryIndexes
	}
	if *list == nil {
		*list = map[string]capacity{}
	}
	u := (*list)[x.Name]
	c.add(&u, n)
	(*list)[x.Name] = u
}

// write notes a write. The caller holds the table's mu.
func (c *consumption) write(t *table, before, after attr.Item) {
	if !c.wanted() {
		return
	}
	c.take(t, nil, units(max(before.Size(), after.Size()), writeUnit))
	for _, x := range t.indexes {
		if n := t.indexUnits(x, before, after); n > 0 {
			c.take(t, x, n)
		}
	}
}

func (c *consumption) one() *consumedCapacity {
	for _, t := range c.tables {
		return t
	}
	return nil
}

func (c *consumption) all() []*consumedCapacity {
	if !c.wanted() {
		return nil
	}
	list := []*consumedCapacity{}
	for _, name := range slices.Sorted(maps.Keys(c.tables)) {
		list = append(list, c.tables[name])
	}
	return list
}

// collection is what is told of an item's collection: the items with its partition key. Only tables with local indexes
// have collections.
func (t *table) collection(item attr.Item) *collectionMetrics {
	if len(t.Local) == 0 {
		return nil
	}
	return &collectionMetrics{ItemCollectionKey: item.Only(t.hash.name), SizeEstimateRangeGB: []float64{0, 1}}
}

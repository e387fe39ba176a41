package dynamodb

import (
	"github.com/millrace/millrace/stack/dynamodb/attr"
	"github.com/millrace/millrace/stack/dynamodb/expr"
)

// Limits of items and keys, in bytes.
const (
	maxItem    = 400 << 10
	maxHashKey = 2048
	maxSortKey = 1024
)

const (
	keyMismatch = "The provided key element does not match the schema"
	itemTooBig  = "Item size has exceeded the maximum allowed size"
)

// keySizeError checks the size of one part of a key, of a table or of an index.
func keySizeError(v attr.Value, isHash bool) error {
	switch {
	case v.Type() == attr.N:
	case isHash && len(v.Text()) > maxHashKey:
		return invalidf(parametersInvalid+"Size of hashkey has exceeded the maximum size limit of%d bytes", maxHashKey) // AWS spells it so
	case !isHash && len(v.Text()) > maxSortKey:
		return invalidf(parametersInvalid+"Aggregated size of all range keys has exceeded the size limit of %d bytes", maxSortKey)
	}
	return nil
}

func isEmpty(v attr.Value) bool { return (v.Type() == attr.S || v.Type() == attr.B) && v.Text() == "" }

func emptyName(t attr.Type) string {
	if t == attr.B {
		return "binary"
	}
	return "string"
}

func (t *table) keyAttrsOf() []keyAttr {
	if t.sort.name == "" {
		return []keyAttr{t.hash}
	}
	return []keyAttr{t.hash, t.sort}
}

// keyError checks the Key of a request.
func (t *table) keyError(key attr.Item) error {
	attrs := t.keyAttrsOf()
	if len(key) != len(attrs) {
		return invalid(keyMismatch)
	}
	for i, k := range attrs {
		v, ok := key.Get(k.name)
		switch {
		case !ok || v.Type() != k.typ:
			return invalid(keyMismatch)
		case isEmpty(v):
			return invalid("One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty " +
				emptyName(k.typ) + " value. Key: " + k.name)
		}
		if err := keySizeError(v, i == 0); err != nil {
			return err
		}
	}
	return nil
}

// itemError checks the keys in an item that is to be put.
func (t *table) itemError(item attr.Item) error {
	for i, k := range t.keyAttrsOf() {
		v, ok := item.Get(k.name)
		switch {
		case !ok:
			return invalid(parametersInvalid + "Missing the key " + k.name + " in the item")
		case v.Type() != k.typ:
			return invalidf(parametersInvalid+"Type mismatch for key %s expected: %s actual: %s", k.name, k.typ, v.Type())
		case isEmpty(v):
			return invalid("One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty " +
				emptyName(k.typ) + " value. Key: " + k.name)
		}
		if err := keySizeError(v, i == 0); err != nil {
			return err
		}
	}
	return t.indexKeysError(item, "")
}

// indexKeysError checks an item's attributes that are keys of indexes. Empty is the message about an empty one, if it is
// not to name the index.
func (t *table) indexKeysError(item attr.Item, empty string) error {
	for _, x := range t.indexes {
		for i, k := range []keyAttr{x.hash, x.sort} {
			v, ok := item.Get(k.name)
			switch {
			case k.name == "" || !ok || k.name == t.hash.name || k.name == t.sort.name:
				continue
			case v.Type() != k.typ:
				return invalidf(parametersInvalid+"Type mismatch for Index Key %s Expected: %s Actual: %s IndexName: %s", k.name, k.typ, v.Type(), x.Name)
			case isEmpty(v) && empty != "":
				return invalid(empty)
			case isEmpty(v):
				return invalidf("One or more parameter values are not valid. A value specified for a secondary index key is not supported. "+
					"The AttributeValue for a key attribute cannot contain an empty %s value. IndexName: %s, IndexKey: %s", emptyName(k.typ), x.Name, k.name)
			}
			if err := keySizeError(v, i == 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// pathsError refuses document paths into attributes that are part of a key: they are scalars.
func (t *table) pathsError(paths func(func(expr.Path))) error {
	var err error
	paths(func(p expr.Path) {
		if len(p) < 2 || err != nil {
			return
		}
		kind := ""
		if p[0].Name == t.hash.name || p[0].Name == t.sort.name {
			kind = "Key"
		}
		for _, x := range t.indexes {
			if kind == "" && (p[0].Name == x.hash.name || p[0].Name == x.sort.name) {
				kind = "IndexKey"
			}
		}
		if kind != "" {
			err = invalidf("Key attributes must be scalars; list random access '[]' and map lookup '.' are not allowed: %s: %s", kind, p[0].Name)
		}
	})
	return err
}

// updateError checks what an update changes.
func (t *table) updateError(u *expr.Update) error {
	for _, p := range u.Paths() {
		if p[0].Name == t.hash.name || p[0].Name == t.sort.name {
			return invalid(parametersInvalid + "Cannot update attribute " + p[0].Name + ". This attribute is part of the key")
		}
	}
	var err error
	u.Types(func(attribute string, typ attr.Type) {
		for _, x := range t.indexes {
			for _, k := range []keyAttr{x.hash, x.sort} {
				if err == nil && k.name == attribute && k.typ != typ {
					err = invalidf(parametersInvalid+"Type mismatch for Index Key %s Expected: %s Actual: %s IndexName: %s", k.name, k.typ, typ, x.Name)
				}
			}
		}
	})
	if err != nil {
		return err
	}
	return t.pathsError(u.Attributes)
}

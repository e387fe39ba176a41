package dynamodb

import (
	"slices"
	"strings"
)

// Limits of tables.
const (
	maxLocal     = 5
	maxGlobal    = 20
	maxGlobalKey = 8   // attributes of a global index's key on AWS, of which there are two here
	maxProjected = 100 // attributes of INCLUDE, of all indexes together
	maxUnits     = 1_000_000_000_000
	maxTables    = 2500
)

// define makes the definition that a request asks for.
func (in *createTableInput) define() (definition, error) {
	d := definition{
		Name: in.TableName, Attributes: in.AttributeDefinitions, Keys: in.KeySchema, OnDemand: in.BillingMode == "PAY_PER_REQUEST",
		Protected: in.DeletionProtectionEnabled,
	}
	if err := in.defineThroughput(&d); err != nil {
		return d, err
	}
	if err := uniqueDefinitions(in.AttributeDefinitions); err != nil {
		return d, err
	}
	if err := keySchemaError(in.KeySchema, in.AttributeDefinitions); err != nil {
		return d, err
	}
	if err := in.defineLocal(&d); err != nil {
		return d, err
	}
	if err := in.defineGlobal(&d); err != nil {
		return d, err
	}
	if err := d.unusedError(); err != nil {
		return d, err
	}
	if s := in.StreamSpecification; s != nil {
		switch {
		case *s.StreamEnabled && s.StreamViewType == "":
			return d, invalid(parametersInvalid + "Table is being created with a stream enabled, UpdateViewType is required")
		case !*s.StreamEnabled && s.StreamViewType != "":
			return d, invalid(parametersInvalid + "Table is being created with a stream disabled, UpdateViewType should not be specified")
		}
	}
	if err := tableClassError(in.TableClass); err != nil {
		return d, err
	}
	if in.TableClass != "STANDARD" { // the answer does not tell of the class that tables have anyway
		d.Class = in.TableClass
	}
	tags, err := withTags(nil, in.Tags)
	d.Tags = tags
	return d, err
}

func tableClassError(class string) error {
	if class != "" && class != "STANDARD" && class != "STANDARD_INFREQUENT_ACCESS" {
		return invalid("Invalid table-class parameter provided. Please try again with a valid table-class value: " +
			"[STANDARD, STANDARD_INFREQUENT_ACCESS].")
	}
	return nil
}

func (in *createTableInput) defineThroughput(d *definition) error {
	p := in.ProvisionedThroughput
	switch {
	case d.OnDemand && p != nil:
		return invalid(parametersInvalid + "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST")
	case !d.OnDemand && p == nil:
		return invalid(parametersInvalid + "ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED")
	}
	if p != nil {
		if err := unitsError(p); err != nil {
			return err
		}
		d.Read, d.Write = *p.ReadCapacityUnits, *p.WriteCapacityUnits
	}
	warm, err := warmed(in.WarmThroughput, "table", d.OnDemand, d.Read, d.Write)
	d.Warm = warm
	return err
}

func unitsError(t *throughput) error {
	switch {
	case *t.ReadCapacityUnits > maxUnits:
		return invalidf("Given value %d for ReadCapacityUnits is out of bounds", *t.ReadCapacityUnits)
	case *t.WriteCapacityUnits > maxUnits:
		return invalidf("Given value %d for WriteCapacityUnits is out of bounds", *t.WriteCapacityUnits)
	}
	return nil
}

// Throughput that an on-demand table can serve at once.
const (
	onDemandRead  = 12000
	onDemandWrite = 4000
)

// warmed is the warm throughput that a new table or index has: what is asked for, nil if that is what it has anyway.
func warmed(w *warmThroughput, what string, onDemand bool, read, write int64) (*warmDescription, error) {
	if w == nil {
		return nil, nil
	}
	than := "ReadCapacityUnits of ProvisionedThroughput"
	if onDemand {
		read, write = onDemandRead, onDemandWrite
		than = "initial throughput for OnDemand"
	}
	d := &warmDescription{ReadUnitsPerSecond: read, WriteUnitsPerSecond: write, Status: "ACTIVE"}
	if w.ReadUnitsPerSecond != nil {
		d.ReadUnitsPerSecond = *w.ReadUnitsPerSecond
	}
	if w.WriteUnitsPerSecond != nil {
		d.WriteUnitsPerSecond = *w.WriteUnitsPerSecond
	}
	if d.ReadUnitsPerSecond < read {
		return nil, invalid(parametersInvalid + "Requested ReadUnitsPerSecond for WarmThroughput for " + what + " is lower than " + than)
	}
	if d.WriteUnitsPerSecond < write {
		return nil, invalid(parametersInvalid + "Requested WriteUnitsPerSecond for WarmThroughput for " + what + " is lower than " +
			strings.Replace(than, "Read", "Write", 1))
	}
	return d, nil
}

func uniqueDefinitions(list []attributeDefinition) error {
	for i, a := range list {
		if slices.ContainsFunc(list[:i], func(b attributeDefinition) bool { return b.AttributeName == a.AttributeName }) {
			return invalidf("Attribute Name is duplicated: %s", a.AttributeName)
		}
	}
	return nil
}

func definitionNames(list []attributeDefinition) []string {
	names := make([]string, len(list))
	for i, a := range list {
		names[i] = a.AttributeName
	}
	return names
}

// keySchemaError checks a table's or an index's key schema.
func keySchemaError(keys []keyElement, defined []attributeDefinition) error {
	names := definitionNames(defined)
	var used []string
	missing := false
	for _, k := range keys {
		used = append(used, k.AttributeName)
		missing = missing || !slices.Contains(names, k.AttributeName)
	}
	switch {
	case len(keys) > len(defined):
		return invalid("Invalid KeySchema: Some index key attribute have no definition")
	case missing:
		return invalidf(parametersInvalid+"Some index key attributes are not defined in AttributeDefinitions. "+
			"Keys: [%s], AttributeDefinitions: [%s]", strings.Join(used, ", "), strings.Join(names, ", "))
	case len(keys) > 1 && keys[0].AttributeName == keys[1].AttributeName:
		return invalid("Both the Hash Key and the Range Key element in the KeySchema have the same name")
	case keys[0].KeyType != "HASH":
		return invalid("Invalid KeySchema: The first KeySchemaElement is not a HASH key type")
	case len(keys) > 1 && keys[1].KeyType != "RANGE":
		return invalid("Invalid KeySchema: The second KeySchemaElement is not a RANGE key type")
	}
	return nil
}

func projectionError(p projection) error {
	switch {
	case p.ProjectionType == "":
		return invalid(parametersInvalid + "Unknown ProjectionType: null")
	case p.NonKeyAttributes != nil && p.ProjectionType != "INCLUDE":
		return invalid(parametersInvalid + "ProjectionType is " + p.ProjectionType + ", but NonKeyAttributes is specified")
	case p.NonKeyAttributes == nil && p.ProjectionType == "INCLUDE":
		return invalid(parametersInvalid + "ProjectionType is INCLUDE, but NonKeyAttributes is not specified")
	}
	for i, name := range p.NonKeyAttributes {
		if slices.Contains(p.NonKeyAttributes[:i], name) {
			return invalid(parametersInvalid + "Duplicate element in NonKeyAttributes: " + name)
		}
	}
	return nil
}

func (d *definition) uniqueIndex(name string) error {
	for _, x := range slices.Concat(d.Local, d.Global) {
		if x.Name == name {
			return invalid(parametersInvalid + "Duplicate index name: " + name)
		}
	}
	return nil
}

func (in *createTableInput) defineLocal(d *definition) error {
	list := in.LocalSecondaryIndexes
	if list == nil {
		return nil
	}
	if len(list) == 0 {
		return invalid(parametersInvalid + "List of LocalSecondaryIndexes is empty")
	}
	if len(in.KeySchema) != 2 {
		return invalid(parametersInvalid + "Table KeySchema does not have a range key, which is required when specifying a LocalSecondaryIndex")
	}
	for _, x := range list {
		if err := keySchemaError(x.KeySchema, in.AttributeDefinitions); err != nil {
			return err
		}
		if len(x.KeySchema) != 2 {
			return invalid(parametersInvalid + "Index KeySchema does not have a range key for index: " + x.IndexName)
		}
		if hash, want := x.KeySchema[0].AttributeName, in.KeySchema[0].AttributeName; hash != want {
			return invalidf(parametersInvalid+"Index KeySchema does not have the same leading hash key as table KeySchema for index: %s. "+
				"index hash key: %s, table hash key: %s", x.IndexName, hash, want)
		}
		if err := projectionError(*x.Projection); err != nil {
			return err
		}
		if err := d.uniqueIndex(x.IndexName); err != nil {
			return err
		}
		d.Local = append(d.Local, indexDefinition{Name: x.IndexName, Keys: x.KeySchema, Projection: *x.Projection})
	}
	if len(list) > maxLocal {
		return invalidf(parametersInvalid+"Number of LocalSecondaryIndexes exceeds per-table limit of %d", maxLocal)
	}
	return d.projectedError()
}

func (in *createTableInput) defineGlobal(d *definition) error {
	list := in.GlobalSecondaryIndexes
	if list == nil {
		return nil
	}
	if len(list) == 0 {
		return invalid(parametersInvalid + "List of GlobalSecondaryIndexes is empty")
	}
	for _, x := range list {
		def, err := x.define(d)
		if err != nil {
			return err
		}
		if err := d.uniqueIndex(x.IndexName); err != nil {
			return err
		}
		d.Global = append(d.Global, def)
	}
	if len(list) > maxGlobal {
		return invalidf(parametersInvalid+"GlobalSecondaryIndex count exceeds the per-table limit of %d", maxGlobal)
	}
	return d.projectedError()
}

// define makes the definition of a global index of a table.
func (x globalIndexInput) define(d *definition) (indexDefinition, error) {
	def := indexDefinition{Name: x.IndexName, Keys: x.KeySchema, Projection: *x.Projection, Global: true}
	if len(x.KeySchema) > 2 || len(x.KeySchema) == 2 && x.KeySchema[0].KeyType == "HASH" && x.KeySchema[1].KeyType == "HASH" {
		return def, notHere("A KeySchema with several HASH or RANGE attributes")
	}
	if err := keySchemaError(x.KeySchema, d.Attributes); err != nil {
		return def, err
	}
	if err := projectionError(*x.Projection); err != nil {
		return def, err
	}
	switch p := x.ProvisionedThroughput; {
	case d.OnDemand && p != nil:
		return def, invalid(parametersInvalid + "ProvisionedThroughput should not be specified for index: " + x.IndexName +
			" when BillingMode is PAY_PER_REQUEST")
	case !d.OnDemand && p == nil:
		return def, invalid(parametersInvalid + "ProvisionedThroughput is not specified for index: " + x.IndexName)
	case p != nil:
		if err := unitsError(p); err != nil {
			return def, err
		}
		def.Read, def.Write = *p.ReadCapacityUnits, *p.WriteCapacityUnits
	}
	warm, err := warmed(x.WarmThroughput, "index "+x.IndexName, d.OnDemand, def.Read, def.Write)
	def.Warm = warm
	return def, err
}

func (d *definition) projectedError() error {
	n := 0
	for _, x := range slices.Concat(d.Local, d.Global) {
		n += len(x.Projection.NonKeyAttributes)
	}
	if n > maxProjected {
		return invalidf(parametersInvalid+"Number of NonKeyAttributes of all indexes exceeds the per-table limit of %d", maxProjected)
	}
	return nil
}

// unusedError demands that each attribute that is defined is part of a key.
func (d *definition) unusedError() error {
	var used []string
	for _, keys := range d.allKeys() {
		for _, k := range keys {
			if !slices.Contains(used, k.AttributeName) {
				used = append(used, k.AttributeName)
			}
		}
	}
	names := definitionNames(d.Attributes)
	if len(used) == len(names) {
		return nil
	}
	if d.Local == nil && d.Global == nil {
		return invalid(parametersInvalid + "Number of attributes in KeySchema does not exactly match number of attributes defined in AttributeDefinitions")
	}
	return invalidf(parametersInvalid+"Some AttributeDefinitions are not used. AttributeDefinitions: [%s], keys used: [%s]",
		strings.Join(names, ", "), strings.Join(used, ", "))
}

func (d *definition) allKeys() [][]keyElement {
	list := [][]keyElement{d.Keys}
	for _, x := range slices.Concat(d.Local, d.Global) {
		list = append(list, x.Keys)
	}
	return list
}

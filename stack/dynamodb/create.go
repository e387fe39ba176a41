package dynamodb

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/stack/store"
	"github.com/millrace/millrace/stack/wire"
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

var namePattern = regexp.MustCompile(`^[a-zA-Z0-9_.-]+$`)

const patternShown = "[a-zA-Z0-9_.-]+"

// tableNameError checks the name of a table as operations on tables do.
func tableNameError(c *wire.Check, name string) error {
	if name == "" {
		return invalid("The parameter 'TableName' is required but was not present in the request")
	}
	if strings.HasPrefix(name, "arn:") {
		return nil
	}
	if len(name) < 3 || len(name) > 255 {
		return invalid("TableName must be at least 3 characters long and at most 255 characters long")
	}
	c.Pattern("tableName", name, namePattern, patternShown)
	return nil
}

func checkUnits(c *wire.Check, name string, t *throughput) {
	if t == nil {
		return
	}
	for _, u := range []struct {
		name  string
		value *int64
	}{{"writeCapacityUnits", t.WriteCapacityUnits}, {"readCapacityUnits", t.ReadCapacityUnits}} {
		c.Required(name+"."+u.name, u.value != nil)
		if u.value != nil && *u.value < 1 {
			c.Range(name+"."+u.name, *u.value, 1, maxUnits)
		}
	}
}

func checkDefinitions(c *wire.Check, list []attributeDefinition) {
	for i, a := range list {
		name := fmt.Sprintf("attributeDefinitions.%d.member.", i+1)
		c.Length(name+"attributeName", a.AttributeName, 1, 255)
		c.Enum(name+"attributeType", a.AttributeType, "B", "N", "S")
	}
}

func checkKeySchema(c *wire.Check, name string, keys []keyElement, most int) {
	c.Required(name, keys != nil)
	if keys != nil && (len(keys) == 0 || len(keys) > most) {
		c.Count(name, shown(len(keys)), len(keys), 1, most)
	}
	for i, k := range keys {
		name := fmt.Sprintf("%s.%d.member.", name, i+1)
		c.Length(name+"attributeName", k.AttributeName, 1, 255)
		c.Enum(name+"keyType", k.KeyType, "HASH", "RANGE")
	}
}

// checkIndex checks an index whose key has at most so many attributes.
func checkIndex(c *wire.Check, name string, x globalIndexInput, most int) {
	c.Required(name+"indexName", x.IndexName != "")
	if x.IndexName != "" {
		c.Pattern(name+"indexName", x.IndexName, namePattern, patternShown)
		c.Length(name+"indexName", x.IndexName, 3, 255)
	}
	checkKeySchema(c, name+"keySchema", x.KeySchema, most)
	c.Required(name+"projection", x.Projection != nil)
	if p := x.Projection; p != nil {
		if p.ProjectionType != "" {
			c.Enum(name+"projection.projectionType", p.ProjectionType, "ALL", "INCLUDE", "KEYS_ONLY")
		}
		if p.NonKeyAttributes != nil && (len(p.NonKeyAttributes) == 0 || len(p.NonKeyAttributes) > 20) {
			c.Count(name+"projection.nonKeyAttributes", shown(len(p.NonKeyAttributes)), len(p.NonKeyAttributes), 1, 20)
		}
	}
	checkUnits(c, name+"provisionedThroughput", x.ProvisionedThroughput)
}

func (in *createTableInput) check() error {
	var c wire.Check
	if err := tableNameError(&c, in.TableName); err != nil {
		return err
	}
	c.Required("attributeDefinitions", in.AttributeDefinitions != nil)
	checkDefinitions(&c, in.AttributeDefinitions)
	checkKeySchema(&c, "keySchema", in.KeySchema, 2)
	if in.BillingMode != "" {
		c.Enum("billingMode", in.BillingMode, "PROVISIONED", "PAY_PER_REQUEST")
	}
	checkUnits(&c, "provisionedThroughput", in.ProvisionedThroughput)
	for i, x := range in.LocalSecondaryIndexes {
		checkIndex(&c, fmt.Sprintf("localSecondaryIndexes.%d.member.", i+1),
			globalIndexInput{IndexName: x.IndexName, KeySchema: x.KeySchema, Projection: x.Projection}, 2)
	}
	for i, x := range in.GlobalSecondaryIndexes {
		checkIndex(&c, fmt.Sprintf("globalSecondaryIndexes.%d.member.", i+1), x, maxGlobalKey)
	}
	checkStream(&c, in.StreamSpecification)
	checkSSE(&c, in.SSESpecification)
	if err := c.Err(); err != nil {
		return err
	}
	return in.unsupported()
}

func checkStream(c *wire.Check, s *streamSpecification) {
	if s == nil {
		return
	}
	c.Required("streamSpecification.streamEnabled", s.StreamEnabled != nil)
	if s.StreamViewType != "" {
		c.Enum("streamSpecification.streamViewType", s.StreamViewType, strings.Split(allViewTypes, ", ")...)
	}
}

func checkSSE(c *wire.Check, s *sseSpecification) {
	if s != nil && s.SSEType != "" {
		c.Enum("sSESpecification.sSEType", s.SSEType, "AES256", "KMS")
	}
}

// notHere refuses a parameter that means something on AWS that the stack does not have.
func notHere(parameter string) error {
	return invalid(parametersInvalid + parameter + " is not supported by millrace's local stack")
}

func (in *createTableInput) unsupported() error {
	switch {
	case strings.HasPrefix(in.TableName, "arn:"):
		return invalid("TableName must be at least 3 characters long and at most 255 characters long")
	case in.OnDemandThroughput != nil:
		return notHere("OnDemandThroughput")
	case in.ResourcePolicy != "":
		return notHere("ResourcePolicy")
	case in.GlobalTableSourceArn != "":
		return notHere("GlobalTableSourceArn")
	case in.GlobalTableSettingsReplicationMode != "":
		return notHere("GlobalTableSettingsReplicationMode")
	case in.VectorIndexes != nil:
		return notHere("VectorIndexes")
	}
	for _, x := range in.GlobalSecondaryIndexes {
		if x.OnDemandThroughput != nil {
			return notHere("OnDemandThroughput")
		}
	}
	return nil
}

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

// encryption is what a table's SSESpecification makes of what it has.
func (s *Service) encryption(p place, in *sseSpecification, old *sseDescription) (*sseDescription, error) {
	enabled := in.Enabled != nil && *in.Enabled
	switch {
	case !enabled && in.SSEType != "":
		return nil, invalid(parametersInvalid + "SSEType can not be specified if Enabled is false")
	case !enabled && in.KMSMasterKeyID != "":
		return nil, invalid(parametersInvalid + "KMSMasterKeyId can not be specified if Enabled is false")
	case in.SSEType == "AES256":
		return nil, invalid(parametersInvalid + "SSEType AES256 is not supported")
	case !enabled:
		return nil, nil
	}
	key := in.KMSMasterKeyID
	switch {
	case key == "" && old != nil:
		return old, nil
	case key == "":
		key = "arn:aws:kms:" + p.region + ":" + p.account + ":key/" + uuid.NewString()
	case strings.HasPrefix(key, "alias/"):
		key = "arn:aws:kms:" + p.region + ":" + p.account + ":" + key
	case !strings.HasPrefix(key, "arn:"):
		key = "arn:aws:kms:" + p.region + ":" + p.account + ":key/" + key
	}
	return &sseDescription{Status: "ENABLED", SSEType: "KMS", KMSMasterKeyArn: key}, nil
}

func (s *Service) createTable(_ context.Context, r *wire.Request, in *createTableInput) (*tableOutput, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	d, err := in.define()
	if err != nil {
		return nil, err
	}
	where := place{r.Account, r.Region}
	if in.SSESpecification != nil {
		if d.SSE, err = s.encryption(where, in.SSESpecification, nil); err != nil {
			return nil, err
		}
	}
	now := s.now()
	d.ID, d.Created = uuid.NewString(), now
	if d.OnDemand {
		d.OnDemandSince = now
	}
	t := newTable(where, d)

	s.mu.Lock()
	if s.tables[tableKey{where, d.Name}] != nil {
		s.mu.Unlock()
		return nil, wire.Errorf("ResourceInUseException", "Table already exists: %s", d.Name)
	}
	if s.countTables(where) >= maxTables {
		s.mu.Unlock()
		return nil, wire.Errorf("LimitExceededException",
			"Subscriber limit exceeded: There is a limit of %d tables per subscriber", maxTables)
	}
	var b store.Batch
	if spec := in.StreamSpecification; spec != nil && *spec.StreamEnabled {
		s.enableStream(t, viewType(spec.StreamViewType), now, &b)
	}
	t.keep(&b)
	s.tables[tableKey{where, d.Name}] = t
	out := t.describe(now)
	commit := s.env.Store.Commit(&b)
	s.mu.Unlock()
	if err := commit.Wait(); err != nil {
		return nil, err
	}
	out.creating()
	return &tableOutput{out}, nil
}

func (s *Service) countTables(p place) int {
	n := 0
	for k := range s.tables {
		if k.place == p {
			n++
		}
	}
	return n
}

// now is the stack's time as DynamoDB shows it, in milliseconds.
func (s *Service) now() time.Time { return s.env.Clock.Now().UTC().Truncate(time.Millisecond) }

func (s *Service) newStream(p place, d streamDefinition) *stream {
	return &stream{place: p, arn: tableARN(p, d.Table) + "/stream/" + d.Label, durable: s.env.Store.Durable(), streamDefinition: d}
}

// enableStream gives a table a new stream. The caller holds s.mu, and t.mu unless the table is new.
func (s *Service) enableStream(t *table, view viewType, now time.Time, b *store.Batch) {
	d := streamDefinition{ID: uuid.NewString(), Table: t.Name, View: view, Keys: t.Keys, Created: now}
	for at := now; ; at = at.Add(time.Millisecond) { // two streams of one name may not have the same label
		d.Label = at.Format(labelLayout)
		if s.streams[tableARN(t.place, t.Name)+"/stream/"+d.Label] == nil {
			break
		}
	}
	st := s.newStream(t.place, d)
	if st.durable {
		st.batch = b
	}
	st.keep()
	st.openShards(t.partitions(), now)
	st.batch = nil
	s.streams[st.arn] = st
	t.stream, t.StreamID, t.StreamLabel = st, st.ID, st.Label
}

// partitions is how many partitions AWS gives a table, of which each has a shard in its stream: one for 1,000 writes
// or 3,000 reads a second.
func (d *definition) partitions() int {
	read, write := d.Read, d.Write
	if d.OnDemand {
		read, write = onDemandRead, onDemandWrite
	}
	if d.Warm != nil {
		read, write = max(read, d.Warm.ReadUnitsPerSecond), max(write, d.Warm.WriteUnitsPerSecond)
	}
	most := max((read+2999)/3000, (write+999)/1000, 1)
	return int(min(most, 128))
}

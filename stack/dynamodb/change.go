package dynamodb

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/stack/store"
	"github.com/millrace/millrace/stack/wire"
)

func (s *Service) deleteTable(_ context.Context, r *wire.Request, in *tableInput) (*tableOutput, error) {
	t, err := s.named(r, in.TableName)
	if err != nil {
		return nil, err
	}
	now := s.now()
	s.mu.Lock()
	t.mu.Lock()
	switch {
	case t.gone:
		err = notFound(t.Name)
	case t.Protected:
		err = invalid("Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection first.")
	}
	if err != nil {
		t.mu.Unlock()
		s.mu.Unlock()
		return nil, err
	}
	out := t.describe(now)
	var b store.Batch
	s.disableStream(t, now, &b)
	t.gone = true
	t.erase(&b)
	delete(s.tables, tableKey{t.place, t.Name})
	s.expiries.Stop(t)
	commit := s.env.Store.Commit(&b)
	t.mu.Unlock()
	s.mu.Unlock()
	if err := commit.Wait(); err != nil {
		return nil, err
	}
	// This is all that DynamoDB says of a table that goes.
	return &tableOutput{&tableDescription{
		TableName: out.TableName, TableStatus: "DELETING", TableArn: out.TableArn, TableID: out.TableID, ItemCount: out.ItemCount,
		TableSizeBytes: out.TableSizeBytes, ProvisionedThroughput: out.ProvisionedThroughput, AttributeDefinitions: out.AttributeDefinitions,
		KeySchema: out.KeySchema, CreationDateTime: out.CreationDateTime, BillingModeSummary: out.BillingModeSummary,
		LatestStreamArn: out.LatestStreamArn, LatestStreamLabel: out.LatestStreamLabel, StreamSpecification: out.StreamSpecification,
		LocalSecondaryIndexes: out.LocalSecondaryIndexes, GlobalSecondaryIndexes: out.GlobalSecondaryIndexes,
	}}, nil
}

// disableStream ends the table's stream, if it has one. The caller holds t.mu.
func (s *Service) disableStream(t *table, now time.Time, b *store.Batch) {
	st := t.stream
	if st == nil {
		return
	}
	st.mu.Lock()
	if st.durable {
		st.batch = b
	}
	st.disable(now)
	st.batch = nil
	st.mu.Unlock()
	t.stream, t.StreamID = nil, ""
	s.ends.Set(st, now.Add(retention))
}

func (in *updateTableInput) check() error {
	var c wire.Check
	if err := tableNameError(&c, in.TableName); err != nil {
		return err
	}
	checkDefinitions(&c, in.AttributeDefinitions)
	if in.BillingMode != "" {
		c.Enum("billingMode", in.BillingMode, "PROVISIONED", "PAY_PER_REQUEST")
	}
	checkUnits(&c, "provisionedThroughput", in.ProvisionedThroughput)
	for i, u := range in.GlobalSecondaryIndexUpdates {
		name := fmt.Sprintf("globalSecondaryIndexUpdates.%d.member.", i+1)
		if u.Create != nil {
			checkIndex(&c, name+"create.", *u.Create, maxGlobalKey)
		}
		if u.Update != nil {
			c.Required(name+"update.indexName", u.Update.IndexName != "")
			checkUnits(&c, name+"update.provisionedThroughput", u.Update.ProvisionedThroughput)
		}
		if u.Delete != nil {
			c.Required(name+"delete.indexName", u.Delete.IndexName != "")
		}
	}
	checkStream(&c, in.StreamSpecification)
	checkSSE(&c, in.SSESpecification)
	if err := c.Err(); err != nil {
		return err
	}
	for _, p := range []struct {
		name  string
		there bool
	}{
		{"ReplicaUpdates", in.ReplicaUpdates != nil}, {"GlobalTableWitnessUpdates", in.GlobalTableWitnessUpdates != nil},
		{"MultiRegionConsistency", in.MultiRegionConsistency != ""}, {"OnDemandThroughput", in.OnDemandThroughput != nil},
		{"GlobalTableSettingsReplicationMode", in.GlobalTableSettingsReplicationMode != ""}, {"VectorIndexUpdates", in.VectorIndexUpdates != nil},
		{"DisassociationProtectionEnabled", in.DisassociationProtectionEnabled != nil},
	} {
		if p.there {
			return notHere(p.name)
		}
	}
	return in.checkTogether()
}

// checkTogether demands that there is something to change, and that it can be changed in one request.
func (in *updateTableInput) checkTogether() error {
	parts := map[string]bool{
		"IOPS":                   in.ProvisionedThroughput != nil || in.BillingMode != "",
		"stream":                 in.StreamSpecification != nil,
		"index":                  in.GlobalSecondaryIndexUpdates != nil,
		"Server-Side Encryption": in.SSESpecification != nil,
		"TableClass":             in.TableClass != "",
		"DeletionProtection":     in.DeletionProtectionEnabled != nil,
		"WarmThroughput":         in.WarmThroughput != nil,
	}
	n := 0
	for _, there := range parts {
		if there {
			n++
		}
	}
	if n == 0 {
		return invalid("At least one of ProvisionedThroughput, BillingMode, UpdateStreamEnabled, GlobalSecondaryIndexUpdates, SSESpecification, " +
			"ReplicaUpdates, MultiAccountReplicaReady, ReplicaTransitRoleArn, MultiRegionConsistency, DeletionProtectionEnabled, " +
			"OnDemandThroughput, WarmThroughput or TableClass is required")
	}
	for _, alone := range []string{"Server-Side Encryption", "TableClass", "DeletionProtection"} {
		if parts[alone] && n > 1 {
			return invalid(parametersInvalid + alone + " modification must be the only operation in the request")
		}
	}
	if parts["WarmThroughput"] && n > 1 {
		return invalid(parametersInvalid + "WarmThroughput must be the only operation in the request")
	}
	createsOrDeletes := slices.ContainsFunc(in.GlobalSecondaryIndexUpdates, func(u indexUpdate) bool { return u.Create != nil || u.Delete != nil })
	switch {
	case parts["stream"] && parts["IOPS"]:
		return invalid(parametersInvalid + "You cannot modify stream status while updating table IOPS")
	case createsOrDeletes && parts["IOPS"]:
		return invalid(parametersInvalid + "You cannot create or delete index while updating table IOPS")
	case createsOrDeletes && parts["stream"]:
		return invalid(parametersInvalid + "You cannot create or delete index while changing stream status")
	}
	return nil
}

func (s *Service) updateTable(_ context.Context, r *wire.Request, in *updateTableInput) (*tableOutput, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	t, err := s.named(r, in.TableName)
	if err != nil {
		return nil, err
	}
	now := s.now()
	s.mu.Lock()
	t.mu.Lock()
	var b store.Batch
	out, err := s.change(t, in, now, &b)
	commit := s.env.Store.Commit(&b)
	t.mu.Unlock()
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if err := commit.Wait(); err != nil {
		return nil, err
	}
	return &tableOutput{out}, nil
}

// change makes the changes, or none. The caller holds s.mu and t.mu.
func (s *Service) change(t *table, in *updateTableInput, now time.Time, b *store.Batch) (*tableDescription, error) {
	if t.gone {
		return nil, notFound(t.Name)
	}
	d := t.definition // changed in place of the table's until all is checked
	d.Global = slices.Clone(d.Global)
	if err := in.changeThroughput(&d, now); err != nil {
		return nil, err
	}
	if err := in.changeIndexes(&d, now); err != nil {
		return nil, err
	}
	if err := in.streamError(t); err != nil {
		return nil, err
	}
	if in.TableClass != "" {
		if err := tableClassError(in.TableClass); err != nil {
			return nil, err
		}
		d.Class, d.ClassChanged = in.TableClass, now
	}
	if in.DeletionProtectionEnabled != nil {
		d.Protected = *in.DeletionProtectionEnabled
	}
	if in.SSESpecification != nil {
		sse, err := s.encryption(t.place, in.SSESpecification, d.SSE)
		if err != nil {
			return nil, err
		}
		if sse == nil && d.SSE == nil {
			return nil, invalid(parametersInvalid + "Table is already encrypted by default")
		}
		d.SSE = sse
	}
	if in.WarmThroughput != nil {
		if err := in.changeWarm(&d); err != nil {
			return nil, err
		}
	}

	t.definition = d
	t.setTypes()
	t.setIndexes()
	if spec := in.StreamSpecification; spec != nil && *spec.StreamEnabled {
		s.enableStream(t, viewType(spec.StreamViewType), now, b)
	} else if spec != nil {
		s.disableStream(t, now, b)
	}
	if st := t.stream; st != nil {
		st.mu.Lock()
		if st.durable {
			st.batch = b
		}
		st.advance(now)
		st.grow(t.partitions(), now)
		st.batch = nil
		st.mu.Unlock()
	}
	t.keep(b)
	out := t.describe(now)
	out.TableStatus = "UPDATING"
	for i := range out.GlobalSecondaryIndexes {
		x := &out.GlobalSecondaryIndexes[i]
		for _, u := range in.GlobalSecondaryIndexUpdates {
			switch {
			case u.Create != nil && u.Create.IndexName == x.IndexName:
				x.IndexStatus, x.Backfilling, x.WarmThroughput = "CREATING", true, nil
			case u.Update != nil && u.Update.IndexName == x.IndexName:
				x.IndexStatus = "UPDATING"
			}
		}
	}
	return out, nil
}

// setIndexes makes the indexes those of the definition.
func (t *table) setIndexes() {
	old := t.indexes
	t.indexes = nil
	for _, def := range slices.Concat(t.Local, t.Global) {
		i := slices.IndexFunc(old, func(x *index) bool { return x.Name == def.Name })
		if i >= 0 {
			old[i].indexDefinition = def
			t.indexes = append(t.indexes, old[i])
			continue
		}
		x := t.newIndex(def)
		t.fill(x)
		t.indexes = append(t.indexes, x)
	}
}

func (in *updateTableInput) streamError(t *table) error {
	s := in.StreamSpecification
	switch {
	case s == nil:
	case *s.StreamEnabled && s.StreamViewType == "":
		return invalid(parametersInvalid + "If stream is being enabled then UpdateViewType is required")
	case !*s.StreamEnabled && s.StreamViewType != "":
		return invalid(parametersInvalid + "If stream is being disabled, then UpdateViewType must not be specified")
	case *s.StreamEnabled && t.stream != nil:
		return invalid("Table already has an enabled stream: TableName: " + t.Name)
	case !*s.StreamEnabled && t.stream == nil:
		return invalid("Table has no stream to disable: TableName: " + t.Name)
	}
	return nil
}

// to sets provisioned throughput and notes when it rose or fell.
func (p *throughputState) to(t *throughput, now time.Time) {
	read, write := *t.ReadCapacityUnits, *t.WriteCapacityUnits
	if read > p.Read || write > p.Write {
		p.Increased = now
	}
	if read < p.Read || write < p.Write {
		if !sameDay(p.Decreased, now) {
			p.DecreasesToday = 0
		}
		p.Decreased = now
		p.DecreasesToday++
	}
	p.Read, p.Write = read, write
}

const refer = "Refer to the Amazon DynamoDB Developer Guide for current limits and how to request higher limits."

func (p throughputState) unchangedError(what string, t *throughput) error {
	if p.Read != *t.ReadCapacityUnits || p.Write != *t.WriteCapacityUnits {
		return nil
	}
	kind, _, _ := strings.Cut(what, " ")
	return invalidf("The provisioned throughput for the %s will not change. The requested value equals the current value. "+
		"Current ReadCapacityUnits provisioned for the %s: %d. Requested ReadCapacityUnits: %d. "+
		"Current WriteCapacityUnits provisioned for the %s: %d. Requested WriteCapacityUnits: %d. "+refer,
		what, kind, p.Read, *t.ReadCapacityUnits, kind, p.Write, *t.WriteCapacityUnits)
}

func (in *updateTableInput) changeThroughput(d *definition, now time.Time) error {
	p := in.ProvisionedThroughput
	toOnDemand := in.BillingMode == "PAY_PER_REQUEST"
	toProvisioned := in.BillingMode == "PROVISIONED" && d.OnDemand
	switch {
	case p != nil && (toOnDemand || in.BillingMode == "" && d.OnDemand):
		return invalid(parametersInvalid + "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST")
	case in.BillingMode == "PROVISIONED" && p == nil:
		return invalid(parametersInvalid + "ProvisionedThroughput must be specified when BillingMode is PROVISIONED")
	}
	if p != nil {
		if err := unitsError(p); err != nil {
			return err
		}
		if !toProvisioned {
			if err := d.unchangedError("table", p); err != nil {
				return err
			}
		}
		d.to(p, now)
	}
	if toProvisioned {
		var missing []string
		for _, x := range d.Global {
			if !slices.ContainsFunc(in.GlobalSecondaryIndexUpdates, func(u indexUpdate) bool {
				return u.Update != nil && u.Update.IndexName == x.Name && u.Update.ProvisionedThroughput != nil
			}) {
				missing = append(missing, x.Name)
			}
		}
		if missing != nil {
			return invalid(parametersInvalid + "ProvisionedThroughput must be specified for index: " + strings.Join(missing, ","))
		}
		d.OnDemand = false
	}
	if toOnDemand && !d.OnDemand {
		d.OnDemand, d.OnDemandSince = true, now
		zero := int64(0)
		none := &throughput{&zero, &zero}
		d.to(none, now)
		for i := range d.Global {
			d.Global[i].to(none, now)
		}
	}
	return nil
}

func (in *updateTableInput) changeIndexes(d *definition, now time.Time) error {
	updates := in.GlobalSecondaryIndexUpdates
	if updates == nil {
		return nil
	}
	if len(updates) == 0 {
		return invalid(parametersInvalid + "List of GlobalSecondaryIndexUpdates is empty")
	}
	seen := map[string]bool{}
	online := 0
	for _, u := range updates {
		var names []string
		if u.Create != nil {
			names = append(names, u.Create.IndexName)
		}
		if u.Update != nil {
			names = append(names, u.Update.IndexName)
		}
		if u.Delete != nil {
			names = append(names, u.Delete.IndexName)
		}
		switch {
		case len(names) == 0:
			return invalid(parametersInvalid + "One of GlobalSecondaryIndexUpdate.Update, GlobalSecondaryIndexUpdate.Create, " +
				"GlobalSecondaryIndexUpdate.Delete must not be null")
		case len(names) > 1:
			return invalid(parametersInvalid + "Only one global secondary index action is allowed per GlobalSecondaryIndexUpdate object")
		case seen[names[0]]:
			return invalid(parametersInvalid + "Only one global secondary index update per index is allowed simultaneously. Index: " + names[0])
		}
		seen[names[0]] = true
		if u.Update == nil {
			online++
		}
	}
	if online > 1 {
		return wire.Errorf("LimitExceededException",
			"Subscriber limit exceeded: Only 1 online index can be created or deleted simultaneously per table")
	}
	if err := in.mergeDefinitions(d); err != nil {
		return err
	}
	for _, u := range updates {
		if err := u.apply(d, now); err != nil {
			return err
		}
	}
	d.dropUnused()
	return nil
}

// mergeDefinitions adds the definitions of attributes that the table does not have.
func (in *updateTableInput) mergeDefinitions(d *definition) error {
	if err := uniqueDefinitions(in.AttributeDefinitions); err != nil {
		return err
	}
	d.Attributes = slices.Clone(d.Attributes)
	for _, a := range in.AttributeDefinitions {
		i := slices.IndexFunc(d.Attributes, func(b attributeDefinition) bool { return a.AttributeName == b.AttributeName })
		switch {
		case i < 0:
			d.Attributes = append(d.Attributes, a)
		case d.Attributes[i].AttributeType != a.AttributeType:
			return invalidf(parametersInvalid+"Attribute %s is already defined with type %s", a.AttributeName, d.Attributes[i].AttributeType)
		}
	}
	return nil
}

func (d *definition) dropUnused() {
	d.Attributes = slices.DeleteFunc(d.Attributes, func(a attributeDefinition) bool {
		for _, keys := range d.allKeys() {
			if slices.ContainsFunc(keys, func(k keyElement) bool { return k.AttributeName == a.AttributeName }) {
				return false
			}
		}
		return true
	})
}

func (u indexUpdate) apply(d *definition, now time.Time) error {
	find := func(name string) int {
		return slices.IndexFunc(d.Global, func(x indexDefinition) bool { return x.Name == name })
	}
	switch {
	case u.Create != nil:
		if u.Create.OnDemandThroughput != nil {
			return notHere("OnDemandThroughput")
		}
		if d.uniqueIndex(u.Create.IndexName) != nil {
			return invalid("Attempting to create an index which already exists")
		}
		if len(d.Global) == maxGlobal {
			return wire.Errorf("LimitExceededException", "GlobalSecondaryIndex count exceeds the per-table limit of %d", maxGlobal)
		}
		def, err := u.Create.define(d)
		if err != nil {
			return err
		}
		d.Global = append(d.Global, def)
		return d.projectedError()
	case u.Delete != nil:
		i := find(u.Delete.IndexName)
		switch {
		case i >= 0:
			d.Global = slices.Delete(d.Global, i, i+1)
			return nil
		case slices.ContainsFunc(d.Local, func(x indexDefinition) bool { return x.Name == u.Delete.IndexName }):
			return invalid("Cannot delete an index that is not a GlobalSecondaryIndex: " + u.Delete.IndexName)
		}
		return wire.Errorf("ResourceNotFoundException", "Requested resource not found")
	}
	i := find(u.Update.IndexName)
	switch p := u.Update.ProvisionedThroughput; {
	case i < 0 && slices.ContainsFunc(d.Local, func(x indexDefinition) bool { return x.Name == u.Update.IndexName }):
		return invalid("Cannot update an index that is not a GlobalSecondaryIndex: " + u.Update.IndexName)
	case i < 0:
		return wire.Errorf("ResourceNotFoundException", "Requested resource not found")
	case u.Update.OnDemandThroughput != nil:
		return notHere("OnDemandThroughput")
	case p != nil && d.OnDemand:
		return invalid(parametersInvalid + "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified for index: " + u.Update.IndexName +
			" when BillingMode is PAY_PER_REQUEST")
	case p != nil:
		if err := unitsError(p); err != nil {
			return err
		}
		if err := d.Global[i].unchangedError("index "+u.Update.IndexName, p); err != nil {
			return err
		}
		d.Global[i].to(p, now)
	}
	if w := u.Update.WarmThroughput; w != nil {
		x := &d.Global[i]
		has := warm(x.Warm, d.OnDemand, x.Read, x.Write)
		raised, err := raise(has, w, "index "+x.Name)
		if err != nil {
			return err
		}
		x.Warm = raised
	} else if u.Update.ProvisionedThroughput == nil {
		return invalid(parametersInvalid + "Both ReadCapacityUnits and WriteCapacityUnits must be specified for index: " + u.Update.IndexName)
	}
	return nil
}

// raise is warm throughput after a change, which can only raise it.
func raise(has *warmDescription, w *warmThroughput, what string) (*warmDescription, error) {
	d := *has
	if w.ReadUnitsPerSecond != nil {
		d.ReadUnitsPerSecond = *w.ReadUnitsPerSecond
	}
	if w.WriteUnitsPerSecond != nil {
		d.WriteUnitsPerSecond = *w.WriteUnitsPerSecond
	}
	for unit, lower := range map[string]bool{
		"Read": d.ReadUnitsPerSecond < has.ReadUnitsPerSecond, "Write": d.WriteUnitsPerSecond < has.WriteUnitsPerSecond,
	} {
		if lower {
			return nil, invalid(parametersInvalid + "Requested " + unit + "UnitsPerSecond for WarmThroughput for " + what +
				" is lower than current WarmThroughput, decreasing WarmThroughput is not supported")
		}
	}
	return &d, nil
}

func (in *updateTableInput) changeWarm(d *definition) error {
	raised, err := raise(warm(d.Warm, d.OnDemand, d.Read, d.Write), in.WarmThroughput, "table")
	d.Warm = raised
	return err
}

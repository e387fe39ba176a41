package dynamodb

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/stack/wire"
)

// describe is what DescribeTable says of a table. The caller holds t.mu.
func (t *table) describe(now time.Time) *tableDescription {
	d := &tableDescription{
		AttributeDefinitions: slices.Clone(t.Attributes), TableName: t.Name, KeySchema: t.Keys, TableStatus: "ACTIVE",
		CreationDateTime: wire.Time{Time: t.Created}, ProvisionedThroughput: t.throughputState.describe(now), TableSizeBytes: t.size,
		ItemCount: int64(t.items.Len()), TableArn: t.arn, TableID: t.ID, DeletionProtectionEnabled: t.Protected,
		LatestStreamLabel: t.StreamLabel, SSEDescription: t.SSE, WarmThroughput: t.warm(),
	}
	if t.StreamLabel != "" {
		d.LatestStreamArn = t.arn + "/stream/" + t.StreamLabel
	}
	if t.stream != nil {
		enabled := true
		d.StreamSpecification = &streamSpecification{StreamEnabled: &enabled, StreamViewType: string(t.stream.View)}
	}
	if !t.OnDemandSince.IsZero() {
		d.BillingModeSummary = &billingModeSummary{BillingMode: "PROVISIONED", LastUpdateToPayPerRequestDateTime: stamp(t.OnDemandSince)}
		if t.OnDemand {
			d.BillingModeSummary.BillingMode = "PAY_PER_REQUEST"
		}
	}
	if t.Class != "" {
		d.TableClassSummary = &tableClassSummary{TableClass: t.Class, LastUpdateDateTime: stamp(t.ClassChanged)}
	}
	for _, x := range t.indexes {
		i := indexDescription{
			IndexName: x.Name, KeySchema: x.Keys, Projection: x.Projection, IndexSizeBytes: x.size, ItemCount: int64(x.items.Len()),
			IndexArn: t.arn + "/index/" + x.Name,
		}
		if !x.Global {
			d.LocalSecondaryIndexes = append(d.LocalSecondaryIndexes, i)
			continue
		}
		d.GlobalSecondaryIndexes = append(d.GlobalSecondaryIndexes, globalIndexDescription{indexDescription: i, IndexStatus: "ACTIVE",
			ProvisionedThroughput: x.throughputState.describe(now), WarmThroughput: warm(x.Warm, t.OnDemand, x.Read, x.Write)})
	}
	return d
}

// creating makes a description that of a table which is being created: that is what CreateTable answers.
func (d *tableDescription) creating() {
	d.TableStatus = "CREATING"
	d.WarmThroughput = nil
	if d.BillingModeSummary != nil {
		d.BillingModeSummary.LastUpdateToPayPerRequestDateTime = nil
	}
	for i := range d.GlobalSecondaryIndexes {
		d.GlobalSecondaryIndexes[i].IndexStatus = "CREATING"
		d.GlobalSecondaryIndexes[i].WarmThroughput = nil
	}
}

func stamp(t time.Time) *wire.Time {
	if t.IsZero() {
		return nil
	}
	return &wire.Time{Time: t}
}

func (p throughputState) describe(now time.Time) throughputDescription {
	d := throughputDescription{ReadCapacityUnits: p.Read, WriteCapacityUnits: p.Write,
		LastIncreaseDateTime: stamp(p.Increased), LastDecreaseDateTime: stamp(p.Decreased)}
	if sameDay(p.Decreased, now) {
		d.NumberOfDecreasesToday = p.DecreasesToday
	}
	return d
}

func sameDay(a, b time.Time) bool { return a.Format(time.DateOnly) == b.Format(time.DateOnly) }

func (t *table) warm() *warmDescription { return warm(t.Warm, t.OnDemand, t.Read, t.Write) }

func warm(asked *warmDescription, onDemand bool, read, write int64) *warmDescription {
	w := &warmDescription{ReadUnitsPerSecond: read, WriteUnitsPerSecond: write, Status: "ACTIVE"}
	if onDemand {
		w.ReadUnitsPerSecond, w.WriteUnitsPerSecond = onDemandRead, onDemandWrite
	}
	if asked != nil {
		w.ReadUnitsPerSecond = max(w.ReadUnitsPerSecond, asked.ReadUnitsPerSecond)
		w.WriteUnitsPerSecond = max(w.WriteUnitsPerSecond, asked.WriteUnitsPerSecond)
	}
	return w
}

func (s *Service) describeTable(_ context.Context, r *wire.Request, in *tableInput) (*describeTableOutput, error) {
	t, err := s.named(r, in.TableName)
	if err != nil {
		return nil, err
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.gone {
		return nil, notFound(t.Name)
	}
	return &describeTableOutput{t.describe(s.now())}, nil
}

// named finds a table for an operation on tables.
func (s *Service) named(r *wire.Request, name string) (*table, error) {
	var c wire.Check
	if err := tableNameError(&c, name); err != nil {
		return nil, err
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	t := s.table(r, name)
	if t == nil {
		return nil, notFound(locate(r, name).name)
	}
	return t, nil
}

func (s *Service) listTables(_ context.Context, r *wire.Request, in *listTablesInput) (*listTablesOutput, error) {
	var c wire.Check
	limit := 100
	if in.Limit != nil {
		c.Range("limit", *in.Limit, 1, 100)
		limit = int(*in.Limit)
	}
	after := ""
	if in.ExclusiveStartTableName != nil {
		after = *in.ExclusiveStartTableName
		c.Pattern("exclusiveStartTableName", after, namePattern, patternShown)
		c.Length("exclusiveStartTableName", after, 3, 255)
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	out := &listTablesOutput{TableNames: []string{}}
	s.mu.RLock()
	for k := range s.tables {
		if k.place == (place{r.Account, r.Region}) && k.name > after {
			out.TableNames = append(out.TableNames, k.name)
		}
	}
	s.mu.RUnlock()
	slices.Sort(out.TableNames)
	if len(out.TableNames) > limit {
		out.TableNames = out.TableNames[:limit]
		out.LastEvaluatedTableName = out.TableNames[limit-1]
	}
	return out, nil
}

func (s *Service) describeLimits(context.Context, *wire.Request, *empty) (*describeLimitsOutput, error) {
	return &describeLimitsOutput{80000, 80000, 40000, 40000}, nil
}

// describeEndpoints names the stack itself: clients that ask go where they are told.
func (s *Service) describeEndpoints(_ context.Context, r *wire.Request, _ *empty) (*describeEndpointsOutput, error) {
	_, host, _ := strings.Cut(r.Endpoint, "://")
	return &describeEndpointsOutput{[]endpoint{{host, 1440}}}, nil
}

func (s *Service) describeContinuousBackups(_ context.Context, r *wire.Request, in *tableInput) (*describeContinuousBackupsOutput, error) {
	if _, err := s.named(r, in.TableName); err != nil {
		var e *wire.Error
		if errors.As(err, &e) && e.Code == "ResourceNotFoundException" {
			return nil, wire.Errorf("TableNotFoundException", "Table not found: %s", locate(r, in.TableName).name)
		}
		return nil, err
	}
	out := &describeContinuousBackupsOutput{}
	out.ContinuousBackupsDescription.ContinuousBackupsStatus = "ENABLED"
	out.ContinuousBackupsDescription.PointInTimeRecoveryDescription.PointInTimeRecoveryStatus = "DISABLED"
	return out, nil
}

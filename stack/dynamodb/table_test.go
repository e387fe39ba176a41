package dynamodb_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

func onDemand(in *ddb.CreateTableInput) {
	in.BillingMode, in.ProvisionedThroughput = types.BillingModePayPerRequest, nil
}

func TestWaitersNeedNotWait(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if d := w.table(t, "orders", "id:S", ""); d.TableStatus != types.TableStatusCreating {
		t.Errorf("CreateTable answers %s", d.TableStatus)
	}
	in := &ddb.DescribeTableInput{TableName: aws.String("orders")}
	if err := ddb.NewTableExistsWaiter(w.db).Wait(t.Context(), in, time.Second); err != nil {
		t.Error(err)
	}
	out, err := w.db.DeleteTable(t.Context(), &ddb.DeleteTableInput{TableName: aws.String("orders")})
	if err != nil || out.TableDescription.TableStatus != types.TableStatusDeleting {
		t.Errorf("%v, %v", out, err)
	}
	if err := ddb.NewTableNotExistsWaiter(w.db).Wait(t.Context(), in, time.Second); err != nil {
		t.Error(err)
	}
}

func TestDescriptions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.table(t, "full", "pk:S sk:N", "", indexed)
	w.put(t, "full", item{"pk": str("a"), "sk": num("1"), "g": str("g"), "h": num("1"), "x": str("xx")})
	text := w.must(t, "DescribeTable", `{"TableName":"full"}`)
	for _, part := range []string{
		`"CreationDateTime":1767323045`, `"ItemCount":1,`, `"TableSizeBytes":15,`, `"TableArn":"arn:aws:dynamodb:us-east-1:000000000000:table/full"`,
		`"IndexArn":"arn:aws:dynamodb:us-east-1:000000000000:table/full/index/few","IndexName":"few","IndexSizeBytes":12,"IndexStatus":"ACTIVE","ItemCount":1`,
		`"IndexName":"by-l","IndexSizeBytes":0,"ItemCount":0,"KeySchema":[{"AttributeName":"pk","KeyType":"HASH"},{"AttributeName":"l","KeyType":"RANGE"}]`,
		`"ProvisionedThroughput":{"NumberOfDecreasesToday":0,"ReadCapacityUnits":5,"WriteCapacityUnits":5}`, `"TableStatus":"ACTIVE"`,
		`"WarmThroughput":{"ReadUnitsPerSecond":5,"Status":"ACTIVE","WriteUnitsPerSecond":5}`,
	} {
		if !strings.Contains(text, part) {
			t.Errorf("%s is not in %s", part, text)
		}
	}
	// By its ARN a table is found from another region too.
	w.must(t, "DescribeTable", `{"TableName":"arn:aws:dynamodb:us-east-1:000000000000:table/full"}`)
	w.refuses(t, "DescribeTable", `{"TableName":"arn:aws:dynamodb:eu-west-1:000000000000:table/full"}`, "ResourceNotFoundException",
		"Requested resource not found: Table: full not found")
}

func TestTablesAreListedInPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 12 {
		w.table(t, fmt.Sprintf("table-%02d", i), "id:S", "")
	}
	var names []string
	p := ddb.NewListTablesPaginator(w.db, &ddb.ListTablesInput{Limit: aws.Int32(5)})
	for p.HasMorePages() {
		out, err := p.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, out.TableNames...)
	}
	if len(names) != 12 || !slices.IsSorted(names) {
		t.Errorf("listed %v", names)
	}
}

func TestBillingModes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.table(t, "orders", "id:S", "", onDemand)
	if d.BillingModeSummary.BillingMode != types.BillingModePayPerRequest || *d.ProvisionedThroughput.ReadCapacityUnits != 0 {
		t.Errorf("%+v", d)
	}
	change := func(in *ddb.UpdateTableInput) *types.TableDescription {
		t.Helper()
		in.TableName = aws.String("orders")
		out, err := w.db.UpdateTable(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		return out.TableDescription
	}
	units := func(n int64) *types.ProvisionedThroughput {
		return &types.ProvisionedThroughput{ReadCapacityUnits: &n, WriteCapacityUnits: &n}
	}
	d = change(&ddb.UpdateTableInput{BillingMode: types.BillingModeProvisioned, ProvisionedThroughput: units(10)})
	if d.TableStatus != types.TableStatusUpdating || d.BillingModeSummary.BillingMode != types.BillingModeProvisioned || d.ProvisionedThroughput.LastIncreaseDateTime == nil {
		t.Errorf("%+v", d)
	}
	for n := range int64(3) {
		d = change(&ddb.UpdateTableInput{ProvisionedThroughput: units(9 - n)})
	}
	if n := *d.ProvisionedThroughput.NumberOfDecreasesToday; n != 3 {
		t.Errorf("%d decreases", n)
	}
	w.Clock.Advance(24 * time.Hour)
	d = change(&ddb.UpdateTableInput{ProvisionedThroughput: units(1)})
	if n := *d.ProvisionedThroughput.NumberOfDecreasesToday; n != 1 {
		t.Errorf("%d decreases the next day", n)
	}
	d = change(&ddb.UpdateTableInput{BillingMode: types.BillingModePayPerRequest})
	if !d.BillingModeSummary.LastUpdateToPayPerRequestDateTime.Equal(w.Clock.Now()) {
		t.Errorf("%+v", d.BillingModeSummary)
	}
}

func TestIndexesComeAndGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.table(t, "orders", "id:S", "", onDemand)
	for i := range 5 {
		w.put(t, "orders", item{"id": str(fmt.Sprint(i)), "customer": str("c"), "total": num(fmt.Sprint(-i))})
	}
	w.put(t, "orders", item{"id": str("9"), "customer": str("c")})
	w.put(t, "orders", item{"id": str("10"), "customer": num("1"), "total": num("1")})
	create := `{"TableName":"orders","AttributeDefinitions":[{"AttributeName":"customer","AttributeType":"S"},{"AttributeName":"total","AttributeType":"N"}],
		"GlobalSecondaryIndexUpdates":[{"Create":{"IndexName":"by-customer","KeySchema":[{"AttributeName":"customer","KeyType":"HASH"},{"AttributeName":"total","KeyType":"RANGE"}],
		"Projection":{"ProjectionType":"KEYS_ONLY"}}}]}`
	if text := w.must(t, "UpdateTable", create); !strings.Contains(text, `"Backfilling":true`) || !strings.Contains(text, `"IndexStatus":"CREATING"`) {
		t.Error(text)
	}
	query := `{"TableName":"orders","IndexName":"by-customer","KeyConditionExpression":"customer = :c","ExpressionAttributeValues":{":c":{"S":"c"}},"ProjectionExpression":"id"}`
	w.answers(t, "Query", query, `{"Count":5,"ScannedCount":5,"Items":[{"id":{"S":"4"}},{"id":{"S":"3"}},{"id":{"S":"2"}},{"id":{"S":"1"}},{"id":{"S":"0"}}]}`)
	w.refuses(t, "UpdateTable", create, validation, "Attempting to create an index which already exists")
	w.refuses(t, "PutItem", `{"TableName":"orders","Item":{"id":{"S":"1"},"customer":{"N":"1"}}}`, validation,
		"One or more parameter values were invalid: Type mismatch for Index Key customer Expected: S Actual: N IndexName: by-customer")

	gone := `{"TableName":"orders","GlobalSecondaryIndexUpdates":[{"Delete":{"IndexName":"by-customer"}}]}`
	if text := w.must(t, "UpdateTable", gone); strings.Contains(text, "by-customer") || strings.Contains(text, "customer") {
		t.Error(text)
	}
	w.refuses(t, "UpdateTable", gone, "ResourceNotFoundException", "Requested resource not found")
	w.refuses(t, "Query", query, validation, "The table does not have the specified index: by-customer")
	w.put(t, "orders", item{"id": str("1"), "customer": num("1")})
}

func TestProtectedTablesAreNotDeleted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.table(t, "orders", "id:S", "", func(in *ddb.CreateTableInput) { in.DeletionProtectionEnabled = aws.Bool(true) })
	w.refuses(t, "DeleteTable", `{"TableName":"orders"}`, validation,
		"Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection first.")
	w.must(t, "UpdateTable", `{"TableName":"orders","DeletionProtectionEnabled":false}`)
	w.must(t, "DeleteTable", `{"TableName":"orders"}`)
	w.answers(t, "ListTables", `{}`, `{"TableNames":[]}`)
}

func TestTags(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.table(t, "orders", "id:S", "", func(in *ddb.CreateTableInput) {
		in.Tags = []types.Tag{{Key: aws.String("team"), Value: aws.String("a")}, {Key: aws.String("env"), Value: aws.String("")}}
	})
	arn := *d.TableArn
	w.must(t, "TagResource", `{"ResourceArn":"`+arn+`","Tags":[{"Key":"team","Value":"b"},{"Key":"x","Value":"y"}]}`)
	w.must(t, "UntagResource", `{"ResourceArn":"`+arn+`","TagKeys":["x","none"]}`)
	w.answers(t, "ListTagsOfResource", `{"ResourceArn":"`+arn+`"}`, `{"Tags":[{"Key":"env","Value":""},{"Key":"team","Value":"b"}]}`)
	var list []string
	for i := range 48 {
		list = append(list, fmt.Sprintf(`{"Key":"k%02d","Value":"v"}`, i))
	}
	w.must(t, "TagResource", `{"ResourceArn":"`+arn+`","Tags":[`+strings.Join(list, ",")+`]}`)
	w.refuses(t, "TagResource", `{"ResourceArn":"`+arn+`","Tags":[{"Key":"one","Value":"more"}]}`, validation,
		"Number of Tags exceed the current limit for the provided ResourceArn")
	n := 0
	in := &ddb.ListTagsOfResourceInput{ResourceArn: &arn}
	for {
		out, err := w.db.ListTagsOfResource(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		n += len(out.Tags)
		if in.NextToken = out.NextToken; in.NextToken == nil {
			break
		}
	}
	if n != 50 {
		t.Errorf("%d tags", n)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.table(t, "orders", "id:S", "", func(in *ddb.CreateTableInput) {
		in.SSESpecification = &types.SSESpecification{Enabled: aws.Bool(true), KMSMasterKeyId: aws.String("alias/mine")}
		in.TableClass = types.TableClassStandardInfrequentAccess
	})
	text := w.must(t, "DescribeTable", `{"TableName":"orders"}`)
	for _, part := range []string{`"SSEDescription":{"KMSMasterKeyArn":"arn:aws:kms:us-east-1:000000000000:alias/mine","SSEType":"KMS","Status":"ENABLED"}`,
		`"TableClassSummary":{"TableClass":"STANDARD_INFREQUENT_ACCESS"}`} {
		if !strings.Contains(text, part) {
			t.Errorf("%s is not in %s", part, text)
		}
	}
	w.must(t, "UpdateTable", `{"TableName":"orders","SSESpecification":{"Enabled":false}}`)
	w.refuses(t, "UpdateTable", `{"TableName":"orders","SSESpecification":{"Enabled":false}}`, validation,
		"One or more parameter values were invalid: Table is already encrypted by default")
	w.must(t, "UpdateTable", `{"TableName":"orders","WarmThroughput":{"ReadUnitsPerSecond":9000,"WriteUnitsPerSecond":2000}}`)
	w.refuses(t, "UpdateTable", `{"TableName":"orders","WarmThroughput":{"ReadUnitsPerSecond":10}}`, validation,
		"One or more parameter values were invalid: Requested ReadUnitsPerSecond for WarmThroughput for table is lower than current WarmThroughput, decreasing WarmThroughput is not supported")
	if text := w.must(t, "DescribeTable", `{"TableName":"orders"}`); !strings.Contains(text, `"WarmThroughput":{"ReadUnitsPerSecond":9000,"Status":"ACTIVE","WriteUnitsPerSecond":2000}`) {
		t.Error(text)
	}
	w.answers(t, "DescribeLimits", `{}`, `{"AccountMaxReadCapacityUnits":80000,"AccountMaxWriteCapacityUnits":80000,"TableMaxReadCapacityUnits":40000,"TableMaxWriteCapacityUnits":40000}`)
	w.answers(t, "DescribeEndpoints", `{}`, `{"Endpoints":[{"Address":"`+strings.TrimPrefix(w.endpoint, "http://")+`","CachePeriodInMinutes":1440}]}`)
	w.answers(t, "DescribeContinuousBackups", `{"TableName":"orders"}`,
		`{"ContinuousBackupsDescription":{"ContinuousBackupsStatus":"ENABLED","PointInTimeRecoveryDescription":{"PointInTimeRecoveryStatus":"DISABLED"}}}`)
}

func TestResetForgetsEverything(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.table(t, "orders", "id:S", "NEW_IMAGE")
	w.put(t, "orders", item{"id": str("1")})
	w.service.Reset()
	w.answers(t, "ListTables", `{}`, `{"TableNames":[]}`)
	w.answers(t, "ListStreams", `{}`, `{"Streams":[]}`)
	w.refuses(t, "DescribeStream", `{"StreamArn":"`+*d.LatestStreamArn+`"}`, "ResourceNotFoundException",
		"Requested resource not found: Stream: "+*d.LatestStreamArn+" not found")
	w.table(t, "orders", "id:S", "")
	if got := w.get(t, "orders", item{"id": str("1")}); got != nil {
		t.Errorf("%v", got)
	}
}

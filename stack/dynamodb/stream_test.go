package dynamodb_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	dbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"

	"github.com/millrace/millrace/stack/stacktest"
	"github.com/millrace/millrace/stack/wire"
)

func (w *world) shards(t testing.TB, arn string) []types.Shard {
	t.Helper()
	var list []types.Shard
	in := &dynamodbstreams.DescribeStreamInput{StreamArn: &arn, Limit: aws.Int32(3)}
	for {
		out, err := w.streams.DescribeStream(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, out.StreamDescription.Shards...)
		if in.ExclusiveStartShardId = out.StreamDescription.LastEvaluatedShardId; in.ExclusiveStartShardId == nil {
			return list
		}
	}
}

func (w *world) iterator(t testing.TB, arn, shard string, kind types.ShardIteratorType, sequence ...string) string {
	t.Helper()
	in := &dynamodbstreams.GetShardIteratorInput{StreamArn: &arn, ShardId: &shard, ShardIteratorType: kind}
	if sequence != nil {
		in.SequenceNumber = &sequence[0]
	}
	out, err := w.streams.GetShardIterator(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return *out.ShardIterator
}

func (w *world) records(t testing.TB, iterator string) ([]types.Record, *string) {
	t.Helper()
	out, err := w.streams.GetRecords(t.Context(), &dynamodbstreams.GetRecordsInput{ShardIterator: &iterator})
	if err != nil {
		t.Fatal(err)
	}
	return out.Records, out.NextShardIterator
}

// all reads a stream's records along the lineage: each shard after its parent.
func (w *world) all(t testing.TB, arn string) []types.Record {
	t.Helper()
	var list []types.Record
	read := map[string]bool{}
	for _, h := range w.shards(t, arn) {
		if h.ParentShardId != nil && !read[*h.ParentShardId] {
			// Its parent is gone, or comes later, which it may not.
			for _, other := range w.shards(t, arn) {
				if *other.ShardId == *h.ParentShardId {
					t.Errorf("%s is before its parent", *h.ShardId)
				}
			}
		}
		read[*h.ShardId] = true
		for next := aws.String(w.iterator(t, arn, *h.ShardId, types.ShardIteratorTypeTrimHorizon)); next != nil; {
			var got []types.Record
			if got, next = w.records(t, *next); len(got) == 0 && h.SequenceNumberRange.EndingSequenceNumber == nil {
				break
			}
			list = append(list, got...)
		}
	}
	return list
}

func (w *world) streamTable(t testing.TB, name, view string) string {
	t.Helper()
	return *w.table(t, name, "id:S", view).LatestStreamArn
}

func events(list []types.Record) string {
	var out []string
	for _, r := range list {
		out = append(out, string(r.EventName))
	}
	return strings.Join(out, " ")
}

// The documents are those that AWS writes, byte for byte but for the ids.
func TestRecordsByViewType(t *testing.T) {
	t.Parallel()
	const created = `"ApproximateCreationDateTime":1767323045`
	for view, want := range map[string][3]string{
		"KEYS_ONLY": {
			`{` + created + `,"Keys":{"id":{"S":"1"}},"SequenceNumber":"SEQ","SizeBytes":3,"StreamViewType":"KEYS_ONLY"}`,
			`{` + created + `,"Keys":{"id":{"S":"1"}},"SequenceNumber":"SEQ","SizeBytes":3,"StreamViewType":"KEYS_ONLY"}`,
			`{` + created + `,"Keys":{"id":{"S":"1"}},"SequenceNumber":"SEQ","SizeBytes":3,"StreamViewType":"KEYS_ONLY"}`,
		},
		"NEW_IMAGE": {
			`{` + created + `,"Keys":{"id":{"S":"1"}},"NewImage":{"a":{"N":"1"},"id":{"S":"1"}},"SequenceNumber":"SEQ","SizeBytes":9,"StreamViewType":"NEW_IMAGE"}`,
			`{` + created + `,"Keys":{"id":{"S":"1"}},"NewImage":{"a":{"N":"2"},"id":{"S":"1"}},"SequenceNumber":"SEQ","SizeBytes":9,"StreamViewType":"NEW_IMAGE"}`,
			`{` + created + `,"Keys":{"id":{"S":"1"}},"SequenceNumber":"SEQ","SizeBytes":3,"StreamViewType":"NEW_IMAGE"}`,
		},
		"OLD_IMAGE": {
			`{` + created + `,"Keys":{"id":{"S":"1"}},"SequenceNumber":"SEQ","SizeBytes":3,"StreamViewType":"OLD_IMAGE"}`,
			`{` + created + `,"Keys":{"id":{"S":"1"}},"OldImage":{"a":{"N":"1"},"id":{"S":"1"}},"SequenceNumber":"SEQ","SizeBytes":9,"StreamViewType":"OLD_IMAGE"}`,
			`{` + created + `,"Keys":{"id":{"S":"1"}},"OldImage":{"a":{"N":"2"},"id":{"S":"1"}},"SequenceNumber":"SEQ","SizeBytes":9,"StreamViewType":"OLD_IMAGE"}`,
		},
		"NEW_AND_OLD_IMAGES": {
			`{` + created + `,"Keys":{"id":{"S":"1"}},"NewImage":{"a":{"N":"1"},"id":{"S":"1"}},"SequenceNumber":"SEQ","SizeBytes":9,"StreamViewType":"NEW_AND_OLD_IMAGES"}`,
			`{` + created + `,"Keys":{"id":{"S":"1"}},"NewImage":{"a":{"N":"2"},"id":{"S":"1"}},"OldImage":{"a":{"N":"1"},"id":{"S":"1"}},"SequenceNumber":"SEQ","SizeBytes":15,"StreamViewType":"NEW_AND_OLD_IMAGES"}`,
			`{` + created + `,"Keys":{"id":{"S":"1"}},"OldImage":{"a":{"N":"2"},"id":{"S":"1"}},"SequenceNumber":"SEQ","SizeBytes":9,"StreamViewType":"NEW_AND_OLD_IMAGES"}`,
		},
	} {
		t.Run(view, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			arn := w.streamTable(t, "things", view)
			for _, n := range []string{"1", "2", "2"} { // the third changes nothing
				w.put(t, "things", item{"id": str("1"), "a": num(n)})
			}
			w.must(t, "UpdateItem", `{"TableName":"things","Key":{"id":{"S":"1"}},"UpdateExpression":"SET a = a"}`)
			w.must(t, "UpdateItem", `{"TableName":"things","Key":{"id":{"S":"1"}},"UpdateExpression":"REMOVE gone"}`)
			w.must(t, "DeleteItem", `{"TableName":"things","Key":{"id":{"S":"1"}}}`)
			w.must(t, "DeleteItem", `{"TableName":"things","Key":{"id":{"S":"1"}}}`) // nor does this
			shard := *w.shards(t, arn)[0].ShardId
			got := w.must(t, "GetRecords", `{"ShardIterator":"`+w.iterator(t, arn, shard, types.ShardIteratorTypeTrimHorizon)+`"}`)
			records := w.all(t, arn)
			if len(records) != 3 {
				t.Fatalf("%d records: %s", len(records), got)
			}
			for i, name := range []string{"INSERT", "MODIFY", "REMOVE"} {
				d := strings.ReplaceAll(want[i], "SEQ", *records[i].Dynamodb.SequenceNumber)
				whole := `{"awsRegion":"us-east-1","dynamodb":` + d + `,"eventID":"` + *records[i].EventID + `","eventName":"` + name +
					`","eventSource":"aws:dynamodb","eventVersion":"1.1"}`
				if !strings.Contains(got, whole) {
					t.Errorf("%s\nis not in %s", whole, got)
				}
				if len(*records[i].EventID) != 32 || len(*records[i].Dynamodb.SequenceNumber) < 21 {
					t.Errorf("ids %s, %s", *records[i].EventID, *records[i].Dynamodb.SequenceNumber)
				}
			}
		})
	}
}

func TestEveryTypeIsInTheStreamAsItWasPut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	arn := w.streamTable(t, "things", "NEW_IMAGE")
	const image = `{"b":{"B":"AP8="},"bs":{"BS":["AA==","AQ=="]},"id":{"S":"a\"b\\\n<😀>"},"l":{"L":[{"S":"x"},{"N":"1.5"}]},"m":{"M":{"k":{"NULL":true}}},"n":{"N":"-3"},` +
		`"no":{"BOOL":false},"ns":{"NS":["1","2"]},"s":{"S":""},"ss":{"SS":["a","b"]},"yes":{"BOOL":true}}`
	w.must(t, "PutItem", `{"TableName":"things","Item":`+image+`}`)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.endpoint,
		strings.NewReader(`{"ShardIterator":"`+w.iterator(t, arn, *w.shards(t, arn)[0].ShardId, types.ShardIteratorTypeTrimHorizon)+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Amz-Target", "DynamoDBStreams_20120810.GetRecords")
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	body, err := io.ReadAll(a.Body)
	if err != nil || !strings.Contains(string(body), `"NewImage":`+image+`,`) {
		t.Errorf("%s, %v", body, err)
	}
}

func TestIterators(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	arn := w.streamTable(t, "things", "KEYS_ONLY")
	h := w.shards(t, arn)[0]
	shard := *h.ShardId
	early := w.iterator(t, arn, shard, types.ShardIteratorTypeLatest)
	for i := range 5 {
		w.put(t, "things", item{"id": str(strconv.Itoa(i))})
	}
	keys := func(iterator string) string {
		t.Helper()
		records, next := w.records(t, iterator)
		if next == nil {
			t.Error("an open shard has ended")
		}
		var list []string
		for _, r := range records {
			list = append(list, r.Dynamodb.Keys["id"].(*types.AttributeValueMemberS).Value)
		}
		return strings.Join(list, " ")
	}
	records := w.all(t, arn)
	third := *records[2].Dynamodb.SequenceNumber
	for want, iterators := range map[string][]string{
		"0 1 2 3 4": {early, w.iterator(t, arn, shard, types.ShardIteratorTypeTrimHorizon),
			w.iterator(t, arn, shard, types.ShardIteratorTypeAtSequenceNumber, *h.SequenceNumberRange.StartingSequenceNumber),
			w.iterator(t, arn, shard, types.ShardIteratorTypeAfterSequenceNumber, *h.SequenceNumberRange.StartingSequenceNumber)},
		"2 3 4": {w.iterator(t, arn, shard, types.ShardIteratorTypeAtSequenceNumber, third)},
		"3 4":   {w.iterator(t, arn, shard, types.ShardIteratorTypeAfterSequenceNumber, third)},
		"":      {w.iterator(t, arn, shard, types.ShardIteratorTypeLatest)},
	} {
		for i, iterator := range iterators {
			if got := keys(iterator); got != want {
				t.Errorf("iterator %d: %s, want %s", i, got, want)
			}
		}
	}
	// Page by page.
	var pages []string
	next := w.iterator(t, arn, shard, types.ShardIteratorTypeTrimHorizon)
	for range 4 {
		out, err := w.streams.GetRecords(t.Context(), &dynamodbstreams.GetRecordsInput{ShardIterator: &next, Limit: aws.Int32(2)})
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, strconv.Itoa(len(out.Records)))
		next = *out.NextShardIterator
	}
	if got := strings.Join(pages, " "); got != "2 2 1 0" {
		t.Errorf("pages of %s", got)
	}
	w.put(t, "things", item{"id": str("later")})
	if got := keys(next); got != "later" {
		t.Errorf("%s", got)
	}

	w.Clock.Advance(15*time.Minute + time.Millisecond)
	w.refuses(t, "GetRecords", `{"ShardIterator":"`+early+`"}`, "ExpiredIteratorException", "Iterator expired. The iterator was created at time Fri Jan 02 03:04:05 UTC 2026 "+
		"while right now it is Fri Jan 02 03:19:05 UTC 2026 which is further in the future than the tolerated delay of 900000 milliseconds.")
	tampered := strings.Replace(early, "things", "thingz", 1)
	w.refuses(t, "GetRecords", `{"ShardIterator":"`+tampered+`"}`, validation, "Invalid ShardIterator")
	w.refuses(t, "GetRecords", `{"ShardIterator":"nonsense"}`, validation, "Invalid ShardIterator")
	w.refuses(t, "GetRecords", `{"ShardIterator":"`+early+`","Limit":1001}`, validation,
		"1 validation error detected: Value '1001' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 1000")
	w.refuses(t, "GetRecords", `{}`, validation, "1 validation error detected: Value null at 'shardIterator' failed to satisfy constraint: Member must not be null")

	of := `{"StreamArn":"` + arn + `","ShardId":"` + shard + `","ShardIteratorType":`
	w.refuses(t, "GetShardIterator", of+`"AT_SEQUENCE_NUMBER"}`, validation, wrongParam+"SequenceNumber must be specified when ShardIteratorType is AT_SEQUENCE_NUMBER")
	w.refuses(t, "GetShardIterator", of+`"LATEST","SequenceNumber":"`+third+`"}`, validation, wrongParam+"SequenceNumber must not be specified when ShardIteratorType is LATEST")
	w.refuses(t, "GetShardIterator", of+`"AT_SEQUENCE_NUMBER","SequenceNumber":"900000000000000000000"}`, validation,
		"Invalid SequenceNumber: 900000000000000000000 is not a sequence number of shard "+shard)
	w.refuses(t, "GetShardIterator", of+`"AT_TIMESTAMP"}`, validation, wrongParam+"Timestamp must be specified when ShardIteratorType is AT_TIMESTAMP")
	w.refuses(t, "GetShardIterator", of+`"AT_TIMESTAMP","Timestamp":1800000000}`, validation, wrongParam+"Timestamp must not be in the future")
	w.refuses(t, "GetShardIterator", of+`"X"}`, validation, "1 validation error detected: Value 'X' at 'shardIteratorType' failed to satisfy constraint: "+
		"Member must satisfy enum value set: [AFTER_SEQUENCE_NUMBER, LATEST, AT_SEQUENCE_NUMBER, TRIM_HORIZON, AT_TIMESTAMP]")
	w.refuses(t, "GetShardIterator", strings.Replace(of, "shardId-0", "shardId-9", 1)+`"LATEST"}`, "ResourceNotFoundException",
		"Requested resource not found: Shard: "+strings.Replace(shard, "shardId-0", "shardId-9", 1)+" in Stream: "+arn+" not found")
	w.refuses(t, "GetShardIterator", `{"StreamArn":"sdfadfsddafgdafsgjnadflkgnalngalsdfnlkasnlkasdfasdfasf","ShardId":"`+shard+`","ShardIteratorType":"LATEST"}`, validation,
		"Invalid StreamArn: sdfadfsddafgdafsgjnadflkgnalngalsdfnlkasnlkasdfasdfasf")
}

func TestIteratorsByTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	arn := w.streamTable(t, "things", "KEYS_ONLY")
	shard := *w.shards(t, arn)[0].ShardId
	start := w.Clock.Now()
	for i := range 5 {
		w.put(t, "things", item{"id": str(strconv.Itoa(i))})
		w.Clock.Advance(10 * time.Second)
	}
	for after, want := range map[time.Duration]int{-time.Hour: 5, 0: 5, time.Millisecond: 4, 10 * time.Second: 4, 39 * time.Second: 1, 41 * time.Second: 0, 50 * time.Second: 0} {
		out, err := w.streams.GetShardIterator(t.Context(), &dynamodbstreams.GetShardIteratorInput{StreamArn: &arn, ShardId: &shard,
			ShardIteratorType: types.ShardIteratorTypeAtTimestamp, Timestamp: aws.Time(start.Add(after))})
		if err != nil {
			t.Errorf("%s: %v", after, err)
			continue
		}
		if got, _ := w.records(t, *out.ShardIterator); len(got) != want {
			t.Errorf("from %s on there are %d records, want %d", after, len(got), want)
		}
	}
}

// lineage shows the shards by their places in the list: "0 1<0 2<0".
func lineage(shards []types.Shard) string {
	place := map[string]string{}
	var out []string
	for i, h := range shards {
		place[*h.ShardId] = strconv.Itoa(i)
		s := strconv.Itoa(i)
		if h.ParentShardId != nil {
			if p, ok := place[*h.ParentShardId]; ok {
				s += "<" + p
			} else {
				s += "<?"
			}
		}
		if h.SequenceNumberRange.EndingSequenceNumber != nil {
			s += "."
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

// Shards close after four hours, and what follows them comes after them.
func TestShardsCloseAndSucceedOneAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	arn := w.streamTable(t, "things", "NEW_IMAGE")
	first := *w.shards(t, arn)[0].ShardId
	open := w.iterator(t, arn, first, types.ShardIteratorTypeTrimHorizon)
	for i := range 6 {
		w.put(t, "things", item{"id": str("same"), "n": num(strconv.Itoa(i))})
		if i%2 == 1 {
			w.Clock.Advance(4 * time.Hour)
		}
	}
	shards := w.shards(t, arn)
	if got := lineage(shards); got != "0. 1<0. 2<1. 3<2" {
		t.Fatalf("shards %s", got)
	}
	for i, h := range shards[1:] {
		if *h.SequenceNumberRange.StartingSequenceNumber <= *shards[i].SequenceNumberRange.EndingSequenceNumber || *h.ShardId <= *shards[i].ShardId {
			t.Errorf("shard %d begins before its parent ends", i+1)
		}
	}
	var order []string
	for _, r := range w.all(t, arn) {
		order = append(order, r.Dynamodb.NewImage["n"].(*types.AttributeValueMemberN).Value)
	}
	if got := strings.Join(order, " "); got != "0 1 2 3 4 5" {
		t.Errorf("in order %s", got)
	}
	// A closed shard ends with its last record.
	records, next := w.records(t, w.iterator(t, arn, first, types.ShardIteratorTypeTrimHorizon))
	if len(records) != 2 || next != nil {
		t.Errorf("%d records, next %v", len(records), next)
	}
	records, next = w.records(t, w.iterator(t, arn, first, types.ShardIteratorTypeLatest))
	if len(records) != 0 || next != nil {
		t.Errorf("%d records, next %v", len(records), next)
	}
	w.refuses(t, "GetRecords", `{"ShardIterator":"`+open+`"}`, "ExpiredIteratorException", "Iterator expired. The iterator was created at time Fri Jan 02 03:04:05 UTC 2026 "+
		"while right now it is Fri Jan 02 15:04:05 UTC 2026 which is further in the future than the tolerated delay of 900000 milliseconds.")

	out, err := w.streams.DescribeStream(t.Context(), &dynamodbstreams.DescribeStreamInput{StreamArn: &arn,
		ShardFilter: &types.ShardFilter{Type: types.ShardFilterTypeChildShards, ShardId: shards[1].ShardId}})
	if err != nil || len(out.StreamDescription.Shards) != 1 || *out.StreamDescription.Shards[0].ShardId != *shards[2].ShardId {
		t.Errorf("%+v, %v", out, err)
	}
}

// However long nobody looks, the lineage is that of the last day.
func TestAQuietStreamRotatesToo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	arn := w.streamTable(t, "things", "NEW_IMAGE")
	w.put(t, "things", item{"id": str("1")})
	w.Clock.Advance(365 * 24 * time.Hour)
	shards := w.shards(t, arn)
	if got := lineage(shards); got != "0<?. 1<0. 2<1. 3<2. 4<3. 5<4. 6<5" {
		t.Errorf("shards %s", got)
	}
	if got := w.all(t, arn); len(got) != 0 {
		t.Errorf("%d records", len(got))
	}
	w.put(t, "things", item{"id": str("2")})
	if got := events(w.all(t, arn)); got != "INSERT" {
		t.Errorf("%s", got)
	}
}

func TestSplits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	arn := w.streamTable(t, "things", "NEW_IMAGE")
	write := func(n string) {
		for i := range 40 {
			w.put(t, "things", item{"id": str(strconv.Itoa(i)), "n": num(n)})
		}
	}
	write("0")
	if err := w.service.SplitShard(arn, *w.shards(t, arn)[0].ShardId); err != nil {
		t.Fatal(err)
	}
	write("1")
	if err := w.service.RotateShards(arn); err != nil {
		t.Fatal(err)
	}
	write("2")
	w.must(t, "UpdateTable", `{"TableName":"things","ProvisionedThroughput":{"ReadCapacityUnits":1,"WriteCapacityUnits":3500}}`)
	write("3")
	shards := w.shards(t, arn)
	if got := lineage(shards); got != "0. 1<0. 2<0. 3<1. 4<2. 5<3 6<3 7<4 8<4" {
		t.Errorf("shards %s", got)
	}
	last := map[string]string{}
	for _, r := range w.all(t, arn) {
		id, n := r.Dynamodb.Keys["id"].(*types.AttributeValueMemberS).Value, r.Dynamodb.NewImage["n"].(*types.AttributeValueMemberN).Value
		if want := strconv.Itoa(len(last[id])); n != want {
			t.Errorf("after %s of item %s comes %s", last[id], id, n)
		}
		last[id] += n
	}
	if len(last) != 40 || slices.ContainsFunc(slices.Collect(maps.Values(last)), func(s string) bool { return s != "0123" }) {
		t.Errorf("%v", last)
	}
	for _, h := range shards[5:] {
		if got, _ := w.records(t, w.iterator(t, arn, *h.ShardId, types.ShardIteratorTypeTrimHorizon)); len(got) < 3 {
			t.Errorf("shard %s has %d records", *h.ShardId, len(got))
		}
	}
	wantService(t, w.service.SplitShard(arn, *shards[0].ShardId), "ResourceNotFoundException")
	wantService(t, w.service.RotateShards("arn:aws:dynamodb:us-east-1:000000000000:table/none/stream/2026-01-01T00:00:00.000"), "ResourceNotFoundException")
}

func wantService(t *testing.T, err error, code string) {
	t.Helper()
	var e *wire.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Errorf("got %v, want %s", err, code)
	}
}

// An on-demand table begins with the four partitions that AWS gives it, each with a shard.
func TestOnDemandTablesHaveFourShards(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	arn := *w.table(t, "things", "id:S", "NEW_IMAGE", onDemand).LatestStreamArn
	if got := lineage(w.shards(t, arn)); got != "0 1 2 3" {
		t.Errorf("shards %s", got)
	}
}

func TestRecordsAreTrimmedAfterADay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	arn := w.streamTable(t, "things", "NEW_IMAGE")
	shard := *w.shards(t, arn)[0].ShardId
	w.put(t, "things", item{"id": str("1")})
	w.Clock.Advance(3 * time.Hour)
	w.put(t, "things", item{"id": str("2")})
	w.put(t, "things", item{"id": str("3")})
	records := w.all(t, arn)
	w.Clock.Advance(20*time.Hour + 59*time.Minute)
	before := w.iterator(t, arn, shard, types.ShardIteratorTypeAtSequenceNumber, *records[0].Dynamodb.SequenceNumber)
	horizon := w.iterator(t, arn, shard, types.ShardIteratorTypeTrimHorizon)
	after := w.iterator(t, arn, shard, types.ShardIteratorTypeAfterSequenceNumber, *records[0].Dynamodb.SequenceNumber)
	w.Clock.Advance(2 * time.Minute)
	const trimmed = "The data you are trying to access has been trimmed."
	w.refuses(t, "GetRecords", `{"ShardIterator":"`+before+`"}`, "TrimmedDataAccessException", trimmed)
	w.refuses(t, "GetShardIterator", `{"StreamArn":"`+arn+`","ShardId":"`+shard+`","ShardIteratorType":"AT_SEQUENCE_NUMBER","SequenceNumber":"`+*records[0].Dynamodb.SequenceNumber+`"}`,
		"TrimmedDataAccessException", trimmed)
	for _, iterator := range []string{horizon, after} {
		if got, _ := w.records(t, iterator); len(got) != 2 || *got[0].EventID != *records[1].EventID {
			t.Errorf("%d records", len(got))
		}
	}
	w.Clock.Advance(3 * time.Hour)
	if got := w.all(t, arn); len(got) != 0 {
		t.Errorf("%d records after a day", len(got))
	}
	w.Clock.Advance(2 * time.Hour)
	for _, h := range w.shards(t, arn) {
		if *h.ShardId == shard {
			t.Error("a shard whose records are all gone is still there")
		}
	}
}

func TestStreamsAreSwitchedOffAndOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := w.streamTable(t, "things", "NEW_IMAGE")
	w.put(t, "things", item{"id": str("1")})
	w.refuses(t, "UpdateTable", `{"TableName":"things","StreamSpecification":{"StreamEnabled":true,"StreamViewType":"KEYS_ONLY"}}`, validation,
		"Table already has an enabled stream: TableName: things")
	if text := w.must(t, "UpdateTable", `{"TableName":"things","StreamSpecification":{"StreamEnabled":false}}`); strings.Contains(text, "StreamSpecification") || !strings.Contains(text, old) {
		t.Error(text)
	}
	w.put(t, "things", item{"id": str("2")})
	out, err := w.streams.DescribeStream(t.Context(), &dynamodbstreams.DescribeStreamInput{StreamArn: &old})
	if err != nil || out.StreamDescription.StreamStatus != types.StreamStatusDisabled || lineage(out.StreamDescription.Shards) != "0." {
		t.Errorf("%+v, %v", out, err)
	}
	if text := w.must(t, "UpdateTable", `{"TableName":"things","StreamSpecification":{"StreamEnabled":true,"StreamViewType":"KEYS_ONLY"}}`); strings.Contains(text, old) {
		t.Error(text)
	}
	w.put(t, "things", item{"id": str("3")})
	list, err := w.streams.ListStreams(t.Context(), &dynamodbstreams.ListStreamsInput{TableName: aws.String("things"), Limit: aws.Int32(1)})
	if err != nil || len(list.Streams) != 1 || list.LastEvaluatedStreamArn == nil {
		t.Fatalf("%+v, %v", list, err)
	}
	list, err = w.streams.ListStreams(t.Context(), &dynamodbstreams.ListStreamsInput{ExclusiveStartStreamArn: list.LastEvaluatedStreamArn})
	if err != nil || len(list.Streams) != 1 || *list.Streams[0].StreamArn == old || list.LastEvaluatedStreamArn != nil {
		t.Fatalf("%+v, %v", list, err)
	}
	current := *list.Streams[0].StreamArn
	if a, b := len(w.all(t, old)), len(w.all(t, current)); a != 1 || b != 1 {
		t.Errorf("%d and %d records", a, b)
	}
	// Without its table a stream lives on for a day too.
	w.must(t, "DeleteTable", `{"TableName":"things"}`)
	w.Clock.Advance(23 * time.Hour)
	if a, b := len(w.all(t, old)), len(w.all(t, current)); a != 1 || b != 1 {
		t.Errorf("%d and %d records", a, b)
	}
	w.Clock.Advance(time.Hour)
	w.refuses(t, "DescribeStream", `{"StreamArn":"`+current+`"}`, "ResourceNotFoundException", "Requested resource not found: Stream: "+current+" not found")
	w.answers(t, "ListStreams", `{}`, `{"Streams":[]}`)
}

func TestTransactionsAndBatchesAreInTheStream(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	arn := w.streamTable(t, "things", "NEW_AND_OLD_IMAGES")
	w.must(t, "TransactWriteItems", `{"TransactItems":[{"Put":{"TableName":"things","Item":{"id":{"S":"1"}}}},{"Update":{"TableName":"things","Key":{"id":{"S":"2"}},
		"UpdateExpression":"SET a = :a","ExpressionAttributeValues":{":a":{"S":"x"}}}},{"ConditionCheck":{"TableName":"things","Key":{"id":{"S":"3"}},"ConditionExpression":"attribute_not_exists(id)"}}]}`)
	w.must(t, "BatchWriteItem", `{"RequestItems":{"things":[{"DeleteRequest":{"Key":{"id":{"S":"1"}}}},{"PutRequest":{"Item":{"id":{"S":"2"},"a":{"S":"y"}}}},{"DeleteRequest":{"Key":{"id":{"S":"9"}}}}]}}`)
	w.refuses(t, "TransactWriteItems", `{"TransactItems":[{"Put":{"TableName":"things","Item":{"id":{"S":"5"}}}},{"ConditionCheck":{"TableName":"things","Key":{"id":{"S":"3"}},
		"ConditionExpression":"attribute_exists(id)"}}]}`, "TransactionCanceledException", "Transaction cancelled, please refer cancellation reasons for specific reasons [None, ConditionalCheckFailed]")
	if got := events(w.all(t, arn)); got != "INSERT INSERT REMOVE MODIFY" {
		t.Errorf("%s", got)
	}
}

func TestADuplicateIsHandedOutTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	arn := w.streamTable(t, "things", "KEYS_ONLY")
	w.put(t, "things", item{"id": str("1")})
	twice := httptest.NewServer(wire.NewDispatcher(wire.Config{Services: w.service.API(), Region: stacktest.Region, Account: stacktest.Account, Log: w.Env.Log,
		Before: func(_ context.Context, r *wire.Request, _ wire.Error) (func() error, error) {
			r.Duplicate = true
			return nil, nil
		}}))
	defer twice.Close()
	c := dynamodbstreams.NewFromConfig(stacktest.Config(twice.URL))
	iterator := w.iterator(t, arn, *w.shards(t, arn)[0].ShardId, types.ShardIteratorTypeTrimHorizon)
	out, err := c.GetRecords(t.Context(), &dynamodbstreams.GetRecordsInput{ShardIterator: &iterator})
	if err != nil || len(out.Records) != 2 || *out.Records[0].EventID != *out.Records[1].EventID {
		t.Errorf("%+v, %v", out, err)
	}
}

// Writers, readers and rotations at the same time: each item's changes come in their order, none lost, none twice.
func TestStreamsKeepTheOrderOfEachItem(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	arn := w.streamTable(t, "things", "NEW_IMAGE")
	const writers, writes = 6, 60
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			for n := range writes {
				w.put(t, "things", item{"id": str(strconv.Itoa(i)), "n": num(strconv.Itoa(n))})
				if n%20 == 10 && i == 0 {
					if err := w.service.RotateShards(arn); err != nil {
						t.Error(err)
					}
				}
				if n == 35 && i == 1 {
					for _, h := range w.shards(t, arn) {
						if h.SequenceNumberRange.EndingSequenceNumber == nil {
							w.service.SplitShard(arn, *h.ShardId)
						}
					}
				}
			}
		})
	}
	all.Go(func() { // a reader meanwhile
		for range 20 {
			w.all(t, arn)
		}
	})
	all.Wait()
	next := map[string]int{}
	for _, r := range w.all(t, arn) {
		id := r.Dynamodb.Keys["id"].(*types.AttributeValueMemberS).Value
		if n := r.Dynamodb.NewImage["n"].(*types.AttributeValueMemberN).Value; n != strconv.Itoa(next[id]) {
			t.Fatalf("item %s: %s instead of %d", id, n, next[id])
		}
		next[id]++
	}
	for i := range writers {
		if n := next[strconv.Itoa(i)]; n != writes {
			t.Errorf("item %d has %d records", i, n)
		}
	}
}

func TestItemsExpire(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	arn := w.streamTable(t, "sessions", "OLD_IMAGE")
	now := w.Clock.Now().Unix()
	at := func(d time.Duration) dbtypes.AttributeValue {
		return num(strconv.FormatInt(now+int64(d/time.Second), 10))
	}
	w.put(t, "sessions", item{"id": str("early"), "until": at(time.Hour)})
	w.must(t, "UpdateTimeToLive", `{"TableName":"sessions","TimeToLiveSpecification":{"AttributeName":"until","Enabled":true}}`)
	w.answers(t, "DescribeTimeToLive", `{"TableName":"sessions"}`, `{"TimeToLiveDescription":{"AttributeName":"until","TimeToLiveStatus":"ENABLED"}}`)
	w.refuses(t, "UpdateTimeToLive", `{"TableName":"sessions","TimeToLiveSpecification":{"AttributeName":"until","Enabled":true}}`, validation, "TimeToLive is already enabled")
	w.refuses(t, "UpdateTimeToLive", `{"TableName":"sessions","TimeToLiveSpecification":{"AttributeName":"x","Enabled":true}}`, validation,
		"TimeToLive is active on a different AttributeName: current AttributeName is until")
	w.put(t, "sessions", item{"id": str("late"), "until": at(3 * time.Hour)})
	w.put(t, "sessions", item{"id": str("moved"), "until": at(time.Hour)})
	w.put(t, "sessions", item{"id": str("moved"), "until": at(5 * time.Hour)})
	w.put(t, "sessions", item{"id": str("text"), "until": str("1")})
	w.put(t, "sessions", item{"id": str("ancient"), "until": num(strconv.FormatInt(now-6*365*24*3600, 10))})
	w.put(t, "sessions", item{"id": str("never")})

	removed := func(n int) []types.Record {
		t.Helper()
		for {
			var list []types.Record
			for _, r := range w.all(t, arn) {
				if r.EventName == types.OperationTypeRemove {
					list = append(list, r)
				}
			}
			if len(list) >= n {
				return list
			}
		}
	}
	w.Clock.Advance(time.Hour + time.Second)
	r := removed(1)[0]
	if id := r.UserIdentity; id == nil || *id.Type != "Service" || *id.PrincipalId != "dynamodb.amazonaws.com" ||
		r.Dynamodb.OldImage["id"].(*types.AttributeValueMemberS).Value != "early" {
		t.Errorf("%+v", r)
	}
	w.Clock.Advance(2 * time.Hour)
	if r := removed(2)[1]; r.Dynamodb.Keys["id"].(*types.AttributeValueMemberS).Value != "late" {
		t.Errorf("%+v", r)
	}
	w.must(t, "DeleteItem", `{"TableName":"sessions","Key":{"id":{"S":"moved"}}}`)
	if r := removed(3)[2]; r.UserIdentity != nil {
		t.Errorf("%+v", r)
	}
	w.must(t, "UpdateTimeToLive", `{"TableName":"sessions","TimeToLiveSpecification":{"AttributeName":"until","Enabled":false}}`)
	w.answers(t, "DescribeTimeToLive", `{"TableName":"sessions"}`, `{"TimeToLiveDescription":{"TimeToLiveStatus":"DISABLED"}}`)
	w.answers(t, "Scan", `{"TableName":"sessions","Select":"COUNT"}`, `{"Count":3,"ScannedCount":3}`)
}

package dynamodb_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"

	"github.com/millrace/millrace/stack/store"
)

// disk is a directory with a stack's store in it.
type disk struct {
	dir   string
	store *store.Store
}

// durable is a world that keeps what it has.
func durable(t *testing.T) (*world, *disk) {
	t.Helper()
	d := &disk{dir: filepath.Join(t.TempDir(), "stack")}
	d.open(t)
	t.Cleanup(func() { d.store.Close() })
	return worldOn(t, d.store), d
}

func (d *disk) open(t *testing.T) {
	t.Helper()
	s, err := store.Open(d.dir)
	if err != nil {
		t.Fatal(err)
	}
	d.store = s
}

// restart ends a world and returns another on the same directory, at the same time.
func (d *disk) restart(t *testing.T, w *world) *world {
	t.Helper()
	w.Stop()
	if err := d.store.Close(); err != nil {
		t.Fatal(err)
	}
	d.open(t)
	next := worldOn(t, d.store)
	next.Clock.Advance(w.Clock.Now().Sub(next.Clock.Now()))
	return next
}

// crash is restart as if the process had been killed: what its store had in memory is lost.
func (d *disk) crash(t *testing.T, w *world) *world {
	t.Helper()
	copied := filepath.Join(t.TempDir(), "stack")
	if err := os.CopyFS(copied, os.DirFS(d.dir)); err != nil {
		t.Fatal(err)
	}
	after := &disk{dir: copied}
	after.open(t)
	t.Cleanup(func() { after.store.Close() })
	next := worldOn(t, after.store)
	next.Clock.Advance(w.Clock.Now().Sub(next.Clock.Now()))
	return next
}

// Everything that can be asked about is the same after a restart.
func TestARestartChangesNothing(t *testing.T) {
	t.Parallel()
	w, d := durable(t)
	w.table(t, "full", "pk:S sk:N", "NEW_AND_OLD_IMAGES", indexed)
	w.table(t, "gone", "id:S", "KEYS_ONLY")
	arn := *w.table(t, "things", "id:S", "NEW_IMAGE").LatestStreamArn
	for i := range 20 {
		n := strconv.Itoa(i)
		w.put(t, "full", item{"pk": str("a\x00/" + strconv.Itoa(i%3)), "sk": num(n), "g": str("g"), "h": num("-" + n), "l": num(n), "x": str(n)})
		w.put(t, "things", item{"id": str(strconv.Itoa(i % 4)), "n": num(n)})
		if i == 9 {
			if err := w.service.RotateShards(arn); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.put(t, "gone", item{"id": str("1")})
	w.must(t, "DeleteTable", `{"TableName":"gone"}`)
	w.must(t, "DeleteItem", `{"TableName":"full","Key":{"pk":{"S":"a\u0000/1"},"sk":{"N":"4"}}}`)
	w.must(t, "UpdateTimeToLive", `{"TableName":"things","TimeToLiveSpecification":{"AttributeName":"until","Enabled":true}}`)
	w.must(t, "TagResource", `{"ResourceArn":"arn:aws:dynamodb:us-east-1:000000000000:table/full","Tags":[{"Key":"a","Value":"b"}]}`)
	once := `{"ClientRequestToken":"t","TransactItems":[{"Update":{"TableName":"full","Key":{"pk":{"S":"c"},"sk":{"N":"1"}},"UpdateExpression":"ADD n :n","ExpressionAttributeValues":{":n":{"N":"1"}}}}]}`
	w.Clock.Advance(time.Hour)
	w.put(t, "things", item{"id": str("expires"), "until": num(strconv.FormatInt(w.Clock.Now().Unix()+60, 10))})
	w.Clock.Advance(23 * time.Hour)
	w.put(t, "things", item{"id": str("last")})
	w.must(t, "TransactWriteItems", once)

	questions := [][2]string{
		{"ListTables", `{}`}, {"ListStreams", `{}`}, {"DescribeTable", `{"TableName":"full"}`}, {"DescribeTable", `{"TableName":"things"}`},
		{"Scan", `{"TableName":"full"}`}, {"Scan", `{"TableName":"full","IndexName":"by-g"}`}, {"Scan", `{"TableName":"full","IndexName":"few","Limit":5}`},
		{"Query", `{"TableName":"full","IndexName":"by-l","KeyConditionExpression":"pk = :a","ExpressionAttributeValues":{":a":{"S":"a\u0000/1"}}}`},
		{"DescribeTimeToLive", `{"TableName":"things"}`}, {"ListTagsOfResource", `{"ResourceArn":"arn:aws:dynamodb:us-east-1:000000000000:table/full"}`},
		{"DescribeStream", `{"StreamArn":"` + arn + `"}`},
	}
	ask := func(w *world) (list []string) {
		t.Helper()
		for _, q := range questions {
			list = append(list, w.must(t, q[0], q[1]))
		}
		for _, h := range w.shards(t, arn) {
			records, _ := w.records(t, w.iterator(t, arn, *h.ShardId, types.ShardIteratorTypeTrimHorizon))
			for _, r := range records {
				list = append(list, fmt.Sprintf("%s %s %s %v %v", *r.EventID, r.EventName, *r.Dynamodb.SequenceNumber, *r.Dynamodb.ApproximateCreationDateTime, *r.Dynamodb.SizeBytes))
			}
		}
		return list
	}
	for !strings.Contains(w.must(t, "Scan", `{"TableName":"things","Select":"COUNT"}`), `"Count":5`) { // until the item has expired
	}
	before := ask(w)
	iterator := w.iterator(t, arn, *w.shards(t, arn)[0].ShardId, types.ShardIteratorTypeLatest)

	w = d.restart(t, w)
	after := ask(w)
	for i, b := range before {
		if after[i] != b {
			t.Errorf("was %s\nnow %s", b, after[i])
		}
	}
	w.must(t, "TransactWriteItems", once)
	w.answers(t, "GetItem", `{"TableName":"full","Key":{"pk":{"S":"c"},"sk":{"N":"1"}},"ProjectionExpression":"n"}`, `{"Item":{"n":{"N":"1"}}}`)
	w.records(t, iterator)
	last := w.all(t, arn)
	w.put(t, "things", item{"id": str("new")})
	now := w.all(t, arn)
	if len(now) != len(last)+1 || *now[len(now)-1].Dynamodb.SequenceNumber <= *last[len(last)-1].Dynamodb.SequenceNumber {
		t.Errorf("%d records after %d", len(now), len(last))
	}

	w.service.Reset()
	w = d.restart(t, w)
	w.answers(t, "ListTables", `{}`, `{"TableNames":[]}`)
	w.answers(t, "ListStreams", `{}`, `{"Streams":[]}`)
}

// What many writers were told is done is there after a crash, with its record in the stream.
func TestAcknowledgedWritesAreKept(t *testing.T) {
	t.Parallel()
	w, d := durable(t)
	arn := *w.table(t, "things", "id:S", "NEW_IMAGE").LatestStreamArn
	w.table(t, "other", "id:S", "")
	const writers, writes = 8, 25
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			for n := range writes {
				id := fmt.Sprintf("%d-%d", i, n)
				switch n % 3 {
				case 0:
					w.put(t, "things", item{"id": str(id)})
				case 1:
					w.must(t, "BatchWriteItem", `{"RequestItems":{"things":[{"PutRequest":{"Item":{"id":{"S":"`+id+`"}}}}],"other":[{"PutRequest":{"Item":{"id":{"S":"`+id+`"}}}}]}}`)
				case 2:
					w.must(t, "TransactWriteItems", `{"TransactItems":[{"Put":{"TableName":"things","Item":{"id":{"S":"`+id+`"}}}},{"Put":{"TableName":"other","Item":{"id":{"S":"`+id+`"}}}}]}`)
				}
			}
		})
	}
	all.Wait()
	w = d.crash(t, w)
	recorded := map[string]bool{}
	for _, r := range w.all(t, arn) {
		recorded[r.Dynamodb.Keys["id"].(*types.AttributeValueMemberS).Value] = true
	}
	for i := range writers {
		for n := range writes {
			id := fmt.Sprintf("%d-%d", i, n)
			if w.get(t, "things", item{"id": str(id)}) == nil || n%3 > 0 && w.get(t, "other", item{"id": str(id)}) == nil || !recorded[id] {
				t.Errorf("%s is lost", id)
			}
		}
	}
}

// Trimming reaches the disk: what is trimmed does not come back, and the sequence goes on.
func TestTrimmedRecordsDoNotComeBack(t *testing.T) {
	t.Parallel()
	w, d := durable(t)
	arn := *w.table(t, "things", "id:S", "NEW_IMAGE").LatestStreamArn
	w.put(t, "things", item{"id": str("1")})
	first := *w.all(t, arn)[0].Dynamodb.SequenceNumber
	w.Clock.Advance(25 * time.Hour)
	shards := lineage(w.shards(t, arn))
	w = d.restart(t, w)
	if got := lineage(w.shards(t, arn)); got != shards {
		t.Errorf("shards %s, were %s", got, shards)
	}
	if n := len(w.all(t, arn)); n != 0 {
		t.Errorf("%d records", n)
	}
	w.put(t, "things", item{"id": str("2")})
	if got := *w.all(t, arn)[0].Dynamodb.SequenceNumber; got <= first {
		t.Errorf("%s after %s", got, first)
	}
	// A disabled stream goes after its day, on the disk too.
	w.must(t, "UpdateTable", `{"TableName":"things","StreamSpecification":{"StreamEnabled":false}}`)
	w = d.restart(t, w)
	w.Clock.Advance(24 * time.Hour)
	w.answers(t, "ListStreams", `{}`, `{"Streams":[]}`)
	n := 0
	for n = 1; n > 0; {
		n = 0
		if err := w.Env.Store.Load("dynamodb/record/", func(string, []byte) error { n++; return nil }); err != nil {
			t.Fatal(err)
		}
	}
}

// A put that is refused while the disk is full and succeeds when it is repeated survives, though the item has not
// changed since the first time.
func TestAFullDiskMakesNoAcknowledgedItemLost(t *testing.T) {
	t.Parallel()
	w, d := durable(t)
	w.table(t, "things", "id:S", "")
	if err := os.Rename(d.dir, d.dir+"-away"); err != nil { // no disk has ever less room than one that is not there
		t.Fatal(err)
	}
	if w.Env.Store.Reserve(1<<30) == nil {
		t.Fatal("there is room where there is no directory")
	}
	put := `{"TableName":"things","Item":{"id":{"S":"1"}}}`
	for range 2 {
		if status, answer := w.post(t, "PutItem", put); status != 500 {
			t.Fatalf("while the disk is full: %d %v", status, answer)
		}
	}
	if err := os.Rename(d.dir+"-away", d.dir); err != nil {
		t.Fatal(err)
	}
	w.must(t, "PutItem", put)
	if got := d.crash(t, w).get(t, "things", item{"id": str("1")}); got == nil {
		t.Error("the item is lost")
	}
}

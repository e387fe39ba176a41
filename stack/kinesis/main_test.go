package kinesis

import (
	"context"
	"crypto/md5" //nolint:gosec // the service's own hash
	"errors"
	"io"
	"math/big"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/stack/stacktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func md5Decimal(s string) string {
	sum := md5.Sum([]byte(s)) //nolint:gosec // the service's own hash
	return new(big.Int).SetBytes(sum[:]).String()
}

// world is a service with a client of AWS's SDK.
type world struct {
	*stacktest.Kit
	*sdk.Client
	service  *Service
	endpoint string
}

func newWorld(t testing.TB, options ...Option) *world {
	return worldOn(t, stacktest.New(t), options...)
}

func worldOn(t testing.TB, kit *stacktest.Kit, options ...Option) *world {
	t.Helper()
	s, err := New(kit.Env, options...)
	if err != nil {
		t.Fatal(err)
	}
	endpoint := kit.Serve(s.API()...)
	return &world{kit, sdk.NewFromConfig(stacktest.Config(endpoint)), s, endpoint}
}

func arnOf(stream string) *string {
	return aws.String("arn:aws:kinesis:us-east-1:000000000000:stream/" + stream)
}

// must calls an operation that must succeed.
func must[In, Out any](t testing.TB, f func(context.Context, *In, ...func(*sdk.Options)) (*Out, error), in *In) *Out {
	t.Helper()
	out, err := f(t.Context(), in)
	if err != nil {
		t.Fatalf("%T: %v", in, err)
	}
	return out
}

// refused calls an operation that must be refused with a code and a message; an empty one is not compared.
func refused[In, Out any](t testing.TB, f func(context.Context, *In, ...func(*sdk.Options)) (*Out, error), in *In, code, message string) {
	t.Helper()
	_, err := f(t.Context(), in)
	refusedBy(t, err, code, message)
}

func refusedBy(t testing.TB, err error, code, message string) {
	t.Helper()
	var e smithy.APIError
	if !errors.As(err, &e) || e.ErrorCode() != code || message != "" && e.ErrorMessage() != message {
		t.Errorf("the error is\n%v, want\n%s: %s", err, code, message)
	}
}

func (w *world) create(t testing.TB, name string, shards int32) {
	t.Helper()
	must(t, w.CreateStream, &sdk.CreateStreamInput{StreamName: &name, ShardCount: &shards})
}

func (w *world) putOne(t testing.TB, stream, key, data string) *sdk.PutRecordOutput {
	t.Helper()
	return must(t, w.PutRecord, &sdk.PutRecordInput{StreamName: &stream, PartitionKey: &key, Data: []byte(data)})
}

func (w *world) shards(t testing.TB, stream string) []types.Shard {
	t.Helper()
	return must(t, w.ListShards, &sdk.ListShardsInput{StreamName: &stream}).Shards
}

// iterator returns an iterator that begins at the oldest record.
func (w *world) iterator(t testing.TB, stream, shard string) *string {
	t.Helper()
	return must(t, w.GetShardIterator, &sdk.GetShardIteratorInput{
		StreamName: &stream, ShardId: &shard, ShardIteratorType: types.ShardIteratorTypeTrimHorizon,
	}).ShardIterator
}

// drain reads a shard from the oldest record until it ends or has no more.
func (w *world) drain(t testing.TB, stream, shard string) (records []types.Record, children []types.ChildShard) {
	t.Helper()
	next := w.iterator(t, stream, shard)
	for {
		out := must(t, w.GetRecords, &sdk.GetRecordsInput{ShardIterator: next})
		records = append(records, out.Records...)
		if next = out.NextShardIterator; next == nil || *out.MillisBehindLatest == 0 {
			return records, out.ChildShards
		}
	}
}

// post sends an operation's body as it is.
func (w *world) post(t *testing.T, operation, body string) (status int, answer string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.endpoint, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Amz-Target", "Kinesis_20131202."+operation)
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

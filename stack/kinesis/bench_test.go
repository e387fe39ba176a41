package kinesis

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// hammer sends a request from eight clients, who read the answers.
func hammer(b *testing.B, endpoint, operation string, body []byte) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8, DisableCompression: true}}
	b.Cleanup(client.CloseIdleConnections)
	b.SetParallelism(4)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, endpoint, bytes.NewReader(body))
			if err != nil {
				b.Error(err)
				return
			}
			r.Header.Set("X-Amz-Target", "Kinesis_20131202."+operation)
			r.Header.Set("Content-Type", "application/x-amz-json-1.1")
			r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=test/20260102/us-east-1/kinesis/aws4_request, SignedHeaders=host, Signature=0")
			resp, err := client.Do(r)
			if err != nil {
				b.Error(err)
				return
			}
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if err != nil || resp.StatusCode != http.StatusOK {
				b.Errorf("%s, %v", resp.Status, err)
				return
			}
		}
	})
}

func body(b *testing.B, v any) []byte {
	b.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		b.Fatal(err)
	}
	return data
}

// BenchmarkEcho is the bare server that the others are compared with.
func BenchmarkEcho(b *testing.B) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(r.Body)
		if err != nil {
			panic(err)
		}
		w.Write(data)
	}))
	b.Cleanup(s.Close)
	hammer(b, s.URL, "Echo", body(b, map[string]any{"StreamName": "s", "PartitionKey": "key", "Data": bytes.Repeat([]byte("x"), 100)}))
}

func BenchmarkPutRecord(b *testing.B) {
	w := newWorld(b)
	w.create(b, "s", 4)
	hammer(b, w.endpoint, "PutRecord", body(b, map[string]any{"StreamName": "s", "PartitionKey": "key", "Data": bytes.Repeat([]byte("x"), 100)}))
}

func BenchmarkPutRecords(b *testing.B) {
	w := newWorld(b)
	w.create(b, "s", 4)
	var records []map[string]any
	for i := range 10 {
		records = append(records, map[string]any{"PartitionKey": fmt.Sprint("key-", i), "Data": bytes.Repeat([]byte("x"), 100)})
	}
	hammer(b, w.endpoint, "PutRecords", body(b, map[string]any{"StreamName": "s", "Records": records}))
}

func BenchmarkGetRecords(b *testing.B) {
	for _, n := range []int{0, 1, 10, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w := newWorld(b)
			w.create(b, "s", 1)
			entry := types.PutRecordsRequestEntry{PartitionKey: aws.String("key"), Data: []byte(strings.Repeat("x", 100))}
			for i := 0; i < n; i += 500 {
				in := &sdk.PutRecordsInput{StreamName: aws.String("s")}
				for range min(500, n-i) {
					in.Records = append(in.Records, entry)
				}
				must(b, w.PutRecords, in)
			}
			hammer(b, w.endpoint, "GetRecords", body(b, map[string]any{"ShardIterator": w.iterator(b, "s", shard0)}))
		})
	}
}

package dynamodb_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// caller posts operations with as little work of its own as it can.
func caller(b *testing.B, endpoint string) func(operation string, body []byte) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	b.Cleanup(client.CloseIdleConnections)
	return func(operation string, body []byte) {
		r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, endpoint, bytes.NewReader(body))
		if err != nil {
			b.Error(err)
			return
		}
		r.Header.Set("X-Amz-Target", "DynamoDB_20120810."+operation)
		r.Header.Set("Content-Type", "application/x-amz-json-1.0")
		a, err := client.Do(r)
		if err != nil {
			b.Error(err)
			return
		}
		text, err := io.ReadAll(a.Body)
		a.Body.Close()
		if err != nil || a.StatusCode != http.StatusOK {
			b.Errorf("%d %s %v", a.StatusCode, text, err)
		}
	}
}

func parallel(b *testing.B, f func(n int64)) {
	b.SetParallelism(4) // with two processors, eight clients
	b.ReportAllocs()
	var n atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			f(n.Add(1))
		}
	})
}

func itemText(n int64) string {
	return fmt.Sprintf(`{"id":{"S":"customer-%d"},"at":{"N":"%d"},"status":{"S":"%s"},"tags":{"SS":["a","b"]},"total":{"N":"12.50"}}`, n%10000, n, strings.Repeat("x", 100))
}

func BenchmarkEcho(b *testing.B) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		io.WriteString(w, "{}")
	}))
	defer s.Close()
	call := caller(b, s.URL)
	parallel(b, func(n int64) { call("PutItem", []byte(`{"TableName":"t","Item":`+itemText(n)+`}`)) })
}

func BenchmarkPutItemWithStream(b *testing.B) {
	w := newWorld(b)
	w.table(b, "t.t", "id:S", "NEW_AND_OLD_IMAGES")
	call := caller(b, w.endpoint)
	parallel(b, func(n int64) { call("PutItem", []byte(`{"TableName":"t.t","Item":`+itemText(n)+`}`)) })
}

func BenchmarkBatchWriteTen(b *testing.B) {
	w := newWorld(b)
	w.table(b, "t.t", "id:S at:N", "NEW_AND_OLD_IMAGES")
	call := caller(b, w.endpoint)
	parallel(b, func(n int64) {
		var list []string
		for i := range int64(10) {
			list = append(list, `{"PutRequest":{"Item":`+itemText(n*10+i)+`}}`)
		}
		call("BatchWriteItem", []byte(`{"RequestItems":{"t.t":[`+strings.Join(list, ",")+`]}}`))
	})
}

func BenchmarkGetItem(b *testing.B) {
	w := newWorld(b)
	w.table(b, "t.t", "id:S", "")
	call := caller(b, w.endpoint)
	for n := range int64(10000) {
		call("PutItem", []byte(`{"TableName":"t.t","Item":`+itemText(n)+`}`))
	}
	b.ResetTimer()
	parallel(b, func(n int64) {
		call("GetItem", []byte(fmt.Sprintf(`{"TableName":"t.t","Key":{"id":{"S":"customer-%d"}}}`, n%10000)))
	})
}

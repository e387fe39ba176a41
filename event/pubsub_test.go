package event

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"testing"
	"time"
)

var received = time.Date(2025, 11, 26, 10, 0, 0, 123456789, time.UTC)

func TestNATSDocument(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		messages []NATSMessage
		want     string
	}{
		{"a request with headers", []NATSMessage{{
			ARN: "arn:millrace:nats:us-east-1:123456789012:orders", Region: "us-east-1", Subject: "orders.eu.created",
			Reply: "_INBOX.7vGx", QueueGroup: "billing", Time: received,
			Headers: map[string][]string{"b": {"1", "2"}, "A": {`"`}, "none": nil}, Data: []byte("hello"),
		}}, `{"Records":[{"eventSource":"millrace:nats","eventSourceARN":"arn:millrace:nats:us-east-1:123456789012:orders",` +
			`"awsRegion":"us-east-1","subject":"orders.eu.created","reply":"_INBOX.7vGx","queueGroup":"billing",` +
			`"timestamp":1764151200123,"headers":{"A":["\""],"b":["1","2"],"none":[]},"data":"aGVsbG8="}]}`},
		{"the least there can be", []NATSMessage{{Subject: "s", Time: received}},
			`{"Records":[{"eventSource":"millrace:nats","subject":"s","timestamp":1764151200123,"headers":{},"data":""}]}`},
		{"two", []NATSMessage{{Subject: "a", Time: received, Data: []byte{0xff}}, {Subject: "b", Time: received}},
			`{"Records":[{"eventSource":"millrace:nats","subject":"a","timestamp":1764151200123,"headers":{},"data":"/w=="},` +
				`{"eventSource":"millrace:nats","subject":"b","timestamp":1764151200123,"headers":{},"data":""}]}`},
		{"none", nil, `{"Records":[]}`},
	} {
		if got := AppendNATS(nil, c.messages); string(got) != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

func TestRedisDocument(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		messages []RedisMessage
		want     string
	}{
		{"by pattern", []RedisMessage{{
			ARN: "arn:millrace:redis:us-east-1:123456789012:prices", Region: "us-east-1",
			Channel: "prices.chf", Pattern: "prices.*", Time: received, Data: []byte("1.04"),
		}}, `{"Records":[{"eventSource":"millrace:redis","eventSourceARN":"arn:millrace:redis:us-east-1:123456789012:prices",` +
			`"awsRegion":"us-east-1","channel":"prices.chf","pattern":"prices.*","timestamp":1764151200123,"data":"MS4wNA=="}]}`},
		{"by channel, twice", []RedisMessage{{Channel: "c", Time: received}, {Channel: "d", Time: received}},
			`{"Records":[{"eventSource":"millrace:redis","channel":"c","timestamp":1764151200123,"data":""},` +
				`{"eventSource":"millrace:redis","channel":"d","timestamp":1764151200123,"data":""}]}`},
	} {
		if got := AppendRedis(nil, c.messages); string(got) != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

func FuzzNATSDocument(f *testing.F) {
	f.Add("orders.*", "_INBOX.1", "group", "Nats-Msg-Id", "1", []byte("data"))
	f.Add("\xff\"\\", "\n", "\u2028", "", "\x00", []byte{0, 0xff})
	f.Fuzz(func(t *testing.T, subject, reply, group, name, value string, data []byte) {
		doc := AppendNATS(nil, []NATSMessage{{Subject: subject, Reply: reply, QueueGroup: group, Time: received,
			Headers: map[string][]string{name: {value, value}}, Data: data}})
		var back struct {
			Records []struct {
				Headers map[string][]string
				Data    string
			}
		}
		if err := json.Unmarshal(doc, &back); err != nil {
			t.Fatalf("%v: %s", err, doc)
		}
		if len(back.Records) != 1 || len(back.Records[0].Headers) != 1 {
			t.Fatalf("%s", doc)
		}
		if got, err := base64.StdEncoding.DecodeString(back.Records[0].Data); err != nil || !bytes.Equal(got, data) {
			t.Errorf("data %q came back as %q, %v", data, got, err)
		}
	})
}

func FuzzRedisDocument(f *testing.F) {
	f.Add("c", "p*", []byte("data"))
	f.Add("\xff\"\\", "\n\u2028", []byte{0, 0xff})
	f.Fuzz(func(t *testing.T, channel, pattern string, data []byte) {
		doc := AppendRedis(nil, []RedisMessage{{Channel: channel, Pattern: pattern, Time: received, Data: data}})
		var back struct{ Records []struct{ Data []byte } }
		if err := json.Unmarshal(doc, &back); err != nil || len(back.Records) != 1 || !bytes.Equal(back.Records[0].Data, data) {
			t.Fatalf("%v: %s", err, doc)
		}
	})
}

func TestPubSubDocumentsCostNoAllocation(t *testing.T) {
	nats, redis := pubsubBatch()
	scheduled := ScheduledEvent("id", "arn", "123456789012", "us-east-1", received)
	buf := make([]byte, 0, 256<<10)
	for name, f := range map[string]func(){
		"nats":        func() { buf = AppendNATS(buf[:0], nats) },
		"redis":       func() { buf = AppendRedis(buf[:0], redis) },
		"eventbridge": func() { buf = AppendEventBridge(buf[:0], &scheduled) },
	} {
		if n := testing.AllocsPerRun(20, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func pubsubBatch() ([]NATSMessage, []RedisMessage) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 64)
	headers := map[string][]string{"Nats-Msg-Id": {"42"}, "Traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}
	nats, redis := make([]NATSMessage, 100), make([]RedisMessage, 100)
	for i := range 100 {
		nats[i] = NATSMessage{Subject: fmt.Sprintf("orders.%d", i), Time: received, Headers: headers, Data: data}
		redis[i] = RedisMessage{Channel: fmt.Sprintf("orders.%d", i), Pattern: "orders.*", Time: received, Data: data}
	}
	return nats, redis
}

// A batch of 100 records with 1 KB of payload each.
func BenchmarkPubSub(b *testing.B) {
	nats, redis := pubsubBatch()
	for _, bench := range []struct {
		name string
		f    func([]byte) []byte
	}{
		{"nats", func(dst []byte) []byte { return AppendNATS(dst, nats) }},
		{"redis", func(dst []byte) []byte { return AppendRedis(dst, redis) }},
	} {
		b.Run(bench.name, func(b *testing.B) {
			buf := bench.f(nil)
			b.SetBytes(int64(len(buf)))
			b.ReportAllocs()
			for b.Loop() {
				buf = bench.f(buf[:0])
			}
		})
	}
}
